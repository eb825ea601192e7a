//! What a model sees: one batch of preprocessed customers.

use crate::onnx::Value;
use candle_core::Tensor;
use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Widths of the preprocessed inputs; everything a backbone needs to build itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InputShape {
    /// Standardised numeric columns, `is_missing` indicators and calendar parts included.
    pub numeric: usize,
    /// Per categorical column the number of ids, id 0 (unseen or NULL) included.
    pub cardinalities: Vec<usize>,
    pub sequence: Option<SequenceShape>,
    /// Width of each categorical column's embedding; by default from its cardinality.
    #[serde(default)]
    pub embedding_size: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceShape {
    pub steps: usize,
    pub channels: usize,
}

/// `numeric` `[batch, n]` float; `categories` one `[batch]` u32 tensor per categorical column;
/// `sequence` `[batch, steps, channels]` float, right-aligned, with `mask` `[batch, steps]` (1 = a real step).
#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: usize,
    pub numeric: Tensor,
    pub categories: Vec<Tensor>,
    pub sequence: Option<SequenceBatch>,
}

/// The preprocessed inputs inside an ONNX graph, in the same layout as [`Batch`]:
/// `numeric` `[batch, n]` float, `categories` int64 `[batch]` each, `sequence` and `mask` float.
pub struct GraphInputs {
    pub numeric: Value,
    pub categories: Vec<Value>,
    pub sequence: Option<(Value, Value)>,
}

#[derive(Clone, Debug)]
pub struct SequenceBatch {
    pub values: Tensor,
    pub mask: Tensor,
}

/// Whether dropout and batch statistics are on, and where their randomness comes from.
pub enum Mode<'a> {
    Train(&'a Mutex<ChaCha8Rng>),
    Evaluate,
}

impl Mode<'_> {
    pub fn is_training(&self) -> bool {
        matches!(self, Mode::Train(_))
    }
}
