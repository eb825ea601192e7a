//! Cross layers: each multiplies its input by the features once more, so that l layers reach products of l + 1
//! features. `x_0` is the flat input.

use crate::error::Result;
use crate::kernels::matrix::matmul;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

/// The form of a cross layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrossKind {
    /// DCN: `x_0 * (w . x) + b + x`, `w` a vector.
    V1,
    /// DCN-v2: `x_0 * (W x + b) + x`.
    V2,
    /// DCN-v2 with `W = U V^T`, both of this many columns.
    LowRank(usize),
}

enum Weight {
    /// `[1, d]`.
    Vector(Var),
    /// `[d, d]`.
    Matrix(Var),
    /// `U` `[d, r]` and `V^T` `[r, d]`.
    Product(Var, Var),
}

/// One cross layer (Wang et al. 2017, 2021).
pub struct Cross {
    weight: Weight,
    bias: Var,
}

impl Cross {
    /// Adds the weights of a layer over `width` features.
    pub fn new(params: &mut Params, name: &str, width: usize, kind: CrossKind) -> Result<Self> {
        let mut weight = |part: &str, shape: &[usize]| {
            params.weight(&format!("{name}.{part}"), shape, Init::Glorot)
        };
        let weight = match kind {
            CrossKind::V1 => Weight::Vector(weight("weight", &[1, width])?),
            CrossKind::V2 => Weight::Matrix(weight("weight", &[width, width])?),
            CrossKind::LowRank(rank) => {
                let rank = rank.clamp(1, width);
                Weight::Product(weight("u", &[width, rank])?, weight("v", &[rank, width])?)
            }
        };
        let bias = params.weight(&format!("{name}.bias"), &[width], Init::Constant(0.0))?;
        Ok(Self { weight, bias })
    }

    /// `x_0` and `x` `[batch, d]` -> `[batch, d]`.
    pub fn forward(&self, x_0: &Tensor, x: &Tensor) -> Result<Tensor> {
        let product = match &self.weight {
            Weight::Vector(w) => {
                let crossed = x_0.broadcast_mul(&matmul(x, &w.t()?)?)?;
                return Ok((crossed.broadcast_add(&self.bias)? + x)?);
            }
            Weight::Matrix(w) => matmul(x, &w.t()?)?,
            Weight::Product(u, v) => matmul(&matmul(x, &v.t()?)?, &u.t()?)?,
        };
        Ok(((x_0 * product.broadcast_add(&self.bias)?)? + x)?)
    }

    /// [`Cross::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, x_0: &Value, x: &Value) -> Result<Value> {
        let transposed = |graph: &mut GraphBuilder, weight: &Var| -> Result<Value> {
            graph.tensor(&weight.t()?.contiguous()?)
        };
        let bias = graph.tensor(&self.bias)?;
        let crossed = match &self.weight {
            Weight::Vector(w) => {
                let w = transposed(graph, w)?;
                let product = graph.matmul(x, &w);
                let crossed = graph.mul(x_0, &product);
                graph.add(&crossed, &bias)
            }
            Weight::Matrix(w) => {
                let w = graph.tensor(w)?;
                let product = graph.linear(x, &w, &bias);
                graph.mul(x_0, &product)
            }
            Weight::Product(u, v) => {
                let v = transposed(graph, v)?;
                let inner = graph.matmul(x, &v);
                let u = graph.tensor(u)?;
                let product = graph.linear(&inner, &u, &bias);
                graph.mul(x_0, &product)
            }
        };
        Ok(graph.add(&crossed, x))
    }
}
