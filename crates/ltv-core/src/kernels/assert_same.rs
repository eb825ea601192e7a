//! What the tests of fast paths hold them to: the values and gradients of their plain definitions.

use crate::batch::Mode;
use crate::error::Result;
use crate::params::Params;
use candle_core::{DType, Device, Tensor, Var};
use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Numbers between -1 and 1 that differ from each other, as a variable of this shape.
pub fn wave(dims: &[usize], k: f64) -> Result<Var> {
    let count = dims.iter().product();
    let values: Vec<f64> = (0..count).map(|i| (i as f64 * k + 0.3).sin()).collect();
    Ok(Var::from_vec(values, dims, &Device::Cpu)?)
}

/// `[rows, steps]`: padding in front, in the middle, everywhere and nowhere.
pub fn mask(rows: usize, steps: usize) -> Result<Tensor> {
    let kept = |i: usize| match (i / steps % 4, i % steps) {
        (0, step) => f64::from(step > steps / 2),
        (1, step) => f64::from(step != 0 && step != steps / 2),
        (row, _) => f64::from(row == 2),
    };
    let values: Vec<f64> = (0..rows * steps).map(kept).collect();
    Ok(Tensor::from_vec(values, (rows, steps), &Device::Cpu)?)
}

/// An empty store in float64.
pub fn params() -> Params {
    Params::new(1, DType::F64, Device::Cpu)
}

/// `run` gives the fast path if it is told so, else the definition, both with the same dropout.
pub fn assert_same(
    params: &Params,
    inputs: &[&Var],
    run: impl Fn(bool, &Mode) -> Result<Tensor>,
) -> Result<()> {
    // Off their start, which would hide much.
    for (index, (_, var)) in params.weights().iter().enumerate() {
        let moved = wave(var.dims(), 1.3 + index as f64)?.affine(0.4, 0.2)?;
        var.set(&moved)?;
    }
    let numbers = |fast: bool| -> Result<Vec<Vec<f64>>> {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(5));
        let out = run(fast, &Mode::Train(&rng))?;
        let mix = wave(out.dims(), 2.9)?;
        let gradients = (&out * mix.as_tensor())?.sum_all()?.backward()?;
        let mut numbers = vec![out.flatten_all()?.to_vec1()?];
        let weights = params.weights().iter().map(|(_, var)| var);
        for var in weights.chain(inputs.iter().copied()) {
            let gradient = match gradients.get(var) {
                Some(gradient) => gradient.clone(),
                None => var.zeros_like()?,
            };
            numbers.push(gradient.flatten_all()?.to_vec1()?);
        }
        Ok(numbers)
    };
    let (fast, plain) = (numbers(true)?, numbers(false)?);
    for (part, (fast, plain)) in fast.iter().zip(&plain).enumerate() {
        assert_eq!(fast.len(), plain.len());
        for (a, b) in fast.iter().zip(plain) {
            assert!((a - b).abs() < 1e-10 * (1.0 + b.abs()), "{part}: {a} {b}");
        }
    }
    Ok(())
}
