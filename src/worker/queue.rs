//! The queue in `ltv.jobs`: who is next, taking a job, finding jobs whose worker is gone.
//!
//! Order: by job number over all roles. A worker can run the jobs of one login role only, the one it connected as,
//! so whoever looks at the queue starts a worker for the role of each job that may run now; a worker that finds
//! itself superfluous ends. Claims happen one at a time under the queue lock.

use super::session::{self, Identity, unexpected};
use super::{interrupt, launch};
use crate::error::{Report, Result};
use crate::guc;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;
use pgrx::{JsonB, Spi, pg_sys};
use std::time::{Duration, Instant};

/// Milliseconds between two looks at whether a job is still held.
const LOOK_EVERY: i64 = 10;

/// A claimed job.
pub struct Job {
    pub job: i64,
    pub model: String,
    pub owner: String,
    pub settings: serde_json::Value,
    pub recipe: serde_json::Value,
}

/// A queued job that may run now.
struct Head {
    job: i64,
    login: pg_sys::Oid,
}

#[derive(Default)]
struct Outlook {
    /// As many of the oldest queued jobs as there is room for.
    heads: Vec<Head>,
    /// Running without a worker.
    lost: Vec<i64>,
    /// Queued by a role that is gone or may not log in any more.
    impossible: Vec<(i64, String)>,
}

fn tag(low: u64, kind: u16) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set once at the start of the session.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.into(),
        locktag_field2: (low >> 32) as u32,
        locktag_field3: low as u32,
        // Out of the reach of pg_advisory_lock, which uses 1 and 2.
        locktag_field4: kind,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

fn queue_tag() -> pg_sys::LOCKTAG {
    tag(0, 0x4c54)
}

fn job_tag(job: i64) -> pg_sys::LOCKTAG {
    tag(job as u64, 0x4c55)
}

unsafe extern "C-unwind" {
    /// Not among pgrx's bindings.
    fn PostmasterIsAliveInternal() -> bool;
}

/// Whether a worker holds the job's lock.
pub fn is_alive(job: i64) -> bool {
    let tag = job_tag(job);
    // SAFETY: inside a transaction; the lock is given back at once.
    unsafe {
        let got = pg_sys::LockAcquire(&tag, pg_sys::ShareLock as i32, false, true);
        if got == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, pg_sys::ShareLock as i32, false);
        false
    }
}

/// Returns when a worker has taken the job or let go of it, at the latest after so many milliseconds. Looking at a lock
/// costs little, unlike the queries of `ltv_wait`.
pub fn await_change(job: i64, milliseconds: u64) {
    let before = is_alive(job);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(milliseconds) && is_alive(job) == before {
        session::wait(LOOK_EVERY);
        pg_sys::check_for_interrupts!();
    }
}

/// `fresh`: what has committed by now counts, not what had when the statement began.
fn look(client: &mut SpiClient, fresh: bool) -> Result<Outlook> {
    let room = i64::from(guc::MAX_CONCURRENT_JOBS.get());
    let mut outlook = Outlook::default();
    let mut running = 0;
    // Rows of running jobs come first.
    let query = "SELECT job, status = 'running', pg_get_userbyid(login)::text FROM ltv.jobs WHERE status IN ('queued', 'running') \
                 ORDER BY status = 'queued', job LIMIT 1000";
    // An update takes a new snapshot, and a transaction id, which just looking is not worth.
    let rows = if fresh {
        client.update(query, None, &[])
    } else {
        client.select(query, None, &[])
    }
    .map_err(unexpected)?;
    for row in rows {
        let job: i64 = row.get(1).map_err(unexpected)?.unwrap_or_default();
        if row.get::<bool>(2).map_err(unexpected)? == Some(true) {
            match is_alive(job) {
                true => running += 1,
                false => outlook.lost.push(job),
            }
            continue;
        }
        if running + outlook.heads.len() as i64 >= room {
            break;
        }
        let name: String = row.get(3).map_err(unexpected)?.unwrap_or_default();
        match session::login_role(&name) {
            Some(login) => outlook.heads.push(Head { job, login }),
            None => outlook.impossible.push((job, name)),
        }
    }
    Ok(outlook)
}

