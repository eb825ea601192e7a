//! Batch normalisation: batch statistics while training, running statistics (momentum 0.1) otherwise.

use crate::batch::Mode;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

pub struct BatchNorm {
    weight: Var,
    bias: Var,
    running_mean: Var,
    running_variance: Var,
}

impl BatchNorm {
    pub fn new(params: &mut Params, name: &str, width: usize) -> Result<Self> {
        let shape = [width];
        Ok(Self {
            weight: params.weight(&format!("{name}.weight"), &shape, Init::Constant(1.0))?,
            bias: params.weight(&format!("{name}.bias"), &shape, Init::Constant(0.0))?,
            running_mean: params.buffer(
                &format!("{name}.running_mean"),
                &shape,
                Init::Constant(0.0),
            )?,
            running_variance: params.buffer(
                &format!("{name}.running_variance"),
                &shape,
                Init::Constant(1.0),
            )?,
        })
    }

    /// `x` `[batch, width]`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        if !mode.is_training() {
            let (scale, shift) = self.scale_and_shift()?;
            return Ok(x.broadcast_mul(&scale)?.broadcast_add(&shift)?);
        }
        let rows = x.dim(0)?;
        let mean = x.mean_keepdim(0)?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(0)?;
        let normalised = centred.broadcast_div(&variance.affine(1.0, EPSILON)?.sqrt()?)?;
        self.update(&mean.squeeze(0)?, &variance.squeeze(0)?, rows)?;
        Ok(normalised
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)?)
    }

    /// The running variance is the unbiased one; a single row says nothing about it.
    fn update(&self, mean: &Tensor, variance: &Tensor, rows: usize) -> Result<()> {
        let blend = |old: &Var, new: &Tensor| -> Result<()> {
            let kept = old.as_tensor().detach().affine(1.0 - MOMENTUM, 0.0)?;
            Ok(old.set(&(kept + new.detach().affine(MOMENTUM, 0.0)?)?)?)
        };
        blend(&self.running_mean, mean)?;
        if rows > 1 {
            let unbiased = variance.affine(rows as f64 / (rows - 1) as f64, 0.0)?;
            blend(&self.running_variance, &unbiased)?;
        }
        Ok(())
    }

    fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let deviation = self.running_variance.affine(1.0, EPSILON)?.sqrt()?;
        let scale = self.weight.div(&deviation)?;
        let shift = self.bias.sub(&self.running_mean.mul(&scale)?)?;
        Ok((scale, shift))
    }

    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let (scale, shift) = self.scale_and_shift()?;
        let scale = graph.tensor(&scale)?;
        let shift = graph.tensor(&shift)?;
        let scaled = graph.mul(x, &scale);
        Ok(graph.add(&scaled, &shift))
    }
}
