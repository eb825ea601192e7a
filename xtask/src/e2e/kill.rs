//! The server, its sessions and its workers are killed at random points of everything that writes. Whatever was committed is
//! there afterwards, nothing is half there, and every version scores as before, bit for bit.
//!
//! `cargo xtask test e2e/kill -- --rounds 300 --seed 7`

mod actor;
mod ledger;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use postgres::Client;

use super::jobs::count;
use super::{ensure_eq, wait_until};
use crate::cluster::{Cluster, StopMode};
use crate::process;
use crate::workspace::Workspace;
use actor::Actor;
use ledger::Ledger;

const ACTORS: u64 = 3;

#[derive(Parser)]
#[command(name = "kill", no_binary_name = true)]
struct Options {
    /// How many times to kill
    #[arg(long, default_value_t = 24)]
    rounds: u64,
    /// What decides when and whom
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// xorshift64*: the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

pub fn rounds(workspace: &Workspace) -> Result<()> {
    let options = Options::try_parse_from(&workspace.arguments)?;
    let mut cluster = workspace.new_cluster(
        "kill",
        &[
            ("shared_preload_libraries", "pg_ltv"),
            ("ltv.max_concurrent_jobs", "2"),
        ],
    )?;
    cluster.psql("ltv", actor::TABLES)?;
    let ledger = Ledger::default();
    actor::prepare(&mut cluster.connect("ltv")?, &ledger)?;
    ledger.look(&mut cluster.connect("ltv")?, &mut Random::new(options.seed))?;
    let mut random = Random::new(options.seed);
    for round in 0..options.rounds {
        let weapon = one_round(&mut cluster, &ledger, &mut random, options.seed + round)
            .with_context(|| format!("round {round} of seed {}", options.seed))?;
        let what = format!("round {round} of seed {}, after {weapon}", options.seed);
        let mut client = connect(&cluster).with_context(|| what.clone())?;
        ledger
            .check(&mut client)
            .and_then(|()| ledger.look(&mut client, &mut random))
            .with_context(|| what)?;
    }
    // The library is preloaded, so the queue goes on without anybody asking.
    let mut client = connect(&cluster)?;
    let open = "select count(*) from ltv.jobs where status in ('queued', 'running')";
    wait_until("the queue to empty by itself", 180, || {
        Ok(count(&mut client, open)? == 0)
    })?;
    ledger.check(&mut client)?;
    let odd = "select count(*) from ltv.jobs where status not in ('succeeded', 'lost', 'canceled') \
               and not (status = 'failed' and sqlstate in ('42704', '55000', '42P01', '57P01', '57P03'))";
    ensure_eq(
        count(&mut client, odd)?,
        0,
        "jobs that ended in a way that no kill explains",
    )?;
    ensure!(
        ledger.acknowledged() > options.rounds as usize,
        "hardly anything was going on: {} acknowledged",
        ledger.acknowledged()
    );
    cluster.destroy();
    Ok(())
}

/// Several sessions at work, and a weapon at a random moment; returns which.
fn one_round(
    cluster: &mut Cluster,
    ledger: &Ledger,
    random: &mut Random,
    seed: u64,
) -> Result<&'static str> {
    let stop = &AtomicBool::new(false);
    let actors = (0..ACTORS)
        .map(|number| Actor::new(connect(cluster)?, Random::new(seed * ACTORS + number + 1)))
        .collect::<Result<Vec<Actor>>>()?;
    let pids: Vec<i32> = actors.iter().map(|actor| actor.pid).collect();
    let moment = Duration::from_millis(random.below(1400));
    thread::scope(|scope| {
        let threads: Vec<_> = actors
            .into_iter()
            .map(|mut actor| scope.spawn(move || actor.work(ledger, stop)))
            .collect();
        thread::sleep(moment);
        let used = strike(cluster, &pids, random);
        stop.store(true, Ordering::Relaxed);
        // A session that was spared may still be in the middle of something.
        for thread in threads {
            match thread.join() {
                Ok(worked) => worked?,
                Err(_) => bail!("a session's thread panicked"),
            }
        }
        used
    })
}

fn strike(cluster: &mut Cluster, sessions: &[i32], random: &mut Random) -> Result<&'static str> {
    let postmaster = cluster.postmaster().context("the server is not running")?;
    let workers = workers(cluster);
    let one = |of: &[i32], random: &mut Random, signal: i32| -> Result<()> {
        match random.choose(of) {
            // It may have ended by itself.
            Some(pid) if process::is_alive(*pid) => {
                let _ = process::signal(*pid, signal);
                Ok(())
            }
            _ => Ok(()),
        }
    };
    Ok(match random.below(10) {
        0 => {
            cluster.kill9()?;
            cluster.start()?;
            "SIGKILL of the postmaster"
        }
        1 => {
            cluster.cut_power()?;
            cluster.start()?;
            "the end of all processes at once"
        }
        2 => {
            cluster.stop(StopMode::Immediate)?;
            cluster.start()?;
            "an immediate stop"
        }
        3 => {
            cluster.stop(StopMode::Fast)?;
            cluster.start()?;
            "a fast stop"
        }
        4 => {
            one(sessions, random, libc::SIGKILL)?;
            "SIGKILL of a session"
        }
        5 => {
            for pid in sessions {
                let _ = process::signal(*pid, libc::SIGTERM);
            }
            "SIGTERM of every session"
        }
        6 => {
            one(&workers, random, libc::SIGTERM)?;
            "SIGTERM of a worker"
        }
        7 => {
            one(&workers, random, libc::SIGKILL)?;
            "SIGKILL of a worker"
        }
        8 => {
            one(&workers, random, libc::SIGINT)?;
            "SIGINT of a worker"
        }
        _ => {
            one(&process::children_of(postmaster), random, libc::SIGKILL)?;
            "SIGKILL of some process"
        }
    })
}

fn workers(cluster: &Cluster) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity where backend_type like 'pg_ltv%'";
    let listed = cluster.connect("ltv").and_then(|mut client| {
        let rows = client.query(sql, &[])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    });
    listed.unwrap_or_default()
}

/// Once the server has recovered.
fn connect(cluster: &Cluster) -> Result<Client> {
    let mut connected = None;
    wait_until("the server to take connections again", 60, || {
        // The postmaster may not have noticed yet that one of its children is gone.
        connected = cluster
            .connect("ltv")
            .ok()
            .and_then(|mut client| client.simple_query("select 1").is_ok().then_some(client));
        Ok(connected.is_some())
    })?;
    connected.context("no connection")
}