/// Starts workers for the jobs that may run now; `false` if a worker slot was missing. Cheap where nothing is queued.
pub fn wake() -> Result<bool> {
    // SAFETY: reads a flag in shared memory.
    if unsafe { pg_sys::RecoveryInProgress() } {
        return Ok(true);
    }
    let outlook = {
        let _owner = Identity::catalog_owner()?;
        Spi::connect_mut(|client| look(client, false))?
    };
    let mut slots = true;
    for head in &outlook.heads {
        slots = slots && launch::start_for(head.job, head.login);
    }
    if outlook.heads.is_empty() && !(outlook.lost.is_empty() && outlook.impossible.is_empty()) {
        // Any worker tidies up when it looks for a job.
        // SAFETY: the session's own role.
        slots = launch::start_for(0, unsafe { pg_sys::GetSessionUserId() });
    }
    Ok(slots)
}

/// Takes the next job of this session's role, if it is its turn. In a transaction of its own; the job's lock stays.
pub fn claim() -> Result<Option<Job>> {
    session::transaction(|| {
        if session::catalog_table(c"jobs").is_none() {
            return Ok(None);
        }
        let _owner = Identity::catalog_owner()?;
        // SAFETY: released at the end of the transaction.
        unsafe { pg_sys::LockAcquire(&queue_tag(), pg_sys::ExclusiveLock as i32, false, false) };
        Spi::connect_mut(|client| {
            let outlook = look(client, true)?;
            // When the postmaster is killed, workers end one after another; who sees another's job as lost for that
            // reason must not take the next one only to lose it too.
            // SAFETY: reads the pipe that the postmaster's death closes.
            let orphaned = unsafe { !PostmasterIsAliveInternal() };
            if orphaned {
                return Ok(None);
            }
            tidy(client, &outlook)?;
            if outlook.heads.is_empty() {
                return Ok(None);
            }
            let Some(job) = first_of_mine(client)? else {
                return Ok(None);
            };
            if !outlook.heads.iter().any(|head| head.job == job) {
                // Others are older. If there is no room to start a worker for them this one had better do something.
                let mut slots = true;
                for head in &outlook.heads {
                    slots = slots && launch::start_for(head.job, head.login);
                }
                if slots {
                    return Ok(None);
                }
            }
            take(client, job)
        })
    })
}

/// The oldest queued job of this session's role that nobody is just cancelling.
fn first_of_mine(client: &mut SpiClient) -> Result<Option<i64>> {
    let rows = client
        .update(
            "SELECT job FROM ltv.jobs WHERE status = 'queued' AND pg_get_userbyid(login) = session_user ORDER BY job LIMIT 1 \
             FOR UPDATE SKIP LOCKED",
            None,
            &[],
        )
        .map_err(unexpected)?;
    match rows.is_empty() {
        true => Ok(None),
        false => rows.first().get_one::<i64>().map_err(unexpected),
    }
}

fn take(client: &mut SpiClient, job: i64) -> Result<Option<Job>> {
    // SAFETY: a lock of the session, released by `release` or by the end of the process.
    unsafe { pg_sys::LockAcquire(&job_tag(job), pg_sys::ExclusiveLock as i32, true, false) };
    let rows = client
        .update(
            "UPDATE ltv.jobs SET status = 'running', pid = pg_backend_pid(), started_at = clock_timestamp(), \
             message = NULL, hint = NULL WHERE job = $1 RETURNING model, pg_get_userbyid(owner)::text, settings, recipe",
            None,
            &[DatumWithOid::from(job)],
        )
        .map_err(unexpected)?;
    let row = rows.first();
    let claimed = Job {
        job,
        model: row
            .get::<String>(1)
            .map_err(unexpected)?
            .unwrap_or_default(),
        owner: row
            .get::<String>(2)
            .map_err(unexpected)?
            .unwrap_or_default(),
        settings: row
            .get::<JsonB>(3)
            .map_err(unexpected)?
            .map_or_else(Default::default, |json| json.0),
        recipe: row
            .get::<JsonB>(4)
            .map_err(unexpected)?
            .map_or_else(Default::default, |json| json.0),
    };
    client
        .update(
            "INSERT INTO ltv.job_progress (job, phase) VALUES ($1, 'reading') \
             ON CONFLICT (job) DO UPDATE SET phase = EXCLUDED.phase, updated_at = clock_timestamp()",
            None,
            &[DatumWithOid::from(job)],
        )
        .map_err(unexpected)?;
    Ok(Some(claimed))
}

