//! How the rows of a layer are shared among the threads of the pool that training runs in.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::cell::Cell;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// How many threads a layer may split its rows among: those of the pool that training runs in, one outside of any.
pub fn threads() -> usize {
    match rayon::current_thread_index() {
        Some(_) if !ALONE.get() => rayon::current_num_threads(),
        _ => 1,
    }
}

/// Runs `work` on this thread only: the others have work of their own.
pub fn alone<T>(work: impl FnOnce() -> T) -> T {
    let before = ALONE.replace(true);
    let done = work();
    ALONE.set(before);
    done
}

/// Rows below which a thread of its own is not worth it.
const ROWS_PER_THREAD: usize = 128;

/// How many of `rows` each part gets that a thread works on; the last one may get fewer.
pub fn rows_per_part(rows: usize) -> usize {
    let parts = threads().min(rows / ROWS_PER_THREAD).max(1);
    rows.div_ceil(parts).max(1)
}

/// Applies `work` to all items, on the pool's threads where they have nothing else to do; results in the items' order.
pub fn each<I: Send, O: Send>(items: Vec<I>, work: impl Fn(I) -> O + Send + Sync) -> Vec<O> {
    if threads() < 2 || items.len() < 2 {
        items.into_iter().map(work).collect()
    } else {
        items.into_par_iter().map(work).collect()
    }
}
