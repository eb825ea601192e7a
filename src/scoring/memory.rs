//! Memory whose amount somebody else decides: bounded by `ltv.scoring_memory`, and a failure is an error.

use crate::error::Reportable;
use crate::guc;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Clone, Debug, thiserror::Error)]
pub enum MemoryError {
    /// More than the setting allows.
    #[error("scoring takes more memory than is allowed")]
    Bound { needed: usize },
    /// ONNX Runtime reached the setting, or the system has no more.
    #[error("out of memory while scoring")]
    Exhausted { reason: String },
}

impl Reportable for MemoryError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY
    }

    fn detail(&self) -> Option<String> {
        let bound = guc::SCORING_MEMORY.get();
        Some(match self {
            Self::Bound { needed } => {
                format!("{needed} bytes are needed; ltv.scoring_memory is {bound} MB.")
            }
            Self::Exhausted { reason } => {
                format!("{reason} ltv.scoring_memory is {bound} MB.")
            }
        })
    }

    fn hint(&self) -> Option<String> {
        Some(
            "Lower ltv.batch_size, or have an administrator raise ltv.scoring_memory if the model deserves it."
                .to_owned(),
        )
    }
}

/// `ltv.scoring_memory` in bytes.
pub fn bound() -> usize {
    usize::try_from(guc::SCORING_MEMORY.get())
        .unwrap_or(0)
        .saturating_mul(1 << 20)
}

/// Room for `more` elements behind those of `list`.
pub fn reserve<T>(list: &mut Vec<T>, more: usize) -> Result<(), MemoryError> {
    if list.capacity() - list.len() >= more {
        return Ok(());
    }
    let needed = list
        .len()
        .saturating_add(more)
        .saturating_mul(size_of::<T>());
    if needed > bound() {
        return Err(MemoryError::Bound { needed });
    }
    list.try_reserve(more)
        .or_else(|_| list.try_reserve_exact(more))
        .map_err(|_| MemoryError::Exhausted {
            reason: format!("{needed} bytes could not be had."),
        })
}

/// `list` gets `count` elements; new ones are `value`.
pub fn resize<T: Copy>(list: &mut Vec<T>, count: usize, value: T) -> Result<(), MemoryError> {
    reserve(list, count.saturating_sub(list.len()))?;
    list.resize(count, value);
    Ok(())
}

/// A copy.
pub fn copy(bytes: &[u8]) -> Result<Vec<u8>, MemoryError> {
    let mut copy = Vec::new();
    reserve(&mut copy, bytes.len())?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}

/// A limit on the data of the whole process while ONNX Runtime works, for what its arena does not count: constants that
/// it computes when it loads a graph, strings, lists of its own. An allocation beyond it fails, and ONNX Runtime says so.
///
/// Linux counts private memory, which shared buffers are not.
#[cfg(target_os = "linux")]
pub mod process {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    static LIMITED: AtomicBool = AtomicBool::new(false);
    /// The limit that was in force before.
    static BEFORE: AtomicU64 = AtomicU64::new(0);
    static PAGE: AtomicU64 = AtomicU64::new(0);

    /// Pages of data, from the sixth number of /proc/self/statm. May be called in a signal handler.
    fn data_pages() -> Option<u64> {
        let mut text = [0_u8; 256];
        // SAFETY: a constant path; the buffer is as long as said; the descriptor is closed.
        let length = unsafe {
            let file = libc::open(
                c"/proc/self/statm".as_ptr(),
                libc::O_RDONLY | libc::O_CLOEXEC,
            );
            if file < 0 {
                return None;
            }
            let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            usize::try_from(length).ok()?
        };
        let sixth = text.get(..length)?.split(|b| *b == b' ').nth(5)?;
        sixth.iter().try_fold(0_u64, |number, digit| {
            let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
            number.checked_mul(10)?.checked_add(u64::from(digit))
        })
    }

    /// To be called once before [`limit`], which may not ask for it.
    pub fn prepare() {
        // SAFETY: a plain question.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        PAGE.store(u64::try_from(page).unwrap_or(0), Ordering::Relaxed);
    }

    /// From now on the process may take `bytes` more than it has. May be called in a signal handler.
    pub fn limit(bytes: usize) {
        if LIMITED.load(Ordering::Relaxed) {
            return;
        }
        let Some(pages) = data_pages() else { return };
        let page = PAGE.load(Ordering::Relaxed);
        let wanted = pages.saturating_mul(page).saturating_add(bytes as u64);
        // SAFETY: a structure of our own, filled by the call.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            if page == 0 || libc::getrlimit(libc::RLIMIT_DATA, &mut limit) != 0 {
                return;
            }
            if limit.rlim_cur <= wanted {
                return;
            }
            BEFORE.store(limit.rlim_cur, Ordering::Relaxed);
            limit.rlim_cur = wanted;
            if libc::setrlimit(libc::RLIMIT_DATA, &limit) == 0 {
                LIMITED.store(true, Ordering::Relaxed);
            }
        }
    }

    /// The end of the limit.
    pub fn release() {
        if !LIMITED.swap(false, Ordering::Relaxed) {
            return;
        }
        // SAFETY: as above; a soft limit may be raised again up to the hard one.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            if libc::getrlimit(libc::RLIMIT_DATA, &mut limit) == 0 {
                limit.rlim_cur = BEFORE.load(Ordering::Relaxed);
                libc::setrlimit(libc::RLIMIT_DATA, &limit);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub mod process {
    pub fn prepare() {}
    pub fn limit(_bytes: usize) {}
    pub fn release() {}
}
