//! The throw-away place of one test run: its clusters, its template databases, and their end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cluster::{self, Cluster};
use crate::demo;
use crate::postgres_install::Install;
use crate::process;
use crate::project::Project;

/// For clusters that live for minutes: quick. What was committed survives the death of the server, not the machine's.
pub const QUICK: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "64MB"),
    ("max_worker_processes", "16"),
    ("log_line_prefix", "%m [%p] %q%u@%d "),
    ("log_checkpoints", "off"),
];

/// What a database of a test has in it when the test begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Nothing.
    Empty,
    /// The extension.
    Extension,
    /// And the CDNOW orders (tables `orders` and `customers`).
    Cdnow,
    /// And the features and the model of `cargo xtask demo`.
    Demo,
}

impl Template {
    pub fn parse(name: &str) -> Result<Template> {
        Ok(match name {
            "empty" => Template::Empty,
            "extension" => Template::Extension,
            "cdnow" => Template::Cdnow,
            "demo" => Template::Demo,
            _ => bail!("unknown database `{name}`; possible: empty, extension, cdnow, demo"),
        })
    }

    /// The template that a text asks for: `-- database: cdnow` (or `#`, or `<!-- -->`) in one of its first lines.
    pub fn wanted_by(text: &str, default: Template) -> Result<Template> {
        text.lines()
            .take(12)
            .find_map(|line| line.split_once("database: "))
            .map_or(Ok(default), |(_, rest)| {
                Template::parse(rest.split_whitespace().next().unwrap_or(""))
            })
    }

    fn name(self) -> &'static str {
        match self {
            Template::Empty => "template1",
            Template::Extension => "t_extension",
            Template::Cdnow => "t_cdnow",
            Template::Demo => "t_demo",
        }
    }
}

pub struct Workspace {
    /// With this run's directory as its home.
    pub project: Project,
    /// With the home that outlives it, where ONNX Runtime and the Python environment are.
    pub shared: Project,
    pub install: Install,
    /// Holds everything of this run.
    pub directory: PathBuf,
    pub cluster: Cluster,
    /// What the caller passes on to the tests that take arguments.
    pub arguments: Vec<String>,
    templates: Mutex<Vec<Template>>,
    counter: AtomicUsize,
    keep: bool,
}

impl Workspace {
    pub fn begin(project: &Project, install: &Install, keep: bool) -> Result<Workspace> {
        process::adopt_orphans();
        sweep_leftovers(project);
        let directory = run_directory(project);
        fs::create_dir_all(&directory)?;
        let mut own = project.clone();
        own.home = directory.clone();
        let mut cluster = Cluster::create(&own, install, &directory.join("main"), QUICK)?;
        cluster.start()?;
        Ok(Workspace {
            project: own,
            shared: project.clone(),
            install: install.clone(),
            directory,
            cluster,
            arguments: Vec::new(),
            templates: Mutex::default(),
            counter: AtomicUsize::new(1),
            keep,
        })
    }

