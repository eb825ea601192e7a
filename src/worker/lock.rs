//! The locks of the queue and of each running job.
//!
//! Not advisory locks, which the job's own SQL could give back by `pg_advisory_unlock_all`: these are locks on
//! objects that do not exist, with the table of jobs as their class, which no statement takes or releases. A session
//! loses such a lock when a transaction of it aborts, hence [`hold_again`].

use super::{catalog, interrupt, launch, session};
use crate::error::{Report, Result, log};
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering::Relaxed};

/// The job that this process runs; 0: none.
static HELD: AtomicI64 = AtomicI64::new(0);
/// The table of jobs that it is a row of.
static TABLE: AtomicU32 = AtomicU32::new(0);

const WHOLE_QUEUE: i64 = 0;

/// Conflicts with `LOOKING` and with itself.
const HOLDING: i32 = pg_sys::AccessExclusiveLock as i32;
/// The weakest, which standbys know, too.
const LOOKING: i32 = pg_sys::AccessShareLock as i32;

fn tag(table: pg_sys::Oid, job: i64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: set once at the start of the session.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.into(),
        locktag_field2: table.into(),
        locktag_field3: job as u32,
        locktag_field4: (job >> 32) as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    }
}

/// Until the end of the transaction nobody else takes a job.
pub fn lock_queue(table: pg_sys::Oid) {
    // SAFETY: inside a transaction, which gives it back.
    unsafe { pg_sys::LockAcquire(&tag(table, WHOLE_QUEUE), HOLDING, false, false) };
}

/// Takes the job's lock for the session: `release` or the end of the process gives it back.
pub fn hold(table: pg_sys::Oid, job: i64) {
    TABLE.store(table.into(), Relaxed);
    // SAFETY: a lock of the session; an abort of this transaction gives it back, too.
    unsafe { pg_sys::LockAcquire(&tag(table, job), HOLDING, true, false) };
}

/// From now on this process runs the job whose lock it holds.
pub fn begin(job: i64) {
    session::after_abort(hold_again);
    HELD.store(job, Relaxed);
}

/// The table of jobs, if it is still the one that the job is a row of.
fn own_table() -> Option<pg_sys::Oid> {
    catalog::jobs_table().filter(|&table| u32::from(table) == TABLE.load(Relaxed))
}

/// An error, and the end of the job, where the extension was dropped meanwhile: a job of the same number in the catalog
/// that was made since is somebody else's.
pub fn check_catalog() -> Result<()> {
    if own_table().is_some() {
        return Ok(());
    }
    interrupt::cancel();
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        "extension pg_ltv was dropped while the job was running",
    ))
}

/// After an abort, which took the lock. Meanwhile the process itself stands for its job, see [`is_held`].
fn hold_again() {
    let job = HELD.swap(0, Relaxed);
    if job == 0 {
        return;
    }
    let held = session::transaction(|| {
        if let Some(table) = own_table() {
            hold(table, job);
        }
        Ok(())
    });
    HELD.store(job, Relaxed);
    if let Err(report) = held {
        log(format!("pg_ltv job {job}: {}", report.message));
    }
}

/// The job has ended, and its row says so.
pub fn release(job: i64) {
    HELD.store(0, Relaxed);
    let released = session::transaction(|| {
        if let Some(table) = own_table() {
            // SAFETY: the lock that `hold` acquired.
            unsafe { pg_sys::LockRelease(&tag(table, job), HOLDING, true) };
        }
        Ok(())
    });
    if let Err(report) = released {
        log(format!("pg_ltv job {job}: {}", report.message));
    }
}

/// The job that this process runs.
pub fn own_job() -> Option<i64> {
    Some(HELD.load(Relaxed)).filter(|&job| job != 0)
}

/// Whether a worker has the job's lock.
pub fn is_locked(table: pg_sys::Oid, job: i64) -> bool {
    if own_job() == Some(job) {
        return true;
    }
    let tag = tag(table, job);
    // SAFETY: inside a transaction; the lock is given back at once.
    unsafe {
        let got = pg_sys::LockAcquire(&tag, LOOKING, false, true);
        if got == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, LOOKING, false);
        false
    }
}

/// Whether a worker runs the job that says it is run by process `pid`.
pub fn is_held(table: pg_sys::Oid, job: i64, pid: Option<i32>) -> bool {
    // SAFETY: set at the start of the process.
    let others = pid.filter(|&pid| pid != unsafe { pg_sys::MyProcPid });
    is_locked(table, job) || others.is_some_and(|pid| launch::worker_at(pid).is_some())
}
