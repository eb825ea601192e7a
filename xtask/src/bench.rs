//! `cargo xtask bench NAME`: benches/NAME/main.sql in psql with times, or benches/NAME/main.py with the database's URL.
//!
//! Each runs alone, on a cluster of its own with settings as for a small production server.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::project::Project;
use crate::setup::Needs;
use crate::workspace::Workspace;
use crate::{onnxruntime, python, server, shell};

const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("work_mem", "64MB"),
    ("maintenance_work_mem", "512MB"),
];

/// The benchmarks there are: folders with a `main.py` or `main.sql`.
fn files(project: &Project) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(project.root.join("benches"))
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| ["main.py", "main.sql"].map(|main| entry.path().join(main)))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

fn name(main: &Path) -> String {
    main.parent()
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub fn run(project: &Project, wanted: Option<&str>, arguments: &[String]) -> Result<()> {
    let mut files = files(project);
    let names: Vec<String> = files.iter().map(|path| name(path)).collect();
    match wanted {
        Some(wanted) => files.retain(|path| name(path) == wanted),
        None => {
            shell::say(format!("Benchmarks: {}", names.join(", ")));
            return Ok(());
        }
    }
    let Some(file) = files.first() else {
        bail!(
            "no benchmark has that name; there are: {}",
            names.join(", ")
        );
    };
    let is_script = file.extension().is_some_and(|extension| extension == "py");
    let install = server::prepare(
        project,
        Needs {
            python_environment: is_script,
            cron: false,
        },
    )?;
    Workspace::clean_up_on_signals(project)?;
    let workspace = Workspace::begin(project, &install, false)?;
    let cluster = workspace.new_cluster("bench", SETTINGS)?;
    if is_script {
        script(project, &cluster, file, arguments)
    } else {
        let mut psql = cluster.psql_command("ltv");
        psql.args(["--set=ON_ERROR_STOP=1", "--file"]).arg(file);
        show(&mut psql)
    }
}

/// The requirements.txt beside the script, if there is one, names what it needs.
fn script(project: &Project, cluster: &Cluster, file: &Path, arguments: &[String]) -> Result<()> {
    let python = python::environment(project)?;
    let requirements = file.with_file_name("requirements.txt");
    if requirements.is_file() {
        shell::step("Installing what it is compared with");
        install_peers(&python, &requirements)?;
    }
    let results = project.root.join("target/bench");
    fs::create_dir_all(&results)?;
    show(
        Command::new(python)
            .arg(file)
            .args(arguments)
            .current_dir(&project.root)
            .env("PYTHONPATH", project.root.join("benches"))
            .env("PG_LTV_URL", cluster.url("ltv"))
            .env("PG_LTV_ROOT", &project.root)
            .env("PG_LTV_OUT", &results)
            .env("PG_LTV_BIN", &cluster.install.bin)
            .env("ORT_DYLIB_PATH", onnxruntime::library(project)?),
    )
}

/// All at once; if that cannot be, what can be installed. A benchmark says itself which of its peers are missing.
fn install_peers(python: &Path, requirements: &Path) -> Result<()> {
    let install = |what: &[&OsStr]| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "--disable-pip-version-check"])
            .args(["install", "--quiet"])
            .args(what);
        shell::capture(&mut pip)
    };
    if install(&["--requirement".as_ref(), requirements.as_os_str()]).is_ok() {
        return Ok(());
    }
    let lines = fs::read_to_string(requirements)?;
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        if let Err(error) = install(&[line.as_ref()]) {
            shell::say(format!("{line} is left out: {error:#}"));
        }
    }
    Ok(())
}

/// Run with everything it prints passed on.
fn show(command: &mut Command) -> Result<()> {
    let text = shell::show(command);
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}
