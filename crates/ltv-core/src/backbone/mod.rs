//! Backbones: `h = backbone(x)`, shape `[batch, width]`.

use crate::batch::{Batch, Mode};
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use candle_core::Tensor;

/// The preprocessed inputs inside an ONNX graph, in the same layout as [`Batch`]:
/// `numeric` `[batch, n]` float, `categories` int64 `[batch]` each, `sequence` and `mask` float.
pub struct GraphInputs {
    pub numeric: Value,
    pub categories: Vec<Value>,
    pub sequence: Option<(Value, Value)>,
}

pub trait Backbone: Send + Sync {
    fn width(&self) -> usize;

    /// `[batch, width]`.
    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor>;

    /// Writes the same computation, evaluation mode, into `graph`.
    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value>;
}
