//! What keeps padding steps from being looked at.

use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use candle_core::Tensor;

/// Added to the score of a padding step: exp() of it is 0. Large enough to swallow any score, so that a sequence of
/// padding only looks at all its steps exactly alike.
pub const HIDDEN: f64 = -1e30;

/// `[batch, 1, 1, steps]`: 0 for real steps, [`HIDDEN`] for padding.
pub fn penalty(mask: &Tensor) -> Result<Tensor> {
    Ok(mask.affine(-HIDDEN, HIDDEN)?.unsqueeze(1)?.unsqueeze(1)?)
}

/// [`penalty`] inside a graph.
pub fn export_penalty(graph: &mut GraphBuilder, mask: &Value) -> Value {
    let one = graph.float(1.0);
    let padding = graph.sub(&one, mask);
    let hidden = graph.float(HIDDEN as f32);
    let penalty = graph.mul(&padding, &hidden);
    let axes = graph.ints(&[1, 2], &[2]);
    graph.op("Unsqueeze", &[&penalty, &axes], &[])
}
