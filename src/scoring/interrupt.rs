//! Ends an inference when the statement is to end.
//!
//! ONNX Runtime looks at a flag between two operators. While an inference runs, a timer of PostgreSQL's looks every
//! [`TICK`] whether the statement was cancelled, and sets the flag. Short inferences cost one look at whether the timer
//! is still set from an earlier one; it stops by itself.

use super::memory;
use ort::{ortsys, sys};
use pgrx::pg_sys;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// Milliseconds between two looks.
const TICK: c_int = 50;

/// Looks after which an inference gives way to what is no cancel, for example a signal that all processes must take.
const PATIENCE: u32 = 20;

// utils/timeout.h, which pgrx does not bind. None of them raises an ERROR.
unsafe extern "C-unwind" {
    fn RegisterTimeout(id: c_int, handler: extern "C-unwind" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay: c_int);
    fn get_timeout_active(id: c_int) -> bool;
}

/// Any number from USER_TIMEOUT on asks for a free one.
const ANY_TIMEOUT: c_int = 64;

/// Our timeout in this process; negative: none yet.
static TIMEOUT: AtomicI32 = AtomicI32::new(-1);
/// What the inference that runs on this thread is stopped by.
static RUNNING: AtomicPtr<sys::OrtRunOptions> = AtomicPtr::new(ptr::null_mut());
static STOPPED: AtomicBool = AtomicBool::new(false);
/// Looks during the running inference.
static TICKS: AtomicU32 = AtomicU32::new(0);
/// `CHECK_FOR_INTERRUPTS` will do nothing after the running inference.
static HELD: AtomicBool = AtomicBool::new(false);
static PATIENT: AtomicU32 = AtomicU32::new(PATIENCE);
static MEMORY: AtomicUsize = AtomicUsize::new(0);

/// What is to be taken care of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    Nothing,
    /// Something that can wait a little.
    Other,
    /// The statement or the process is to end.
    End,
}

/// Whether `CHECK_FOR_INTERRUPTS` would do nothing here whatever is pending.
fn held() -> bool {
    // SAFETY: counters of this process.
    unsafe { pg_sys::InterruptHoldoffCount != 0 || pg_sys::CritSectionCount != 0 }
}

fn flags() -> Pending {
    // SAFETY: flags that signal handlers of this process write.
    unsafe {
        let set = |flag: *const pg_sys::sig_atomic_t| flag.read_volatile() != 0;
        if !set(&raw const pg_sys::InterruptPending) {
            return Pending::Nothing;
        }
        let cancel =
            set(&raw const pg_sys::QueryCancelPending) && pg_sys::QueryCancelHoldoffCount == 0;
        if cancel
            || set(&raw const pg_sys::ProcDiePending)
            || set(&raw const pg_sys::ClientConnectionLost)
        {
            Pending::End
        } else {
            Pending::Other
        }
    }
}

/// What waits for `CHECK_FOR_INTERRUPTS`.
pub fn pending() -> Pending {
    if held() { Pending::Nothing } else { flags() }
}

/// How an inference on this thread went.
pub struct Watched<T> {
    pub result: T,
    /// It ended because of us.
    pub stopped: bool,
    /// It ended before the timer looked.
    pub quick: bool,
}

/// Runs an inference on this thread, the main one.
pub fn watch<T>(options: *mut sys::OrtRunOptions, run: impl FnOnce() -> T) -> Watched<T> {
    arm();
    TICKS.store(0, Ordering::Relaxed);
    HELD.store(held(), Ordering::Relaxed);
    RUNNING.store(options, Ordering::Release);
    let result = run();
    RUNNING.store(ptr::null_mut(), Ordering::Release);
    let quick = TICKS.load(Ordering::Relaxed) == 0;
    let stopped = !quick && STOPPED.swap(false, Ordering::Relaxed);
    if !quick {
        memory::process::release();
        if !stopped {
            PATIENT.store(PATIENCE, Ordering::Relaxed);
        }
    }
    Watched {
        result,
        stopped,
        quick,
    }
}

fn arm() {
    let mut id = TIMEOUT.load(Ordering::Relaxed);
    if id < 0 {
        memory::process::prepare();
        // SAFETY: inside a backend, whose timeouts are set up; the handler does what a signal handler may do.
        id = unsafe { RegisterTimeout(ANY_TIMEOUT, look) };
        TIMEOUT.store(id, Ordering::Relaxed);
    }
    // SAFETY: a registered timeout.
    unsafe {
        if !get_timeout_active(id) {
            MEMORY.store(memory::bound(), Ordering::Relaxed);
            enable_timeout_after(id, TICK);
        }
    }
}

/// In PostgreSQL's handler of SIGALRM, which itself holds interrupts.
extern "C-unwind" fn look() {
    let options = RUNNING.load(Ordering::Acquire);
    if options.is_null() {
        return;
    }
    let ticks = TICKS.fetch_add(1, Ordering::Relaxed) + 1;
    memory::process::limit(MEMORY.load(Ordering::Relaxed));
    let stop = !HELD.load(Ordering::Relaxed)
        && match flags() {
            Pending::Nothing => false,
            Pending::End => true,
            Pending::Other => {
                let patient = PATIENT.load(Ordering::Relaxed);
                let out_of_patience = ticks > patient;
                if out_of_patience {
                    // The next try gets twice as long.
                    PATIENT.store(patient.saturating_mul(2), Ordering::Relaxed);
                }
                out_of_patience
            }
        };
    if stop {
        STOPPED.store(true, Ordering::Relaxed);
        terminate(options);
    }
    // SAFETY: a registered timeout; handlers may set it anew.
    unsafe { enable_timeout_after(TIMEOUT.load(Ordering::Relaxed), TICK) };
}

/// Tells an inference to end, from any thread or a signal handler: it sets a flag.
pub fn terminate(options: *mut sys::OrtRunOptions) {
    let _: ort::Result<()> = (|| {
        ortsys![unsafe RunOptionsSetTerminate(options)?];
        Ok(())
    })();
}

/// The next inference is to run again.
pub fn allow(options: *mut sys::OrtRunOptions) {
    let _: ort::Result<()> = (|| {
        ortsys![unsafe RunOptionsUnsetTerminate(options)?];
        Ok(())
    })();
}
