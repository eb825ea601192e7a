//! One training: rows and recipe from the caller, progress and the model back.

use crate::devices;
use ltv_core::data::{RecordFormat, Records, SpilledRows, TrainingData, TrainingTable};
use ltv_core::error::{Error, Result};
use ltv_core::interface::{Bytes, Failure, Job, Model, State};
use ltv_core::recipe::Recipe;
use ltv_core::schema::FeatureColumn;
use ltv_core::train::{Control, Progress, TrainedModel, train};
use serde_json::Value;
use std::ffi::c_void;

/// Bytes of records that are fetched at once.
const AT_ONCE: usize = 4 << 20;

/// The functions of a job.
#[derive(Clone, Copy)]
pub struct Caller {
    caller: *mut c_void,
    next_rows: unsafe extern "C" fn(*mut c_void, *mut u8, usize) -> usize,
    read_file: unsafe extern "C" fn(*mut c_void, u64, *mut u8, usize) -> i32,
    progress: unsafe extern "C" fn(*mut c_void, *const State),
    notice: unsafe extern "C" fn(*mut c_void, Bytes),
    is_cancelled: unsafe extern "C" fn(*mut c_void) -> u8,
    trained: unsafe extern "C" fn(*mut c_void, *const Model),
    failed: unsafe extern "C" fn(*mut c_void, *const Failure),
}

// SAFETY: the interface says of the functions that they may be called from any thread; `next_rows`, which may not, is
// called by `run` alone.
unsafe impl Send for Caller {}
// SAFETY: as above.
unsafe impl Sync for Caller {}

impl Caller {
    pub fn of(job: &Job) -> Self {
        Self {
            caller: job.caller,
            next_rows: job.next_rows,
            read_file: job.read_file,
            progress: job.progress,
            notice: job.notice,
            is_cancelled: job.is_cancelled,
            trained: job.trained,
            failed: job.failed,
        }
    }

    pub fn failed(&self, error: &Error) {
        // SAFETY: the caller's own function, with what the caller gave for it; the error outlives the call.
        unsafe { (self.failed)(self.caller, &Failure::of(error)) };
    }

    pub fn trained(&self, model: &TrainedModel) {
        let json = |value: &Value| value.to_string().into_bytes();
        let schema = json(&model.schema.to_json());
        let [statistics, metrics, history] =
            [&model.statistics, &model.metrics, &model.history].map(json);
        let chosen = model.chosen.as_ref().map(|chosen| {
            let (objective, backbone) = (&chosen.objective, &chosen.backbone);
            json(&serde_json::json!([objective, backbone, chosen.options]))
        });
        let lent = Model {
            onnx: Bytes::of(&model.onnx),
            schema: Bytes::of(&schema),
            statistics: Bytes::of(&statistics),
            metrics: Bytes::of(&metrics),
            history: Bytes::of(&history),
            weights: Bytes::of(&model.weights),
            n_rows: model.n_rows as u64,
            seconds: model.seconds,
            chosen: chosen
                .as_ref()
                .map_or(Bytes::NONE, |chosen| Bytes::of(chosen)),
        };
        // SAFETY: as in `failed`.
        unsafe { (self.trained)(self.caller, &lent) };
    }

    /// The next records; fewer than fit only at the end.
    fn next_rows(&self, out: &mut [u8]) -> usize {
        // SAFETY: as in `failed`; the buffer is as long as said.
        unsafe { (self.next_rows)(self.caller, out.as_mut_ptr(), out.len()) }
    }
}

impl Control for Caller {
    fn progress(&self, progress: Progress) {
        // SAFETY: as in `Caller::failed`.
        unsafe { (self.progress)(self.caller, &State::of(&progress)) };
    }

    fn is_cancelled(&self) -> bool {
        // SAFETY: as in `Caller::failed`.
        unsafe { (self.is_cancelled)(self.caller) != 0 }
    }

    fn notice(&self, message: &str) {
        // SAFETY: as in `Caller::failed`.
        unsafe { (self.notice)(self.caller, Bytes::of(message.as_bytes())) };
    }
}

/// The file of a job.
struct File(Caller);

impl std::fmt::Debug for File {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("the caller's file")
    }
}

