//! `cargo xtask test`: everything, or what is named.
//!
//! A test's name is KIND/NAME: rust/clippy, sql/features, isolation/promote, e2e/crash, attack/queue, docs/README.md.

mod dependencies;
mod docs;
mod english;
mod find;
mod imports;
mod isolation;
mod lines;
mod links;
mod report;
mod rust;
mod sql;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::e2e::{self, Scenario};
use crate::postgres_install::{Install, NEWEST, OLDEST};
use crate::project::Project;
use crate::setup::{self, Needs};
use crate::workspace::Workspace;
use crate::{attack, extension, files, postgres_install, reference, releases, shell};
use report::{Outcome, Report};
use sql::Case;

#[derive(Args)]
pub struct Options {
    /// Only the tests whose name (as in `sql/features`) contains one of these
    names: Vec<String>,
    /// Accept the present output of regression and isolation tests as the expected one
    #[arg(long)]
    bless: bool,
    /// Print the names and do nothing
    #[arg(long)]
    list: bool,
    /// Leave the cluster running and the files in place
    #[arg(long)]
    keep: bool,
    /// How many tests at once (default: the number of processors)
    #[arg(long)]
    jobs: Option<usize>,
    /// On this major version of PostgreSQL only, fetched if this machine does not have it
    #[arg(long)]
    major: Option<u32>,
    /// Arguments for the tests that take some: `-- --rounds 300`
    #[arg(last = true)]
    arguments: Vec<String>,
}

