//! `ltv.may_commit()`: whether the procedure that asks may end its transaction.

use super::export::export;
use crate::error::Result;
use pgrx::pg_sys;

export! {
    ltv_may_commit / pg_finfo_ltv_may_commit => may_commit;
}

/// Not in a block that a client has begun, nor below a function or an exception block.
fn may_commit(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: it reads the state of this session.
    Ok(unsafe { pg_sys::SPI_inside_nonatomic_context() }.into())
}
