//! The extension's side of a training in the library: what the functions of a job do.

use super::library::Library;
use ltv_core::data::{RecordFormat, SpilledRows, TrainingData, TrainingTable};
use ltv_core::error::{Error, Result};
use ltv_core::interface::{Bytes, Dictionary, Failure, Job, Model, State};
use ltv_core::recipe::Recipe;
use ltv_core::schema::Schema;
use ltv_core::train::{Chosen, Control, TrainedModel};
use parking_lot::Mutex;
use serde_json::Value;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What the functions work on; none of it is PostgreSQL's.
struct Host<'a> {
    /// Rows that the library has not fetched yet.
    table: Mutex<TrainingTable>,
    format: RecordFormat,
    spilled: Option<SpilledRows>,
    control: &'a dyn Control,
    outcome: Mutex<Option<Result<TrainedModel>>>,
}

/// `asked`: the recipe as the job has it; `recipe` has what the worker has found out since.
pub fn train(
    library: &Library,
    data: TrainingData,
    recipe: &Recipe,
    asked: &Value,
    device: &str,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let TrainingData {
        table,
        spilled,
        rows,
    } = data;
    let inputs = serde_json::to_vec(table.inputs()).map_err(unwritable)?;
    let asked = asked.to_string().into_bytes();
    let dictionaries: Vec<Vec<String>> = table
        .dictionaries()
        .map(|values| values.into_iter().map(str::to_owned).collect())
        .collect();
    let values: Vec<Vec<Bytes>> = dictionaries
        .iter()
        .map(|values| {
            values
                .iter()
                .map(|value| Bytes::of(value.as_bytes()))
                .collect()
        })
        .collect();
    let lent: Vec<Dictionary> = values
        .iter()
        .map(|values| Dictionary {
            values: values.as_ptr(),
            count: values.len(),
        })
        .collect();
    let (format, steps) = table.record_format();
    let (has_as_of, memory_rows) = (table.has_as_of(), table.rows());
    let of_file = |number: fn(&SpilledRows) -> u64| spilled.as_ref().map_or(0, number);
    let (file_rows, file_steps, file_rows_per_block) = (
        of_file(SpilledRows::rows),
        of_file(|rows| rows.steps() as u64),
        of_file(|rows| rows.rows_per_block() as u64),
    );
    let host = Host {
        table: Mutex::new(table),
        format,
        spilled,
        control,
        outcome: Mutex::new(None),
    };
    let job = Job {
        inputs: Bytes::of(&inputs),
        has_as_of: has_as_of.into(),
        dictionaries: lent.as_ptr(),
        dictionary_count: lent.len(),
        memory_rows: memory_rows as u64,
        memory_steps: steps as u64,
        file_rows,
        file_steps,
        file_rows_per_block,
        rows: rows as u64,
        recipe: Bytes::of(&asked),
        threads: recipe.options.threads.unwrap_or(1) as u32,
        horizon: recipe.options.horizon.unwrap_or(f64::NAN),
        warm_start: recipe.warm_start.as_deref().map_or(Bytes::NONE, Bytes::of),
        device: Bytes::of(device.as_bytes()),
        caller: (&raw const host).cast_mut().cast(),
        next_rows,
        read_file,
        progress,
        notice,
        is_cancelled,
        trained,
        failed,
    };
    // SAFETY: the job and all that it lends outlive the call, and the functions below take the host as their caller.
    unsafe { (library.train)(&job) };
    let outcome = host.outcome.into_inner();
    outcome.unwrap_or_else(|| Err(Error::internal("the library ended without a model")))
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::internal("the columns cannot be written down").detail(error.to_string())
}

/// A panic must not cross the border.
fn contained<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

/// # Safety
/// `caller` is the host of a training that has not returned.
unsafe fn host<'a>(caller: *mut c_void) -> &'a Host<'a> {
    // SAFETY: the caller's promise; whatever the host has that changes is behind a lock.
    unsafe { &*caller.cast::<Host>() }
}

