//! What the executor does for each row, called directly.
//!
//! pgrx turns each PostgreSQL error into a Rust panic and back, by a setjmp around each call. For a row at a time that
//! is too dear, and the error would lose its context on the way. So here PostgreSQL is called as it is, and an error
//! jumps over the Rust frames between the executor and its callee.
//!
//! **The rule for all callers**: while one of these functions runs, no frame up to the executor's callback holds a
//! value that has a destructor.

use pgrx::pg_sys::{self, Datum};
use std::ffi::c_int;

unsafe extern "C-unwind" {
    #[link_name = "ExecReScan"]
    fn exec_rescan(node: *mut pg_sys::PlanState);
    #[link_name = "slot_getsomeattrs_int"]
    fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, attnum: c_int);
    #[link_name = "datumCopy"]
    fn datum_copy(value: Datum, by_value: bool, length: c_int) -> Datum;
    #[link_name = "MemoryContextReset"]
    fn memory_context_reset(context: pg_sys::MemoryContext);
}

const EMPTY: u16 = pg_sys::TTS_FLAG_EMPTY as u16;

/// The child's next row; null at the end.
///
/// # Safety
/// A child that is initialised; see the rule above.
#[inline]
pub unsafe fn next(child: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: what ExecProcNode does, which is an inline function.
    unsafe {
        if !(*child).chgParam.is_null() {
            exec_rescan(child);
        }
        let slot = match (*child).ExecProcNode {
            Some(exec) => exec(child),
            None => std::ptr::null_mut(),
        };
        if slot.is_null() || (*slot).tts_flags & EMPTY != 0 {
            return std::ptr::null_mut();
        }
        slot
    }
}

/// Makes the first `attributes` columns of a slot readable.
///
/// # Safety
/// A slot with a row of at least so many columns; see the rule above.
#[inline]
pub unsafe fn deform(slot: *mut pg_sys::TupleTableSlot, attributes: usize) {
    // SAFETY: what slot_getsomeattrs does, which is an inline function.
    unsafe {
        if ((*slot).tts_nvalid as usize) < attributes {
            slot_getsomeattrs_int(slot, attributes as c_int);
        }
    }
}

/// The value of an expression, allocated in the context of the current row.
///
/// # Safety
/// An expression compiled for `econtext`; see the rule above.
#[inline]
pub unsafe fn evaluate(
    state: *mut pg_sys::ExprState,
    econtext: *mut pg_sys::ExprContext,
) -> (Datum, bool) {
    let mut is_null = false;
    // SAFETY: what ExecEvalExprSwitchContext does, which is an inline function.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*econtext).ecxt_per_tuple_memory;
        let value = match (*state).evalfunc {
            Some(evaluate) => evaluate(state, econtext, &mut is_null),
            None => Datum::from(0),
        };
        pg_sys::CurrentMemoryContext = before;
        (value, is_null)
    }
}

/// Do the conditions hold? Null: there are none.
///
/// # Safety
/// Compiled by `ExecInitQual` for `econtext`; see the rule above.
#[inline]
pub unsafe fn holds(state: *mut pg_sys::ExprState, econtext: *mut pg_sys::ExprContext) -> bool {
    // SAFETY: passed on. Such an expression is never NULL.
    state.is_null() || unsafe { evaluate(state, econtext) }.0.value() != 0
}

/// # Safety
/// A projection whose input is in its context; see the rule above.
#[inline]
pub unsafe fn project(projection: *mut pg_sys::ProjectionInfo) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: what ExecProject does, which is an inline function, for a virtual slot.
    unsafe {
        let state = &raw mut (*projection).pi_state;
        let slot = (*state).resultslot;
        clear(slot);
        evaluate(state, (*projection).pi_exprContext);
        filled(slot);
        slot
    }
}

/// All columns of a virtual slot were written.
///
/// # Safety
/// A virtual slot that was cleared.
#[inline]
pub unsafe fn filled(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: what ExecStoreVirtualTuple does.
    unsafe {
        (*slot).tts_flags &= !EMPTY;
        (*slot).tts_nvalid = (*(*slot).tts_tupleDescriptor).natts as i16;
    }
}

/// # Safety
/// A slot; see the rule above.
#[inline]
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: each slot has its operations.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

/// # Safety
/// A value of a type with this length and way of passing; see the rule above.
#[inline]
pub unsafe fn copy_into(context: pg_sys::MemoryContext, value: Datum, length: i16) -> Datum {
    // SAFETY: passed on.
    unsafe {
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = context;
        let value = datum_copy(value, false, c_int::from(length));
        pg_sys::CurrentMemoryContext = before;
        value
    }
}

/// Frees what the last row allocated.
///
/// # Safety
/// An expression context; see the rule above.
#[inline]
pub unsafe fn reset_row(econtext: *mut pg_sys::ExprContext) {
    // SAFETY: passed on.
    unsafe { memory_context_reset((*econtext).ecxt_per_tuple_memory) }
}

/// # Safety
/// A memory context none of whose contents is used any more; see the rule above.
pub unsafe fn reset(context: pg_sys::MemoryContext) {
    // SAFETY: passed on.
    unsafe { memory_context_reset(context) }
}
