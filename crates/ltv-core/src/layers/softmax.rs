//! Softmax over the last axis.

use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use candle_core::{D, Tensor};

pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

pub fn softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let exponential = shifted.exp()?;
    Ok(exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)?)
}

pub fn export_softmax(graph: &mut GraphBuilder, x: &Value) -> Value {
    graph.op("Softmax", &[x], &[("axis", Attribute::Int(-1))])
}