enum Kind {
    Rust(&'static str),
    Sql(Case),
    Isolation(Case),
    Docs(PathBuf),
    Reference,
    Scenario(&'static Scenario),
    Script(PathBuf),
    Client(PathBuf),
    Engine(PathBuf),
    Attack(PathBuf),
}

/// What builds or fetches much: not among others, but where its own name is given.
const BY_NAME_ONLY: &[&str] = &["e2e/packages", "e2e/pg_upgrade"];
/// Nor what needs programs and packages of others.
const CLIENTS: &str = "client";
/// What a whole run tries on the oldest and the newest major version, too: what the server's own code decides.
const ON_EACH_END: &[&str] = &["sql/", "isolation/", "e2e/job_"];
/// Of these, those of other engines.
const ENGINES: &str = "e2e/engines";
/// What of them takes seconds and is with the whole suite.
const QUICK_ENGINES: &[&str] = &["e2e/engines_features_postgres", "e2e/engines_page_duckdb"];

struct Test {
    name: String,
    kind: Kind,
}

/// True if nothing failed.
pub fn run(project: &Project, options: &Options) -> Result<bool> {
    let mut tests = collect(project);
    let is_named = |test: &Test| {
        let mut names = options.names.iter();
        names.any(|name| match test.kind {
            Kind::Client(_) => name.starts_with(CLIENTS),
            Kind::Engine(_) => name.starts_with(ENGINES),
            _ => test.name.ends_with(name.as_str()),
        })
    };
    tests.retain(|test| {
        let only_by_name = BY_NAME_ONLY.contains(&test.name.as_str()) || test.needs_others();
        options.list || !only_by_name || is_named(test)
    });
    if !options.names.is_empty() {
        tests.retain(|test| {
            options
                .names
                .iter()
                .any(|name| test.name.contains(name.as_str()))
        });
        if tests.is_empty() {
            bail!("no test has a name like that; `cargo xtask test --list` shows them all");
        }
    }
    if options.list {
        for test in &tests {
            println!("{}", test.name);
        }
        return Ok(true);
    }

    Workspace::clean_up_on_signals(project)?;
    let report = Report::new();
    let pg_config = options
        .major
        .map(|major| releases::pg_config(project, major))
        .transpose()?;
    if pg_config.is_some() {
        without_cron(&mut tests, &report);
    }
    let install = prepare(project, &tests, pg_config.as_deref())?;
    let (without_server, with_server): (Vec<Test>, Vec<Test>) = tests
        .into_iter()
        .partition(|test| matches!(test.kind, Kind::Rust(_)));
    if !without_server.is_empty() {
        shell::step("Checks and unit tests");
    }
    for test in &without_server {
        if let Kind::Rust(name) = test.kind {
            rust::run(project, &install, name, &report);
        }
    }
    if !with_server.is_empty() {
        on_a_cluster(project, &install, with_server, options, &report)?;
    }
    let is_whole = options.names.is_empty() && options.major.is_none();
    if is_whole && !options.bless && !options.keep {
        for major in [OLDEST, NEWEST] {
            if major != install.major {
                on_another_major(project, major, options, &report)?;
            }
        }
    }
    Ok(report.finish())
}

/// pg_cron comes with the distribution's PostgreSQL only.
fn without_cron(tests: &mut Vec<Test>, report: &Report) {
    tests.retain(|test| {
        if test.needs_cron() {
            let reason = "pg_cron comes with the distribution's PostgreSQL only".into();
            report.add(&test.name, Outcome::Skipped(reason), Duration::ZERO);
        }
        !test.needs_cron()
    });
}

fn prepare(project: &Project, tests: &[Test], pg_config: Option<&Path>) -> Result<Install> {
    let needs = Needs {
        python_environment: tests.iter().any(Test::needs_python),
        cron: tests.iter().any(Test::needs_cron),
    };
    setup::ensure(project, needs, pg_config)
}

/// Of a whole run: the tests that a major version can decide.
fn on_another_major(
    project: &Project,
    major: u32,
    options: &Options,
    report: &Report,
) -> Result<()> {
    let pg_config = match releases::pg_config(project, major) {
        Ok(pg_config) => pg_config,
        Err(error) => {
            let name = format!("PostgreSQL {major}");
            report.add(
                &name,
                Outcome::Skipped(format!("{error:#}")),
                Duration::ZERO,
            );
            return Ok(());
        }
    };
    let mut tests = collect(project);
    tests.retain(|test| ON_EACH_END.iter().any(|kind| test.name.starts_with(kind)));
    for test in &mut tests {
        test.name.push_str(&format!(" on {major}"));
    }
    let install = prepare(project, &tests, Some(&pg_config))?;
    on_a_cluster(project, &install, tests, options, report)
}

fn on_a_cluster(
    project: &Project,
    install: &Install,
    tests: Vec<Test>,
    options: &Options,
    report: &Report,
) -> Result<()> {
    shell::step(format!("Building the extension for {}", install.version));
    let built = extension::build(project, install)?;
    let private = postgres_install::private(project, install)?;
    built.install_into(&private)?;
    shell::step(format!("{} tests on a throw-away cluster", tests.len()));
    let mut workspace = Workspace::begin(project, &private, options.keep)?;
    workspace.arguments.clone_from(&options.arguments);
    run_all(&workspace, tests, options, report);
    Ok(())
}

fn collect(project: &Project) -> Vec<Test> {
    let tests = project.root.join("tests");
    let mut all: Vec<Test> = rust::NAMES
        .iter()
        .map(|name| Test::new("", name, Kind::Rust(name)))
        .collect();
    let cases = |directory: &str, extension: &str, expected: &str| -> Vec<(String, Case)> {
        files::files(&tests.join(directory), extension)
            .into_iter()
            .map(|path| (files::stem(&path), Case::new(path, &tests.join(expected))))
            .collect()
    };
    // The long ones first, so that none is left alone at the end.
    all.extend(
        e2e::SCENARIOS
            .iter()
            .map(|scenario| Test::new("e2e/", scenario.name, Kind::Scenario(scenario))),
    );
    all.extend(
        files::files(&tests.join("e2e"), "py")
            .into_iter()
            .map(|path| Test::new("e2e/", &files::stem(&path), Kind::Script(path))),
    );
    let mut clients = files::files(&tests.join("client"), "py");
    clients.retain(|path| files::stem(path) != "tools");
    all.extend(
        clients
            .into_iter()
            .map(|path| Test::new("client/", &files::stem(&path), Kind::Client(path))),
    );
    all.extend(
        files::files(&tests.join("engines"), "py")
            .into_iter()
            .map(|path| Test::new("e2e/engines_", &files::stem(&path), Kind::Engine(path))),
    );
    all.extend(
        attack::scripts(&tests)
            .into_iter()
            .map(|path| Test::new("attack/", &files::stem(&path), Kind::Attack(path))),
    );
    all.extend(
        cases("isolation/specs", "spec", "isolation/expected")
            .into_iter()
            .map(|(name, case)| Test::new("isolation/", &name, Kind::Isolation(case))),
    );
    all.extend(
        cases("sql", "sql", "expected")
            .into_iter()
            .map(|(name, case)| Test::new("sql/", &name, Kind::Sql(case))),
    );
    all.push(Test::new("docs/", "reference", Kind::Reference));
    all.extend(docs::pages(&project.root).into_iter().map(|page| {
        let name = page.strip_prefix(&project.root).unwrap_or(&page);
        Test::new(
            "docs/",
            &name.display().to_string().replace("docs/", ""),
            Kind::Docs(page),
        )
    }));
    all
}

/// Several at once, each in a database of its own.
fn run_all(workspace: &Workspace, tests: Vec<Test>, options: &Options, report: &Report) {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(tests.into_iter());
    thread::scope(|scope| {
        for _ in 0..options.jobs.unwrap_or(processors).max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(test) = next else { break };
                    test.run(workspace, options.bless, report);
                }
            });
        }
    });
}

