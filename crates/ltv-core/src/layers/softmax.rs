//! Softmax over the last axis, by tensor operations and as one operation.

use super::kernel::{self, Numbers, Real};
use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Shape, Tensor};

pub fn log_softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    Ok(shifted.broadcast_sub(&total)?)
}

pub fn softmax(x: &Tensor) -> Result<Tensor> {
    if kernel::applies(x) {
        return Ok(x.contiguous()?.apply_op1(Softmax)?);
    }
    definition(x)
}

fn definition(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?;
    let exponential = shifted.exp()?;
    Ok(exponential.broadcast_div(&exponential.sum_keepdim(D::Minus1)?)?)
}

pub fn export_softmax(graph: &mut GraphBuilder, x: &Value) -> Value {
    graph.op("Softmax", &[x], &[("axis", Attribute::Int(-1))])
}

struct Softmax;

fn forward<T: Real>(x: &[T], width: usize) -> Vec<T> {
    let mut out = x.to_vec();
    for row in out.chunks_exact_mut(width.max(1)) {
        let most = row
            .iter()
            .fold(row[0], |most, &x| if x > most { x } else { most });
        row.iter_mut().for_each(|x| *x -= most);
        T::exps(row);

        let total = kernel::sum(row.len(), |k| row[k]);
        row.iter_mut().for_each(|x| *x /= total);
    }
    out
}

fn backward<T: Real>(result: &[T], gradient: &[T], width: usize) -> Vec<T> {
    let mut out = gradient.to_vec();

    let width = width.max(1);
    for (row, y) in out.chunks_exact_mut(width).zip(result.chunks_exact(width)) {
        let mixed = kernel::sum(width, |k| row[k] * y[k]);
        for (gradient, &y) in row.iter_mut().zip(y) {
            *gradient = y * (*gradient - mixed);
        }
    }

    out
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, s: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let width = layout.dims().last().copied().unwrap_or(1);
        let out = match s {
            CpuStorage::F64(_) => CpuStorage::F64(forward(kernel::slice(s, layout)?, width)),
            _ => CpuStorage::F32(forward(kernel::slice(s, layout)?, width)),
        };
        Ok((out, layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let width = x.dim(D::Minus1)?;
        let (y, g) = (Numbers::of(result), Numbers::of(&gradient));
        let (shape, device) = (x.shape(), x.device());
        Ok(Some(match x.dtype() {
            DType::F64 => {
                Tensor::from_vec(backward::<f64>(y.get()?, g.get()?, width), shape, device)?
            }
            _ => Tensor::from_vec(backward::<f32>(y.get()?, g.get()?, width), shape, device)?,
        }))
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
