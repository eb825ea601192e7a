//! What crosses the border between the extension and the library that trains on a GPU: plain C, because the two are
//! built apart and share neither allocator settings nor the layout of any Rust type.
//!
//! Everything that is passed is lent for the duration of the call it is passed to: each side frees what it has
//! allocated, and keeps nothing of the other's. No panic crosses. Rows come as the records of
//! [`crate::data::RecordFormat`], those in memory and those in a file alike.

use crate::error::{Error, ErrorKind};
use crate::train::{Phase, Progress};
use std::ffi::{c_char, c_void};

/// Changes with every change of this file.
pub const VERSION: u32 = 1;

/// What both sides were built from.
pub const BUILD: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("LTV_CORE_SOURCES"),
    "\0"
);

/// The symbols that the library exports, with the type of each.
pub mod symbols {
    use super::{Failure, Found, Job, c_char, c_void};

    /// A function of type [`Version`].
    pub const VERSION: &str = "ltv_cuda_version";
    /// A function of type [`Build`].
    pub const BUILD: &str = "ltv_cuda_build";
    /// A function of type [`Devices`].
    pub const DEVICES: &str = "ltv_cuda_devices";
    /// A function of type [`Train`].
    pub const TRAIN: &str = "ltv_cuda_train";

    /// [`super::VERSION`]. This and [`Build`] never change.
    pub type Version = unsafe extern "C" fn() -> u32;
    /// [`super::BUILD`].
    pub type Build = unsafe extern "C" fn() -> *const c_char;
    /// Calls `found` for each device, or `failed` once where none can be used.
    pub type Devices = unsafe extern "C" fn(
        caller: *mut c_void,
        found: unsafe extern "C" fn(*mut c_void, *const Found),
        failed: unsafe extern "C" fn(*mut c_void, *const Failure),
    );
    /// Runs the job; before it returns, either `trained` or `failed` of the job has been called once.
    pub type Train = unsafe extern "C" fn(job: *const Job);
}

/// Bytes, or text in UTF-8.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    data: *const u8,
    length: usize,
}

impl Bytes {
    /// Nothing, which is not the same as no bytes.
    pub const NONE: Self = Self {
        data: std::ptr::null(),
        length: 0,
    };

