//! Running other programs, and talking to the person at the terminal. Everything but results goes to stderr.

use std::io::{IsTerminal, Write};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A line of what is going on, on stderr.
pub fn say(message: impl AsRef<str>) {
    eprintln!("{}", message.as_ref());
}

/// A heading of a step, on stderr; bold at a terminal.
pub fn step(message: impl AsRef<str>) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[1m==> {}\x1b[0m", message.as_ref());
    } else {
        eprintln!("==> {}", message.as_ref());
    }
    let _ = std::io::stderr().flush();
}

/// The command as a person would type it.
pub fn show(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        text.push(' ');
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@+%".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            text.push_str(&argument);
        } else {
            text.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        }
    }
    text
}

/// Run quietly; what it printed becomes part of the error if it fails. Returns its stdout.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(
            "`{}` failed ({})\n{}{}",
            show(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", show(command)))
}

/// Whether a program of that name is on the PATH.
pub fn on_path(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}
