//! Adam by tensor operations, for GPUs, where kernel launches and reads back to the host are slow: all weights form one
//! vector, and no value is read back.

use super::config::{AdamConfig, BETA1, BETA2, EPSILON};
use crate::error::Result;
use candle_core::{DType, Tensor, Var};

pub struct FlatAdam {
    values: Tensor,
    first: Tensor,
    second: Tensor,
    /// 1 where a weight decays, 0 elsewhere.
    decays: Tensor,
}

impl FlatAdam {
    /// `decays` says of each weight whether it does. From now on nobody else may change the weights.
    pub fn new(weights: &[(Var, bool)]) -> Result<Self> {
        let mut values = Vec::with_capacity(weights.len());
        let mut decays = Vec::with_capacity(weights.len());
        for (var, decay) in weights {
            values.push(var.as_detached_tensor().flatten_all()?);
            let ones = Tensor::ones(var.elem_count(), var.dtype(), var.device())?;
            decays.push(ones.affine(f64::from(*decay), 0.0)?);
        }
        // A copy, because a single tensor is passed through.
        let values = Tensor::cat(&values, 0)?.copy()?;
        Ok(Self {
            first: values.zeros_like()?,
            second: values.zeros_like()?,
            decays: Tensor::cat(&decays, 0)?,
            values,
        })
    }

    /// Step number `steps`, from 1. A gradient that is not finite changes nothing.
    pub fn step(
        &mut self,
        weights: &[(Var, bool)],
        gradients: &[Option<Tensor>],
        (steps, learning_rate): (i32, f64),
        config: &AdamConfig,
    ) -> Result<()> {
        let mut parts = Vec::with_capacity(weights.len());
        for ((var, _), gradient) in weights.iter().zip(gradients) {
            parts.push(match gradient {
                Some(gradient) => gradient.flatten_all()?,
                None => Tensor::zeros(var.elem_count(), var.dtype(), var.device())?,
            });
        }
        let gradient = Tensor::cat(&parts, 0)?;
        let squares = gradient.sqr()?.sum_all()?;
        let is_finite = squares
            .le(match squares.dtype() {
                DType::F64 => f64::MAX,
                _ => f64::from(f32::MAX),
            })?
            .broadcast_as(gradient.shape())?;
        let clipped = match config.clip_norm {
            limit if limit > 0.0 => {
                let factor = squares.sqrt()?.recip()?.affine(limit, 0.0)?.minimum(1.0)?;
                gradient.broadcast_mul(&factor)?
            }
            _ => gradient,
        };
        let (penalty, shrink) = match config.decoupled {
            true => (0.0, learning_rate * config.weight_decay),
            false => (config.weight_decay, 0.0),
        };
        let decaying = (&self.values * &self.decays)?;
        let gradient = (clipped + decaying.affine(penalty, 0.0)?)?;
        let blend = |old: &Tensor, new: &Tensor, beta: f64| -> Result<Tensor> {
            Ok((old.affine(beta, 0.0)? + new.affine(1.0 - beta, 0.0)?)?)
        };
        let first = blend(&self.first, &gradient, BETA1)?;
        let second = blend(&self.second, &gradient.sqr()?, BETA2)?;
        let (correction1, correction2) = (1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps));
        let scale = second
            .affine(1.0 / correction2, 0.0)?
            .sqrt()?
            .affine(1.0, EPSILON)?;
        let change = (first.affine(learning_rate / correction1, 0.0)? / scale)?;
        let values = ((&self.values - decaying.affine(shrink, 0.0)?)? - change)?;
        self.values = is_finite.where_cond(&values, &self.values)?;
        self.first = is_finite.where_cond(&first, &self.first)?;
        self.second = is_finite.where_cond(&second, &self.second)?;
        let mut from = 0;
        for (var, _) in weights {
            let count = var.elem_count();
            let values = self.values.narrow(0, from, count)?;
            var.set(&values.reshape(var.shape())?)?;
            from += count;
        }
        Ok(())
    }
}
