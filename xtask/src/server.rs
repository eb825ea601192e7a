//! The lasting private cluster: `cargo xtask server` and `cargo xtask psql`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster, StopMode};
use crate::postgres_install::{self, Install};
use crate::project::Project;
use crate::setup::{self, Needs};
use crate::{extension, shell};

/// The database that has the extension.
pub const DATABASE: &str = "ltv";

#[derive(Clone, Default, Debug)]
pub struct Options {
    pub port: Option<u16>,
    pub data: Option<PathBuf>,
    pub cron: bool,
}

impl Options {
    fn data(&self, project: &Project, install: &Install) -> Result<PathBuf> {
        match &self.data {
            Some(directory) => Ok(std::path::absolute(directory)?),
            None => Ok(project.home.join(format!("cluster{}", install.major))),
        }
    }
}

/// Set up, build, install into the private prefix. Every command that needs a server begins with it.
pub fn prepare(project: &Project, needs: Needs) -> Result<Install> {
    let source = setup::ensure(project, needs, None)?;
    shell::step(format!("Building the extension for {}", source.version));
    let built = extension::build(project, &source)?;
    let private = postgres_install::private(project, &source)?;
    built.install_into(&private)?;
    Ok(private)
}

/// A running cluster with the extension in database `ltv`.
pub fn start(project: &Project, options: &Options) -> Result<Cluster> {
    let needs = Needs {
        cron: options.cron,
        ..Needs::default()
    };
    let install = prepare(project, needs)?;
    let data = options.data(project, &install)?;
    let mut cluster = if Cluster::exists(&data) {
        Cluster::open(project, &install, &data)?
    } else {
        shell::step(format!("Creating a private cluster in {}", data.display()));
        Cluster::create(
            project,
            &install,
            &data,
            &[("log_line_prefix", "%m [%p] %q%u@%d ")],
        )?
    };
    let preload = if options.cron { "pg_cron" } else { "" };
    if cluster.is_running() {
        let preloaded = cluster.setting("shared_preload_libraries");
        if let Some(port) = options.port
            && port != cluster.port
        {
            bail!(
                "the server already runs on port {}; `cargo xtask server stop` first to move it to {port}",
                cluster.port
            );
        }
        if options.cron && preloaded.as_deref() != Some(preload) {
            shell::say("Restarting the server with pg_cron");
            configure_cron(&cluster, preload)?;
            cluster.restart()?;
        }
    } else {
        if options.cron {
            configure_cron(&cluster, preload)?;
        }
        match options.port {
            Some(port) if !cluster::port_is_free(port) => bail!("port {port} is in use"),
            Some(port) => cluster.start_on(port)?,
            None => cluster.start()?,
        }
    }
    ensure_database(project, &cluster)?;
    if options.cron {
        cluster.psql(
            DATABASE,
            "set client_min_messages = warning; create extension if not exists pg_cron",
        )?;
    }
    Ok(cluster)
}

fn configure_cron(cluster: &Cluster, preload: &str) -> Result<()> {
    cluster.configure(&[
        ("shared_preload_libraries", preload),
        ("cron.database_name", DATABASE),
        ("cron.use_background_workers", "on"),
        ("max_worker_processes", "16"),
    ])
}

/// Database `ltv` with the extension. When the extension's SQL was changed under the same version (as happens while
/// developing it), the old database is kept under another name.
fn ensure_database(project: &Project, cluster: &Cluster) -> Result<()> {
    let (_, script) = extension::script(project)?;
    let stamp = cluster.data.join("pg_ltv.installed");
    let known = fs::read_to_string(&stamp).unwrap_or_default();
    if cluster.database_exists(DATABASE)? {
        if known == script {
            return Ok(());
        }
        if !upgrade(cluster)? {
            let kept = set_aside(cluster)?;
            shell::say(format!(
                "The extension's SQL has changed: made database {DATABASE} anew; the old one is now {kept}"
            ));
        }
    }
    if !cluster.database_exists(DATABASE)? {
        cluster.psql("postgres", &format!("create database {DATABASE}"))?;
        if let Err(error) = cluster.psql(DATABASE, "create extension pg_ltv") {
            cluster.drop_database(DATABASE)?;
            return Err(error);
        }
    }
    fs::write(&stamp, script)?;
    Ok(())
}

/// To the new version of the extension, if it is one and there is a step to it.
fn upgrade(cluster: &Cluster) -> Result<bool> {
    let version = || {
        cluster.psql(
            DATABASE,
            "select extversion from pg_extension where extname = 'pg_ltv'",
        )
    };
    let before = version()?;
    let updated = cluster.psql_output(DATABASE, "alter extension pg_ltv update")?;
    Ok(updated.status.success() && version()? != before)
}

