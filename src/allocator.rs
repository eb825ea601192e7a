//! What becomes of a training that the system refuses memory: the job fails with SQLSTATE 53200 and the server runs on.
//!
//! Rust aborts the process where an allocation fails, and PostgreSQL restarts all sessions when a process aborts. While
//! a [`Reserve`] is held, a thread that is refused memory waits for the end of the process instead. The main thread gives
//! back the reserve, has room to write the job's end down, and exits as workers do.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Bytes that the end of a job takes: a transaction with a few statements.
const RESERVE: usize = 32 << 20;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Address of the reserve; 0 where none is held.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The thread that holds the reserve.
static MAIN: AtomicUsize = AtomicUsize::new(0);
static EXHAUSTED: AtomicBool = AtomicBool::new(false);

struct Allocator;

// SAFETY: the system's allocator, whose answers are passed on; a refused call either asks again or never returns.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        or_wait(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        or_wait(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on; a refused call has left the old memory as it was.
        or_wait(|| unsafe { System.realloc(pointer, layout, size) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[inline]
fn or_wait(ask: impl Fn() -> *mut u8) -> *mut u8 {
    let memory = ask();
    if memory.is_null() {
        refused(&ask)
    } else {
        memory
    }
}

/// Takes no memory itself.
#[cold]
fn refused(ask: &dyn Fn() -> *mut u8) -> *mut u8 {
    let main = MAIN.load(SeqCst);
    if main == 0 {
        return null_mut();
    }
    EXHAUSTED.store(true, SeqCst);
    if main == this_thread() {
        give_back();
        return ask();
    }
    loop {
        // SAFETY: returns when a signal was handled; threads that compute receive none.
        unsafe { libc::pause() };
    }
}

fn this_thread() -> usize {
    // SAFETY: has no conditions.
    unsafe { libc::pthread_self() as usize }
}

fn give_back() {
    let held = HELD.swap(0, SeqCst);
    if held != 0 {
        // SAFETY: mapped by `Reserve::hold`, and unmapped once.
        unsafe { libc::munmap(without_provenance_mut(held), RESERVE) };
    }
}

/// Whether memory was refused while a reserve was held. Then the process should end soon.
pub fn exhausted() -> bool {
    let exhausted = EXHAUSTED.load(SeqCst);
    if exhausted && MAIN.load(SeqCst) == this_thread() {
        give_back();
    }
    exhausted
}

/// Held by the main thread for as long as other threads compute.
pub struct Reserve(());

impl Reserve {
    /// Where not even the reserve can be had, what follows will find out.
    pub fn hold() -> Self {
        // SAFETY: a new mapping, which nobody else knows of.
        let address = unsafe {
            libc::mmap(
                null_mut(),
                RESERVE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address != libc::MAP_FAILED {
            HELD.store(address.addr(), SeqCst);
        }
        MAIN.store(this_thread(), SeqCst);
        Self(())
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // Threads that wait must go on waiting: they hold what they were refused memory for.
        if !EXHAUSTED.load(SeqCst) {
            MAIN.store(0, SeqCst);
        }
        give_back();
    }
}
