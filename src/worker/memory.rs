//! The memory that the worker's process alone has, without what it shares with the server, and the most it ever had:
//! Linux keeps a high-water mark of both together only. And the memory that it may still take.

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
    let [_, resident, shared] = pages()?;
    Some((resident - shared) * page_size())
}

/// Bytes of address space that the process may still take; `None` where that is not bounded.
pub fn room() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: fills the structure.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) };
    if outcome != 0 || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    let [all, ..] = pages()?;
    let taken = all * page_size();
    usize::try_from(limit.rlim_cur)
        .ok()
        .map(|limit| limit.saturating_sub(taken as usize))
}

/// Of the address space, of what is in memory, and of that what is shared.
fn pages() -> Option<[i64; 3]> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = pages.split(' ').map(|n| n.parse::<i64>().ok());
    Some([pages.next()??, pages.next()??, pages.next()??])
}

fn page_size() -> i64 {
    // SAFETY: a constant of the system.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }
}
