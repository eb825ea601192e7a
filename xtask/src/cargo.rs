//! cargo, as xtask calls it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::postgres_install::Install;
use crate::project::Project;
use crate::shell;

/// The shared library of that name among what cargo has built.
pub fn shared_library(artifacts: &[serde_json::Value], name: &str) -> Result<PathBuf> {
    artifacts
        .iter()
        .filter(|message| message["target"]["name"] == name)
        .filter_map(|message| {
            message["filenames"].as_array()?.iter().find_map(|name| {
                let name = name.as_str()?;
                name.ends_with(std::env::consts::DLL_SUFFIX)
                    .then(|| PathBuf::from(name))
            })
        })
        .next_back()
        .with_context(|| format!("cargo did not say where the library {name} is"))
}

/// Build the workspace and return cargo's message on each artifact. The tests only come with `--all-targets`.
///
/// Always the whole workspace: cargo builds every dependency anew where another selection of packages asks for
/// another set of its features, and the large ones take minutes.
pub fn artifacts(
    project: &Project,
    install: &Install,
    extra: &[&str],
) -> Result<Vec<serde_json::Value>> {
    let mut cargo = cargo(project, install);
    cargo
        .args(["build", "--release", "--workspace"])
        .args(extra)
        .args(["--no-default-features", "--features", &install.feature()])
        .arg("--message-format=json-render-diagnostics");
    let text = shell::show(&cargo);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .collect())
}

/// cargo with the environment that selects this installation.
pub fn cargo(project: &Project, install: &Install) -> Command {
    let mut command = plain_cargo(project);
    command.env("PGRX_PG_CONFIG_PATH", &install.pg_config);
    command
}

pub fn plain_cargo(project: &Project) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&project.root);
    // Set by `cargo run` for this program; they would make the nested build see a changed environment.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST")
            || text == "CARGO_CRATE_NAME"
        {
            command.env_remove(&name);
        }
    }
    command
}
