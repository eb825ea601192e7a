//! Python: only to fetch ONNX Runtime and to compare with its Python package in tests. The extension never needs it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::project::Project;
use crate::shell;

pub fn interpreter() -> Result<PathBuf> {
    shell::on_path("python3").context("python3 is not installed")
}

/// Whether this Python can make virtual environments with pip in them (Debian ships that part separately).
pub fn can_make_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import venv, ensurepip"])
        .output()
        .is_ok_and(|output| output.status.success())
}

pub fn has_pip() -> bool {
    Command::new("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// pip of the system where there is one, else of a private environment.
pub fn pip(project: &Project) -> Result<Command> {
    let python = if has_pip() {
        interpreter()?
    } else {
        bare_environment(project, "venv")?
    };
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--disable-pip-version-check"]);
    Ok(command)
}

fn bare_environment(project: &Project, name: &str) -> Result<PathBuf> {
    let directory = project.home.join(name);
    let python = directory.join("bin/python");
    if !python.is_file() {
        shell::capture(
            Command::new(interpreter()?)
                .args(["-m", "venv"])
                .arg(&directory),
        )?;
    }
    Ok(python)
}

/// The interpreter of an environment that has everything in tests/requirements.txt.
pub fn environment(project: &Project) -> Result<PathBuf> {
    environment_of(project, "venv", "tests/requirements.txt")
}

/// The same of an environment of another name, with what another file lists.
pub fn environment_of(project: &Project, name: &str, requirements: &str) -> Result<PathBuf> {
    // Scenarios run side by side; the second one waits until the environment is complete.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock();
    let requirements = project.root.join(requirements);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let python = bare_environment(project, name)?;
    let stamp = project.home.join(name).join("requirements.txt");
    if fs::read_to_string(&stamp).ok().as_deref() != Some(wanted.as_str()) {
        shell::step("Installing Python packages for the tests");
        shell::capture(
            Command::new(&python)
                .args(["-m", "pip", "--disable-pip-version-check", "install"])
                .args(["--quiet", "--only-binary=:all:", "--requirement"])
                .arg(&requirements)
                .arg("--find-links")
                .arg(project.home.join("wheels")),
        )?;
        fs::write(&stamp, wanted)?;
    }
    Ok(python)
}
