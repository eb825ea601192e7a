//! `ltv.restore_waits`: what the trigger asks that completes a restored dump.

use super::export::export;
use crate::catalog::restore;
use crate::error::Result;
use pgrx::pg_sys;

export! {
    ltv_restore_waits / pg_finfo_ltv_restore_waits => restore_waits;
}

/// Whether this session restores a dump; then nobody stores missing predictions any more until the transaction ends.
fn restore_waits(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    let in_progress = restore::in_progress();
    if in_progress {
        restore::wait_for_missing();
    }
    Ok(in_progress.into())
}
