//! Quantiles of a zero-inflated amount, from the parameters a model outputs.

use super::Distribution;
use statrs::function::{erf, gamma};

/// exp() of this is the largest amount reported; its square root still fits any sum.
const LOG_LIMIT: f64 = 700.0;

impl Distribution {
    /// The outputs that [`quantile`] needs, in its order.
    pub fn parameters(self) -> [&'static str; 3] {
        match self {
            Self::ZeroInflatedLognormal => ["purchase_probability", "mu", "sigma"],
            Self::ZeroInflatedGamma => ["purchase_probability", "alpha", "rate"],
        }
    }
}

/// The `q` quantile: 0 up to `q = 1 - p`, then that of the paying part at `(q - (1 - p)) / p`.
/// `parameters` are in the order of [`Distribution::parameters`]. NaN where any of them or `q` is NaN.
pub fn quantile(distribution: Distribution, parameters: [f64; 3], q: f64) -> f64 {
    let [p, first, second] = parameters;
    if p.is_nan() || first.is_nan() || second.is_nan() || q.is_nan() {
        return f64::NAN;
    }
    if q <= 1.0 - p {
        return 0.0;
    }
    let q = ((q - (1.0 - p)) / p).clamp(0.0, 1.0);
    match distribution {
        Distribution::ZeroInflatedLognormal => {
            let exponent = first + second * inverse_normal(q);
            exponent.clamp(-LOG_LIMIT, LOG_LIMIT).exp()
        }
        Distribution::ZeroInflatedGamma => inverse_gamma(first, q) / second,
    }
}

/// Shapes from which on the Wilson-Hilferty approximation is right to eight digits and more. The series of the distribution function
/// has as many terms as the root of the shape, and none of them counts where the shape has no digits left for 1.
const NEARLY_NORMAL: f64 = 1e6;

/// The inverse of the standard normal distribution function.
pub fn inverse_normal(q: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * q)
}

/// The `q` quantile of a gamma law with this shape and rate 1: Newton steps on the distribution function, from
/// the Wilson-Hilferty approximation, kept inside a shrinking bracket.
pub fn inverse_gamma(shape: f64, q: f64) -> f64 {
    if q <= 0.0 || shape <= 0.0 {
        return 0.0;
    }
    let q = q.min(1.0 - f64::EPSILON / 2.0);
    let ninth = 1.0 / (9.0 * shape);
    let cube = 1.0 - ninth + inverse_normal(q) * ninth.sqrt();
    if shape >= NEARLY_NORMAL {
        return shape * cube.powi(3);
    }
    // P(x) = x^a / gamma(a + 1) * (1 - a x / (a + 1) + ...), which is all there is to it for tiny x.
    let small = ((q.ln() + gamma::ln_gamma(shape + 1.0)) / shape).exp();
    if small < 1e-8 {
        return small * (1.0 + small / (shape + 1.0));
    }
    let mut x = if cube > 0.0 && shape > 0.5 {
        shape * cube.powi(3)
    } else {
        small
    };
    let (mut low, mut high) = (0.0f64, f64::INFINITY);
    for _ in 0..200 {
        // Each half of the law by its own tail, where it keeps its digits.
        let error = if q > 0.5 {
            (1.0 - q) - gamma::gamma_ur(shape, x)
        } else {
            gamma::gamma_lr(shape, x) - q
        };
        if error > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let density = ((shape - 1.0) * x.ln() - x - gamma::ln_gamma(shape)).exp();
        let mut next = x - error / density;
        if !(next > low && next < high) {
            next = if high.is_finite() {
                0.5 * (low + high)
            } else {
                2.0 * x
            };
        }
        if (next - x).abs() <= 1e-15 * x || next == x {
            return next;
        }
        x = next;
    }
    x
}
