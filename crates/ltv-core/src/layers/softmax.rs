//! Softmax over the last axis, by tensor operations and as one operation.

use crate::error::Result;
use crate::kernels::operation::{Given, Operation, apply1};
use crate::kernels::real::{Real, exps};
use crate::kernels::{blocks, dispatch};
use crate::onnx::{Attribute, GraphBuilder, Value};
use candle_core::{D, Tensor};

/// The logarithm of [`softmax`], without overflow.
pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

/// Shares along the last axis that add up to 1, the same shape.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if dispatch::applies(x) {
        return Ok(apply1(Softmax(x.dim(D::Minus1)?), [x], x.shape())?);
    }
    definition(x)
}

fn definition(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let exponential = shifted.exp()?;
    Ok(exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)?)
}

/// [`softmax`] inside a graph.
pub fn export_softmax(graph: &mut GraphBuilder, x: &Value) -> Value {
    graph.op("Softmax", &[x], &[("axis", Attribute::Int(-1))])
}

/// Over rows of this many numbers.
struct Softmax(usize);

impl Operation<1> for Softmax {
    const NAME: &'static str = "softmax";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [x]: [&[T]; 1]) -> candle_core::Result<(Vec<T>, ())> {
        let mut out = x.to_vec();
        for row in out.chunks_exact_mut(self.0.max(1)) {
            let most = row
                .iter()
                .fold(row[0], |most, &x| if x > most { x } else { most });
            row.iter_mut().for_each(|x| *x -= most);
            exps(row);
            let total = blocks::sum(row.len(), |k| row[k]);
            row.iter_mut().for_each(|x| *x /= total);
        }
        Ok((out, ()))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, (), 1>,
    ) -> candle_core::Result<[Option<Vec<T>>; 1]> {
        let width = self.0.max(1);
        let mut out = given.gradient.to_vec();
        let results = given.result.chunks_exact(width);
        for (row, y) in out.chunks_exact_mut(width).zip(results) {
            let mixed = blocks::sum(width, |k| row[k] * y[k]);
            for (gradient, &y) in row.iter_mut().zip(y) {
                *gradient = y * (*gradient - mixed);
            }
        }
        Ok([Some(out)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        let wave =
            |k: f64| -> Vec<f64> { (0..60).map(|i| (f64::from(i) * k).sin() * 9.0).collect() };
        for width in [1, 4, 10, 20] {
            let x = Var::from_vec(wave(1.3), (60 / width, width), &Device::Cpu)?;
            let mix = Tensor::from_vec(wave(0.7), (60 / width, width), &Device::Cpu)?;
            let run = |y: Tensor| -> Result<[Vec<f64>; 2]> {
                let gradients = (&y * &mix)?.sum_all()?.backward()?;
                let by_x = gradients.get(&x).map(|g| g.flatten_all()?.to_vec1());
                Ok([
                    y.flatten_all()?.to_vec1()?,
                    by_x.transpose()?.unwrap_or_default(),
                ])
            };
            let (fast, plain) = (run(softmax(&x)?)?, run(definition(&x)?)?);
            for (fast, plain) in fast.iter().zip(&plain) {
                assert_eq!(fast.len(), 60);
                for (a, b) in fast.iter().zip(plain) {
                    assert!((a - b).abs() < 1e-13, "{a} {b}");
                }
            }
        }
        Ok(())
    }
}
