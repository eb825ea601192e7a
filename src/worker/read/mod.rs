//! The rows of the training query -> the trainer's table.
//!
//! The query runs read-only in one go; each row goes from the executor's slot into the table without being copied
//! in between. It may run in parallel: afterwards the rows are put into an order that depends on the ids only, so
//! that the same customers give the same model however they were stored and read. Arrays get their shape from the first row that has one; rows before it wait.

mod column;
mod error;
mod file_io;
mod horizons;
mod loader;
mod plan;
mod spill;
mod values;

pub use plan::{Wanted, assign, describe, prepare, query};

use super::session;
use crate::error::{Result, guard, unexpected};
pub use column::Row;
use loader::Loader;
use ltv_core::data::{Sample, TrainingData};
use ltv_core::recipe::Recipe;
use pgrx::pg_sys;
use pgrx::prelude::*;
use spill::TemporaryFile;

pub struct Data {
    pub training: TrainingData,
    /// Holds the rows that do not fit into memory; must outlive the training.
    pub file: Option<TemporaryFile>,
    /// Categorical columns that have more values than memory.
    pub cut_short: Vec<String>,
    /// Rows without a target, which were left out.
    pub unlabelled: u64,
    /// Which customers were left, where there are too many rows.
    pub sample: Sample,
    /// Of the target, in days, where the features that the query reads say it.
    pub horizon: Option<f64>,
}

/// Reads all rows. Inside a read-only transaction, as the role that owns the job, whose code runs.
pub fn load(recipe: &Recipe, wanted: &Wanted, memory_limit: usize) -> Result<Data> {
    let query = query(recipe)?;
    // SAFETY: SPI is closed below, or by the abort of the transaction.
    unsafe { pg_sys::SPI_connect() };
    // Without ids there is no order to restore.
    let parallel = if wanted.without_id {
        0
    } else {
        pg_sys::CURSOR_OPT_PARALLEL_OK as i32
    };
    let (plan, descriptor) = prepare(&query, parallel)?;
    // SAFETY: the descriptor of the prepared plan.
    let all = unsafe { describe(descriptor) };
    // SAFETY: prepared above.
    let of_features = unsafe { plan::horizon(plan) }?;
    let horizon = recipe.options.horizon.or(of_features);
    let columns = assign(&all, recipe, wanted, horizon)?;
    let mut loader = Loader::new(&columns, recipe, memory_limit);
    session::report_rows(0);
    // SAFETY: prepared above.
    unsafe { run(plan, &mut |row, slot| loader.take(row, slot)) }?;
    let mut data = loader.finish()?;
    session::end_of_rows();
    // SAFETY: opened above.
    unsafe { pg_sys::SPI_finish() };
    data.horizon = match of_features {
        Some(_) => horizons::days_of(&columns.target.name, of_features).or(of_features),
        None => columns.labels.last().map(|label| label.days.into()),
    };
    Ok(data)
}

type Take<'a> = &'a mut dyn FnMut(Row, *mut pg_sys::TupleTableSlot) -> Result<()>;

/// Runs a query read-only and hands each row to `take`, straight from the executor's slot.
///
/// # Safety
/// `plan` comes from [`prepare`], inside the same use of SPI.
pub unsafe fn run(plan: pg_sys::SPIPlanPtr, mut take: Take) -> Result<()> {
    let mut receiver = Receiver {
        callbacks: pg_sys::DestReceiver {
            receiveSlot: Some(receive),
            rStartup: Some(startup),
            rShutdown: Some(nothing),
            rDestroy: Some(nothing),
            // Anything but DestNone, with which rows count as thrown away.
            mydest: pg_sys::CommandDest::DestTuplestore,
        },
        take: (&raw mut take).cast(),
    };
    // SAFETY: plan, receiver and what takes the rows outlive the call, during which that is used through the receiver only.
    let outcome = unsafe {
        let mut options = pg_sys::SPIExecuteOptions {
            read_only: true,
            must_return_tuples: true,
            dest: (&raw mut receiver).cast(),
            ..Default::default()
        };
        pg_sys::SPI_execute_plan_extended(plan, &raw mut options)
    };
    if outcome != pg_sys::SPI_OK_SELECT as i32 {
        return Err(unexpected("a query did not run as a SELECT"));
    }
    Ok(())
}

/// What the executor hands rows to.
#[repr(C)]
struct Receiver {
    callbacks: pg_sys::DestReceiver,
    take: *mut std::ffi::c_void,
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    this: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: `this` is the receiver that `run` made, which holds what its caller has lent it and nothing else touches while
    // the query runs.
    let take = unsafe { &mut *(*this.cast::<Receiver>()).take.cast::<Take>() };
    guard(|| {
        // SAFETY: the executor's slot, whose arrays have one entry for each attribute.
        let row = unsafe {
            let natts = (*(*slot).tts_tupleDescriptor).natts;
            if i32::from((*slot).tts_nvalid) < natts {
                pg_sys::slot_getsomeattrs_int(slot, natts);
            }
            Row {
                values: std::slice::from_raw_parts((*slot).tts_values, natts as usize),
                nulls: std::slice::from_raw_parts((*slot).tts_isnull, natts as usize),
            }
        };
        take(row, slot)
    });
    true
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    _this: *mut pg_sys::DestReceiver,
    _operation: i32,
    _descriptor: pg_sys::TupleDesc,
) {
}

#[pg_guard]
unsafe extern "C-unwind" fn nothing(_this: *mut pg_sys::DestReceiver) {}
