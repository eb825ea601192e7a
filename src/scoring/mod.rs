//! Rows -> tensors -> ONNX Runtime -> values.
//!
//! The scalar functions (`api::predict`, one row at a time) and the batch scan (many rows) are the same code:
//!
//! 1. [`Model`]: one version, its schema and its ONNX Runtime session; from the cache, shared by `Rc`.
//!    Got by `catalog::resolve` under the active snapshot.
//! 2. [`Binding`]: how one kind of input (a `TupleDesc`, an array type, jsonb) fills the model's inputs.
//!    Compiled once per scan or call site.
//! 3. [`Batch`]: reusable input and output buffers. `push_*` appends a row; `run` does one inference;
//!    outputs are read as slices or as ready datums.
//! 4. [`Lanes`]: a batch and a binding for each version that a call scores with: the champion, and the challenger
//!    where traffic is split.
//!
//! What is a missing value, [`crate::value`] says. A NULL as the whole input is no row, and has no prediction.

mod batch;
mod binding;
mod cache;
mod function;
mod graph;
mod idle;
mod interrupt;
mod memory;
mod model;
mod offload;
mod result_type;
mod routed;
mod rows;
mod runtime;
mod session;
mod session_error;
mod state;
mod tensor;

pub use batch::{Batch, float8};
pub use binding::Binding;
pub use cache::{find, load, loaded, used};
pub use function::{Output, ScoringFunction, version_number};
pub use graph::{Graph, MOST_WIDTH, limits};
pub use idle::take;
pub use memory::copy;
pub use model::Model;
pub use routed::{Lanes, Traffic, Versions};
pub use runtime::{disable_telemetry, environment, library_directory, preload};
pub use session::{Port, Session};
pub use tensor::Number;

/// Leaves a scorer to the next statement, if it is of one version and its model is still kept ready.
pub fn leave(lanes: Lanes, input_type: pgrx::pg_sys::Oid) {
    if lanes.traffic().is_none() && cache::holds(lanes.model()) {
        idle::keep(lanes, input_type);
    }
}
