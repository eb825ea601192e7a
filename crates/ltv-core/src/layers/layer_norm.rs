//! Layer normalisation over the last axis, by tensor operations and as one operation.

use crate::error::Result;
use crate::kernels::operation::{Given, Operation, apply3};
use crate::kernels::real::Real;
use crate::kernels::{blocks, dispatch};
use crate::onnx::{Attribute, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{D, Tensor, Var};

pub(super) const EPSILON: f64 = 1e-5;

/// Zero mean and unit variance over the last axis.
pub fn normalise(x: &Tensor) -> Result<Tensor> {
    if dispatch::applies(x) {
        let width = x.dim(D::Minus1)?;
        let one = Tensor::ones(width, x.dtype(), x.device())?;
        return fused(x, &one, &one.zeros_like()?);
    }
    definition(x)
}

fn definition(x: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(centred.broadcast_div(&variance.affine(1.0, EPSILON)?.sqrt()?)?)
}

/// Layer normalisation with a weight and a bias (Ba et al. 2016).
pub struct LayerNorm {
    weight: Var,
    bias: Var,
}

impl LayerNorm {
    /// Weight 1 and bias 0 for vectors of `width` numbers.
    pub fn new(params: &mut Params, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: params.weight(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: params.weight(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    pub(super) fn weights(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// `[.., width]` -> the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if dispatch::applies(x) {
            return fused(x, &self.weight, &self.bias);
        }
        Ok(definition(x)?
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)?)
    }

    /// [`LayerNorm::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let weight = graph.tensor(&self.weight)?;
        let bias = graph.tensor(&self.bias)?;
        Ok(export_layer_norm(graph, x, &weight, &bias))
    }
}

/// Layer normalisation inside a graph, from its weight and bias.
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

fn fused(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    Ok(apply3(Normalised, [x, weight, bias], x.shape())?)
}

/// `x` `[.., n]`, weight and bias `[n]`.
struct Normalised;

/// The mean of a row, and one by its deviation.
#[inline(always)]
fn moments<T: Real>(row: &[T]) -> (T, T) {
    let count = T::from_f64(row.len() as f64);
    let mean = blocks::sum(row.len(), |k| row[k]) / count;
    let square = |k: usize| (row[k] - mean) * (row[k] - mean);
    let variance = blocks::sum(row.len(), square) / count;
    (
        mean,
        T::from_f64(1.0 / (variance.to_f64() + EPSILON).sqrt()),
    )
}

impl Operation<3> for Normalised {
    const NAME: &'static str = "layer-norm";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [x, weight, bias]: [&[T]; 3]) -> candle_core::Result<(Vec<T>, ())> {
        let mut out = x.to_vec();
        for row in out.chunks_exact_mut(weight.len().max(1)) {
            let (mean, scale) = moments(row);
            for ((x, &weight), &bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x - mean) * scale * weight + bias;
            }
        }
        Ok((out, ()))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, (), 3>,
    ) -> candle_core::Result<[Option<Vec<T>>; 3]> {
        let [x, weight, _] = given.inputs;
        let width = weight.len();
        let count = T::from_f64(width as f64);
        let mut by_x = given.gradient.to_vec();
        let mut by_weight = vec![T::zero(); width];
        let mut by_bias = vec![T::zero(); width];
        let mut normal = vec![T::zero(); width];
        for (row, by_x) in x.chunks_exact(width).zip(by_x.chunks_exact_mut(width)) {
            let (mean, scale) = moments(row);
            for k in 0..width {
                normal[k] = (row[k] - mean) * scale;
                by_weight[k] += by_x[k] * normal[k];
                by_bias[k] += by_x[k];
                by_x[k] *= weight[k];
            }
            let shift = blocks::sum(width, |k| by_x[k]) / count;
            let tilt = blocks::sum(width, |k| by_x[k] * normal[k]) / count;
            for (by_x, &normal) in by_x.iter_mut().zip(&normal) {
                *by_x = scale * (*by_x - shift - normal * tilt);
            }
        }
        Ok([Some(by_x), Some(by_weight), Some(by_bias)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        let wave = |count: usize, k: f64| -> Vec<f64> {
            (0..count)
                .map(|i| (i as f64 * k).sin() * 3.0 + 1.0)
                .collect()
        };
        for width in [2, 8, 12, 30] {
            let shape = (2, 120 / width, width);
            let x = Var::from_vec(wave(240, 1.3), shape, &Device::Cpu)?;
            let mix = Tensor::from_vec(wave(240, 0.7), shape, &Device::Cpu)?;
            let norm = LayerNorm {
                weight: Var::from_vec(wave(width, 0.9), width, &Device::Cpu)?,
                bias: Var::from_vec(wave(width, 2.1), width, &Device::Cpu)?,
            };
            let run = |y: Tensor| -> Result<Vec<Vec<f64>>> {
                let gradients = (&y * &mix)?.sum_all()?.backward()?;
                let mut numbers = vec![y.flatten_all()?.to_vec1()?];
                for var in [&x, &norm.weight, &norm.bias] {
                    if let Some(gradient) = gradients.get(var) {
                        numbers.push(gradient.flatten_all()?.to_vec1()?);
                    }
                }
                Ok(numbers)
            };
            let plain = definition(&x)?
                .broadcast_mul(&norm.weight)?
                .broadcast_add(&norm.bias)?;
            let pairs = [
                (norm.forward(&x)?, plain),
                (normalise(&x)?, definition(&x)?),
            ];
            for (fast, plain) in pairs {
                let (fast, plain) = (run(fast)?, run(plain)?);
                assert_eq!(fast.len(), plain.len());
                for (a, b) in fast.iter().flatten().zip(plain.iter().flatten()) {
                    assert!((a - b).abs() < 1e-10 * (1.0 + b.abs()), "{a} {b}");
                }
            }
        }
        Ok(())
    }
}
