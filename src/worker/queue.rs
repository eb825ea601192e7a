//! The queue as a worker sees it: taking a job whose turn it is, writing down what becomes of it.
//!
//! Whose turn it is, and each change of a job, is in sql/42_queue.sql. A worker runs the jobs of one role only, the one
//! it is, so whoever looks at the queue starts a worker for the role of each job that may run now; a worker that finds
//! itself superfluous ends. Claims happen one at a time under the queue lock.

use super::session::{self, Identity, unexpected};
use super::{catalog, interrupt, launch, lock};
use crate::error::{Report, Result};
use crate::guc;
use crate::value::sql::{
    self, column, nullable_parameter, parameter, readable_parameter, text_parameter,
};
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use pgrx::{Spi, pg_sys};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Milliseconds between two looks at whether a job is still held.
const LOOK_EVERY: i64 = 10;

/// `ltv.max_jobs_per_role` as the server has it, without what the worker's own role is given; negative: not a worker.
static SERVERS_JOBS_PER_ROLE: AtomicI32 = AtomicI32::new(-1);

/// A claimed job. What the queue has as JSON is text still: reading it may fail, as the job's failure.
pub struct Job {
    pub job: i64,
    pub model: String,
    pub owner: pg_sys::Oid,
    pub settings: String,
    pub recipe: String,
}

/// A queued job that may run now.
struct Head {
    job: i64,
    owner: pg_sys::Oid,
}

unsafe extern "C-unwind" {
    /// Not among pgrx's bindings.
    fn PostmasterIsAliveInternal() -> bool;
}

/// Before the worker's session takes over what its role is given.
pub fn remember_servers_settings() {
    SERVERS_JOBS_PER_ROLE.store(guc::MAX_JOBS_PER_ROLE.get(), Relaxed);
}

fn jobs_per_role() -> i32 {
    match SERVERS_JOBS_PER_ROLE.load(Relaxed) {
        unknown if unknown < 0 => guc::MAX_JOBS_PER_ROLE.get(),
        servers => servers,
    }
}

/// Returns when a worker has taken the job or let go of it, at the latest after so many milliseconds. Looking at a lock
/// costs little, unlike the queries of `ltv_wait`.
pub fn await_change(job: i64, milliseconds: u64) {
    let Some(table) = catalog::jobs_table() else {
        return;
    };
    let before = lock::is_locked(table, job);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(milliseconds)
        && lock::is_locked(table, job) == before
    {
        session::wait(LOOK_EVERY);
        pg_sys::check_for_interrupts!();
    }
}

/// Which of the queued jobs to look at.
enum Among {
    All,
    /// Those that nobody else has locked; their rows are locked until the end of the transaction.
    Free,
    /// The oldest free one of a role.
    OldestOf(pg_sys::Oid),
}

/// The jobs that may run now, the next one first.
fn in_turn(client: &mut SpiClient, among: Among) -> Result<Vec<Head>> {
    let mut arguments = vec![
        parameter(guc::MAX_CONCURRENT_JOBS.get())?,
        parameter(jobs_per_role())?,
    ];
    // An update takes a new snapshot: what has committed by now counts.
    let rows = match among {
        Among::All => client.select(
            "SELECT job, owner FROM ltv.jobs_in_turn($1, $2)",
            None,
            &arguments,
        ),
        Among::Free => client.update(
            "SELECT job, owner FROM ltv.jobs_in_turn($1, $2, (SELECT ltv.lock_queued_jobs($1)))",
            None,
            &arguments,
        ),
        Among::OldestOf(role) => {
            arguments.push(parameter(role)?);
            client.update(
                "SELECT job, owner FROM ltv.jobs_in_turn($1, $2, ARRAY(SELECT j.job FROM ltv.jobs j WHERE j.status = 'queued' \
                 AND j.owner = $3 ORDER BY j.job LIMIT 1 FOR UPDATE SKIP LOCKED))",
                None,
                &arguments,
            )
        }
    };
    let mut rows = rows.map_err(unexpected)?;
    let mut heads = Vec::new();
    while rows.next().is_some() {
        heads.push(Head {
            job: column(&rows, 1)?.unwrap_or_default(),
            owner: column(&rows, 2)?.unwrap_or(pg_sys::InvalidOid),
        });
    }
    Ok(heads)
}

/// Starts a worker for each job that may run now; `false` if a worker slot was missing.
fn start_workers(heads: &[Head]) -> bool {
    heads
        .iter()
        .all(|head| launch::start_for(head.job, head.owner))
}

