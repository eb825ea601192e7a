//! PostgreSQL installations: finding one, and making a private copy that the extension can be installed into
//! without touching it.
//!
//! PostgreSQL computes its directories from the place of its own executable. So a tree with the same layout, the
//! executables copied and everything else linked, is a complete installation with a library and an extension
//! directory of our own.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::shell;

pub const OLDEST: u32 = 15;
pub const NEWEST: u32 = 18;

#[derive(Clone, Debug)]
pub struct Install {
    pub major: u32,
    pub version: String,
    pub pg_config: PathBuf,
    pub bin: PathBuf,
    pub share: PathBuf,
    pub lib: PathBuf,
    pub include_server: PathBuf,
    library: PathBuf,
}

impl Install {
    pub fn from_pg_config(pg_config: &Path) -> Result<Install> {
        let ask = |option: &str| -> Result<String> {
            let text = shell::capture(Command::new(pg_config).arg(option))?;
            Ok(text.trim().to_string())
        };
        let version = ask("--version")?;
        let major = major_of(&version)
            .with_context(|| format!("{} says `{version}`", pg_config.display()))?;
        Ok(Install {
            major,
            version,
            pg_config: pg_config.to_path_buf(),
            bin: ask("--bindir")?.into(),
            share: ask("--sharedir")?.into(),
            lib: ask("--pkglibdir")?.into(),
            include_server: ask("--includedir-server")?.into(),
            library: ask("--libdir")?.into(),
        })
    }

    pub fn has_server(&self) -> bool {
        self.bin.join("postgres").is_file() && self.bin.join("initdb").is_file()
    }

    pub fn has_headers(&self) -> bool {
        self.include_server.join("postgres.h").is_file()
    }

    pub fn supported(&self) -> bool {
        (OLDEST..=NEWEST).contains(&self.major)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// `15.20`: the release of the headers. What was built with them may not load in an earlier one.
    pub fn headers_release(&self) -> Result<String> {
        let path = self.include_server.join("pg_config.h");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        text.lines()
            .find_map(|line| line.strip_prefix("#define PG_VERSION \""))
            .and_then(|rest| rest.split(['"', ' ']).next())
            .map(str::to_owned)
            .with_context(|| format!("{} names no version", path.display()))
    }

    /// The cargo feature that selects this major version.
    pub fn feature(&self) -> String {
        format!("pg{}", self.major)
    }
}

fn major_of(version: &str) -> Option<u32> {
    let number = version.strip_prefix("PostgreSQL ")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The installations to choose from, best first: what the user named, what is on the PATH, what the distribution has.
pub fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for variable in ["PGRX_PG_CONFIG_PATH", "PG_CONFIG"] {
        found.extend(std::env::var_os(variable).map(PathBuf::from));
    }
    found.extend(shell::on_path("pg_config"));
    for major in (OLDEST..=NEWEST).rev() {
        found.push(format!("/usr/lib/postgresql/{major}/bin/pg_config").into());
        found.push(format!("/usr/pgsql-{major}/bin/pg_config").into());
    }
    let mut seen = HashSet::new();
    found.retain(|path| path.is_file() && seen.insert(path.clone()));
    found
}

/// An installation with server and headers, if there is one.
pub fn find(named: Option<&Path>) -> Result<Option<Install>> {
    if let Some(path) = named {
        let install = Install::from_pg_config(path)?;
        if !install.supported() {
            bail!(
                "{} is {}; pg_ltv supports PostgreSQL {OLDEST} to {NEWEST}",
                path.display(),
                install.version
            );
        }
        if !install.has_headers() {
            bail!(
                "{} has no server headers at {} (package postgresql-server-dev-{} on Debian and Ubuntu)",
                install.version,
                install.include_server.display(),
                install.major
            );
        }
        return Ok(Some(install));
    }
    Ok(candidates()
        .iter()
        .filter_map(|path| Install::from_pg_config(path).ok())
        .find(|install| install.supported() && install.has_server() && install.has_headers()))
}

/// The private copy of `source`, made or brought up to date.
pub fn private(project: &Project, source: &Install) -> Result<Install> {
    // Fetched for us alone.
    if source.bin.starts_with(&project.home) {
        return Ok(source.clone());
    }
    let base = common_ancestor(&[&source.bin, &source.share, &source.lib])
        .context("the PostgreSQL installation has no common directory")?;
    let tree = project.home.join(format!("pg{}", source.major));
    let mapped = |path: &Path| -> Result<PathBuf> { Ok(tree.join(path.strip_prefix(&base)?)) };
    let (bin, share, lib) = (
        mapped(&source.bin)?,
        mapped(&source.share)?,
        mapped(&source.lib)?,
    );

    let stamp = tree.join("source");
    let wanted = fingerprint(source)?;
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        for directory in [&bin, &share, &lib] {
            if directory.exists() {
                fs::remove_dir_all(directory)
                    .with_context(|| format!("cannot remove {}", directory.display()))?;
            }
        }
        fs::create_dir_all(&bin)?;
        copy_programs(&source.bin, &bin)?;
        fs::write(&stamp, wanted)?;
    }
    link_entries(&source.lib, &lib, &["pg_ltv"])?;
    link_entries(&source.share, &share, &["extension"])?;
    link_entries(
        &source.share.join("extension"),
        &share.join("extension"),
        &["pg_ltv"],
    )?;
    // A relocated build looks for libpq beside itself; a distribution's is in the system's path.
    if source.library != source.lib
        && source.library.starts_with(&base)
        && base != Path::new("/usr")
        && base != Path::new("/")
    {
        link_entries(&source.library, &mapped(&source.library)?, &[])?;
    }

