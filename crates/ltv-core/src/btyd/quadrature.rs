//! What a customer who is alive will buy, as an expectation over the probability of dropping out.

/// Of p in log odds, where nothing tells apart the Beta densities and powers of `1 + p w` of different customers but a shift:
/// all are analytic there up to `pi / 2` off the axis, and the trapezoidal rule converges like `exp(-pi^2 / step)`.
const WIDEST_STEP: f64 = 0.3;
/// In standard deviations of the log odds, for densities that are narrower.
const STEP: f64 = 0.6;
/// A sum ends where its terms are this small a part of it, or where they go on as a geometric series but for this.
const NEGLIGIBLE: f64 = 1e-12;

/// `E[(1 - (1 + p w)^-s) / p]` for p ~ Beta(a, b).
pub(super) fn mean_purchases(a: f64, b: f64, s: f64, w: f64) -> f64 {
    let step = WIDEST_STEP.min(STEP * (1.0 / a + 1.0 / b).sqrt());
    let peak = (a / b).ln();
    let log_density = |odds: f64| -a * (1.0 / odds).ln_1p() - b * odds.ln_1p();
    let highest = log_density(a / b);
    let node = |k: i32| {
        let odds = (peak + f64::from(k) * step).exp();
        let p = odds / (1.0 + odds);
        let weight = (log_density(odds) - highest).exp();
        (odds, weight, weight * purchases(p, s, w))
    };
    let (_, mut total, mut sum) = node(0);
    // Below the first limit p is too small to matter to (1 - p)^b and (1 + p w)^-s, above the second 1 - p is.
    let low = NEGLIGIBLE / (a + b + s * w + w);
    let high = (a + s + 1.0) / NEGLIGIBLE;
    for (direction, exponent) in [(-1, a), (1, b)] {
        for k in 1.. {
            let (odds, weight, term) = node(direction * k);
            total += weight;
            sum += term;
            let negligible = weight <= NEGLIGIBLE * total && term <= NEGLIGIBLE * sum;
            if negligible || odds <= low || odds >= high {
                let rest = 1.0 / (exponent * step).exp_m1();
                total += weight * rest;
                sum += term * rest;
                break;
            }
        }
    }
    sum / total
}

/// Of a customer who drops out with probability p, with s in the place of r + x.
fn purchases(p: f64, s: f64, w: f64) -> f64 {
    -(-s * (p * w).ln_1p()).exp_m1() / p
}
