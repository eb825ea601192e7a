//! Where things are: the checkout, the private directory `.pg_ltv`, and the account the server runs as.

use std::ffi::CString;
use std::fs;
use std::hash::Hasher;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fnv::FnvHasher;

/// An account of this machine.
#[derive(Clone, Debug)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Debug)]
pub struct Project {
    /// The checkout.
    pub root: PathBuf,
    /// Everything xtask makes: the private PostgreSQL tree, ONNX Runtime, clusters, the Python environment.
    pub home: PathBuf,
}

impl Project {
    pub fn locate() -> Result<Project> {
        let manifest = std::env::var("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_string());
        let root = Path::new(&manifest)
            .parent()
            .context("the xtask crate has no parent directory")?
            .canonicalize()?;
        let home = match std::env::var_os("PG_LTV_HOME") {
            Some(dir) => std::path::absolute(PathBuf::from(dir))?,
            None => default_home(&root),
        };
        fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        Ok(Project { root, home })
    }

    /// PostgreSQL refuses to run as root; then it runs as `postgres`. Otherwise it runs as whoever called.
    pub fn server_account(&self) -> Result<Option<Account>> {
        if !is_root() {
            return Ok(None);
        }
        if let Some(account) = find_account("postgres")? {
            return Ok(Some(account));
        }
        let status = Command::new("useradd")
            .args([
                "--system",
                "--home-dir",
                "/nonexistent",
                "--shell",
                "/bin/sh",
            ])
            .args(["--user-group", "postgres"])
            .status();
        match status {
            Ok(status) if status.success() => find_account("postgres"),
            _ => bail!(
                "there is no account `postgres` to run the server as, and it could not be created"
            ),
        }
    }

    /// A directory under `home` that belongs to the server's account and nobody else can enter.
    pub fn server_directory(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create {}", parent.display()))?;
        }
        if !path.exists() {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(path)
                .with_context(|| format!("cannot create {}", path.display()))?;
        }
        self.give_to_server(path)
    }

    pub fn give_to_server(&self, path: &Path) -> Result<()> {
        if let Some(account) = self.server_account()? {
            std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
                .with_context(|| format!("cannot give {} to {}", path.display(), account.name))?;
        }
        Ok(())
    }

    /// A command that runs as the server's account.
    pub fn as_server(&self, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some(account) = self.server_account()? {
            command
                .uid(account.uid)
                .gid(account.gid)
                .env("HOME", "/")
                .env("USER", &account.name);
        }
        Ok(command)
    }
}

pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// `.pg_ltv` in the checkout, unless the server's account could not reach it there (a checkout under /root).
fn default_home(root: &Path) -> PathBuf {
    if !is_root() || reachable_by_all(root) {
        return root.join(".pg_ltv");
    }
    PathBuf::from("/var/lib/pg_ltv").join(short_hash(root))
}

/// Whether every directory from `/` down to `path` can be entered by any account.
pub fn reachable_by_all(path: &Path) -> bool {
    path.ancestors().all(|directory| {
        fs::metadata(directory).is_ok_and(|found| found.permissions().mode() & 0o005 == 0o005)
    })
}

/// A short name for a path, the same in every run (FNV-1a).
pub fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut hash = FnvHasher::default();
    hash.write(path.as_os_str().as_bytes());
    format!("{:012x}", hash.finish() & 0xffff_ffff_ffff)
}

/// A short private directory for the socket of the cluster in `data` (socket paths are limited to 107 bytes).
pub fn socket_directory(project: &Project, data: &Path) -> Result<PathBuf> {
    let name = short_hash(data);
    let preferred = project.home.join("run").join(&name);
    let directory = if preferred.as_os_str().len() < 80 {
        preferred
    } else {
        // SAFETY: geteuid has no preconditions and cannot fail.
        let uid = unsafe { libc::geteuid() };
        std::env::temp_dir().join(format!("pg_ltv.{uid}.{name}"))
    };
    project.server_directory(&directory)?;
    let expected = match project.server_account()? {
        Some(account) => account.uid,
        // SAFETY: geteuid has no preconditions and cannot fail.
        None => unsafe { libc::geteuid() },
    };
    let found = fs::symlink_metadata(&directory)?;
    if !found.is_dir() || found.uid() != expected || found.mode() & 0o077 != 0 {
        bail!(
            "{} is not a private directory of the server's account",
            directory.display()
        );
    }
    Ok(directory)
}

fn find_account(name: &str) -> Result<Option<Account>> {
    let name_c = CString::new(name)?;
    // SAFETY: the argument is a NUL-terminated string; the result is read before any other call.
    let entry = unsafe { libc::getpwnam(name_c.as_ptr()) };
    if entry.is_null() {
        return Ok(None);
    }
    // SAFETY: a non-null result of getpwnam points to a valid passwd record.
    let (uid, gid) = unsafe { ((*entry).pw_uid, (*entry).pw_gid) };
    Ok(Some(Account {
        name: name.to_string(),
        uid,
        gid,
    }))
}
