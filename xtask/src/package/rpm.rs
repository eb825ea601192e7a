//! The archive as an rpm, by packaging/pg_ltv.spec.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Release, fresh_directory};
use crate::{files, shell};

pub fn package(release: &Release, archive: &Path) -> Result<PathBuf> {
    let place = release
        .output
        .join(format!("rpm-{}", release.install.major));
    fresh_directory(&place)?;
    let define = |name: &str, value: &str| ["--define".to_owned(), format!("{name} {value}")];
    shell::capture(
        Command::new("rpmbuild")
            .arg("-bb")
            .args(define("major", &release.install.major.to_string()))
            .args(define("minor", &release.install.headers_release()?))
            .args(define("ltv_version", &release.built.version))
            .args(define("_topdir", &place.display().to_string()))
            .args(define("_sourcedir", &release.output.display().to_string()))
            .args(define("_rpmdir", &place.display().to_string()))
            .args(define(
                "_build_name_fmt",
                "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
            ))
            .arg(release.project.root.join("packaging/pg_ltv.spec"))
            .env("SOURCE_DATE_EPOCH", &release.epoch),
    )
    .with_context(|| format!("cannot make an rpm of {}", archive.display()))?;
    let made = files::files(&place, "rpm")
        .pop()
        .context("rpmbuild made nothing")?;
    let file = release.output.join(made.file_name().unwrap_or_default());
    fs::rename(&made, &file)?;
    fs::remove_dir_all(&place)?;
    Ok(file)
}