/// Writes down what became of jobs that will never be run.
fn tidy(client: &mut SpiClient, outlook: &Outlook) -> Result<()> {
    for &job in &outlook.lost {
        // Looked at again once the row is ours: its worker may have been about to finish.
        let still = client
            .update(
                "SELECT job FROM ltv.jobs WHERE job = $1 AND status = 'running' FOR UPDATE SKIP LOCKED",
                None,
                &[DatumWithOid::from(job)],
            )
            .map_err(unexpected)?;
        if !still.is_empty() && !is_alive(job) {
            client
                .update(
                    "UPDATE ltv.jobs SET status = 'lost', finished_at = clock_timestamp(), sqlstate = '57P02', \
                     message = 'the server or the worker stopped while the job was running', \
                     hint = 'No version was made; run ltv_train again.' WHERE job = $1",
                    None,
                    &[DatumWithOid::from(job)],
                )
                .map_err(unexpected)?;
        }
    }
    for (job, login) in &outlook.impossible {
        client
            .update(
                "UPDATE ltv.jobs SET status = 'failed', finished_at = clock_timestamp(), sqlstate = '28000', \
                 message = format('role \"%s\" does not exist or may not log in', $2), \
                 detail = 'A job runs as the role that queued it.', \
                 hint = 'Queue the job again in a session of a role that may log in; SET ROLE in it is kept.' \
                 WHERE job = $1 AND status = 'queued'",
                None,
                &[DatumWithOid::from(*job), DatumWithOid::from(login.as_str())],
            )
            .map_err(unexpected)?;
    }
    Ok(())
}

/// Gives the job's lock back, after its last row has committed.
pub fn release(job: i64) {
    let released = session::transaction(|| {
        // SAFETY: the lock that `take` acquired.
        unsafe { pg_sys::LockRelease(&job_tag(job), pg_sys::ExclusiveLock as i32, true) };
        Ok(())
    });
    if let Err(report) = released {
        log!("pg_ltv: {}", report.message);
    }
}

/// Whether somebody asked for the end of a running job.
pub fn cancel_requested(job: i64) -> Result<bool> {
    Spi::connect(|client| {
        client
            .select(
                "SELECT cancel_requested FROM ltv.jobs WHERE job = $1",
                None,
                &[DatumWithOid::from(job)],
            )
            .map_err(unexpected)?
            .first()
            .get_one::<bool>()
            .map(|requested| requested.unwrap_or_default())
            .map_err(unexpected)
    })
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
            let _owner = Identity::catalog_owner()?;
            Spi::connect_mut(|client| {
                client
                    .update(
                        "UPDATE ltv.jobs SET status = $2, finished_at = clock_timestamp(), sqlstate = $3, message = $4, \
                         detail = $5, hint = $6 WHERE job = $1 AND status = 'running'",
                        None,
                        &[
                            DatumWithOid::from(job),
                            DatumWithOid::from(status),
                            DatumWithOid::from(report.map(|r| sqlstate(r.sqlstate))),
                            DatumWithOid::from(report.map(|r| r.message.clone())),
                            DatumWithOid::from(report.and_then(|r| r.detail.clone())),
                            DatumWithOid::from(report.and_then(|r| r.hint.clone())),
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
