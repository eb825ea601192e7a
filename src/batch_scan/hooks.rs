//! When plans are looked at: after the planner; and, for the statement whose planning loaded the library and which
//! therefore went past the hook, when it is executed.

use super::{builder, exec, tree};
use crate::error::Report;
use crate::guc;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{c_char, c_int};

thread_local! {
    static NEXT_PLANNER: Cell<pg_sys::planner_hook_type> = const { Cell::new(None) };
    static NEXT_START: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
    /// A statement of this transaction may have been planned without us.
    static MISSED: Cell<bool> = const { Cell::new(false) };
}

pub fn init() {
    // SAFETY: hooks are chained as PostgreSQL expects; one thread.
    unsafe {
        NEXT_PLANNER.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(plan);
        NEXT_START.set(pg_sys::ExecutorStart_hook);
        pg_sys::ExecutorStart_hook = Some(start);
        // In a transaction, that is while something is planned or executed.
        if pg_sys::IsTransactionState() {
            MISSED.set(true);
            pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ended(
    event: pg_sys::XactEvent::Type,
    _argument: *mut std::ffi::c_void,
) {
    if MISSED.get()
        && (event == pg_sys::XactEvent::XACT_EVENT_COMMIT
            || event == pg_sys::XactEvent::XACT_EVENT_ABORT)
    {
        MISSED.set(false);
        // Generic plans that were made without us are made anew.
        // SAFETY: marks the session's cached plans as out of date.
        unsafe { pg_sys::ResetPlanCache() };
    }
}

unsafe extern "C-unwind" {
    #[link_name = "standard_planner"]
    fn standard_planner(
        parse: *mut pg_sys::Query,
        query: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    #[link_name = "standard_ExecutorStart"]
    fn standard_start(query: *mut pg_sys::QueryDesc, flags: c_int);
}

/// Neither this frame nor that of [`start`] holds anything with a destructor: errors of the planner jump over them as
/// they are, with their context, which pgrx would lose.
unsafe extern "C-unwind" fn plan(
    parse: *mut pg_sys::Query,
    query: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: the next planner with its own arguments; then a plan that nobody else has yet.
    unsafe {
        let statement = match NEXT_PLANNER.get() {
            Some(next) => next(parse, query, options, parameters),
            None => standard_planner(parse, query, options, parameters),
        };
        rewrite(statement, options);
        statement
    }
}

unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: the next hook with its own arguments.
    unsafe {
        if MISSED.get() {
            catch_up(query, flags);
        }
        match NEXT_START.get() {
            Some(next) => next(query, flags),
            None => standard_start(query, flags),
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn rewrite(statement: *mut pg_sys::PlannedStmt, options: c_int) {
    // SAFETY: a finished plan.
    unsafe {
        if !guc::ENABLE_BATCH_SCAN.get() || !may_call_extensions(statement) {
            return;
        }
        let backward = pg_sys::ExecSupportsBackwardScan((*statement).planTree);
        for reason in builder::rewrite(statement) {
            let (level, reason) = if is_explained() {
                (
                    PgLogLevel::NOTICE,
                    format!("a prediction is not made in batches: {reason}"),
                )
            } else {
                (
                    PgLogLevel::DEBUG1,
                    format!("ltv: a prediction is not made in batches: {reason}"),
                )
            };
            Report::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, reason).report(level);
        }
        // A cursor that was promised to go backwards.
        let scroll = options & pg_sys::CURSOR_OPT_SCROLL as c_int != 0;
        if scroll && backward && !pg_sys::ExecSupportsBackwardScan((*statement).planTree) {
            let id = builder::last_id(statement) + 1;
            (*statement).planTree = builder::material::over((*statement).planTree, id);
        }
    }
}

/// Is the statement that is being planned for EXPLAIN?
unsafe fn is_explained() -> bool {
    // SAFETY: the portal that runs, if any.
    unsafe { pg_sys::ActivePortal.as_ref() }
        .is_some_and(|portal| portal.commandTag == pg_sys::CommandTag::CMDTAG_EXPLAIN)
}

/// Does the plan depend on any function that is not built in? Most do not, and are left alone at once.
unsafe fn may_call_extensions(statement: *mut pg_sys::PlannedStmt) -> bool {
    // SAFETY: the items are PlanInvalItem.
    unsafe {
        (*statement).commandType != pg_sys::CmdType::CMD_UTILITY
            && tree::iter::<pg_sys::PlanInvalItem>((*statement).invalItems)
                .any(|item| (*item).cacheId == pg_sys::SysCacheIdentifier::PROCOID as c_int)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn catch_up(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: a statement about to be started; its plan may be cached and is not ours to change.
    unsafe {
        let statement = (*query).plannedstmt;
        // A cursor that says neither SCROLL nor NO SCROLL was promised to go backwards, because the plan made without us could.
        let backward =
            flags & (pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_REWIND) as c_int != 0;
        let options = if backward {
            pg_sys::CURSOR_OPT_SCROLL as c_int
        } else {
            0
        };
        if pg_sys::IsInParallelMode()
            || !may_call_extensions(statement)
            || has_batch_scan(statement)
        {
            return;
        }
        let copied = tree::copy(statement);
        rewrite(copied, options);
        (*query).plannedstmt = copied;
    }
}

unsafe fn has_batch_scan(statement: *mut pg_sys::PlannedStmt) -> bool {
    let mut found = false;
    // SAFETY: a finished plan.
    unsafe { builder::for_each_plan(statement, &mut |p| found |= exec::is_batch_scan(p)) };
    found
}
