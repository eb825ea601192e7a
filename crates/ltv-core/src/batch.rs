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
    /// The sequence column, if there is one.
    pub sequence: Option<SequenceShape>,
    /// Width of each categorical column's embedding; by default from its cardinality.
    #[serde(default)]
    pub embedding_size: Option<usize>,
}

/// The size of a sequence column after preprocessing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceShape {
    /// Steps per row; shorter sequences are padded in front.
    pub steps: usize,
    /// Numbers per step.
    pub channels: usize,
}

/// `numeric` `[batch, n]` float; `categories` one `[batch]` u32 tensor per categorical column;
/// `sequence` `[batch, steps, channels]` float, right-aligned, with `mask` `[batch, steps]` (1 = a real step).
#[derive(Clone, Debug)]
pub struct Batch {
    /// Customers in the batch.
    pub rows: usize,
    /// `[rows, n]`, standardised.
    pub numeric: Tensor,
    /// One `[rows]` tensor of ids per categorical column.
    pub categories: Vec<Tensor>,
    /// The sequence column, if there is one.
    pub sequence: Option<SequenceBatch>,
}

/// The preprocessed inputs inside an ONNX graph, in the same layout as [`Batch`]:
/// `numeric` `[batch, n]` float, `categories` int64 `[batch]` each, `sequence` and `mask` float.
pub struct GraphInputs {
    /// Float `[batch, n]`.
    pub numeric: Value,
    /// Int64 `[batch]` each.
    pub categories: Vec<Value>,
    /// Values `[batch, steps, channels]` and mask `[batch, steps]`, float.
    pub sequence: Option<(Value, Value)>,
}

/// The sequences of a batch, right-aligned.
#[derive(Clone, Debug)]
pub struct SequenceBatch {
    /// `[rows, steps, channels]`.
    pub values: Tensor,
    /// `[rows, steps]`: 1 for a real step, 0 for padding.
    pub mask: Tensor,
}

/// Whether dropout and batch statistics are on, and where their randomness comes from.
pub enum Mode<'a> {
    /// Dropout is on and batch statistics are taken; the generator is what dropout draws from.
    Train(&'a Mutex<ChaCha8Rng>),
    /// The same input always gives the same output.
    Evaluate,
}

impl Mode<'_> {
    /// Whether dropout and batch statistics are on.
    pub fn is_training(&self) -> bool {
        matches!(self, Mode::Train(_))
    }
}
