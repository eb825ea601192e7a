//! Other suites of this machine's distribution, without touching what apt knows here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::shell;

/// Lines for sources.list: where this machine has the packages of its distribution from, for another suite of it.
pub fn sources(suite: &str) -> Result<Vec<String>> {
    let codename = release("VERSION_CODENAME")?;
    let origin = format!("Origin: {}", distribution()?);
    let targets = shell::capture(
        Command::new("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(SITE) $(RELEASE) $(COMPONENT)",
            ])
            .args(["Created-By: Packages", &origin]),
    )?;
    let mut lines: Vec<String> = targets
        .lines()
        .filter(|line| line.contains(&codename))
        .map(|line| format!("deb {}", line.replace(&codename, suite)))
        .collect();
    lines.sort();
    lines.dedup();
    Ok(lines)
}

/// `Debian`, `Ubuntu`
pub fn distribution() -> Result<String> {
    let name = release("NAME")?;
    Ok(name.split(' ').next().unwrap_or_default().to_owned())
}

fn release(field: &str) -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("no /etc/os-release")?;
    let mut lines = release.lines();
    let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix('='));
    Ok(value.unwrap_or_default().trim_matches('"').to_owned())
}

/// The files of a package of another suite, unpacked below the private directory; fetched on the first use.
pub fn unpacked(project: &Project, suite: &str, package: &str) -> Result<PathBuf> {
    let directory = project.home.join(format!("debian/{suite}-{package}"));
    if directory.is_dir() {
        return Ok(directory);
    }
    let sources = sources(suite)?;
    if sources.is_empty() {
        bail!("this machine has no packages of a distribution with {suite}");
    }
    let apt = project.home.join(format!("debian/{suite}"));
    for part in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part))?;
    }
    fs::write(apt.join("sources.list"), sources.join("\n") + "\n")?;
    shell::capture(&mut apt_get(&apt, &["update"]))?;
    shell::capture(&mut apt_get(&apt, &["download", package]))?;
    let fetched = crate::files::files(&apt, "deb").pop();
    let part = directory.with_extension("part");
    shell::capture(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(fetched.context("apt-get fetched nothing")?)
            .arg(&part),
    )?;
    fs::rename(&part, &directory)?;
    fs::remove_dir_all(&apt)?;
    Ok(directory)
}

fn apt_get(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    for (option, path) in [
        ("Dir::State::lists", place.join("lists")),
        ("Dir::Cache", place.join("cache")),
        ("Dir::Etc::sourcelist", place.join("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".into()),
    ] {
        command
            .arg("-o")
            .arg(format!("{option}={}", path.display()));
    }
    // The account that apt fetches with may not enter the private directory.
    command.args([
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Acquire::Languages=none",
    ]);
    command.args(arguments).current_dir(place);
    command
}