    let copy = Install::from_pg_config(&bin.join("pg_config"))?;
    if copy.lib != lib || copy.share != share {
        bail!(
            "the PostgreSQL at {} cannot be relocated: a copy at {} looks for its libraries in {}",
            source.bin.display(),
            bin.display(),
            copy.lib.display()
        );
    }
    Ok(copy)
}

/// Changes when the installation was upgraded.
fn fingerprint(source: &Install) -> Result<String> {
    let postgres = fs::metadata(source.program("postgres"))
        .with_context(|| format!("no server program in {}", source.bin.display()))?;
    Ok(format!(
        "{}\n{}\n{} {}\n",
        source.version,
        source.bin.display(),
        postgres.len(),
        postgres.mtime()
    ))
}

fn copy_programs(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Link every entry of `from` into `to`, but for names that start with one of `except`; drop links that lead nowhere.
fn link_entries(from: &Path, to: &Path, except: &[&str]) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let path = entry?.path();
        if path.is_symlink() && !path.exists() {
            fs::remove_file(path)?;
        }
    }
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if except.iter().any(|prefix| text.starts_with(prefix)) {
            continue;
        }
        let target = to.join(&name);
        if !target.exists() {
            symlink(entry.path(), target)?;
        }
    }
    Ok(())
}

fn common_ancestor(paths: &[&Path]) -> Option<PathBuf> {
    let first = paths.first()?.parent()?;
    first
        .ancestors()
        .find(|ancestor| paths.iter().all(|path| path.starts_with(ancestor)))
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_major_versions() {
        assert_eq!(
            major_of("PostgreSQL 15.20 (Debian 15.20-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("PostgreSQL 18beta1"), Some(18));
        assert_eq!(major_of("EnterpriseDB"), None);
    }

    #[test]
    fn finds_the_common_directory_of_an_installation() {
        let paths = [
            Path::new("/usr/lib/postgresql/15/bin"),
            Path::new("/usr/share/postgresql/15"),
            Path::new("/usr/lib/postgresql/15/lib"),
        ];
        assert_eq!(common_ancestor(&paths), Some(PathBuf::from("/usr")));
        let paths = [Path::new("/opt/pg/bin"), Path::new("/opt/pg/share")];
        assert_eq!(common_ancestor(&paths), Some(PathBuf::from("/opt/pg")));
    }
}