    /// Make the template if it is not there yet.
    fn template(&self, template: Template) -> Result<&'static str> {
        let mut made: MutexGuard<Vec<Template>> = match self.templates.lock() {
            Ok(made) => made,
            Err(poisoned) => poisoned.into_inner(),
        };
        self.make_template(&mut made, template)?;
        Ok(template.name())
    }

    fn make_template(&self, made: &mut Vec<Template>, template: Template) -> Result<()> {
        if template == Template::Empty || made.contains(&template) {
            return Ok(());
        }
        let name = template.name();
        let below = match template {
            Template::Demo => Template::Cdnow,
            Template::Cdnow => Template::Extension,
            Template::Extension | Template::Empty => Template::Empty,
        };
        self.make_template(made, below)?;
        self.cluster.create_database(name, below.name())?;
        let filled = match template {
            Template::Empty => Ok(()),
            Template::Extension => self.cluster.psql(name, "create extension pg_ltv").map(drop),
            Template::Cdnow => demo::load_orders(&self.project, &mut self.cluster.connect(name)?),
            Template::Demo => demo::prepare_model(&self.cluster, name),
        };
        if let Err(error) = filled {
            self.cluster.drop_database(name)?;
            return Err(error.context(format!(
                "cannot make the database {name} that tests start from"
            )));
        }
        made.push(template);
        Ok(())
    }

    /// A new database, its name beginning with `hint`.
    pub fn database(&self, hint: &str, template: Template) -> Result<String> {
        let template = self.template(template)?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let tidy: String = hint
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            })
            .take(40)
            .collect();
        let name = format!("{tidy}_{number}");
        self.cluster.create_database(&name, template)?;
        Ok(name)
    }

    /// A cluster of one's own, started, with the extension in database `ltv`.
    pub fn new_cluster(&self, hint: &str, settings: &[(&str, &str)]) -> Result<Cluster> {
        self.new_limited_cluster(hint, settings, None)
    }

    /// The same, each of its processes with at most so many megabytes of address space.
    pub fn new_limited_cluster(
        &self,
        hint: &str,
        settings: &[(&str, &str)],
        megabytes: Option<u32>,
    ) -> Result<Cluster> {
        let data = self.new_directory(hint);
        let all: Vec<(&str, &str)> = QUICK.iter().chain(settings).copied().collect();
        let mut cluster = Cluster::create(&self.project, &self.install, &data, &all)?;
        cluster.limit_memory(megabytes);
        cluster.start()?;
        cluster.psql("postgres", "create database ltv")?;
        cluster.psql("ltv", "create extension pg_ltv")?;
        Ok(cluster)
    }

    /// A directory for a new cluster.
    pub fn new_directory(&self, hint: &str) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.directory.join(format!("{hint}_{number}"))
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if self.keep {
            crate::shell::say(format!(
                "Kept: {} (server log: {}; psql '{}')",
                self.directory.display(),
                self.cluster.log_path().display(),
                self.cluster.url("postgres")
            ));
        } else {
            sweep(&self.directory);
        }
    }
}

fn run_directory(project: &Project) -> PathBuf {
    project
        .home
        .join("test")
        .join(std::process::id().to_string())
}

/// Runs of the past that were killed may have left servers and files behind.
fn sweep_leftovers(project: &Project) {
    let Ok(entries) = fs::read_dir(project.home.join("test")) else {
        return;
    };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<i32>();
        if pid.is_ok_and(|pid| !process::is_alive(pid)) {
            sweep(&entry.path());
        }
    }
}

/// End every server whose data directory is in `directory`, then remove it.
fn sweep(directory: &Path) {
    let pids: Vec<i32> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| cluster::postmaster_of(&entry.path()))
        .collect();
    for pid in &pids {
        let _ = process::signal(*pid, libc::SIGQUIT);
    }
    for _ in 0..200 {
        if !pids.iter().any(|pid| process::is_alive(*pid)) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    for pid in pids.into_iter().filter(|pid| process::is_alive(*pid)) {
        let _ = process::signal(pid, libc::SIGKILL);
    }
    let _ = fs::remove_dir_all(directory);
}

impl Workspace {
    /// From now on Ctrl-C (and SIGTERM) removes what this run made before ending it. Must be called before threads start.
    pub fn clean_up_on_signals(project: &Project) -> Result<()> {
        let directory = run_directory(project);
        // SAFETY: the set is initialised by sigemptyset before it is used; the mask counts for this thread and those it starts.
        let set = unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
                libc::sigaddset(&raw mut set, signal);
            }
            if libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                bail!("cannot block signals");
            }
            set
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                let mut signal = 0;
                // SAFETY: both pointers are to initialised values that outlive the call.
                if unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
                    eprintln!("\ninterrupted; cleaning up");
                    sweep(&directory);
                    std::process::exit(128 + signal);
                }
            })
            .context("cannot start a thread")?;
        Ok(())
    }
}