/// Starts workers for the jobs that may run now; `false` if a worker slot was missing. Cheap where nothing is queued.
pub fn wake() -> Result<bool> {
    // SAFETY: reads a flag in shared memory.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Ok(true);
    }
    let (heads, untidy) = {
        let _catalog = Identity::catalog_owner()?;
        Spi::connect_mut(|client| {
            let heads = in_turn(client, Among::All)?;
            let untidy = if heads.is_empty() {
                let rows = client
                    .select("SELECT ltv.queue_is_untidy()", None, &[])
                    .map_err(unexpected)?;
                column(&rows.first(), 1)?
            } else {
                None
            };
            Ok::<_, Report>((heads, untidy))
        })?
    };
    let slots = start_workers(&heads);
    // One that is nobody's in particular only tidies up.
    Ok(slots && (untidy != Some(true) || launch::start_for(0, pg_sys::InvalidOid)))
}

/// Takes the next job of this session's role, if it is its turn. In a transaction of its own; the job's lock stays.
pub fn claim(role: pg_sys::Oid) -> Result<Option<Job>> {
    session::transaction(|| {
        let Some(table) = catalog::jobs_table() else {
            return Ok(None);
        };
        let _catalog = Identity::catalog_owner()?;
        lock::lock_queue(table);
        Spi::connect_mut(|client| {
            client
                .update("SELECT ltv.tidy_jobs()", None, &[])
                .map_err(unexpected)?;
            let mut heads = in_turn(client, Among::Free)?;
            // Others come first; if there is no room to start a worker for them this one had better do something.
            if heads.iter().all(|head| head.owner != role) && !start_workers(&heads) {
                heads = in_turn(client, Among::OldestOf(role))?;
            }
            // When the postmaster is killed, workers end one after another; who sees another's job as lost for that
            // reason must not take the next one only to lose it too. Hence after the look.
            // SAFETY: reads the pipe that the postmaster's death closes.
            if unsafe { !PostmasterIsAliveInternal() } {
                return Ok(None);
            }
            match heads.iter().find(|head| head.owner == role) {
                Some(head) => take(client, table, head.job, role),
                None => Ok(None),
            }
        })
    })
}

fn take(
    client: &mut SpiClient,
    table: pg_sys::Oid,
    job: i64,
    owner: pg_sys::Oid,
) -> Result<Option<Job>> {
    lock::hold(table, job);
    let rows = client
        .update(
            "SELECT model, settings, recipe FROM ltv.take_job($1)",
            None,
            &[parameter(job)?],
        )
        .map_err(unexpected)?;
    if rows.is_empty() {
        return Err(unexpected("a job that was locked is gone"));
    }
    let row = rows.first();
    let text = |column| -> Result<String> { Ok(sql::column(&row, column)?.unwrap_or_default()) };
    Ok(Some(Job {
        job,
        model: text(1)?,
        owner,
        settings: text(2)?,
        recipe: text(3)?,
    }))
}

/// How a job ended.
pub enum End {
    Succeeded,
    Failed(Report),
    Canceled,
    /// The server was stopped meanwhile.
    Lost,
}

/// Writes the end of a job that made no version (one that made one is ended by the transaction that stores it).
pub fn finish(job: i64, end: &End) -> Result<()> {
    let lost = Report::new(
        PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
        "the server was stopped while the job was running",
    )
    .hint("No version was made; run ltv_train again.");
    let (status, report) = match end {
        End::Succeeded => return Ok(()),
        End::Failed(report) => ("failed", Some(report)),
        End::Canceled => ("canceled", None),
        End::Lost => ("lost", Some(&lost)),
    };
    let mut attempts = 0;
    loop {
        interrupt::settle();
        let written = session::transaction(|| {
            lock::check_catalog()?;
            let _catalog = Identity::catalog_owner()?;
            Spi::connect_mut(|client| {
                client
                    .update(
                        "SELECT ltv.finish_job($1, $2, NULL, $3, $4, $5, $6)",
                        None,
                        &[
                            parameter(job)?,
                            text_parameter(status)?,
                            nullable_parameter(report.map(|r| sqlstate(r.sqlstate)))?,
                            readable_parameter(report.map(|r| r.message.as_str())),
                            readable_parameter(report.and_then(|r| r.detail.as_deref())),
                            readable_parameter(report.and_then(|r| r.hint.as_deref())),
                        ],
                    )
                    .map_err(unexpected)?;
                Ok(())
            })
        });
        attempts += 1;
        // A second signal may have hit the very transaction that writes the first one down.
        if written.is_ok() || attempts == 3 {
            return written;
        }
    }
}

/// The five characters of a SQLSTATE.
fn sqlstate(code: PgSqlErrorCode) -> String {
    let mut packed = code as i32;
    let mut text = String::with_capacity(5);
    for _ in 0..5 {
        text.push(char::from((packed & 0x3f) as u8 + b'0'));
        packed >>= 6;
    }
    text
}
