//! What `ltv_train`, `ltv_wait`, `ltv_cancel` and `ltv_jobs`, which are SQL, need from the server's inside.

use super::export::{export, text_argument};
use crate::error::{Report, Result};
use crate::text;
use crate::value::sql::{Json, argument};
use crate::worker::session::Settings;
use crate::worker::{catalog, launch, lock, queue, read};
use ltv_core::recipe::Recipe;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

// The arguments are declared in sql/40_train.sql and sql/42_queue.sql.
export! {
    ltv_launch_workers / pg_finfo_ltv_launch_workers => launch_workers;
    ltv_wake_queue / pg_finfo_ltv_wake_queue => wake_queue;
    ltv_await_worker / pg_finfo_ltv_await_worker => await_worker;
    ltv_job_is_held / pg_finfo_ltv_job_is_held => job_is_held;
    ltv_interrupt_worker / pg_finfo_ltv_interrupt_worker => interrupt_worker;
    ltv_check_recipe / pg_finfo_ltv_check_recipe => check_recipe;
    ltv_raise / pg_finfo_ltv_raise => raise;
}

const VOID: pg_sys::Datum = pg_sys::Datum::null();

/// `ltv.launch_workers(owner)`: a job was queued.
fn launch_workers(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as regrole, strict.
    let owner: Option<pg_sys::Oid> = unsafe { argument(fcinfo, 0)? };
    // SAFETY: reads a flag of this process.
    if unsafe { pg_sys::InSecurityRestrictedOperation() } {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "cannot queue a job within a security-restricted operation",
        )
        .detail("It would run later, out of the reach of what is restricted here: an index expression, a materialized view, a training query.")
        .hint("Call the function in a statement of its own."));
    }
    if let Some(owner) = owner {
        launch::start_at_commit(owner);
    }
    Ok(VOID)
}

/// `ltv.wake_queue()`: starts workers for jobs that wait; false if no worker slot is free.
fn wake_queue(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    Ok(queue::wake()?.into())
}

/// `ltv.await_worker(job, milliseconds)`: waits until a worker takes the job or lets go of it.
fn await_worker(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as bigint and int.
    let (job, milliseconds): (Option<i64>, Option<i32>) =
        unsafe { (argument(fcinfo, 0)?, argument(fcinfo, 1)?) };
    if let (Some(job), Some(milliseconds)) = (job, milliseconds) {
        queue::await_change(job, milliseconds.max(0) as u64);
    }
    Ok(VOID)
}

/// `ltv.job_is_held(job, pid)`: whether a worker runs the job.
fn job_is_held(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as bigint and int.
    let (job, pid): (Option<i64>, Option<i32>) =
        unsafe { (argument(fcinfo, 0)?, argument(fcinfo, 1)?) };
    let held = job
        .zip(catalog::jobs_table())
        .is_some_and(|(job, table)| lock::is_held(table, job, pid));
    Ok(held.into())
}

/// `ltv.interrupt_worker(pid, owner)`: once the transaction commits the worker is told.
fn interrupt_worker(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as int and regrole, strict.
    let (pid, role): (Option<i32>, Option<pg_sys::Oid>) =
        unsafe { (argument(fcinfo, 0)?, argument(fcinfo, 1)?) };
    if let (Some(pid), Some(role)) = (pid, role) {
        launch::cancel_at_commit(launch::Worker { pid, role });
    }
    Ok(VOID)
}

/// `ltv.check_recipe(recipe)`: everything about a recipe that can be wrong without looking at a row. Names mean what they
/// mean in the search_path of the recipe.
fn check_recipe(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as jsonb.
    let json = unsafe { argument(fcinfo, 0) }.map_err(|report| Report {
        message: "the options cannot be read".to_owned(),
        ..report
    })?;
    let json = json.map_or(serde_json::Value::Null, |Json(json)| json);
    let recipe = Recipe::from_json(&json)?;
    let wanted = read::Wanted::of(&json);
    let query = read::query(&recipe)?;
    let _settings = Settings::of_function();
    if let Some(path) = json.get("search_path").and_then(serde_json::Value::as_str) {
        Settings::set(c"search_path", &text::to_c(path)?);
    }
    // SAFETY: closed below, or by the abort of the transaction; the descriptor belongs to the prepared plan.
    unsafe {
        pg_sys::SPI_connect();
        let (_, descriptor) = read::prepare(&query, 0)?;
        let horizon = recipe.options.horizon;
        read::assign(&read::describe(descriptor), &recipe, &wanted, horizon)?;
        pg_sys::SPI_finish();
    }
    Ok(VOID)
}

/// `ltv.raise(code, message, detail, hint)`: an error as a job kept it.
fn raise(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as four texts. The strings outlive the call, which copies them and does not return.
    unsafe {
        let [code, message, detail, hint] = [0, 1, 2, 3].map(|at| text_argument(fcinfo, at));
        let pointer = |text: &Option<CString>| match text {
            Some(text) => text.as_ptr().cast_mut(),
            None => std::ptr::null_mut(),
        };
        let mut error = pg_sys::ErrorData {
            elevel: PgLogLevel::ERROR as i32,
            sqlerrcode: packed(
                code.as_deref()
                    .filter(|code| is_sqlstate(code))
                    .unwrap_or(c"P0001"),
            ),
            message: pointer(&message),
            detail: pointer(&detail),
            hint: pointer(&hint),
            ..Default::default()
        };
        pg_sys::ThrowErrorData(&raw mut error);
    }
    Ok(VOID)
}

/// Of an error, not of a success or a warning.
fn is_sqlstate(code: &CStr) -> bool {
    let code = code.to_bytes();
    code.len() == 5
        && code
            .iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        && !code.starts_with(b"00")
        && !code.starts_with(b"01")
}

/// The five characters of a SQLSTATE as PostgreSQL packs them.
fn packed(code: &CStr) -> i32 {
    let sixes = code.to_bytes().iter().take(5).enumerate();
    sixes.fold(0, |packed, (at, byte)| {
        packed | (i32::from(byte.wrapping_sub(b'0') & 0x3f) << (6 * at))
    })
}
