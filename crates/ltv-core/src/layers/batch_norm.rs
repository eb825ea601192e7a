//! Batch normalisation: batch statistics while training, running statistics (momentum 0.1) otherwise. Below, what the
//! same takes in a custom operation.

use super::activation::{Activation, bias_activation, bias_activation_back};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::matrix;
use crate::kernels::real::Real;
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

const EPSILON: f64 = 1e-5;
const MOMENTUM: f64 = 0.1;

/// Batch normalisation of `[batch, width]` (Ioffe and Szegedy 2015).
pub struct BatchNorm {
    weight: Var,
    bias: Var,
    running_mean: Var,
    running_variance: Var,
}

impl BatchNorm {
    /// Weight 1, bias 0, running mean 0 and variance 1.
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

    /// What [`BatchNorm::forward`] does to the running statistics of such a batch.
    pub fn learn(&self, moments: &Moments) -> Result<()> {
        let tensor = |values: &[f64]| -> Result<Tensor> {
            let values = Tensor::new(values, self.running_mean.device())?;
            Ok(values.to_dtype(self.running_mean.dtype())?)
        };
        let rows = moments.rows;
        self.update(&tensor(&moments.mean)?, &tensor(&moments.variance())?, rows)
    }

    /// `[width]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[width]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// What it comes to when not training: `x * scale + shift`.
    pub fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let deviation = self.running_variance.affine(1.0, EPSILON)?.sqrt()?;
        let scale = self.weight.div(&deviation)?;
        let shift = self.bias.sub(&self.running_mean.mul(&scale)?)?;
        Ok((scale, shift))
    }
}

/// Numbers that are worked on together, because they fit into the fastest cache.
const BLOCK: usize = 4096;

fn block(width: usize) -> usize {
    (BLOCK / width.max(1)).max(1) * width.max(1)
}

/// Of each column of a batch.
pub struct Moments {
    rows: usize,
    mean: Vec<f64>,
    /// Sum of the squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    /// Of `x`, rows of `width` numbers.
    pub fn of<T: Real>(x: &[T], width: usize) -> Self {
        let blocks = x.chunks(block(width)).map(|x| {
            let rows = x.len() / width;
            let count = T::from_f64(rows as f64);
            let mut mean = vec![T::zero(); width];
            matrix::column_sums(x, &mut mean);
            mean.iter_mut().for_each(|mean| *mean /= count);
            let mut squares = vec![T::zero(); width];
            for row in x.chunks_exact(width) {
                for ((sum, &x), &mean) in squares.iter_mut().zip(row).zip(&mean) {
                    *sum += (x - mean) * (x - mean);
                }
            }
            let widen = |values: Vec<T>| values.into_iter().map(T::to_f64).collect();
            Self {
                rows,
                mean: widen(mean),
                squares: widen(squares),
            }
        });
        let none = || Self {
            rows: 0,
            mean: vec![0.0; width],
            squares: vec![0.0; width],
        };
        blocks.reduce(Self::and).unwrap_or_else(none)
    }

    /// Of the rows of both (Chan's formula).
    pub fn and(mut self, other: Self) -> Self {
        let rows = self.rows + other.rows;
        let share = other.rows as f64 / rows.max(1) as f64;
        for (column, mean) in self.mean.iter_mut().enumerate() {
            let gap = other.mean[column] - *mean;
            *mean += gap * share;
            self.squares[column] += other.squares[column] + gap * gap * share * self.rows as f64;
        }
        self.rows = rows;
        self
    }

    /// As if `by` had been added to each row.
    pub fn shifted<T: Real>(mut self, by: &[T]) -> Self {
        for (mean, by) in self.mean.iter_mut().zip(by) {
            *mean += by.to_f64();
        }
        self
    }

    fn variance(&self) -> Vec<f64> {
        let rows = self.rows.max(1) as f64;
        self.squares.iter().map(|squares| squares / rows).collect()
    }
}

/// Normalises by given moments and multiplies by the weight.
pub struct Norm<T> {
    rows: usize,
    mean: Vec<T>,
    /// One by the deviation.
    inverse: Vec<T>,
    scale: Vec<T>,
}

