//! A PostgreSQL cluster of our own: made, started, stopped, killed, asked.
//!
//! Connections by TCP need the generated password (it is in the URL); connections by the socket, whose directory only
//! the server's account can enter, need none and may be of any role.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::postgres_install::Install;
use crate::process;
use crate::project::{self, Project};
use crate::shell;

pub const SUPERUSER: &str = "postgres";
const SETTINGS: &str = "pg_ltv.conf";
const PASSWORD: &str = "pg_ltv.password";
const LOG: &str = "server.log";

pub struct Cluster {
    project: Project,
    pub install: Install,
    pub data: PathBuf,
    sockets: PathBuf,
    pub port: u16,
    password: String,
    /// Megabytes of address space that each of its processes may have.
    memory: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
pub enum StopMode {
    /// Disconnects everyone, ends cleanly.
    Fast,
    /// Ends without a checkpoint, as a crash would; recovery runs at the next start.
    Immediate,
}

impl Cluster {
    pub fn exists(data: &Path) -> bool {
        data.join("PG_VERSION").is_file()
    }

    /// initdb, then `settings` (name, value as written in postgresql.conf).
    pub fn create(
        project: &Project,
        install: &Install,
        data: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Cluster> {
        project.server_directory(data)?;
        if fs::read_dir(data)?.next().is_some() {
            bail!(
                "{} is not empty and is not a PostgreSQL cluster",
                data.display()
            );
        }
        let password = random_password()?;
        let password_file = data.with_extension("password");
        write_private(project, &password_file, &password)?;
        let mut initdb = project.as_server(install.program("initdb"))?;
        if settings.contains(&("fsync", "off")) {
            initdb.arg("--no-sync");
        }
        let made = shell::capture(
            initdb
                .arg("--pgdata")
                .arg(data)
                .args([
                    "--username",
                    SUPERUSER,
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                ])
                .args([
                    "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                    "--no-instructions",
                ])
                .arg("--pwfile")
                .arg(&password_file),
        );
        let _ = fs::remove_file(&password_file);
        made?;
        write_private(project, &data.join(PASSWORD), &password)?;
        let conf = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&conf)?;
        text.push_str(&format!("\ninclude_if_exists = '{SETTINGS}'\n"));
        fs::write(&conf, text)?;
        let cluster = Cluster::open(project, install, data)?;
        cluster.configure(settings)?;
        Ok(cluster)
    }

    /// A cluster made earlier.
    pub fn open(project: &Project, install: &Install, data: &Path) -> Result<Cluster> {
        let version = fs::read_to_string(data.join("PG_VERSION"))
            .with_context(|| format!("{} is not a PostgreSQL cluster", data.display()))?;
        if version.trim() != install.major.to_string() {
            bail!(
                "the cluster in {} was made by PostgreSQL {}, but this is {}",
                data.display(),
                version.trim(),
                install.version
            );
        }
        let password = fs::read_to_string(data.join(PASSWORD))
            .with_context(|| format!("{} was not made by xtask", data.display()))?;
        let mut cluster = Cluster {
            project: project.clone(),
            install: install.clone(),
            data: data.to_path_buf(),
            sockets: project::socket_directory(project, data)?,
            port: 0,
            password: password.trim().to_string(),
            memory: None,
        };
        cluster.port = cluster
            .setting("port")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(cluster)
    }

    /// Add or replace settings; they count from the next start (or `reload`).
    pub fn configure(&self, settings: &[(&str, &str)]) -> Result<()> {
        let mut all = self.settings();
        for (name, value) in settings {
            all.retain(|(present, _)| present != name);
            all.push(((*name).to_string(), (*value).to_string()));
        }
        let text: String = all
            .iter()
            .map(|(name, value)| format!("{name} = '{}'\n", value.replace('\'', "''")))
            .collect();
        write_private(&self.project, &self.data.join(SETTINGS), &text)
    }

    fn settings(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.data.join(SETTINGS)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(name, value)| {
                let value = value.trim_matches('\'').replace("''", "'");
                (name.to_string(), value)
            })
            .collect()
    }

    pub fn setting(&self, name: &str) -> Option<String> {
        let mut settings = self.settings().into_iter();
        settings
            .find(|(present, _)| present == name)
            .map(|(_, value)| value)
    }

