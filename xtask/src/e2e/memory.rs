//! Trainings on more rows than `ltv.training_memory` holds: the bound is kept, and no temporary file outlives its job. And
//! trainings that the system refuses memory.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};
use postgres::Client;

use super::jobs::{self, LONG, ensure_consistent, status, wait_for_status, wait_for_training};
use super::{ensure_eq, wait_until};
use crate::cluster::Cluster;
use crate::process;
use crate::workspace::Workspace;

const MB: f64 = (1 << 20) as f64;
const COLUMNS: usize = 32;
const ROWS: usize = 400_000;

fn numbers(cluster: &Cluster, rows: usize) -> Result<()> {
    let columns: Vec<String> = (0..COLUMNS)
        .map(|column| format!("(id * {} % 1009)::real as f{column}", 7919 + 2 * column))
        .collect();
    cluster.psql(
        "ltv",
        &format!(
            "create table numbers as select id as customer_id, {}, (id * 31 % 97 * (id % 3))::float8 as ltv from generate_series(1, {rows}::bigint) id",
            columns.join(", ")
        ),
    )?;
    Ok(())
}

/// The anonymous memory of a process, as Linux counts it.
fn anonymous_bytes(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

struct Measured {
    /// The most bytes that the worker was seen with.
    seen: f64,
    /// What it says itself.
    own: f64,
    message: String,
}

/// Trains on so many rows of `numbers`.
fn measure(cluster: &Cluster, rows: usize, limit: &str) -> Result<Measured> {
    let mut client = cluster.connect("ltv")?;
    let mut watcher = cluster.connect("ltv")?;
    client.batch_execute(&format!("set ltv.training_memory = '{limit}'"))?;
    let going = AtomicBool::new(true);
    let most = AtomicU64::new(0);
    let job = thread::scope(|scope| -> Result<i64> {
        scope.spawn(|| {
            let mut pid = None;
            while going.load(Relaxed) {
                if pid.is_none() {
                    let sql =
                        "select pid from ltv.jobs where status = 'running' and pid is not null";
                    let row = watcher.query_opt(sql, &[]).ok().flatten();
                    pid = row.map(|row| row.get::<_, i32>(0));
                }
                if let Some(bytes) = pid.and_then(anonymous_bytes) {
                    most.fetch_max(bytes, Relaxed);
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let trained = (|| {
            let sql = format!(
                "select ltv_train('m', query => 'select * from numbers where customer_id <= {rows}', \
                 options => '{{\"epochs\": 2, \"ensemble\": 1, \"batch_size\": 1024, \"blend_trees\": false}}')"
            );
            let job: i64 = client.query_one(&sql, &[])?.get(0);
            client.query_one("select ltv_wait($1::bigint)", &[&job])?;
            Ok(job)
        })();
        going.store(false, Relaxed);
        trained
    })?;
    let row = client.query_one(
        "select memory_bytes, coalesce(message, '') from ltv_jobs where job = $1",
        &[&job],
    )?;
    Ok(Measured {
        seen: most.into_inner() as f64,
        own: row.get::<_, i64>(0) as f64,
        message: row.get(1),
    })
}

/// In memory a row takes what the documentation says; beyond `ltv.training_memory` the worker keeps within it.
pub fn bound(workspace: &Workspace) -> Result<()> {
    let cluster = workspace.new_cluster("memory", &[])?;
    numbers(&cluster, ROWS)?;
    let few = measure(&cluster, 1000, "4GB")?;
    let all = measure(&cluster, ROWS, "4GB")?;
    let per_row = (all.seen - few.seen) / ROWS as f64;
    ensure!(
        per_row < (4 * COLUMNS + 60) as f64,
        "{per_row:.0} bytes per row"
    );
    ensure!(
        per_row > (4 * COLUMNS) as f64,
        "{per_row:.0} bytes per row were not seen"
    );
    ensure_eq(
        all.message,
        String::new(),
        "the message of a training in memory",
    )?;
    for megabytes in [32.0, 64.0] {
        let found = measure(&cluster, ROWS, &format!("{megabytes}MB"))?;
        ensure!(found.message.contains("temporary file"), "no file was used");
        for bytes in [found.seen, found.own] {
            ensure!(
                bytes > few.seen / 2.0 && bytes < megabytes * MB,
                "{:.0} MB where ltv.training_memory is {megabytes} MB",
                bytes / MB
            );
        }
    }
    cluster.destroy();
    Ok(())
}

/// Each is queued by a session with the smallest `ltv.training_memory`; the rows of CUSTOMERS so often need a file.
const MANY: &str = "select c.* from customers c, generate_series(1, 100)";

fn temporary_files_of(cluster: &Cluster) -> Result<Vec<String>> {
    let files = cluster.psql(
        "postgres",
        "select name from pg_ls_tmpdir() where name like 'pgsql_tmp%'",
    )?;
    Ok(files.lines().map(str::to_owned).collect())
}

fn train_in_file(client: &mut Client, query: &str, options: &str) -> Result<i64> {
    client.batch_execute("set ltv.training_memory = '32MB'")?;
    let sql =
        "select ltv_train('m', query => $1, options => ($2::text)::jsonb || '{\"ensemble\": 1}')";
    Ok(client.query_one(sql, &[&query, &options])?.get(0))
}

fn wait_for_files(cluster: &Cluster) -> Result<()> {
    wait_until("rows to go to temporary files", 60, || {
        Ok(!temporary_files_of(cluster)?.is_empty())
    })
}

/// However a job ends that has spilled rows, while it reads or while it trains: none of its files remains.
pub fn temporary_files(workspace: &Workspace) -> Result<()> {
    let mut cluster = jobs::cluster(workspace, "files", &[])?;
    let mut client = cluster.connect("ltv")?;
    let reading = format!("{MANY} union all select c.* from customers c, pg_sleep(600)");
    let failing =
        format!("{MANY} union all select customer_id, 1 / (b - b), b, c, ltv from customers");

    let job = train_in_file(&mut client, &reading, "{}")?;
    wait_for_files(&cluster)?;
    client.query_one("select ltv_cancel($1)", &[&job])?;
    wait_for_status(&mut client, job, "canceled")?;
    ensure_eq(
        temporary_files_of(&cluster)?,
        vec![],
        "files of a job canceled while it read",
    )?;

    let job = train_in_file(&mut client, MANY, LONG)?;
    wait_for_training(&mut client, job)?;
    ensure_eq(
        temporary_files_of(&cluster)?.len(),
        1,
        "files of a job that trains",
    )?;
    client.query_one("select ltv_cancel($1)", &[&job])?;
    wait_for_status(&mut client, job, "canceled")?;
    ensure_eq(
        temporary_files_of(&cluster)?,
        vec![],
        "files of a job canceled while it trained",
    )?;

    let job = train_in_file(&mut client, &failing, "{}")?;
    wait_for_status(&mut client, job, "failed")?;
    ensure_eq(
        temporary_files_of(&cluster)?,
        vec![],
        "files of a job that failed",
    )?;

    for (query, in_training) in [(reading.as_str(), false), (MANY, true)] {
        let job = train_in_file(&mut client, query, LONG)?;
        wait_for_files(&cluster)?;
        if in_training {
            wait_for_training(&mut client, job)?;
        }
        cluster.kill9()?;
        cluster.start()?;
        client = cluster.connect("ltv")?;
        ensure_eq(temporary_files_of(&cluster)?, vec![], "files after a crash")?;
        ensure_eq(status(&mut client, job)?, "lost".to_owned(), "the job")?;
        ensure_consistent(&mut client)?;
    }
    cluster.destroy();
    Ok(())
}

/// A network that takes some 500 MB while it is trained, beside the few that the worker has.
const LARGE: &str = r#"{"epochs": 2, "ensemble": 1, "hidden_sizes": [5000, 5000]}"#;
/// Bytes that the system lets the worker take, besides what it has when it begins to read: its threads start with that, but
/// the network has no room.
const LEFT: u64 = 320 << 20;

/// The system refuses memory in the middle of a step, which nobody can foresee: the job fails, the server runs on.
pub fn refused(workspace: &Workspace) -> Result<()> {
    let cluster = jobs::cluster(workspace, "refused", &[])?;
    let mut client = cluster.connect("ltv")?;
    for threads in [1, 2] {
        let sql = format!(
            "select ltv_train('m', query => 'select c.* from customers c, pg_sleep(2)', \
             options => '{LARGE}'::jsonb || '{{\"threads\": {threads}}}')"
        );
        let job: i64 = client.query_one(&sql, &[])?.get(0);
        let reading =
            "select pid from ltv_jobs where job = $1 and status = 'running' and phase = 'reading'";
        let mut worker = None;
        wait_until("the job to read", 30, || {
            worker = client.query_opt(reading, &[&job])?.map(|row| row.get(0));
            Ok(worker.is_some())
        })?;
        let worker: i32 = worker.unwrap_or_default();
        cluster.limit_process(worker, LEFT)?;
        wait_for_status(&mut client, job, "failed")?;
        let said = client.query_one(
            "select sqlstate, message, hint like 'Lower ltv.training_memory%' from ltv_jobs where job = $1",
            &[&job],
        )?;
        ensure_eq(said.get(0), "53200".to_owned(), "the job's SQLSTATE")?;
        ensure_eq(said.get(1), "out of memory".to_owned(), "its message")?;
        ensure_eq(said.get(2), true, "that the hint says what helps")?;
        wait_until("its worker to end", 10, || Ok(!process::is_alive(worker)))?;
    }
    // The same session, and workers still start.
    let job = jobs::train(&mut client, "m", jobs::SHORT)?;
    wait_for_status(&mut client, job, "succeeded")?;
    ensure_consistent(&mut client)?;
    cluster.destroy();
    Ok(())
}