    /// Lends the bytes; they must outlive every look at them.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            length: bytes.len(),
        }
    }

    /// `None` where there is nothing, which is not the same as no bytes.
    ///
    /// # Safety
    /// The bytes it was made of must still be there for as long as they are looked at.
    pub unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        match self.data.is_null() {
            true => None,
            // SAFETY: not null, so made by `of` from a slice that the caller vouches for.
            false => Some(unsafe { std::slice::from_raw_parts(self.data, self.length) }),
        }
    }

    /// What is not UTF-8 is replaced.
    ///
    /// # Safety
    /// As for [`Bytes::get`].
    pub unsafe fn text(self) -> Option<String> {
        // SAFETY: the caller's promise.
        unsafe { self.get() }.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The values of a categorical column in the order of their codes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Dictionary {
    /// The first value.
    pub values: *const Bytes,
    /// How many values there are.
    pub count: usize,
}

/// Why something failed: [`ErrorKind`] by its number in [`KINDS`], then what an [`Error`] says.
#[repr(C)]
pub struct Failure {
    /// The place of the kind in [`KINDS`].
    pub kind: u32,
    /// [`Error::message`].
    pub message: Bytes,
    /// [`Error::detail`], or nothing.
    pub detail: Bytes,
    /// [`Error::hint`], or nothing.
    pub hint: Bytes,
}

/// The kinds of errors by their numbers, which never change.
pub const KINDS: [ErrorKind; 9] = [
    ErrorKind::Internal,
    ErrorKind::InvalidParameter,
    ErrorKind::InvalidData,
    ErrorKind::InvalidModel,
    ErrorKind::Unsupported,
    ErrorKind::Cancelled,
    ErrorKind::Resources,
    ErrorKind::Device,
    ErrorKind::TooLarge,
];

impl Failure {
    /// Lives no longer than the error.
    pub fn of(error: &Error) -> Self {
        let optional = |text: &Option<String>| {
            text.as_ref()
                .map_or(Bytes::NONE, |text| Bytes::of(text.as_bytes()))
        };
        let kind = KINDS.iter().position(|kind| *kind == error.kind);
        Self {
            kind: kind.unwrap_or(0) as u32,
            message: Bytes::of(error.message.as_bytes()),
            detail: optional(&error.detail),
            hint: optional(&error.hint),
        }
    }

    /// # Safety
    /// The texts must still be there.
    pub unsafe fn error(&self) -> Error {
        let kind = KINDS.get(self.kind as usize).copied();
        // SAFETY: the caller's promise.
        let [message, detail, hint] =
            [self.message, self.detail, self.hint].map(|text| unsafe { text.text() });
        Error {
            kind: kind.unwrap_or(ErrorKind::Internal),
            message: message.unwrap_or_default(),
            detail,
            hint,
        }
    }
}

/// A device.
#[repr(C)]
pub struct Found {
    /// Its number, as in `cuda:N`.
    pub index: u32,
    /// Its name, as the driver tells it.
    pub name: Bytes,
    /// Bytes that nobody uses.
    pub free_memory: u64,
    /// Bytes that it has.
    pub total_memory: u64,
}

/// [`Progress`]; numbers that are not known are NaN.
#[repr(C)]
pub struct State {
    /// [`Progress::phase`] by its place in the order of the phases.
    pub phase: u32,
    /// [`Progress::epoch`].
    pub epoch: u64,
    /// [`Progress::epochs`].
    pub epochs: u64,
    /// [`Progress::rows`].
    pub rows: u64,
    /// [`Progress::rows_per_second`].
    pub rows_per_second: f64,
    /// [`Progress::training_loss`].
    pub training_loss: f64,
    /// [`Progress::validation_loss`].
    pub validation_loss: f64,
    /// [`Progress::eta_seconds`].
    pub eta_seconds: f64,
    /// [`Progress::step`], or nothing.
    pub step: Bytes,
    /// [`Progress::memory_bytes`].
    pub memory_bytes: u64,
}

const PHASES: [Phase; 4] = [
    Phase::Preprocessing,
    Phase::Training,
    Phase::Validating,
    Phase::Exporting,
];

impl State {
    /// Lives no longer than `progress`.
    pub fn of(progress: &Progress) -> Self {
        let phase = PHASES.iter().position(|phase| *phase == progress.phase);
        let step = progress.step.as_ref();
        Self {
            phase: phase.unwrap_or(0) as u32,
            epoch: progress.epoch as u64,
            epochs: progress.epochs as u64,
            rows: progress.rows,
            rows_per_second: progress.rows_per_second,
            training_loss: progress.training_loss.unwrap_or(f64::NAN),
            validation_loss: progress.validation_loss.unwrap_or(f64::NAN),
            eta_seconds: progress.eta_seconds.unwrap_or(f64::NAN),
            step: step.map_or(Bytes::NONE, |text| Bytes::of(text.as_bytes())),
            memory_bytes: progress.memory_bytes as u64,
        }
    }

    /// # Safety
    /// The text must still be there.
    pub unsafe fn progress(&self) -> Progress {
        let known = |number: f64| (!number.is_nan()).then_some(number);
        let phase = PHASES.get(self.phase as usize).copied();
        Progress {
            phase: phase.unwrap_or(Phase::Preprocessing),
            epoch: self.epoch as usize,
            epochs: self.epochs as usize,
            rows: self.rows,
            rows_per_second: self.rows_per_second,
            training_loss: known(self.training_loss),
            validation_loss: known(self.validation_loss),
            eta_seconds: known(self.eta_seconds),
            // SAFETY: the caller's promise.
            step: unsafe { self.step.text() },
            memory_bytes: self.memory_bytes as usize,
        }
    }
}

/// A stored model; `schema`, `statistics`, `metrics`, `history` and `chosen` are JSON.
#[repr(C)]
pub struct Model {
    /// The graph.
    pub onnx: Bytes,
    /// Inputs and outputs of the graph.
    pub schema: Bytes,
    /// Distributions of features and predictions.
    pub statistics: Bytes,
    /// Metrics on held-out rows.
    pub metrics: Bytes,
    /// The epochs.
    pub history: Bytes,
    /// What a training continues from.
    pub weights: Bytes,
    /// Rows that were trained on.
    pub n_rows: u64,
    /// How long it took.
    pub seconds: f64,
    /// What a comparison chose, or nothing.
    pub chosen: Bytes,
}

/// Rows, columns and recipe of a training, and how to reach whoever asked for it.
#[repr(C)]
pub struct Job {
    /// JSON: the columns.
    pub inputs: Bytes,
    /// 1 where each row has a cut-off.
    pub has_as_of: u8,
    /// One per categorical column.
    pub dictionaries: *const Dictionary,
    /// How many dictionaries there are.
    pub dictionary_count: usize,
    /// Rows in memory, with sequences of so many steps at most.
    pub memory_rows: u64,
    /// Steps of the longest sequence in memory.
    pub memory_steps: u64,
    /// Rows in a file; none if all of them are in memory.
    pub file_rows: u64,
    /// Steps of the longest sequence in the file.
    pub file_steps: u64,
    /// Rows of each block of the file but the last one.
    pub file_rows_per_block: u64,
    /// Of training and validation together.
    pub rows: u64,
    /// JSON: what the caller of `ltv_train` asked for.
    pub recipe: Bytes,
    /// Threads that it may use on the CPU.
    pub threads: u32,
    /// Not finite where there is none.
    pub horizon: f64,
    /// Weights of an earlier version, or nothing.
    pub warm_start: Bytes,
    /// As the option `device` spells it.
    pub device: Bytes,
    /// Passed to each function below. All but the first may be called from any thread of the library.
    pub caller: *mut c_void,
    /// Records of the next rows in memory, beginning with the last row; only what has not been fetched yet is kept.
    /// On the thread that called for the training only. Returns how many rows were written.
    pub next_rows: unsafe extern "C" fn(*mut c_void, out: *mut u8, length: usize) -> usize,
    /// Bytes of the file at `offset`; 0, or the error number of the system. Never touches PostgreSQL.
    pub read_file:
        unsafe extern "C" fn(*mut c_void, offset: u64, out: *mut u8, length: usize) -> i32,
    /// Takes a snapshot of the progress.
    pub progress: unsafe extern "C" fn(*mut c_void, *const State),
    /// Takes something that the user should know.
    pub notice: unsafe extern "C" fn(*mut c_void, Bytes),
    /// 1 where the job has to stop.
    pub is_cancelled: unsafe extern "C" fn(*mut c_void) -> u8,
    /// Takes the model; the job has succeeded.
    pub trained: unsafe extern "C" fn(*mut c_void, *const Model),
    /// Takes the reason; the job has failed.
    pub failed: unsafe extern "C" fn(*mut c_void, *const Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_progress_cross_unchanged() {
        for kind in KINDS {
            let error = Error::new(kind, "it failed").detail("Badly.");
            // SAFETY: the error outlives its failure.
            let back = unsafe { Failure::of(&error).error() };
            assert_eq!((back.kind, &back.message), (kind, &error.message));
            assert_eq!((back.detail, back.hint), (error.detail, None));
        }
        let mut progress = Progress::of(Phase::Exporting);
        progress.step = Some("candidate 1".to_owned());
        progress.training_loss = Some(1.5);
        // SAFETY: the progress outlives its state.
        assert_eq!(unsafe { State::of(&progress).progress() }, progress);
    }
}
