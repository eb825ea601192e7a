//! Scenarios that need more than a script of SQL: crashes, replicas, dumps, other clients.
//!
//! A scenario in Rust is a function in a module here, named in `SCENARIOS`. A scenario in Python is a file
//! tests/e2e/NAME.py, run with a fresh database's URL in the environment.

mod citus;
mod deployment;
mod encodings;
mod faults;
mod fleet;
mod gpu;
mod images;
mod inference;
mod jobs;
mod kill;
mod memory;
mod moving;
mod packages;
mod release;
mod roles;
mod runtime;
mod schedule;
mod sequences;
mod subscriber;
mod upgrade;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cluster::{Cluster, free_port};
use crate::postgres_install::Install;
use crate::workspace::{Template, Workspace};
use crate::{onnxruntime, python, shell};

pub struct Scenario {
    pub name: &'static str,
    pub run: fn(&Workspace) -> Result<()>,
    pub needs_python: bool,
    pub needs_cron: bool,
    /// Another extension, which may be there or not.
    pub needs_extension: Option<&'static str>,
}

impl Scenario {
    const fn new(name: &'static str, run: fn(&Workspace) -> Result<()>) -> Scenario {
        Scenario {
            name,
            run,
            needs_python: false,
            needs_cron: false,
            needs_extension: None,
        }
    }

    /// Why it cannot run in this PostgreSQL.
    pub fn lacks(&self, install: &Install) -> Option<String> {
        let name = self.needs_extension?;
        let control = install.share.join(format!("extension/{name}.control"));
        (!control.is_file()).then(|| format!("this PostgreSQL has no extension {name}"))
    }
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        needs_cron: true,
        ..Scenario::new("schedule", schedule::retrain)
    },
    Scenario::new("job_cancel", jobs::cancel),
    Scenario::new("job_progress", jobs::progress),
    Scenario::new("job_uncommitted", jobs::uncommitted),
    Scenario::new("job_no_free_slot", jobs::no_free_slot),
    Scenario::new("job_concurrency", jobs::concurrency),
    Scenario::new("job_crash", jobs::crash),
    Scenario::new("job_random_crashes", jobs::random_crashes),
    Scenario::new("kill", kill::rounds),
    Scenario::new("job_faults", faults::at_each_point),
    Scenario::new("job_memory", memory::bound),
    Scenario::new("job_temporary_files", memory::temporary_files),
    Scenario::new("job_out_of_memory", memory::refused),
    Scenario::new("job_shutdown", jobs::shutdown),
    Scenario::new("job_roles", roles::rights),
    Scenario::new("job_identity", roles::identity),
    Scenario::new("job_fairness", roles::fairness),
    Scenario::new("job_vanishing", roles::vanishing),
    Scenario::new("crash_deployment", deployment::crash),
    Scenario::new("replica", moving::replica),
    Scenario::new("subscriber", subscriber::follows),
    Scenario::new("fleet", fleet::fleet),
    Scenario {
        needs_extension: Some("citus"),
        ..Scenario::new("citus", citus::citus)
    },
    Scenario::new("pg_upgrade", upgrade::to_another_major),
    Scenario::new("packages", packages::packages),
    Scenario::new("upgrade_from_release", release::upgrades),
    Scenario::new("dump_and_restore", moving::dump_and_restore),
    Scenario::new("two_databases", moving::two_databases),
    Scenario::new("encodings", encodings::databases),
    Scenario::new("drop_extension", moving::drop_extension),
    Scenario::new("sequence_parity", sequences::parity),
    Scenario::new("inference_interrupts", inference::interrupts),
    Scenario::new("inference_memory", inference::little_memory),
    Scenario::new("onnxruntime_missing", runtime::onnxruntime_missing),
    Scenario::new("first_cursor", runtime::first_cursor),
    Scenario::new("gpu_library", gpu::library),
];

/// A table `customers` with features of several types and a label, the same in every run.
pub fn customers(cluster: &Cluster, database: &str, rows: usize) -> Result<()> {
    cluster.psql(
        database,
        &format!(
            "create table customers as
             select 'c' || lpad(n::text, 6, '0') as customer_id,
                    (n * 7919 % 101)::float8 / 10 as recency,
                    n * 104729 % 13 as frequency,
                    case when n % 17 = 0 then null else (n * 31 % 97)::real end as monetary,
                    (array['DE', 'FR', 'UK', 'US'])[1 + n % 4] as country,
                    n % 3 = 0 as newsletter,
                    date '2024-01-01' + n % 300 as first_order,
                    case when n * 104729 % 13 > 7 then (n * 31 % 97) * 1.5 + n % 11 else 0 end::float8 as ltv
             from generate_series(1, {rows}) n"
        ),
    )
    .map(drop)
}

