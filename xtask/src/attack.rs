//! The attack suite: each promise of docs/security.md, tried as the attacker would.
//!
//! A scenario is a file tests/attack/NAME.py. It gets a cluster of its own, because roles belong to the cluster and a server that
//! falls must not take another scenario's with it. Lines near the top say how the cluster has to be:
//! `# settings: NAME = VALUE, ...` and `# memory: 1500 MB` of address space for each process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::files::files;
use crate::workspace::Workspace;
use crate::{onnxruntime, python, shell};

/// How many lines at the top of a script are looked at.
const HEAD: usize = 12;
/// What the postmaster writes when a process of the server's has died.
const DEATHS: &[&str] = &["was terminated by signal", "PANIC:"];

/// The long ones first, so that none is left alone at the end.
pub fn scripts(tests: &Path) -> Vec<PathBuf> {
    let mut found = files(&tests.join("attack"), "py");
    found.sort_by_key(|path| {
        !wanted(&fs::read_to_string(path).unwrap_or_default(), "long").any(|_| true)
    });
    found
}

/// What a script says about `key` near its top.
fn wanted<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .take(HEAD)
        .filter_map(move |line| {
            line.strip_prefix("# ")?
                .strip_prefix(key)?
                .strip_prefix(':')
        })
        .map(str::trim)
}

pub fn run(workspace: &Workspace, script: &Path) -> Result<()> {
    let text = fs::read_to_string(script)?;
    let settings: Vec<(&str, &str)> = wanted(&text, "settings")
        .flat_map(|line| line.split(", "))
        .map(|setting| {
            setting
                .split_once(" = ")
                .context("a setting is NAME = VALUE")
        })
        .collect::<Result<_>>()?;
    let memory = wanted(&text, "memory")
        .next()
        .map(|size| size.trim_end_matches(" MB").parse())
        .transpose()
        .context("memory is so many MB")?;
    let name = script.file_stem().unwrap_or_default().to_string_lossy();
    let cluster = workspace.new_limited_cluster(&name, &settings, memory)?;
    let outcome = attempt(workspace, script, &cluster).and_then(|()| ensure_nobody_died(&cluster));
    if outcome.is_ok() {
        cluster.destroy();
    }
    outcome
}

fn attempt(workspace: &Workspace, script: &Path, cluster: &Cluster) -> Result<()> {
    let mut command = Command::new(python::environment(&workspace.shared)?);
    command
        .arg(script)
        .args(&workspace.arguments)
        .current_dir(&workspace.project.root)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PG_LTV_URL", cluster.url("ltv"))
        .env("PG_LTV_DATA", &cluster.data)
        .env("PG_LTV_LOG", cluster.log_path())
        .env("PG_LTV_PG_CTL", cluster.install.program("pg_ctl"))
        .env("ORT_DYLIB_PATH", onnxruntime::library(&workspace.shared)?);
    if let Some(account) = workspace.project.server_account()? {
        command.env("PG_LTV_ACCOUNT", account.name);
    }
    let printed = shell::capture(&mut command)?;
    if !workspace.arguments.is_empty() {
        shell::say(printed.trim_end());
    }
    Ok(())
}

fn ensure_nobody_died(cluster: &Cluster) -> Result<()> {
    let log = cluster.log();
    let deaths: Vec<&str> = log
        .lines()
        .filter(|line| DEATHS.iter().any(|death| line.contains(death)))
        .collect();
    if !deaths.is_empty() {
        bail!("a process of the server died:\n{}", deaths.join("\n"));
    }
    Ok(())
}
