//! Starting background workers: at the commit of the transaction that queued a job, at once for jobs that wait
//! already, and after the start of a server that preloads the library.

use super::{interrupt, session};
use crate::error::{Report, log};
use pgrx::bgworkers::BackgroundWorkerBuilder;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The library as `CREATE FUNCTION` names it: wherever `dynamic_library_path` leads to it.
const LIBRARY: &str = "pg_ltv";
const WORKER_TYPE: &str = "pg_ltv worker";

/// How long a worker may take from its start to its claim; until then this backend starts no second one for the job.
const STARTUP: Duration = Duration::from_secs(5);

/// What to do when the transaction commits, each with the subtransaction that asked for it.
#[derive(Default)]
struct Pending {
    callbacks: bool,
    starts: Vec<(pg_sys::SubTransactionId, pg_sys::Oid)>,
    cancels: Vec<(pg_sys::SubTransactionId, Worker)>,
}

/// A process that runs jobs of a role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    pub pid: i32,
    pub role: pg_sys::Oid,
}

thread_local! {
    static PENDING: RefCell<Pending> = RefCell::default();
    static STARTED: RefCell<HashMap<i64, Instant>> = RefCell::default();
}

pub fn init() {
    // SAFETY: set by the postmaster while it loads libraries.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress } {
        BackgroundWorkerBuilder::new("pg_ltv launcher")
            .set_library(LIBRARY)
            .set_function("ltv_launcher_main")
            .enable_spi_access()
            .load();
    }
}

fn worker(database: pg_sys::Oid, role: pg_sys::Oid) -> pg_sys::BackgroundWorker {
    let builder = BackgroundWorkerBuilder::new(WORKER_TYPE)
        .set_library(LIBRARY)
        .set_function("ltv_worker_main")
        .set_extra(&format!("{} {}", u32::from(database), u32::from(role)))
        .enable_spi_access();
    (&builder).into()
}

/// Starts a worker; `false` if all slots are taken.
fn start(database: pg_sys::Oid, role: pg_sys::Oid) -> bool {
    let mut worker = worker(database, role);
    // SAFETY: the description is copied. No handle is asked for, so nothing is allocated and nothing can fail,
    // which makes it safe after a commit.
    unsafe { pg_sys::RegisterDynamicBackgroundWorker(&mut worker, std::ptr::null_mut()) }
}

/// Starts a worker for a job of this database, unless this backend has just done so.
pub fn start_for(job: i64, role: pg_sys::Oid) -> bool {
    STARTED.with_borrow_mut(|started| {
        started.retain(|_, at| at.elapsed() < STARTUP);
        if started.contains_key(&job) {
            return true;
        }
        // SAFETY: set once at the start of the session.
        let slot = start(unsafe { pg_sys::MyDatabaseId }, role);
        if slot {
            started.insert(job, Instant::now());
        }
        slot
    })
}

/// A job of the role will be there when the transaction commits.
pub fn start_at_commit(role: pg_sys::Oid) {
    PENDING.with_borrow_mut(|pending| {
        pending.register();
        // SAFETY: inside a transaction.
        let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
        pending.starts.push((subtransaction, role));
    });
}

/// The worker is to be told when the transaction commits that its job was cancelled.
pub fn cancel_at_commit(worker: Worker) {
    PENDING.with_borrow_mut(|pending| {
        pending.register();
        // SAFETY: inside a transaction.
        let subtransaction = unsafe { pg_sys::GetCurrentSubTransactionId() };
        pending.cancels.push((subtransaction, worker));
    });
}

impl Pending {
    fn register(&mut self) {
        if !std::mem::replace(&mut self.callbacks, true) {
            // SAFETY: the callbacks live as long as the process.
            unsafe {
                pg_sys::RegisterXactCallback(Some(transaction_ends), std::ptr::null_mut());
                pg_sys::RegisterSubXactCallback(Some(subtransaction_ends), std::ptr::null_mut());
            }
        }
    }
}

