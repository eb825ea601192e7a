//! pg_upgrade from one major version of PostgreSQL to another.
//!
//! Builds the extension for a second major version, in the target directory that there is; so it runs only when it is named.

use anyhow::{Result, ensure};

use super::moving::{CONTENT, SCORES, STORED};
use super::{customers, ensure_eq, train, with_major};
use crate::cluster::{Cluster, StopMode};
use crate::postgres_install::{self, Install, NEWEST, OLDEST};
use crate::workspace::{QUICK, Workspace};
use crate::{extension, releases, shell};

/// `-- --with MAJOR`: the other version; by default the newest, or the oldest where this is the newest.
fn other_major(workspace: &Workspace) -> Result<u32> {
    match with_major(workspace)? {
        Some(major) => Ok(major),
        None if workspace.install.major == NEWEST => Ok(OLDEST),
        None => Ok(NEWEST),
    }
}

fn install_extension(workspace: &Workspace, major: u32) -> Result<Install> {
    let project = &workspace.shared;
    let source = Install::from_pg_config(&releases::pg_config(project, major)?)?;
    let built = extension::build(project, &source)?;
    let private = postgres_install::private(project, &source)?;
    built.install_into(&private)?;
    Ok(private)
}

/// Models, stored predictions and history are as before; a job that was waiting runs, and training goes on.
pub fn to_another_major(workspace: &Workspace) -> Result<()> {
    let here = workspace.install.clone();
    let other = install_extension(workspace, other_major(workspace)?)?;
    ensure!(
        here.major != other.major,
        "both are PostgreSQL {}",
        here.major
    );
    let (old, new) = match here.major < other.major {
        true => (here, other),
        false => (other, here),
    };
    let mut settings = QUICK.to_vec();
    settings.push(("ltv.max_concurrent_jobs", "1"));
    let data = workspace.new_directory("old");
    let mut cluster = Cluster::create(&workspace.project, &old, &data, &settings)?;
    cluster.start()?;
    cluster.psql("postgres", "create database ltv")?;
    cluster.psql("ltv", "create extension pg_ltv")?;
    customers(&cluster, "ltv", 500)?;
    train(&cluster, "ltv", "m", r#"{"epochs": 1, "seed": 1}"#)?;
    train(&cluster, "ltv", "m", r#"{"epochs": 1, "seed": 2}"#)?;
    cluster.psql(
        "ltv",
        "select ltv_set_alias('m', 2, 'champion'), ltv_set_alias('m', 1, 'challenger')",
    )?;
    cluster.psql("ltv", STORED)?;
    let (content, scores) = (cluster.psql("ltv", CONTENT)?, cluster.psql("ltv", SCORES)?);
    // The first keeps the only slot until the server stops.
    let queue = |options: &str| {
        cluster.psql(
            "ltv",
            &format!("select ltv_train('m', 'customers', options => '{options}')"),
        )
    };
    queue(r#"{"epochs": 100000, "patience": 100000, "ensemble": 1}"#)?;
    let waiting = queue(r#"{"epochs": 1}"#)?;
    cluster.stop(StopMode::Fast)?;

    // Made by initdb of 18 and later, and they must be alike.
    if old.major < 18 && new.major >= 18 {
        shell::capture(
            workspace
                .project
                .as_server(old.program("pg_checksums"))?
                .args(["--enable", "--pgdata"])
                .arg(&cluster.data),
        )?;
    }
    let mut upgraded = Cluster::create(
        &workspace.project,
        &new,
        &workspace.new_directory("new"),
        &settings,
    )?;
    let directory = workspace.new_directory("upgrade");
    workspace.project.server_directory(&directory)?;
    shell::capture(
        workspace
            .project
            .as_server(new.program("pg_upgrade"))?
            .arg("--old-bindir")
            .arg(&old.bin)
            .arg("--new-bindir")
            .arg(&new.bin)
            .arg("--old-datadir")
            .arg(&cluster.data)
            .arg("--new-datadir")
            .arg(&upgraded.data)
            .args(["--username", crate::cluster::SUPERUSER])
            .current_dir(&directory),
    )?;
    upgraded.start()?;
    ensure_eq(
        upgraded.psql("ltv", "show server_version_num")?.len(),
        6,
        "the length of the version",
    )?;
    ensure_eq(upgraded.psql("ltv", SCORES)?, scores, "the scores")?;
    ensure_eq(upgraded.psql("ltv", CONTENT)?, content, "the content")?;
    let wait = format!("set client_min_messages = warning; select ltv_wait({waiting})");
    ensure_eq(
        upgraded.psql("ltv", &wait)?.as_str(),
        "3",
        "the version of the job that waited",
    )?;
    upgraded.psql(
        "ltv",
        "reindex table app.checked; refresh materialized view app.seen; select ltv_refresh_features('app.features')",
    )?;
    train(&upgraded, "ltv", "m", r#"{"epochs": 1}"#)?;
    ensure_eq(
        upgraded
            .psql("ltv", "select max(version) from ltv.versions")?
            .as_str(),
        "4",
        "the next version",
    )?;
    upgraded.destroy();
    cluster.destroy();
    Ok(())
}