/// `-- --with MAJOR`: another major version than that of the run.
pub fn with_major(workspace: &Workspace) -> Result<Option<u32>> {
    let given = workspace.arguments.iter().position(|word| word == "--with");
    given
        .and_then(|place| workspace.arguments.get(place + 1))
        .map(|major| {
            let number = major.parse();
            number.with_context(|| format!("`{major}` is no major version"))
        })
        .transpose()
}

/// Train on table `customers` and wait; returns the job.
pub fn train(cluster: &Cluster, database: &str, model: &str, options: &str) -> Result<String> {
    let job = cluster.psql(
        database,
        &format!("select ltv_train('{model}', 'customers', options => '{options}')"),
    )?;
    cluster.psql(
        database,
        &format!("set client_min_messages = warning; select ltv_wait({job})"),
    )?;
    Ok(job)
}

/// tests/e2e/NAME.py; a nonzero exit status is a failure. Which database it gets: `# database: cdnow` near its top.
pub fn run_script(workspace: &Workspace, script: &Path) -> Result<()> {
    let text = fs::read_to_string(script)?;
    let template = Template::wanted_by(&text, Template::Extension)?;
    let name = script.file_stem().unwrap_or_default().to_string_lossy();
    let database = workspace.database(&name, template)?;
    let mut command = Command::new(python::environment(&workspace.shared)?);
    command
        .arg(script)
        .current_dir(&workspace.project.root)
        .env("PG_LTV_URL", workspace.cluster.url(&database))
        .env("PG_LTV_ROOT", &workspace.project.root)
        .env("ORT_DYLIB_PATH", onnxruntime::library(&workspace.shared)?);
    shell::capture(&mut command)?;
    workspace.cluster.drop_database(&database)
}

/// tests/client/NAME.py, likewise, with the packages of clients. With a NAME.txt beside it, it has an environment of its own, of what
/// that lists.
pub fn run_client(workspace: &Workspace, script: &Path) -> Result<Option<String>> {
    if script.with_extension("txt").is_file() {
        let name = script.file_stem().unwrap_or_default().to_string_lossy();
        let requirements = format!("client/{name}.txt");
        run_with(workspace, script, &format!("venv-{name}"), &requirements)
    } else {
        run_with(workspace, script, "venv-client", "client/requirements.txt")
    }
}

/// tests/engines/NAME.py, likewise, with the packages of other engines.
pub fn run_engine(workspace: &Workspace, script: &Path) -> Result<Option<String>> {
    let name = script.file_stem().unwrap_or_default().to_string_lossy();
    if name.ends_with("spark") {
        run_with(workspace, script, "venv-spark", "engines/spark.txt")
    } else {
        run_with(
            workspace,
            script,
            "venv-engines",
            "engines/requirements.txt",
        )
    }
}

/// In an environment of its own; exit status 77 means that a program is missing, which the script has named.
fn run_with(
    workspace: &Workspace,
    script: &Path,
    environment: &str,
    requirements: &str,
) -> Result<Option<String>> {
    let text = fs::read_to_string(script)?;
    let template = Template::wanted_by(&text, Template::Extension)?;
    let python = python::environment_of(
        &workspace.shared,
        environment,
        &format!("tests/{requirements}"),
    )?;
    let name = script.file_stem().unwrap_or_default().to_string_lossy();
    let database = workspace.database(&name, template)?;
    let mut command = Command::new(python);
    command
        .arg(script)
        .current_dir(&workspace.directory)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PG_LTV_URL", workspace.cluster.url(&database))
        .env("PG_LTV_ROOT", &workspace.project.root)
        .env("PG_LTV_FREE_PORT", free_port()?.to_string());
    let output = shell::output(&mut command)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(77) {
        return Ok(Some(printed.trim().to_owned()));
    }
    if !output.status.success() {
        bail!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    }
    workspace.cluster.drop_database(&database)?;
    Ok(None)
}

/// Wait for a condition, asked every tenth of a second.
pub fn wait_until(
    what: &str,
    seconds: u64,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition()? {
        if Instant::now() > deadline {
            bail!("waited {seconds} s in vain: {what}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// `ensure_eq(got, wanted, what)`: an error that shows both.
pub fn ensure_eq<T: PartialEq + std::fmt::Debug>(got: T, wanted: T, what: &str) -> Result<()> {
    if got != wanted {
        bail!("{what}: got {got:?}, expected {wanted:?}");
    }
    Ok(())
}
