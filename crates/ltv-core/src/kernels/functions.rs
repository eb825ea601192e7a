//! Element-wise functions that candle-core lacks, exact in float64, with hand-written derivatives.
//! On a device without a custom kernel the same function is composed from tensor operations.

use super::dispatch::{has_custom_operations, refuse_plain};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use statrs::function::gamma;
use std::marker::PhantomData;

/// A function of one number and its derivative.
trait Scalar: Send + Sync + 'static {
    const NAME: &'static str;
    fn value(x: f64) -> f64;
    fn slope(x: f64) -> f64;
}

struct Value<F>(PhantomData<F>);
struct Slope<F>(PhantomData<F>);

fn map(storage: &CpuStorage, layout: &Layout, f: fn(f64) -> f64) -> Result<(CpuStorage, Shape)> {
    refuse_plain()?;
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("an element-wise function needs contiguous input");
    };
    let mapped = match storage {
        CpuStorage::F32(data) => {
            CpuStorage::F32(data[from..to].iter().map(|&x| f(x.into()) as f32).collect())
        }
        CpuStorage::F64(data) => CpuStorage::F64(data[from..to].iter().map(|&x| f(x)).collect()),
        _ => candle_core::bail!("an element-wise function needs float input"),
    };
    Ok((mapped, layout.shape().clone()))
}

impl<F: Scalar> CustomOp1 for Value<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        map(storage, layout, F::value)
    }
    fn bwd(&self, arg: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let slope = arg.apply_op1_no_bwd(&Slope::<F>(PhantomData))?;
        Ok(Some(gradient.mul(&slope)?))
    }
}

impl<F: Scalar> CustomOp1 for Slope<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        map(storage, layout, F::slope)
    }
}

fn apply<F: Scalar>(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Value::<F>(PhantomData))
}

/// The functions on plain numbers, shared with prediction and the hand-written gradients of the losses.
pub mod scalar {
    /// `ln(1 + exp(x))`, without overflow.
    pub fn softplus(x: f64) -> f64 {
        x.max(0.0) + (-x.abs()).exp().ln_1p()
    }
    /// `1 / (1 + exp(-x))`, without overflow.
    pub fn sigmoid(x: f64) -> f64 {
        let e = (-x.abs()).exp();
        if x >= 0.0 {
            1.0 / (1.0 + e)
        } else {
            e / (1.0 + e)
        }
    }
}

struct Softplus;
impl Scalar for Softplus {
    const NAME: &'static str = "softplus";
    fn value(x: f64) -> f64 {
        scalar::softplus(x)
    }
    fn slope(x: f64) -> f64 {
        scalar::sigmoid(x)
    }
}

/// `max(x, 0) + log1p(exp(-|x|))`.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if has_custom_operations(x) {
        return apply::<Softplus>(x);
    }
    composed::softplus(x)
}

struct Sigmoid;
impl Scalar for Sigmoid {
    const NAME: &'static str = "sigmoid";
    fn value(x: f64) -> f64 {
        scalar::sigmoid(x)
    }
    fn slope(x: f64) -> f64 {
        scalar::sigmoid(x) * scalar::sigmoid(-x)
    }
}

/// `1 / (1 + exp(-x))`.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    if has_custom_operations(x) {
        return apply::<Sigmoid>(x);
    }
    composed::sigmoid(x)
}

struct LogGamma;
impl Scalar for LogGamma {
    const NAME: &'static str = "log_gamma";
    fn value(x: f64) -> f64 {
        gamma::ln_gamma(x)
    }
    fn slope(x: f64) -> f64 {
        gamma::digamma(x)
    }
}

/// `ln(gamma(x))` for `x > 0`; its derivative is the digamma function.
pub fn log_gamma(x: &Tensor) -> Result<Tensor> {
    if has_custom_operations(x) {
        return apply::<LogGamma>(x);
    }
    composed::log_gamma(x)
}

struct Log1p;
impl Scalar for Log1p {
    const NAME: &'static str = "log1p";
    fn value(x: f64) -> f64 {
        x.ln_1p()
    }
    fn slope(x: f64) -> f64 {
        1.0 / (1.0 + x)
    }
}

/// `ln(1 + x)`, exact near 0.
pub fn log1p(x: &Tensor) -> Result<Tensor> {
    if has_custom_operations(x) {
        return apply::<Log1p>(x);
    }
    x.affine(1.0, 1.0)?.log()
}

struct Expm1;
impl Scalar for Expm1 {
    const NAME: &'static str = "expm1";
    fn value(x: f64) -> f64 {
        x.exp_m1()
    }
    fn slope(x: f64) -> f64 {
        x.exp()
    }
}

/// `exp(x) - 1`, exact near 0.
pub fn expm1(x: &Tensor) -> Result<Tensor> {
    if has_custom_operations(x) {
        return apply::<Expm1>(x);
    }
    x.exp()?.affine(1.0, -1.0)
}

/// The same functions out of tensor operations, for devices without a custom kernel.
pub mod composed {
    use candle_core::{Result, Tensor};

    /// `ln(1 + exp(x))`, without overflow.
    pub fn softplus(x: &Tensor) -> Result<Tensor> {
        x.relu()? + x.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?
    }

    /// Through tanh, which saturates without overflow.
    pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
        x.affine(0.5, 0.0)?.tanh()?.affine(0.5, 0.5)
    }

    /// Stirling's series at `x + 8`, brought back by the recurrence `gamma(x + 1) = x gamma(x)`.
    pub fn log_gamma(x: &Tensor) -> Result<Tensor> {
        const SHIFT: usize = 8;
        let mut recurrence = x.log()?;
        for k in 1..SHIFT {
            recurrence = (recurrence + x.affine(1.0, k as f64)?.log()?)?;
        }
        let shifted = x.affine(1.0, SHIFT as f64)?;
        let inverse = shifted.recip()?;
        let square = inverse.sqr()?;
        // 1/12 - 1/360 x^-2 + 1/1260 x^-4 - 1/1680 x^-6, by Horner's rule.
        let mut series = square.affine(-1.0 / 1680.0, 1.0 / 1260.0)?;
        series = (series * &square)?.affine(1.0, -1.0 / 360.0)?;
        series = (series * &square)?.affine(1.0, 1.0 / 12.0)?;
        let stirling = ((shifted.affine(1.0, -0.5)? * shifted.log()?)? - &shifted)?
            .affine(1.0, 0.5 * (2.0 * std::f64::consts::PI).ln())?;
        (stirling + (series * inverse)?)? - recurrence
    }
}