impl Records for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        let (read, caller) = (self.0.read_file, self.0.caller);
        // SAFETY: as in `Caller::failed`; the buffer is as long as said.
        match unsafe { read(caller, offset, bytes.as_mut_ptr(), bytes.len()) } {
            0 => Ok(()),
            error => Err(std::io::Error::from_raw_os_error(error)),
        }
    }
}

/// # Safety
/// As for [`crate::ltv_cuda_train`].
pub unsafe fn run(job: &Job, caller: &Caller) -> Result<TrainedModel> {
    // SAFETY: the caller's promise.
    let (recipe, data) = unsafe { (recipe(job)?, data(job, caller)?) };
    train(data, &recipe, caller)
}

/// # Safety
/// As for [`crate::ltv_cuda_train`].
unsafe fn recipe(job: &Job) -> Result<Recipe> {
    // SAFETY: the caller's promise.
    let (asked, warm_start, device) =
        unsafe { (job.recipe.get(), job.warm_start.get(), job.device.text()) };
    let mut recipe = Recipe::from_json(&json(asked)?)?;
    recipe.options.threads = Some(job.threads as usize);
    recipe.options.horizon = job.horizon.is_finite().then_some(job.horizon);
    recipe.options.device = devices::name(&device.unwrap_or_default());
    recipe.warm_start = warm_start.map(<[u8]>::to_vec);
    Ok(recipe)
}

/// # Safety
/// As for [`crate::ltv_cuda_train`].
unsafe fn data(job: &Job, caller: &Caller) -> Result<TrainingData> {
    // SAFETY: the caller's promise.
    let inputs = json(unsafe { job.inputs.get() })?;
    let inputs: Vec<FeatureColumn> = serde_json::from_value(inputs).map_err(unreadable)?;
    // SAFETY: the caller's promise.
    let dictionaries = unsafe { dictionaries(job) };
    let dictionaries = dictionaries
        .iter()
        .map(|values| values.iter().map(AsRef::as_ref).collect());
    let mut table = TrainingTable::with_dictionaries(inputs, job.has_as_of != 0, dictionaries)?;
    let spilled = (job.file_rows > 0).then(|| {
        SpilledRows::new(
            File(*caller),
            RecordFormat::of(&table, job.file_steps as usize),
            job.file_rows,
            job.file_rows_per_block as usize,
        )
    });
    receive(job, caller, &mut table)?;
    Ok(TrainingData {
        table,
        spilled,
        rows: job.rows as usize,
    })
}

fn receive(job: &Job, caller: &Caller, table: &mut TrainingTable) -> Result<()> {
    let format = RecordFormat::of(table, job.memory_steps as usize);
    table.reserve(job.memory_rows as usize);
    let size = format.bytes();
    let mut records = vec![0; (AT_ONCE / size).max(1) * size];
    while (table.rows() as u64) < job.memory_rows {
        let rows = caller.next_rows(&mut records);
        if rows == 0 || rows * size > records.len() {
            return Err(Error::internal(
                "the rows of the job are not what was announced",
            ));
        }
        for record in records.chunks_exact(size).take(rows) {
            format.append(record, table);
        }
    }
    table.reverse();
    Ok(())
}

/// # Safety
/// As for [`crate::ltv_cuda_train`].
unsafe fn dictionaries(job: &Job) -> Vec<Vec<String>> {
    // SAFETY: the caller's promise; no pointer is looked at where there is nothing.
    unsafe fn list<'a, T>(data: *const T, count: usize) -> &'a [T] {
        match count {
            0 => &[],
            // SAFETY: see above.
            _ => unsafe { std::slice::from_raw_parts(data, count) },
        }
    }
    // SAFETY: the caller's promise.
    unsafe { list(job.dictionaries, job.dictionary_count) }
        .iter()
        .map(|dictionary| {
            // SAFETY: the caller's promise.
            unsafe { list(dictionary.values, dictionary.count) }
                .iter()
                // SAFETY: the caller's promise.
                .map(|value| unsafe { value.text() }.unwrap_or_default())
                .collect()
        })
        .collect()
}

fn json(text: Option<&[u8]>) -> Result<Value> {
    serde_json::from_slice(text.unwrap_or_default()).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::internal("the job cannot be read").detail(error.to_string())
}