/// Per column, what the gradients of all rows do to that of each: their sum, and their sum weighed by the distance of the
/// input from its mean.
pub struct Pull<T> {
    sum: Vec<T>,
    weighed: Vec<T>,
}

impl<T: Real> Norm<T> {
    /// For columns with these moments.
    pub fn new(moments: &Moments, weight: &[T]) -> Self {
        let inverse: Vec<T> = moments
            .variance()
            .into_iter()
            .map(|variance| T::from_f64(1.0 / (variance + EPSILON).sqrt()))
            .collect();
        let scale = inverse.iter().zip(weight).map(|(&i, &weight)| i * weight);
        Self {
            rows: moments.rows,
            mean: moments.mean.iter().map(|&mean| T::from_f64(mean)).collect(),
            scale: scale.collect(),
            inverse,
        }
    }

    /// `activation(normalised x + bias)`; `first` is the index of `x[0]` in the whole tensor, for dropout.
    pub fn apply(&self, x: &[T], bias: &[T], activation: Activation, first: usize) -> Vec<T> {
        let width = self.mean.len();
        let mut out = vec![T::zero(); x.len()];
        let blocks = out.chunks_mut(block(width)).zip(x.chunks(block(width)));
        for (index, (out, x)) in blocks.enumerate() {
            for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let columns = x.iter().zip(&self.mean).zip(&self.scale);
                for (out, ((&x, &mean), &scale)) in out.iter_mut().zip(columns) {
                    *out = (x - mean) * scale;
                }
            }
            bias_activation(out, bias, activation, first + index * block(width));
        }
        out
    }

    /// Takes `gradient` back through the activation that put out `output`.
    pub fn pull(
        &self,
        x: &[T],
        gradient: &mut [T],
        output: &[T],
        activation: Activation,
    ) -> Pull<T> {
        let width = self.mean.len();
        let mut sum = vec![T::zero(); width];
        let mut weighed = vec![T::zero(); width];
        let blocks = gradient
            .chunks_mut(block(width))
            .zip(output.chunks(block(width)))
            .zip(x.chunks(block(width)));
        for ((gradient, output), x) in blocks {
            bias_activation_back(gradient, output, activation, &mut sum);
            for (gradient, x) in gradient.chunks_exact(width).zip(x.chunks_exact(width)) {
                let columns = gradient.iter().zip(x).zip(&self.mean);
                for (sum, ((&gradient, &x), &mean)) in weighed.iter_mut().zip(columns) {
                    *sum += gradient * (x - mean);
                }
            }
        }
        Pull { sum, weighed }
    }

    /// Takes `gradient` back to `x`.
    pub fn pass(&self, pull: &Pull<T>, x: &[T], gradient: &mut [T]) {
        let width = self.mean.len();
        let rows = T::from_f64(self.rows.max(1) as f64);
        let shift: Vec<T> = pull.sum.iter().map(|&sum| sum / rows).collect();
        let tilt = pull.weighed.iter().zip(&self.inverse);
        let tilt: Vec<T> = tilt.map(|(&sum, &i)| sum / rows * i * i).collect();
        for (gradient, x) in gradient.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let columns = x.iter().zip(&self.mean).zip(&self.scale);
            let pulls = shift.iter().zip(&tilt);
            for ((gradient, ((&x, &mean), &scale)), (&shift, &tilt)) in
                gradient.iter_mut().zip(columns).zip(pulls)
            {
                *gradient = scale * (*gradient - shift - (x - mean) * tilt);
            }
        }
    }

    /// The gradients of weight and bias, one after the other.
    pub fn by_weights(&self, pull: &Pull<T>, out: &mut [T]) {
        let (by_weight, by_bias) = out.split_at_mut(self.mean.len());
        for ((out, &sum), &i) in by_weight.iter_mut().zip(&pull.weighed).zip(&self.inverse) {
            *out = sum * i;
        }
        by_bias.copy_from_slice(&pull.sum);
    }
}

impl<T: Real> Pull<T> {
    /// Of the rows of both.
    pub fn and(mut self, other: Self) -> Self {
        let add = |sums: &mut [T], values: &[T]| {
            sums.iter_mut().zip(values).for_each(|(a, &b)| *a += b);
        };
        add(&mut self.sum, &other.sum);
        add(&mut self.weighed, &other.weighed);
        self
    }
}
