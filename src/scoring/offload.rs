//! Work of ONNX Runtime that may take long, on a thread of its own, so that the backend can leave it.
//!
//! One operator cannot be stopped, and may run for minutes. Here the main thread waits, looks for interrupts, asks the
//! work to stop, and if it does not, ends the session: the thread goes with the process. The thread never calls PostgreSQL
//! and receives no signal.

use super::interrupt::{Pending, pending};
use super::memory::{self, MemoryError};
use crate::error::{Report, Result};
use crate::signals::Blocked;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::ffi::CStr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks for interrupts.
const TICK: Duration = Duration::from_millis(20);
/// For the work to stop once it is asked to.
const GRACE: Duration = Duration::from_millis(600);
/// Until the work gives way to what is no cancel.
const PATIENCE: Duration = Duration::from_secs(1);
/// Deep graphs are read recursively. Only what is used is taken.
const STACK: usize = 16 << 20;

/// How the work ended.
pub enum Ended<T> {
    Done(T),
    /// It was asked to stop, and did: interrupts are to be looked at, and then it may be tried again.
    Stopped(T),
    /// It was asked to stop and goes on. Nothing that it uses may be freed; [`end_session`] comes next.
    Stuck,
}

/// What a thread takes along that is not its own. Whoever sends it sees to it that it lives.
pub struct Lent<T>(pub T);
// SAFETY: the main thread does not touch it while the other has it.
unsafe impl<T> Send for Lent<T> {}

impl<T> Lent<T> {
    /// A closure that calls this takes the whole along, not the field.
    pub fn take(self) -> T {
        self.0
    }
}

/// Does `work` on another thread. `stop` asks it to stop; it is not called once the work has ended.
pub fn offload<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    stop: impl Fn(),
) -> Result<Ended<T>> {
    memory::process::prepare();
    memory::process::limit(memory::bound().saturating_add(STACK));
    let ended = wait(work, stop);
    memory::process::release();
    ended
}

fn wait<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    stop: impl Fn(),
) -> Result<Ended<T>> {
    let (sender, receiver) = channel();
    let thread = {
        let _blocked = Blocked::new();
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                // The main thread may be gone from its place already.
                let _ = sender.send(work());
            })
            .map_err(|error| MemoryError::Exhausted {
                reason: format!("A thread could not be started: {error}."),
            })?
    };
    let ended = receive(&receiver, stop)?;
    if !matches!(ended, Ended::Stuck) {
        let _ = thread.join();
    }
    Ok(ended)
}

fn receive<T>(receiver: &Receiver<T>, stop: impl Fn()) -> Result<Ended<T>> {
    let start = Instant::now();
    let mut asked: Option<Instant> = None;
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(value) if asked.is_some() => return Ok(Ended::Stopped(value)),
            Ok(value) => return Ok(Ended::Done(value)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                    "ONNX Runtime ended unexpectedly",
                ));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        match asked {
            Some(at) if at.elapsed() > GRACE && pending() == Pending::End => {
                return Ok(Ended::Stuck);
            }
            Some(_) => {}
            None => {
                let due = match pending() {
                    Pending::Nothing => false,
                    Pending::Other => start.elapsed() > PATIENCE,
                    Pending::End => true,
                };
                if due {
                    stop();
                    asked = Some(Instant::now());
                }
            }
        }
    }
}

// utils/elog.h; pgrx binds them only as part of its own reports, which unwind, and destructors must not run here.
unsafe extern "C-unwind" {
    fn errstart(level: i32, domain: *const std::ffi::c_char) -> bool;
    fn errcode(code: i32) -> i32;
    fn errmsg_internal(format: *const std::ffi::c_char, ...) -> i32;
    fn errdetail_internal(format: *const std::ffi::c_char, ...) -> i32;
    fn errfinish(file: *const std::ffi::c_char, line: i32, function: *const std::ffi::c_char);
}

/// Ends the session, because work that was abandoned cannot be ended otherwise.
pub fn end_session() -> ! {
    const MESSAGE: &CStr =
        c"terminating connection because an operator of ONNX Runtime could not be stopped";
    const DETAIL: &CStr =
        c"The statement was to end, and one operator of the graph was still at work.";
    // SAFETY: constants; a FATAL does not return. The process exits past the destructors of libraries, one of which is at
    // work.
    unsafe {
        libc::atexit(leave);
        if pending() == Pending::End && pg_sys::ProcDiePending != 0 {
            pg_sys::ProcessInterrupts();
        }
        if errstart(pgrx::PgLogLevel::FATAL as i32, std::ptr::null()) {
            errcode(PgSqlErrorCode::ERRCODE_QUERY_CANCELED as i32);
            errmsg_internal(c"%s".as_ptr(), MESSAGE.as_ptr());
            errdetail_internal(c"%s".as_ptr(), DETAIL.as_ptr());
            errfinish(c"offload.rs".as_ptr(), 0, c"end_session".as_ptr());
        }
        libc::_exit(1)
    }
}

extern "C" fn leave() {
    // SAFETY: ends the process as PostgreSQL is about to.
    unsafe { libc::_exit(1) }
}