/// After a commit an ERROR would bring the server down: nothing here may raise one.
#[pg_guard]
unsafe extern "C-unwind" fn transaction_ends(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    // A prepared transaction's jobs are found by whoever looks at the queue next.
    if !matches!(
        event,
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT | XACT_EVENT_PREPARE
    ) {
        return;
    }
    let (starts, cancels) = PENDING.with_borrow_mut(|pending| {
        (
            std::mem::take(&mut pending.starts),
            std::mem::take(&mut pending.cancels),
        )
    });
    if event != XACT_EVENT_COMMIT {
        return;
    }
    for (_, worker) in cancels {
        signal(worker);
    }
    // SAFETY: set at the start of the session.
    let database = unsafe { pg_sys::MyDatabaseId };
    // Each of them looks at the queue itself, so a few are enough however many jobs were queued.
    let slots = starts
        .iter()
        .take(8)
        .all(|(_, role)| start(database, *role));
    if !slots {
        // SAFETY: a plain setting.
        let max = unsafe { pg_sys::max_worker_processes };
        Report::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            "the job waits in the queue: no background worker slot is free",
        )
        .detail(format!(
            "It starts when a slot is free. To have more of them, raise max_worker_processes (now {max}) and restart the server."
        ))
        .report(PgLogLevel::NOTICE);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction_ends(
    event: pg_sys::SubXactEvent::Type,
    child: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    PENDING.with_borrow_mut(|pending| match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            pending.starts.retain(|(id, _)| *id != child);
            pending.cancels.retain(|(id, _)| *id != child);
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => {
            let ids = pending
                .starts
                .iter_mut()
                .map(|(id, _)| id)
                .chain(pending.cancels.iter_mut().map(|(id, _)| id));
            for id in ids.filter(|id| **id == child) {
                *id = parent;
            }
        }
        _ => {}
    });
}

/// The worker of this database that the process is; `None` for one that is anything else, or gone.
pub fn worker_at(pid: i32) -> Option<Worker> {
    // SAFETY: both calls look a process up in shared memory; the string is compared before anything changes.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if process.is_null() || (*process).databaseId != pg_sys::MyDatabaseId {
            return None;
        }
        let role = (*process).roleId;
        let kind = pg_sys::GetBackgroundWorkerTypeByPid(pid);
        let ours =
            !kind.is_null() && std::ffi::CStr::from_ptr(kind).to_bytes() == WORKER_TYPE.as_bytes();
        ours.then_some(Worker { pid, role })
    }
}

/// Interrupts a worker. A process that is anything else by now, or works for another role, is left alone.
fn signal(target: Worker) {
    if worker_at(target.pid) == Some(target) {
        // SAFETY: a worker of ours, as was just seen; its handler for this signal ends the job only.
        unsafe { libc::kill(target.pid, libc::SIGINT) };
    }
}

/// After the start of a server that preloads the library: one worker per database looks for queued and lost jobs.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_launcher_main(_argument: pg_sys::Datum) {
    interrupt::install();
    // SAFETY: a connection to the shared catalogs only.
    unsafe { pg_sys::BackgroundWorkerInitializeConnection(std::ptr::null(), std::ptr::null(), 0) };
    let databases = match session::transaction(|| Ok(databases())) {
        Ok(databases) => databases,
        Err(report) => {
            log(format!("pg_ltv launcher: {}", report.message));
            return;
        }
    };
    for database in databases {
        // Without a free slot it is for the sessions to wake the queue.
        for _ in 0..50 {
            if interrupt::terminated() {
                return;
            }
            if start(database, pg_sys::InvalidOid) {
                break;
            }
            session::wait(200);
        }
    }
}

/// Every database that can be connected to. Without a database there is no SQL, hence the scan.
fn databases() -> Vec<pg_sys::Oid> {
    let mut found = Vec::new();
    // SAFETY: the relation is closed after the scan ends; tuples are read while the scan holds them.
    unsafe {
        let relation =
            pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let database = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if database.datallowconn && !database.datistemplate {
                found.push(database.oid);
            }
        }
        if let Some(end) = (*(*(*scan).rs_rd).rd_tableam).scan_end {
            end(scan);
        }
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}
