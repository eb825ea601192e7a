//! Which calls in a plan are ours.

use super::tree::{self, Node};
use crate::api::predict;
use crate::scoring::ScoringFunction;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// By function OID; emptied whenever a function changes.
    static KNOWN: RefCell<HashMap<pg_sys::Oid, Option<&'static ScoringFunction>>> =
        RefCell::new(HashMap::new());
}

pub fn init() {
    // SAFETY: a plain function that lives as long as the process.
    unsafe {
        pg_sys::CacheRegisterSyscacheCallback(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            Some(function_changed),
            pg_sys::Datum::from(0),
        );
    }
}

#[pg_guard]
extern "C-unwind" fn function_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    KNOWN.with_borrow_mut(HashMap::clear);
}

/// The scoring function that `node` calls, by the address it is bound to, whatever its name and schema.
///
/// # Safety
/// `node` is null or an expression.
pub unsafe fn called_by(
    node: *mut Node,
) -> Option<(*mut pg_sys::FuncExpr, &'static ScoringFunction)> {
    // SAFETY: passed on.
    let call = unsafe { tree::cast::<pg_sys::FuncExpr>(node) }?;
    // SAFETY: a FuncExpr.
    let (oid, returns_set) = unsafe { ((*call).funcid, (*call).funcretset) };
    if returns_set || oid.to_u32() < pg_sys::FirstNormalObjectId {
        return None;
    }
    lookup(oid).map(|function| (call, function))
}

fn lookup(oid: pg_sys::Oid) -> Option<&'static ScoringFunction> {
    if let Some(known) = KNOWN.with_borrow(|k| k.get(&oid).copied()) {
        return known;
    }
    let mut info = pg_sys::FmgrInfo::default();
    // SAFETY: fills `info`, whose memory is the current context's; the plan holds a valid function.
    unsafe { pg_sys::fmgr_info(oid, &mut info) };
    let function = predict::recognise(info.fn_addr);
    KNOWN.with_borrow_mut(|k| k.insert(oid, function));
    function
}

/// Does any of our functions occur in the expression?
///
/// # Safety
/// `node` is null or an expression or a list of them.
pub unsafe fn occur_in<T>(node: *mut T) -> bool {
    // SAFETY: passed on.
    unsafe { tree::any(node, |n| called_by(n).is_some()) }
}
