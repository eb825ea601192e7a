//! `activation(x w^T + b)`: where nearly all of the arithmetic of every model is done.

use super::dropout::Dropout;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

/// What follows the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    Relu,
    ReluDropout(Dropout),
}

/// `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` -> `[.., out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(definition(x, weight, bias, activation)?)
}

fn definition(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> candle_core::Result<Tensor> {
    let (out, fan_in) = weight.dims2()?;
    let rows = x.elem_count() / fan_in.max(1);
    let flat = x.reshape((rows, fan_in))?;
    let mut y = flat.matmul(&weight.t()?)?.broadcast_add(bias)?;
    if activation != Activation::Identity {
        y = y.relu()?;
    }
    if let Activation::ReluDropout(draw) = activation {
        y = y.mul(&draw.mask(&y)?)?;
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    y.reshape(shape)
}

/// The weights of one dense layer.
pub struct Dense {
    weight: Var,
    bias: Var,
}

impl Dense {
    pub fn new(
        params: &mut Params,
        name: &str,
        inputs: usize,
        outputs: usize,
        init: Init,
    ) -> Result<Self> {
        Ok(Self {
            weight: params.weight(&format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: params.weight(&format!("{name}.bias"), &[outputs], Init::Constant(0.0))?,
        })
    }

    /// Starts the bias at known good values, such as the mean of what is to be predicted.
    pub fn set_bias(&self, values: &[f64]) -> Result<()> {
        let bias = Tensor::new(values, self.bias.device())?.to_dtype(self.bias.dtype())?;
        Ok(self.bias.set(&bias)?)
    }

    /// `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    pub fn outputs(&self) -> usize {
        self.bias.elem_count()
    }

    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        dense(x, &self.weight, &self.bias, activation)
    }

    /// The product without activation; inputs of more than two dimensions too.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value, rank: usize) -> Result<Value> {
        let bias = graph.tensor(&self.bias)?;
        if rank == 2 {
            let weight = graph.tensor(&self.weight)?;
            return Ok(graph.linear(x, &weight, &bias));
        }
        let weight = graph.tensor(&self.weight.t()?.contiguous()?)?;
        let product = graph.matmul(x, &weight);
        Ok(graph.add(&product, &bias))
    }
}
