//! What `ltv_train`, `ltv_wait`, `ltv_cancel` and `ltv_jobs`, which are SQL, need from the server's inside.

use super::export::export;
use crate::error::Result;
use crate::worker::session::unexpected;
use crate::worker::{launch, queue, read};
use ltv_core::recipe::Recipe;
use pgrx::datum::DatumWithOid;
use pgrx::fcinfo::pg_getarg;
use pgrx::{JsonB, Spi, pg_sys};

// The arguments are declared in sql/40_train.sql; all functions are strict.
export! {
    ltv_launch_workers / pg_finfo_ltv_launch_workers => launch_workers;
    ltv_wake_queue / pg_finfo_ltv_wake_queue => wake_queue;
    ltv_await_worker / pg_finfo_ltv_await_worker => await_worker;
    ltv_interrupt_job / pg_finfo_ltv_interrupt_job => interrupt_job;
    ltv_check_recipe / pg_finfo_ltv_check_recipe => check_recipe;
}

const VOID: pg_sys::Datum = pg_sys::Datum::null();

/// `ltv.launch_workers()`: a job was queued.
fn launch_workers(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    launch::start_at_commit();
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
        unsafe { (pg_getarg(fcinfo, 0), pg_getarg(fcinfo, 1)) };
    if let (Some(job), Some(milliseconds)) = (job, milliseconds) {
        queue::await_change(job, milliseconds.max(0) as u64);
    }
    Ok(VOID)
}

/// `ltv.interrupt_job(job)`: once the transaction commits its worker is told. Runs as the caller, who sees own jobs only.
fn interrupt_job(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one bigint.
    let job: Option<i64> = unsafe { pg_getarg(fcinfo, 0) };
    let pid = Spi::connect_mut(|client| {
        client
            .update(
                "SELECT pg_catalog.max(j.pid) FROM ltv.jobs j \
                 WHERE j.job OPERATOR(pg_catalog.=) $1 AND j.status OPERATOR(pg_catalog.=) 'running'",
                None,
                &[DatumWithOid::from(job)],
            )
            .map_err(unexpected)?
            .first()
            .get_one::<i32>()
            .map_err(unexpected)
    })?;
    if let Some(pid) = pid {
        launch::cancel_at_commit(pid);
    }
    Ok(VOID)
}

/// `ltv.check_recipe(recipe)`: everything about a recipe that can be wrong without looking at a row.
fn check_recipe(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one jsonb.
    let json: Option<JsonB> = unsafe { pg_getarg(fcinfo, 0) };
    let json = json.map_or_else(Default::default, |json| json.0);
    let recipe = Recipe::from_json(&json)?;
    let without_id = json
        .get("id_column")
        .is_some_and(serde_json::Value::is_null);
    let query = read::query(&recipe)?;
    // SAFETY: closed below, or by the abort of the transaction; the descriptor belongs to the prepared plan.
    unsafe {
        pg_sys::SPI_connect();
        let (_, descriptor) = read::prepare(&query, 0)?;
        read::assign(&read::describe(descriptor), &recipe, without_id)?;
        pg_sys::SPI_finish();
    }
    Ok(VOID)
}
