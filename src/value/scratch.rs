//! A memory context for what reading one row allocates: detoasted copies, text of other types.

use pgrx::pg_sys;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static CONTEXT: Cell<pg_sys::MemoryContext> = const { Cell::new(ptr::null_mut()) };
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Frees what the last row allocated. Called before each row, so that an error in between leaks nothing.
pub fn reset() {
    if USED.replace(false) {
        // SAFETY: set together with USED, a context that lives as long as the process.
        unsafe { pg_sys::MemoryContextReset(CONTEXT.get()) };
    }
}

/// Runs `body` with the scratch context as the current one.
pub fn within<T>(body: impl FnOnce() -> T) -> T {
    USED.set(true);
    if CONTEXT.get().is_null() {
        // SAFETY: TopMemoryContext exists as long as the process.
        CONTEXT.set(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"ltv row".as_ptr(),
                0,
                8 * 1024,
                1024 * 1024,
            )
        });
    }
    // SAFETY: the context was just made sure of. PostgreSQL's error recovery resets the current context itself.
    let previous = unsafe { pg_sys::MemoryContextSwitchTo(CONTEXT.get()) };
    let result = body();
    // SAFETY: the context that was current a moment ago.
    unsafe { pg_sys::MemoryContextSwitchTo(previous) };
    result
}
