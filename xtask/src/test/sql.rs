//! Regression tests: tests/sql/NAME.sql is fed to psql in a database of its own; what psql prints must be
//! tests/expected/NAME.out (or NAME_1.out ...: any alternative will do).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::report::Outcome;
use crate::files::stem;
use crate::shell;
use crate::workspace::{Template, Workspace};

/// One pair of a source and the output expected of it.
pub struct Case {
    pub source: PathBuf,
    pub expected: PathBuf,
}

impl Case {
    pub fn new(source: PathBuf, expected_directory: &Path) -> Case {
        let expected = expected_directory.join(format!("{}.out", stem(&source)));
        Case { source, expected }
    }

    pub fn run_sql(&self, workspace: &Workspace, bless: bool) -> Outcome {
        match self.psql(workspace) {
            Ok(actual) => self.compare(workspace, &actual, bless),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }

    fn psql(&self, workspace: &Workspace) -> Result<String> {
        let text = fs::read_to_string(&self.source)?;
        let template = Template::wanted_by(&text, Template::Extension)?;
        let database = workspace.database(&stem(&self.source), template)?;
        let mut psql = workspace.cluster.psql_command(&database);
        psql.arg("--echo-all")
            .current_dir(&workspace.project.root)
            .env("PGTZ", "UTC")
            .env("PGDATESTYLE", "ISO, YMD")
            .env("LC_ALL", "C.UTF-8")
            .env("PG_LTV_ROOT", &workspace.project.root)
            .stdin(Stdio::from(fs::File::open(&self.source)?));
        let printed = interleaved(psql)?;
        workspace.cluster.drop_database(&database)?;
        Ok(printed)
    }

    /// Passed if one of the expected files is just this text.
    pub fn compare(&self, workspace: &Workspace, actual: &str, bless: bool) -> Outcome {
        let alternatives = self.alternatives();
        let matches = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text == actual);
        if alternatives.iter().any(matches) {
            return Outcome::Passed;
        }
        if bless {
            if let Some(parent) = self.expected.parent() {
                let _ = fs::create_dir_all(parent);
            }
            return Outcome::from(
                fs::write(&self.expected, actual)
                    .with_context(|| format!("cannot write {}", self.expected.display())),
            );
        }
        if alternatives.is_empty() {
            return Outcome::Failed(format!(
                "there is no {}; `cargo xtask test {} --bless` writes it. The output:\n{actual}",
                self.expected.display(),
                stem(&self.source)
            ));
        }
        Outcome::Failed(self.difference(workspace, actual))
    }

    fn alternatives(&self) -> Vec<PathBuf> {
        let name = stem(&self.expected);
        let numbered = (1..=9).map(|n| self.expected.with_file_name(format!("{name}_{n}.out")));
        std::iter::once(self.expected.clone())
            .chain(numbered)
            .filter(|path| path.is_file())
            .collect()
    }

    fn difference(&self, workspace: &Workspace, actual: &str) -> String {
        let place = workspace
            .directory
            .join(format!("{}.actual", stem(&self.source)));
        if let Err(error) = fs::write(&place, actual) {
            return format!("cannot write {}: {error}", place.display());
        }
        let output = shell::output(
            Command::new("diff")
                .args(["-U3", "--label", "expected", "--label", "actual"])
                .arg(&self.expected)
                .arg(&place),
        );
        match output {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("{error:#}\n{actual}"),
        }
    }
}

/// stdout and stderr of a program as one text, in the order in which they were written.
pub fn interleaved(mut command: Command) -> Result<String> {
    let (mut reader, writer) = std::io::pipe()?;
    let text = shell::show(&command);
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run `{text}`"))?;
    drop(command);
    let mut printed = Vec::new();
    reader.read_to_end(&mut printed)?;
    child.wait()?;
    Ok(String::from_utf8_lossy(&printed).into_owned())
}
