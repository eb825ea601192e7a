//! Layer normalisation over the last axis.

use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{D, Tensor, Var};

const EPSILON: f64 = 1e-5;

/// Zero mean and unit variance over the last axis.
pub fn normalise(x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centred.broadcast_div(&variance.affine(1.0, EPSILON)?.sqrt()?)?)
}

pub struct LayerNorm {
    weight: Var,
    bias: Var,
}

impl LayerNorm {
    pub fn new(params: &mut Params, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: params.weight(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: params.weight(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(normalise(x)?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)?)
    }

    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let weight = graph.tensor(&self.weight)?;
        let bias = graph.tensor(&self.bias)?;
        Ok(export_layer_norm(graph, x, &weight, &bias))
    }
}

pub fn export_layer_norm(
    graph: &mut GraphBuilder,
    x: &Value,
    weight: &Value,
    bias: &Value,
) -> Value {
    let attributes = [
        ("axis", Attribute::Int(-1)),
        ("epsilon", Attribute::Float(EPSILON as f32)),
    ];
    graph.op("LayerNormalization", &[x, weight, bias], &attributes)
}
