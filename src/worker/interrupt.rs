//! Signals of a worker: a statement cancel and a termination both end the job, cleanly and within a second.
//!
//! The handlers raise an ordinary cancel at the next `CHECK_FOR_INTERRUPTS`, which the worker catches, so that it
//! can still write the job's end. While SQL of the job's owner runs, which could catch that too and go on, a
//! termination ends the process instead, and the job's end is written on the way out.

use pgrx::pg_sys;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static CANCELED: AtomicBool = AtomicBool::new(false);
static TERMINATED: AtomicBool = AtomicBool::new(false);
/// The postmaster sent the signal, which it does to stop the server.
static SHUTDOWN: AtomicBool = AtomicBool::new(false);
/// The time that the job may take is over.
static OVERDUE: AtomicBool = AtomicBool::new(false);
/// SQL of the job's owner runs.
static OWNERS_CODE: AtomicBool = AtomicBool::new(false);
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Set once the running job has to stop; the compute thread looks at it.
pub fn stop_flag() -> Arc<AtomicBool> {
    STOP.get_or_init(Default::default).clone()
}

/// The job was told to stop, by whichever signal.
pub fn canceled() -> bool {
    CANCELED.load(Ordering::Relaxed) || terminated()
}

/// The process was told to end, so it takes no further job.
pub fn terminated() -> bool {
    TERMINATED.load(Ordering::Relaxed)
}

/// The process was told to end because the server stops.
pub fn shutting_down() -> bool {
    SHUTDOWN.load(Ordering::Relaxed)
}

/// The job was told to stop because it took too long.
pub fn overdue() -> bool {
    OVERDUE.load(Ordering::Relaxed)
}

/// From another thread, once the job's time is over: cancels it.
pub fn time_is_over() {
    OVERDUE.store(true, Ordering::Relaxed);
    signal(libc::SIGINT);
}

/// From another thread: ends the process where SQL of the job's owner goes on although it was told to stop.
pub fn end_owners_code() {
    if OWNERS_CODE.load(Ordering::Relaxed) {
        signal(libc::SIGTERM);
    }
}

fn signal(signal: i32) {
    // SAFETY: a signal to this very process, whose other threads block it.
    unsafe { libc::kill(libc::getpid(), signal) };
}

/// Runs SQL of the job's owner.
pub fn while_owners_code<T>(body: impl FnOnce() -> T) -> T {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            OWNERS_CODE.store(false, Ordering::Relaxed);
        }
    }
    let _ends = Ends;
    OWNERS_CODE.store(true, Ordering::Relaxed);
    if terminated() {
        die();
    }
    body()
}

/// Asks the running job to stop, as a signal would.
pub fn cancel() {
    CANCELED.store(true, Ordering::Relaxed);
    stop_flag().store(true, Ordering::Relaxed);
}

/// Before the next job: a cancel was meant for the last one.
pub fn reset() {
    CANCELED.store(false, Ordering::Relaxed);
    OVERDUE.store(false, Ordering::Relaxed);
    stop_flag().store(terminated(), Ordering::Relaxed);
    settle();
}

/// Forgets a cancel that was not delivered yet, so that the end of the job can be written.
pub fn settle() {
    // SAFETY: a flag that only this process writes; a signal in between is kept in our own flags.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

extern "C-unwind" fn on_cancel(_signal: i32) {
    CANCELED.store(true, Ordering::Relaxed);
    raise_cancel();
}

extern "C" fn on_terminate(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes the sender along.
    let from_postmaster = unsafe { (*info).si_pid() == pg_sys::PostmasterPid };
    SHUTDOWN.store(from_postmaster, Ordering::Relaxed);
    TERMINATED.store(true, Ordering::Relaxed);
    if OWNERS_CODE.load(Ordering::Relaxed) {
        die();
    } else {
        raise_cancel();
    }
}

/// Ends the process at the next `CHECK_FOR_INTERRUPTS`, whatever the SQL that runs does about errors.
fn die() {
    // SAFETY: a write of sig_atomic_t, as PostgreSQL's own handler does.
    unsafe { pg_sys::ProcDiePending = 1 };
    raise_cancel();
}

extern "C-unwind" fn on_reload(_signal: i32) {
    // SAFETY: what PostgreSQL's own handler does.
    unsafe {
        pg_sys::ConfigReloadPending = 1;
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

fn raise_cancel() {
    if let Some(stop) = STOP.get() {
        stop.store(true, Ordering::Relaxed);
    }
    // SAFETY: writes of sig_atomic_t and SetLatch are allowed in a signal handler.
    unsafe {
        pg_sys::InterruptPending = 1;
        pg_sys::QueryCancelPending = 1;
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
}

/// Takes over the worker's signals and lets them in.
pub fn install() {
    stop_flag(); // allocated here, not in a handler
    handle(libc::SIGINT, on_cancel);
    handle_terminate();
    handle(libc::SIGHUP, on_reload);
    // SAFETY: handlers are in place.
    unsafe { pg_sys::BackgroundWorkerUnblockSignals() };
}

fn handle(signal: i32, handler: extern "C-unwind" fn(i32)) {
    // SAFETY: the handlers do only what a signal handler may do.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::pqsignal(signal, Some(handler));
        #[cfg(feature = "pg18")]
        pg_sys::pqsignal_be(signal, Some(handler));
    }
}

/// Not by `pqsignal`, which keeps the sender of a signal to itself.
fn handle_terminate() {
    // SAFETY: the handler does only what a signal handler may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_terminate as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
    }
}