/// # Safety
/// As for [`host`], and `out` has room for `length` bytes.
unsafe extern "C" fn next_rows(caller: *mut c_void, out: *mut u8, length: usize) -> usize {
    // SAFETY: the caller's promise.
    let (host, out) = unsafe { (host(caller), std::slice::from_raw_parts_mut(out, length)) };
    contained(0, || {
        let mut table = host.table.lock();
        let count = (out.len() / host.format.bytes()).min(table.rows());
        let mut records = Vec::with_capacity(count * host.format.bytes());
        table.give_last(count, &host.format, &mut records);
        out[..records.len()].copy_from_slice(&records);
        count
    })
}

/// # Safety
/// As for [`next_rows`].
unsafe extern "C" fn read_file(
    caller: *mut c_void,
    offset: u64,
    out: *mut u8,
    length: usize,
) -> i32 {
    // SAFETY: the caller's promise.
    let (host, out) = unsafe { (host(caller), std::slice::from_raw_parts_mut(out, length)) };
    contained(libc::EIO, || {
        let Some(spilled) = &host.spilled else {
            return libc::EBADF;
        };
        match spilled.records().read_at(out, offset) {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        }
    })
}

/// # Safety
/// As for [`host`], and `state` is lent.
unsafe extern "C" fn progress(caller: *mut c_void, state: *const State) {
    // SAFETY: the caller's promise.
    let (host, progress) = unsafe { (host(caller), (*state).progress()) };
    contained((), || host.control.progress(progress));
}

/// # Safety
/// As for [`host`], and `text` is lent.
unsafe extern "C" fn notice(caller: *mut c_void, text: Bytes) {
    // SAFETY: the caller's promise.
    let (host, text) = unsafe { (host(caller), text.text()) };
    contained((), || host.control.notice(&text.unwrap_or_default()));
}

/// # Safety
/// As for [`host`].
unsafe extern "C" fn is_cancelled(caller: *mut c_void) -> u8 {
    // SAFETY: the caller's promise.
    let host = unsafe { host(caller) };
    contained(1, || host.control.is_cancelled().into())
}

/// # Safety
/// As for [`host`], and `model` is lent.
unsafe extern "C" fn trained(caller: *mut c_void, model: *const Model) {
    // SAFETY: the caller's promise.
    let (host, model) = unsafe { (host(caller), &*model) };
    contained((), || {
        // SAFETY: the caller's promise.
        let model = unsafe { taken(model) };
        *host.outcome.lock() = Some(model);
    });
}

/// # Safety
/// As for [`host`], and `failure` is lent.
unsafe extern "C" fn failed(caller: *mut c_void, failure: *const Failure) {
    // SAFETY: the caller's promise.
    let (host, error) = unsafe { (host(caller), (*failure).error()) };
    contained((), || *host.outcome.lock() = Some(Err(error)));
}

/// A copy of the model.
///
/// # Safety
/// What the model is made of must still be there.
unsafe fn taken(model: &Model) -> Result<TrainedModel> {
    // SAFETY: the caller's promise.
    let bytes = |part: Bytes| unsafe { part.get() }.unwrap_or_default().to_vec();
    let json = |part: Bytes| -> Result<Value> {
        serde_json::from_slice(&bytes(part))
            .map_err(|error| Error::internal("the model cannot be read").detail(error.to_string()))
    };
    // SAFETY: the caller's promise.
    let chosen = match unsafe { model.chosen.get() } {
        None => None,
        Some(_) => match json(model.chosen)? {
            Value::Array(parts) => match <[Value; 3]>::try_from(parts) {
                Ok(
                    [
                        Value::String(objective),
                        Value::String(backbone),
                        Value::Object(options),
                    ],
                ) => Some(Chosen {
                    objective,
                    backbone,
                    options,
                }),
                _ => return Err(Error::internal("the choice of a comparison cannot be read")),
            },
            _ => return Err(Error::internal("the choice of a comparison cannot be read")),
        },
    };
    Ok(TrainedModel {
        onnx: bytes(model.onnx),
        schema: Schema::from_json(&json(model.schema)?)?,
        statistics: json(model.statistics)?,
        metrics: json(model.metrics)?,
        history: json(model.history)?,
        weights: bytes(model.weights),
        n_rows: model.n_rows as usize,
        seconds: model.seconds,
        chosen,
    })
}