/// Give database `ltv` another name, which is returned. Sessions of people are in the way, workers are not.
fn set_aside(cluster: &Cluster) -> Result<String> {
    let postgres = |sql: &str| cluster.psql("postgres", sql);
    let kept = postgres("select to_char(now(), '\"ltv_\"YYYYMMDD_HH24MISS')")?;
    postgres(&format!(
        "alter database {DATABASE} allow_connections false"
    ))?;
    postgres(&format!(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity
         where datname = '{DATABASE}' and backend_type <> 'client backend'"
    ))?;
    let renamed = postgres(&format!("alter database {DATABASE} rename to {kept}"));
    let name = if renamed.is_ok() { &kept } else { DATABASE };
    postgres(&format!("alter database {name} allow_connections true"))?;
    renamed.with_context(|| {
        format!("the extension's SQL has changed, so database {DATABASE} must be made anew, but someone is connected to it")
    })?;
    Ok(kept)
}

/// The cluster if there is one, without building anything.
fn existing(project: &Project, options: &Options) -> Result<Option<Cluster>> {
    let Some(source) = postgres_install::find(None)? else {
        return Ok(None);
    };
    let data = options.data(project, &source)?;
    if !Cluster::exists(&data) {
        return Ok(None);
    }
    let install = postgres_install::private(project, &source)?;
    Cluster::open(project, &install, &data).map(Some)
}

pub fn stop(project: &Project, options: &Options) -> Result<()> {
    match existing(project, options)? {
        Some(cluster) if cluster.is_running() => {
            cluster.stop(StopMode::Fast)?;
            shell::say("Stopped.");
        }
        _ => shell::say("Not running."),
    }
    Ok(())
}

/// Prints the URL if the server runs; returns whether it does.
pub fn status(project: &Project, options: &Options) -> Result<bool> {
    match existing(project, options)? {
        Some(cluster) if cluster.is_running() => {
            println!("{}", cluster.url(DATABASE));
            shell::say(format!(
                "Running {} in {}",
                cluster.install.version,
                cluster.data.display()
            ));
            Ok(true)
        }
        Some(cluster) => {
            shell::say(format!(
                "Not running; the cluster is in {}",
                cluster.data.display()
            ));
            Ok(false)
        }
        None => {
            shell::say(
                "Not running; there is no cluster yet (`cargo xtask server start` makes one)",
            );
            Ok(false)
        }
    }
}

/// Become psql on the private cluster.
pub fn psql(project: &Project, options: &Options, arguments: &[String]) -> Result<()> {
    let cluster = match existing(project, options)? {
        Some(cluster) if cluster.is_running() => cluster,
        _ => start(project, options)?,
    };
    let error = cluster
        .client_program("psql", DATABASE)
        .stdin(std::process::Stdio::inherit())
        .args(arguments)
        .exec();
    Err(error).context("cannot run psql")
}

/// Into the user's own PostgreSQL.
pub fn install(project: &Project, pg_config: Option<&Path>) -> Result<()> {
    let target = setup::ensure(project, Needs::default(), pg_config)?;
    shell::step(format!("Building the extension for {}", target.version));
    let built = extension::build(project, &target)?
        .with_cuda(project, true)?
        .without_debug_lines(project)?;
    if let Err(error) = built.install_into(&target) {
        return Err(error.context(format!(
            "cannot install into {}; with root's rights: sudo env \"PATH=$PATH\" cargo xtask install --pg-config {}",
            target.lib.display(),
            target.pg_config.display()
        )));
    }
    shell::say(format!(
        "Installed into {} and {}.\nIn a database: create extension pg_ltv;",
        target.lib.display(),
        target.share.join("extension").display()
    ));
    Ok(())
}

/// Out of the user's own PostgreSQL: all files of whatever version. Databases that have the extension keep what is theirs.
pub fn uninstall(pg_config: Option<&Path>) -> Result<()> {
    let target = postgres_install::find(pg_config)?
        .context("there is no PostgreSQL with server headers; name it with --pg-config")?;
    let removed = extension::remove_from(&target).with_context(|| {
        format!(
            "cannot uninstall from {}; with root's rights: sudo env \"PATH=$PATH\" cargo xtask uninstall --pg-config {}",
            target.lib.display(),
            target.pg_config.display()
        )
    })?;
    if removed.is_empty() {
        shell::say(format!("{} has no pg_ltv.", target.version));
        return Ok(());
    }
    for path in removed {
        shell::say(format!("Removed {}", path.display()));
    }
    shell::say(
        "In a database that has the extension its functions fail until it is installed again; drop extension pg_ltv works.",
    );
    Ok(())
}
