//! The functions that layers spend their time in, for float32 and float64.

use super::functions::scalar;
use super::vectorised::vectorised;
use candle_core::WithDType;

/// A float with the functions that layers spend their time in, for loops that do more than that; [`exps`]
/// is for many numbers at once.
pub trait Real: WithDType {
    /// `1 / (1 + exp(-x))`.
    fn sigmoid(x: Self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(x: Self) -> Self;
    /// The exponential function.
    fn exp(x: Self) -> Self;
    /// The square root.
    fn root(x: Self) -> Self;
}

impl Real for f64 {
    fn sigmoid(x: Self) -> Self {
        scalar::sigmoid(x)
    }

    fn tanh(x: Self) -> Self {
        x.tanh()
    }

    fn exp(x: Self) -> Self {
        x.exp()
    }

    fn root(x: Self) -> Self {
        x.sqrt()
    }
}

/// In float32 by polynomials without branches, which the compiler turns into vector instructions; within 2 units in
/// the last place of 1.
impl Real for f32 {
    #[inline(always)]
    fn sigmoid(x: Self) -> Self {
        1.0 / (1.0 + exp_f32(-x))
    }

    #[inline(always)]
    fn tanh(x: Self) -> Self {
        // Near zero 1 - exp(-2x) would cancel; there x (1 - x^2/3 + 2 x^4/15 - 17 x^6/315) is exact.
        let square = x * x;
        let near =
            x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 + square * (-17.0 / 315.0))));
        let e = exp_f32(-2.0 * x.abs());
        let far = ((1.0 - e) / (1.0 + e)).copysign(x);
        if square < 0.04 { near } else { far }
    }

    #[inline(always)]
    fn exp(x: Self) -> Self {
        exp_f32(x)
    }

    #[inline(always)]
    fn root(x: Self) -> Self {
        x.sqrt()
    }
}

vectorised! {
/// [`Real::exp`] of each number, in place.
pub fn exps<T: Real>(values: &mut [T]) {
    for value in values {
        *value = <T as Real>::exp(*value);
    }
}
}

/// exp() for float32: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes' coefficients), limited to where the
/// result is a normal number.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits; taking it away leaves it as a float.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float32_functions_are_close() {
        for k in -400_000..400_000 {
            let x = k as f32 * 5e-4;
            let fast = [<f32 as Real>::sigmoid(x), <f32 as Real>::tanh(x)];
            let exact = [1.0 / (1.0 + (-f64::from(x)).exp()), f64::from(x).tanh()];
            for (fast, exact) in fast.iter().zip(exact) {
                assert!(
                    (f64::from(*fast) - exact).abs() < 2.4e-7,
                    "{x}: {fast} {exact}"
                );
            }
        }
    }
}
