//! When a statement asks: what its snapshot sees, and as whom.

use super::{generation, table};
use pgrx::pg_sys;

/// What a call's answer depends on besides its arguments: what the snapshot sees, and as whom. As long as it is the
/// same, [`resolve`](super::resolve()) would return the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    xmin: u32,
    xmax: u32,
    in_progress: u32,
    command: u32,
    /// Transactions completed before the snapshot was taken.
    completed: u64,
    generation: u64,
    role: pg_sys::Oid,
}

impl Moment {
    /// Not so for snapshots that came from another process.
    pub fn counts_transactions(&self) -> bool {
        self.completed != 0
    }

    pub fn now() -> Self {
        // SAFETY: a snapshot in use.
        unsafe {
            let snapshot = &*table::active_snapshot();
            Self {
                xmin: snapshot.xmin.into_inner(),
                xmax: snapshot.xmax.into_inner(),
                in_progress: snapshot.xcnt,
                command: snapshot.curcid,
                completed: snapshot.snapXactCompletionCount,
                generation: generation(),
                role: pg_sys::GetUserId(),
            }
        }
    }
}