    /// From the next start on.
    pub fn limit_memory(&mut self, megabytes: Option<u32>) {
        self.memory = megabytes;
    }

    /// Lets a process of the server take so many bytes of address space besides what it has.
    pub fn limit_process(&self, pid: i32, more: u64) -> Result<()> {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
        let pages: u64 = statm.split(' ').next().unwrap_or("").parse()?;
        // SAFETY: a constant of the system.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        let mut command = self.project.as_server("prlimit")?;
        shell::capture(command.args([
            format!("--pid={pid}"),
            format!("--as={}:", pages * page + more),
        ]))?;
        Ok(())
    }

    /// pg_ctl as the server's account, with what the server's processes inherit.
    fn control(&self) -> Result<Command> {
        let program = self.install.program("pg_ctl");
        let Some(megabytes) = self.memory else {
            return self.project.as_server(program);
        };
        let mut command = self.project.as_server("/bin/sh")?;
        let kilobytes = u64::from(megabytes) * 1024;
        command
            .args([
                "-c",
                &format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\""),
            ])
            .arg(program);
        Ok(command)
    }

    /// Start on the remembered port, or another free one if that is taken.
    pub fn start(&mut self) -> Result<()> {
        if self.port == 0 || !port_is_free(self.port) {
            self.port = free_port()?;
        }
        self.start_on(self.port)
    }

    pub fn start_on(&mut self, port: u16) -> Result<()> {
        self.port = port;
        let sockets = self.sockets.display().to_string();
        self.configure(&[
            ("port", &port.to_string()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", &sockets),
        ])?;
        let started = shell::capture(
            self.control()?
                .args(["start", "--wait", "--silent", "--timeout=120", "--pgdata"])
                .arg(&self.data)
                .arg("--log")
                .arg(self.data.join(LOG)),
        );
        started.map(drop).map_err(|error| {
            error.context(format!(
                "the server did not start; its log:\n{}",
                self.log_tail(30)
            ))
        })
    }

    pub fn stop(&self, mode: StopMode) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        let mode = match mode {
            StopMode::Fast => "fast",
            StopMode::Immediate => "immediate",
        };
        shell::capture(
            self.project
                .as_server(self.install.program("pg_ctl"))?
                .args([
                    "stop",
                    "--wait",
                    "--silent",
                    "--timeout=120",
                    "--mode",
                    mode,
                ])
                .arg("--pgdata")
                .arg(&self.data),
        )?;
        Ok(())
    }

    pub fn restart(&mut self) -> Result<()> {
        self.stop(StopMode::Fast)?;
        self.start_on(self.port)
    }

    /// SIGKILL to the postmaster, then wait until its children have noticed.
    pub fn kill9(&self) -> Result<()> {
        let postmaster = self.postmaster().context("the server is not running")?;
        let mut family = process::children_of(postmaster);
        family.push(postmaster);
        process::signal(postmaster, libc::SIGKILL)?;
        process::wait_until_gone(&family)
    }

    /// All processes end at the same point in time: none sees another's end, gets its locks and goes on.
    pub fn cut_power(&self) -> Result<()> {
        let postmaster = self.postmaster().context("the server is not running")?;
        process::signal(postmaster, libc::SIGSTOP)?;
        let mut family = process::children_of(postmaster);
        for child in &family {
            process::signal(*child, libc::SIGSTOP)?;
        }
        family.push(postmaster);
        for process in &family {
            process::signal(*process, libc::SIGKILL)?;
        }
        process::wait_until_gone(&family)
    }

    pub fn is_running(&self) -> bool {
        self.postmaster().is_some()
    }

    /// The postmaster's process id, if it lives.
    pub fn postmaster(&self) -> Option<i32> {
        postmaster_of(&self.data)
    }

    /// How libpq reaches it by the socket.
    pub fn conninfo(&self, database: &str) -> String {
        format!(
            "host='{}' port={} user={SUPERUSER} dbname='{database}'",
            self.sockets.display(),
            self.port
        )
    }

    /// A URL for any libpq client, by TCP.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// A connection as any role, by the socket.
    pub fn connect_as(&self, role: &str, database: &str) -> Result<postgres::Client> {
        postgres::Config::new()
            .host_path(&self.sockets)
            .port(self.port)
            .user(role)
            .dbname(database)
            .application_name("xtask")
            .connect(postgres::NoTls)
            .with_context(|| format!("cannot connect to database {database} as {role}"))
    }

    pub fn connect(&self, database: &str) -> Result<postgres::Client> {
        self.connect_as(SUPERUSER, database)
    }

    /// A client program of this PostgreSQL with the environment that leads it to this cluster.
    pub fn client_program(&self, name: &str, database: &str) -> Command {
        let mut command = Command::new(self.install.program(name));
        command
            .env("PGHOST", &self.sockets)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .env("PGDATABASE", database)
            .stdin(Stdio::null());
        command
    }

    /// psql without the user's settings. The caller adds what to run.
    pub fn psql_command(&self, database: &str) -> Command {
        let mut command = self.client_program("psql", database);
        command.args(["--no-psqlrc", "--quiet"]);
        command
    }

    /// Run `sql` in psql, unaligned and without headers; an error if it fails.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let output = self.psql_output(database, sql)?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_string())
    }

    /// The same, whether it fails or not.
    pub fn psql_output(&self, database: &str, sql: &str) -> Result<Output> {
        let mut command = self.psql_command(database);
        command
            .args(["--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"])
            .args(["--command", sql]);
        shell::output(&mut command)
    }

    pub fn create_database(&self, name: &str, template: &str) -> Result<()> {
        let sql = format!("create database \"{name}\" template \"{template}\"");
        // Someone may still be leaving the template.
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match self.psql("postgres", &sql) {
                Err(error)
                    if format!("{error}").contains("being accessed")
                        && Instant::now() < deadline =>
                {
                    thread::sleep(Duration::from_millis(100));
                }
                other => return other.map(drop),
            }
        }
    }

    /// An empty database in an encoding of its own.
    pub fn create_encoded_database(&self, name: &str, encoding: &str) -> Result<()> {
        let sql = format!(
            "create database \"{name}\" encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
        );
        self.psql("postgres", &sql).map(drop)
    }

    pub fn drop_database(&self, name: &str) -> Result<()> {
        let sql = format!("drop database if exists \"{name}\" with (force)");
        self.psql("postgres", &sql).map(drop)
    }

    pub fn database_exists(&self, name: &str) -> Result<bool> {
        let sql = format!("select 1 from pg_database where datname = '{name}'");
        Ok(self.psql("postgres", &sql)? == "1")
    }

    pub fn log(&self) -> String {
        let bytes = fs::read(self.data.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    pub fn log_path(&self) -> PathBuf {
        self.data.join(LOG)
    }

    /// A copy of this running cluster in `data`; with `standby`, one that follows it.
    pub fn base_backup(&self, data: &Path, standby: bool) -> Result<Cluster> {
        self.project.server_directory(data)?;
        let mut command = self
            .project
            .as_server(self.install.program("pg_basebackup"))?;
        command
            .env("PGHOST", &self.sockets)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", SUPERUSER)
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--no-sync",
                "--pgdata",
            ])
            .arg(data);
        if standby {
            command.arg("--write-recovery-conf");
        }
        shell::capture(&mut command)?;
        let mut copy = Cluster::open(&self.project, &self.install, data)?;
        copy.port = 0;
        Ok(copy)
    }

    /// Stop it, however hard that is, and remove every file.
    pub fn destroy(&self) {
        if self.stop(StopMode::Immediate).is_err()
            && let Some(pid) = self.postmaster()
        {
            let _ = process::signal(pid, libc::SIGKILL);
        }
        let _ = fs::remove_dir_all(&self.data);
        let _ = fs::remove_dir_all(&self.sockets);
    }
}

/// The process id of the server that runs on this data directory.
pub fn postmaster_of(data: &Path) -> Option<i32> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid: i32 = text.lines().next()?.trim().parse().ok()?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (program.trim() == "postgres" && process::is_alive(pid)).then_some(pid)
}

fn write_private(project: &Project, path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    project.give_to_server(path)
}

fn random_password() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0_u8; 12];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

pub fn port_is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}
