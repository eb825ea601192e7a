//! The checks that need no server: formatting, imports, lines of SQL, clippy, documentation, unit tests.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::report::{Outcome, Report};
use super::{dependencies, english, find, imports, lines, links};
use crate::cargo;
use crate::frozen;
use crate::onnxruntime;
use crate::postgres_install::Install;
use crate::project::Project;
use crate::{releases, shell};

pub const NAMES: &[&str] = &[
    "rust/fmt",
    "rust/imports",
    "rust/where",
    "rust/lines",
    "rust/english",
    "rust/links",
    "rust/dependencies",
    "rust/licences",
    "rust/release",
    "rust/clippy",
    "rust/doc",
    "rust/ltv-core",
    "rust/xtask",
    "rust/postgresql-16",
];

pub fn run(project: &Project, install: &Install, name: &str, report: &Report) {
    let started = Instant::now();
    let outcome = match name {
        "rust/fmt" => formatting(project, install),
        "rust/imports" => Outcome::from(imports::check(project)),
        "rust/where" => Outcome::from(find::check(project)),
        "rust/lines" => Outcome::from(lines::check(project)),
        "rust/english" => Outcome::from(english::check(project)),
        "rust/links" => Outcome::from(links::check(project)),
        "rust/dependencies" => Outcome::from(dependencies::check(project)),
        "rust/licences" => Outcome::from(dependencies::licences(project)),
        "rust/release" => Outcome::from(frozen::check(project)),
        "rust/clippy" => clippy(project, install, &["--all-targets"]),
        "rust/doc" => documentation(project, install),
        name if name.starts_with("rust/postgresql-") => other_release(project, name),
        _ => {
            let package = name.trim_start_matches("rust/");
            match unit_tests(project, install, package) {
                Ok((passed, failed, None)) => {
                    return report.add_many(name, passed, &failed, started.elapsed());
                }
                Ok((passed, failed, Some(printed))) => {
                    report.add_many(name, passed, &failed, started.elapsed());
                    if !failed.is_empty() {
                        println!("{printed}");
                        return;
                    }
                    Outcome::Failed(printed)
                }
                Err(error) => Outcome::Failed(format!("{error:#}")),
            }
        }
    };
    report.add(name, outcome, started.elapsed());
}

fn cargo(project: &Project, install: &Install, arguments: &[&str]) -> Command {
    let mut command = cargo::cargo(project, install);
    command.args(arguments);
    command
}

fn check(mut command: Command) -> Outcome {
    Outcome::from(shell::capture(&mut command).map(drop))
}

/// Whether the toolchain has this part; rustup leaves a stand-in on the PATH where it has not.
fn has(project: &Project, install: &Install, tool: &str) -> bool {
    shell::output(&mut cargo(project, install, &[tool, "--version"]))
        .is_ok_and(|output| output.status.success())
}

fn formatting(project: &Project, install: &Install) -> Outcome {
    if !has(project, install, "fmt") {
        return Outcome::Skipped("rustfmt is not installed (rustup component add rustfmt)".into());
    }
    check(cargo(project, install, &["fmt", "--all", "--check"]))
}

fn clippy(project: &Project, install: &Install, extra: &[&str]) -> Outcome {
    if !has(project, install, "clippy") {
        return Outcome::Skipped("clippy is not installed (rustup component add clippy)".into());
    }
    let mut command = cargo(
        project,
        install,
        &["clippy", "--release", "--workspace", "--quiet"],
    );
    command
        .args(extra)
        .args(["--no-default-features", "--features", &install.feature()])
        .args(["--", "--deny", "warnings"]);
    check(command)
}

/// The pages of `cargo doc` without a warning, and the examples in them.
fn documentation(project: &Project, install: &Install) -> Outcome {
    let features = install.feature();
    let selection = [
        "--release",
        "--workspace",
        "--no-default-features",
        "--features",
    ];
    let mut pages = cargo(project, install, &["doc", "--no-deps", "--quiet"]);
    pages
        .args(selection)
        .arg(&features)
        .env("RUSTDOCFLAGS", "--deny warnings");
    let mut examples = cargo(project, install, &["test", "--doc", "--quiet"]);
    examples.args(selection).arg(&features);
    let mut run = || -> Result<()> {
        shell::capture(&mut pages)?;
        examples.env("ORT_DYLIB_PATH", onnxruntime::library(project)?);
        shell::capture(&mut examples)?;
        Ok(())
    };
    Outcome::from(run())
}

/// The extension must compile for the releases that this machine does not have, too.
fn other_release(project: &Project, name: &str) -> Outcome {
    let major = name.trim_start_matches("rust/postgresql-").parse();
    let Some(version) = major.ok().and_then(releases::version) else {
        return Outcome::Failed("there is no such release".into());
    };
    let pg_config = match releases::fetched(project, version) {
        Ok(pg_config) => pg_config,
        Err(error) => return Outcome::Skipped(format!("{error:#}")),
    };
    match Install::from_pg_config(&pg_config) {
        Ok(install) => clippy(project, &install, &[]),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    }
}

/// How many passed, which failed, and what was printed if cargo was not content.
fn unit_tests(
    project: &Project,
    install: &Install,
    package: &str,
) -> Result<(usize, Vec<String>, Option<String>)> {
    let directory = match package {
        "xtask" => project.root.join("xtask"),
        _ => project.root.join("crates").join(package),
    };
    let manifest = directory.join("Cargo.toml");
    let mut printed = String::new();
    let mut successful = true;
    for artifact in cargo::artifacts(project, install, &["--all-targets"])? {
        let (Some(program), true, true) = (
            artifact["executable"].as_str(),
            artifact["profile"]["test"] == true,
            artifact["manifest_path"].as_str().map(Path::new) == Some(manifest.as_path()),
        ) else {
            continue;
        };
        let output = Command::new(program)
            .arg("--quiet")
            .current_dir(&directory)
            .env("ORT_DYLIB_PATH", onnxruntime::library(project)?)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot run {program}"))?;
        printed.push_str(&String::from_utf8_lossy(&output.stdout));
        successful &= output.status.success();
    }
    let (passed, failed) = count(&printed);
    Ok((passed, failed, (!successful).then_some(printed)))
}

/// From `test result: ok. 3 passed; 1 failed; ...` and the list under `failures:`.
fn count(printed: &str) -> (usize, Vec<String>) {
    let passed = printed
        .lines()
        .filter_map(|line| line.strip_prefix("test result: "))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok())
        .sum();
    let mut failed: Vec<String> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("---- ")?.strip_suffix(" stdout ----"))
        .map(String::from)
        .collect();
    failed.dedup();
    (passed, failed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_the_results_of_cargo_test() {
        let printed = "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n\n\
                       failures:\n\n---- gini::ties stdout ----\npanicked\n\nfailures:\n    gini::ties\n\n\
                       test result: FAILED. 5 passed; 1 failed; 0 ignored\n";
        assert_eq!(super::count(printed), (7, vec!["gini::ties".to_string()]));
    }
}