impl Test {
    fn new(kind: &str, name: &str, what: Kind) -> Test {
        Test {
            name: format!("{kind}{name}"),
            kind: what,
        }
    }

    fn needs_others(&self) -> bool {
        match &self.kind {
            Kind::Client(_) => true,
            Kind::Engine(_) => !QUICK_ENGINES.contains(&self.name.as_str()),
            _ => false,
        }
    }

    fn needs_python(&self) -> bool {
        match &self.kind {
            Kind::Script(_) | Kind::Attack(_) | Kind::Client(_) | Kind::Engine(_) => true,
            Kind::Scenario(scenario) => scenario.needs_python,
            _ => false,
        }
    }

    fn needs_cron(&self) -> bool {
        matches!(self.kind, Kind::Scenario(scenario) if scenario.needs_cron)
    }

    fn run(&self, workspace: &Workspace, bless: bool, report: &Report) {
        let started = Instant::now();
        let outcome = match &self.kind {
            Kind::Rust(_) => return,
            Kind::Sql(case) => case.run_sql(workspace, bless),
            Kind::Isolation(case) => isolation::run(workspace, case, bless),
            Kind::Scenario(scenario) => match scenario.lacks(&workspace.install) {
                Some(reason) => Outcome::Skipped(reason),
                None => Outcome::from((scenario.run)(workspace)),
            },
            Kind::Script(path) => Outcome::from(e2e::run_script(workspace, path)),
            Kind::Client(path) => skippable(e2e::run_client(workspace, path)),
            Kind::Engine(path) => skippable(e2e::run_engine(workspace, path)),
            Kind::Attack(path) => Outcome::from(attack::run(workspace, path)),
            Kind::Reference => Outcome::from(reference::check(workspace)),
            Kind::Docs(page) => match docs::run(workspace, page) {
                Ok(blocks) => {
                    for (line, outcome) in blocks {
                        report.add(&format!("{}:{line}", self.name), outcome, started.elapsed());
                    }
                    return;
                }
                Err(error) => Outcome::from(Err(error)),
            },
        };
        report.add(&self.name, outcome, started.elapsed());
    }
}

/// A script that names what is missing is skipped.
fn skippable(outcome: Result<Option<String>>) -> Outcome {
    match outcome {
        Ok(Some(missing)) => Outcome::Skipped(missing),
        other => Outcome::from(other.map(drop)),
    }
}
