//! Concurrency: tests/isolation/specs/NAME.spec run by PostgreSQL's own isolationtester, compared with
//! tests/isolation/expected/NAME.out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::report::Outcome;
use super::sql::{Case, interleaved};
use crate::files::stem;
use crate::postgres_install::Install;
use crate::workspace::{Template, Workspace};

/// It comes with the server's development files.
pub fn tester(install: &Install) -> Option<PathBuf> {
    let path = install.lib.join("pgxs/src/test/isolation/isolationtester");
    path.is_file().then_some(path)
}

pub fn run(workspace: &Workspace, case: &Case, bless: bool) -> Outcome {
    match tester(&workspace.install) {
        None => Outcome::Skipped("this PostgreSQL comes without isolationtester".into()),
        Some(tester) => match output(workspace, case, &tester) {
            Ok(actual) => case.compare(workspace, &actual, bless),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        },
    }
}

fn output(workspace: &Workspace, case: &Case, tester: &PathBuf) -> Result<String> {
    let text = fs::read_to_string(&case.source)?;
    let template = Template::wanted_by(&text, Template::Extension)?;
    let database = workspace.database(&stem(&case.source), template)?;
    let mut command = Command::new(tester);
    command
        .arg(workspace.cluster.conninfo(&database))
        .env("PGTZ", "UTC")
        .env("PGDATESTYLE", "ISO, YMD")
        .env("LC_ALL", "C.UTF-8")
        .env("PGISOLATIONTIMEOUT", "120")
        .stdin(Stdio::from(fs::File::open(&case.source)?));
    let printed = interleaved(command)?;
    workspace.cluster.drop_database(&database)?;
    Ok(printed)
}
