//! The memory that the worker's process alone has, without what it shares with the server, and the most it ever had:
//! Linux keeps a high-water mark of both together only.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

static MOST: AtomicI64 = AtomicI64::new(0);

/// At the start of a job.
pub fn reset() {
    MOST.store(0, Relaxed);
}

/// Looks how much it is now. Cheap enough for a few times in a hundredth of a second.
pub fn watch() {
    if let Some(now) = now() {
        MOST.fetch_max(now, Relaxed);
    }
}

/// The most bytes there were at any look; `None` where Linux does not say.
pub fn most() -> Option<i64> {
    watch();
    Some(MOST.load(Relaxed)).filter(|&most| most > 0)
}

fn now() -> Option<i64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').skip(1).map(|n| n.parse::<i64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    // SAFETY: a constant of the system.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some((resident - shared) * size)
}
