//! The executor's side: the callbacks of the node.

mod call;
mod columns;
mod counters;
mod direct;
mod explain;
mod input;
mod raw;
mod scan;
mod store;

use crate::batch_scan::tree;
use pgrx::pg_sys;
use pgrx::prelude::*;
use scan::Scan;
use std::ffi::{CStr, c_int, c_void};

const NAME: &CStr = c"LTV Batch";

/// Methods are constants that PostgreSQL only reads.
struct Methods<T>(T);

// SAFETY: never written; the pointers inside are to constants and functions.
unsafe impl<T> Sync for Methods<T> {}

static SCAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(create),
});

static EXEC: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain::explain),
});

pub fn init() {
    // SAFETY: the methods live as long as the process. Parallel workers find them by name.
    unsafe { pg_sys::RegisterCustomScanMethods(scan_methods()) };
}

pub fn scan_methods() -> *const pg_sys::CustomScanMethods {
    &raw const SCAN.0
}

/// Is it one of our nodes?
///
/// # Safety
/// `plan` is null or a plan node.
pub unsafe fn is_batch_scan(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: passed on.
    unsafe { tree::cast::<pg_sys::CustomScan>(plan.cast()) }
        // SAFETY: a CustomScan.
        .is_some_and(|scan| unsafe { (*scan).methods } == scan_methods())
}

/// The executor's state of the node, with ours behind it.
#[repr(C)]
struct State {
    css: pg_sys::CustomScanState,
    /// Null before the scan begins, for a plain EXPLAIN, and after the end.
    scan: *mut Scan,
    release: pg_sys::MemoryContextCallback,
}

#[pg_guard]
unsafe extern "C-unwind" fn create(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory for the state in the query's context.
    unsafe {
        let state = pg_sys::palloc0(size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &raw const EXEC.0;
        state.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    css: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: c_int,
) {
    // SAFETY: the executor passes the state that `create` made, initialised for its plan node.
    unsafe {
        let state = css.cast::<State>();
        let plan = (*css).ss.ps.plan;
        let not_ours = (pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK) as c_int;
        (*css).ss.ps.lefttree = pg_sys::ExecInitNode((*plan).lefttree, estate, eflags & !not_ours);
        if eflags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int != 0 {
            return;
        }
        (*state).scan = Box::into_raw(Box::new(Scan::begin(css, estate)));
        // After an error there is no call of `end`.
        (*state).release.func = Some(release);
        (*state).release.arg = state.cast();
        pg_sys::MemoryContextRegisterResetCallback(
            (*estate).es_query_cxt,
            &raw mut (*state).release,
        );
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn execute(
    css: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the state of a running scan. This frame and those below keep the rule of `raw`.
    unsafe {
        let scan = (*css.cast::<State>()).scan;
        if (*(*css).ss.ps.state).es_direction == pg_sys::ScanDirection::BackwardScanDirection {
            backward();
        }
        (*scan).next()
    }
}

fn backward() {
    crate::error::Report::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "a batch scan cannot run backwards",
    )
    .hint("Declare the cursor with SCROLL, or set ltv.enable_batch_scan to off.")
    .raise()
}

#[pg_guard]
unsafe extern "C-unwind" fn rescan(css: *mut pg_sys::CustomScanState) {
    // SAFETY: the state of a running scan.
    unsafe {
        if let Some(scan) = (*css.cast::<State>()).scan.as_mut() {
            scan.rescan();
        }
        let child = (*css).ss.ps.lefttree;
        // Else its first row brings the rescan.
        if (*child).chgParam.is_null() {
            pg_sys::ExecReScan(child);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(css: *mut pg_sys::CustomScanState) {
    // SAFETY: the state that `create` made.
    unsafe {
        drop_scan(css.cast());
        pg_sys::ExecEndNode((*css).ss.ps.lefttree);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn release(state: *mut c_void) {
    // SAFETY: registered by `begin` in the context that holds the state.
    unsafe { drop_scan(state.cast()) }
}

unsafe fn drop_scan(state: *mut State) {
    // SAFETY: made by `begin`; once only.
    unsafe {
        let scan = std::mem::replace(&mut (*state).scan, std::ptr::null_mut());
        if !scan.is_null() {
            drop(Box::from_raw(scan));
        }
    }
}
