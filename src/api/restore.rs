//! What the trigger asks that completes a restored dump.

use super::export::export;
use crate::catalog::restore;
use crate::error::Result;
use pgrx::pg_sys;

export! {
    ltv_restores / pg_finfo_ltv_restores => restores;
    ltv_end_missing / pg_finfo_ltv_end_missing => end_missing;
}

/// `ltv.restores()`: whether this session restores a dump.
fn restores(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    Ok(restore::in_progress().into())
}

/// `ltv.end_missing()`: until the transaction ends, nobody stores missing predictions any more.
fn end_missing(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    restore::wait_for_missing();
    Ok(pg_sys::Datum::null())
}
