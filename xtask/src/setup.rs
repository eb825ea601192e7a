//! What this machine must have before anything is built: found, installed by apt-get where allowed, or named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::postgres_install::{self, Install, NEWEST, OLDEST};
use crate::project::{self, Project};
use crate::{onnxruntime, python, shell};

/// What a command needs besides PostgreSQL, its headers, clang and ONNX Runtime.
#[derive(Clone, Copy, Default)]
pub struct Needs {
    pub python_environment: bool,
    pub cron: bool,
}

/// Makes sure that everything is there; returns the PostgreSQL to build against.
pub fn ensure(project: &Project, needs: Needs, pg_config: Option<&Path>) -> Result<Install> {
    let named = postgres_install::find(pg_config)?;
    let missing = missing_packages(project, needs, named.as_ref())?;
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    let install = match named {
        Some(install) => install,
        None => postgres_install::find(None)?.context(
            "PostgreSQL was installed but cannot be found; set PG_CONFIG to its pg_config",
        )?,
    };
    onnxruntime::library(project)?;
    Ok(install)
}

/// The Debian packages for what is missing.
fn missing_packages(
    project: &Project,
    needs: Needs,
    install: Option<&Install>,
) -> Result<Vec<String>> {
    let mut packages = Vec::new();
    let major = match install {
        Some(install) => Some(install.major),
        None => {
            let major = server_without_headers().or_else(distribution_major);
            match major {
                Some(major) => {
                    if !Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).is_file() {
                        packages.push(format!("postgresql-{major}"));
                    }
                    packages.push(format!("postgresql-server-dev-{major}"));
                }
                None => packages.extend(["postgresql".into(), "postgresql-server-dev-all".into()]),
            }
            major
        }
    };
    if let (true, Some(major)) = (needs.cron, major) {
        let found = install
            .is_some_and(|install| install.share.join("extension/pg_cron.control").is_file());
        if !found {
            packages.push(format!("postgresql-{major}-cron"));
        }
    }
    if !has_libclang() {
        packages.push("libclang-dev".into());
    }
    if shell::on_path("clang").is_none() {
        packages.push("clang".into());
    }
    if shell::on_path("pkg-config").is_none() && shell::on_path("pkgconf").is_none() {
        packages.push("pkg-config".into());
    }
    let wants_wheel = onnxruntime::present(project).is_none();
    let python = shell::on_path("python3").is_some();
    let environment = project.home.join("venv/bin/python").is_file()
        || (python && python::can_make_environments());
    if (wants_wheel || needs.python_environment) && !python {
        packages.push("python3".into());
    }
    let pip = environment || (python && python::has_pip());
    if (needs.python_environment && !environment) || (wants_wheel && !pip) {
        packages.push("python3-venv".into());
    }
    Ok(packages)
}

/// Programs that a few commands need, installed if they are missing.
pub fn programs(names: &[&str]) -> Result<()> {
    let packages: Vec<String> = names
        .iter()
        .filter(|name| shell::on_path(name).is_none())
        .map(|name| match *name {
            "dpkg-shlibdeps" => "dpkg-dev".to_owned(),
            "rpmbuild" => "rpm".to_owned(),
            name => name.to_owned(),
        })
        .collect();
    match packages.is_empty() {
        true => Ok(()),
        false => install_packages(&packages),
    }
}

/// A server of the distribution's that only lacks its headers.
fn server_without_headers() -> Option<u32> {
    (OLDEST..=NEWEST)
        .rev()
        .find(|major| Path::new(&format!("/usr/lib/postgresql/{major}/bin/postgres")).is_file())
}

/// The major version that the distribution's package `postgresql` stands for.
fn distribution_major() -> Option<u32> {
    if project::is_root() && distribution_major_known().is_none() {
        let _ = update_package_lists();
    }
    distribution_major_known()
}

fn distribution_major_known() -> Option<u32> {
    let output = Command::new("apt-cache")
        .args(["show", "postgresql"])
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("Depends:"))
        .flat_map(|line| line.split([',', ' ', '|']))
        .filter_map(|word| word.strip_prefix("postgresql-")?.parse().ok())
        .find(|major| (OLDEST..=NEWEST).contains(major))
}

fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let mut directories: Vec<PathBuf> = vec![
        "/usr/lib".into(),
        "/usr/lib64".into(),
        "/usr/local/lib".into(),
        format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into(),
    ];
    if let Ok(entries) = fs::read_dir("/usr/lib") {
        directories.extend(
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.to_string_lossy().contains("/llvm"))
                .map(|path| path.join("lib")),
        );
    }
    directories.iter().any(|directory| {
        fs::read_dir(directory).is_ok_and(|entries| {
            entries.filter_map(std::result::Result::ok).any(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name == "libclang.so"
                    || name.starts_with("libclang.so.")
                    || (name.starts_with("libclang-") && name.contains(".so"))
            })
        })
    })
}

fn install_packages(packages: &[String]) -> Result<()> {
    let list = packages.join(" ");
    if shell::on_path("apt-get").is_none() {
        bail!(
            "missing on this machine: {list} (the names of Debian's packages)\n\
             install them with this system's package manager, then run the same command again"
        );
    }
    if !project::is_root() {
        bail!(
            "missing on this machine: {list}\ninstall with\n\n    \
             sudo apt-get update && sudo apt-get install --yes --no-install-recommends {list}\n\n\
             then run the same command again"
        );
    }
    shell::step(format!("Installing {list} (a few minutes)"));
    let _no_cluster = NoDefaultCluster::begin()?;
    let install = || {
        shell::capture(&mut apt_get(
            &["install", "--yes", "--no-install-recommends"],
            packages,
        ))
    };
    if install().is_err() {
        update_package_lists()?;
        install()?;
    }
    Ok(())
}

fn update_package_lists() -> Result<()> {
    shell::capture(&mut apt_get(&["update"], &[])).map(drop)
}

fn apt_get(arguments: &[&str], packages: &[String]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments)
        .arg("--quiet")
        .args(packages);
    command
}

/// While this lives, installing PostgreSQL does not create and start a cluster of its own.
struct NoDefaultCluster {
    file: PathBuf,
    directory: Option<PathBuf>,
}

impl NoDefaultCluster {
    fn begin() -> Result<NoDefaultCluster> {
        let directory = PathBuf::from("/etc/postgresql-common/createcluster.d");
        let made = !directory.exists();
        fs::create_dir_all(&directory)?;
        let file = directory.join("zz_pg_ltv.conf");
        fs::write(&file, "create_main_cluster = false\n")?;
        Ok(NoDefaultCluster {
            file,
            directory: made.then_some(directory),
        })
    }
}

impl Drop for NoDefaultCluster {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}
