//! `cargo xtask`: set up, try, test, measure and package pg_ltv.

mod apt;
mod attack;
mod bench;
mod book;
mod cargo;
mod cluster;
mod cuda;
mod demo;
mod dependencies;
mod e2e;
mod extension;
mod files;
mod freeze;
mod frozen;
mod onnxruntime;
mod package;
mod postgres_install;
mod process;
mod project;
mod python;
mod reference;
mod releases;
mod server;
mod setup;
mod shell;
mod test;
mod wheel;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use project::Project;
use setup::Needs;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set up, try, test, measure and package pg_ltv"
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// What the demo tells.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Story {
    /// 69,659 real orders
    Orders,
    /// Players of a simulated game, of whom most never pay
    Game,
}

#[derive(Subcommand)]
enum Task {
    /// Find what this machine lacks and install it (as root) or print the command that does
    Setup,
    /// The main job on real data: orders in, customers ranked; or `demo game`: everyone, from day one
    Demo {
        #[arg(default_value = "orders")]
        story: Story,
        #[command(flatten)]
        server: ServerOptions,
    },
    /// A shell on the private cluster with the extension
    Psql {
        #[command(flatten)]
        server: ServerOptions,
        /// Arguments for psql
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The private cluster: its libpq URL is the only line on stdout
    Server {
        #[command(subcommand)]
        action: ServerAction,
    },
    /// Every check and test, or those named; sets up what is missing
    Test(test::Options),
    /// The documentation as a site, in target/book
    Book,
    /// Write docs/reference from the catalog and docs/reference/texts
    Reference,
    /// Measure; without a name, say what can be measured
    Bench {
        name: Option<String>,
        /// Arguments for the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The built extension as files to install elsewhere, in target/package
    Package(package::Options),
    /// Keep the present version, in tests/upgrade, as one that upgrades start from
    Freeze,
    /// The library that trains on NVIDIA GPUs; `install` and `package` take it along
    BuildCuda(cuda::Options),
    /// Build and install into your own PostgreSQL
    Install {
        /// The pg_config of the PostgreSQL to install into
        #[arg(long)]
        pg_config: Option<PathBuf>,
    },
    /// Take what `install` put there out of your own PostgreSQL
    Uninstall {
        /// The pg_config of the PostgreSQL that has it
        #[arg(long)]
        pg_config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum ServerAction {
    /// Build, install into the private prefix, start (if it is not running yet)
    Start(ServerOptions),
    Stop(ServerOptions),
    /// Exit status 3 if it is not running
    Status(ServerOptions),
}

#[derive(Args)]
struct ServerOptions {
    /// TCP port on 127.0.0.1 (default: a free one)
    #[arg(long)]
    port: Option<u16>,
    /// Data directory of the cluster (default: a private one)
    #[arg(long)]
    data: Option<PathBuf>,
    /// With pg_cron, installed if missing
    #[arg(long)]
    cron: bool,
}

impl From<&ServerOptions> for server::Options {
    fn from(options: &ServerOptions) -> server::Options {
        server::Options {
            port: options.port,
            data: options.data.clone(),
            cron: options.cron,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<ExitCode> {
    // SAFETY: umask only takes an integer. What is made here must be readable by the server's account.
    unsafe { libc::umask(0o022) };
    forget_the_users_servers();
    let project = Project::locate()?;
    match task {
        Task::Setup => {
            let install = setup::ensure(
                &project,
                Needs {
                    python_environment: true,
                    cron: false,
                },
                None,
            )?;
            python::environment(&project)?;
            shell::say(format!("Everything is there; {}", install.version));
        }
        Task::Demo { story, server } => match story {
            Story::Orders => demo::run(&project, &server.into())?,
            Story::Game => demo::game::run(&project, &server.into())?,
        },
        Task::Psql { server, arguments } => server::psql(&project, &server.into(), arguments)?,
        Task::Server { action } => return serve(&project, action),
        Task::Test(options) => {
            if !test::run(&project, options)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Book => book::build(&project)?,
        Task::Reference => reference::write(&project)?,
        Task::Bench { name, arguments } => bench::run(&project, name.as_deref(), arguments)?,
        Task::Package(options) => package::run(&project, options)?,
        Task::Freeze => freeze::run(&project)?,
        Task::BuildCuda(options) => cuda::build(&project, options)?,
        Task::Install { pg_config } => server::install(&project, pg_config.as_deref())?,
        Task::Uninstall { pg_config } => server::uninstall(pg_config.as_deref())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(project: &Project, action: &ServerAction) -> Result<ExitCode> {
    match action {
        ServerAction::Start(options) => {
            let cluster = server::start(project, &options.into())?;
            println!("{}", cluster.url(server::DATABASE));
        }
        ServerAction::Stop(options) => server::stop(project, &options.into())?,
        ServerAction::Status(options) => {
            if !server::status(project, &options.into())? {
                return Ok(ExitCode::from(3));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// No PGHOST, PGSERVICE or the like of the caller's may lead a program to another server.
fn forget_the_users_servers() {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") && !text.starts_with("PGRX") && !text.starts_with("PG_") {
            // SAFETY: no other thread has been started yet.
            unsafe { std::env::remove_var(&name) };
        }
    }
}
