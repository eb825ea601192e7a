//! Maximum likelihood over the logarithms of positive parameters, by the method of Broyden, Fletcher, Goldfarb and Shanno
//! (Nocedal and Wright, Numerical Optimization, 2006, chapter 6).
//!
//! Written here rather than taken from a crate: two to four parameters need no more than these lines.

use crate::error::{Error, Result};

/// Far from any data the likelihood is flat: the search stays where exp() of a parameter means something.
const BOUND: f64 = 25.0;
/// Half the distance of central differences: what they are wrong by is of the order of its square.
const STEP: f64 = 1e-4;
/// The furthest that a parameter moves at once.
const FURTHEST: f64 = 2.0;
const ITERATIONS: usize = 200;
/// Of the mean log likelihood. Where the best parameter is infinite, each step gains less than the one before.
const LEAST_GAIN: f64 = 1e-12;
/// A step must gain this share of what the slope promises (Armijo).
const KEPT_PROMISE: f64 = 1e-4;

/// The search begins anew at its own optimum until that gains nothing, which frees it from curvature that it had wrong.
pub(super) fn maximise(
    start: Vec<f64>,
    log_likelihood: impl Fn(&[f64]) -> f64,
) -> Result<Vec<f64>> {
    let cost = |theta: &[f64]| {
        let value = -log_likelihood(theta);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let mut best = Point {
        value: cost(&start),
        theta: start,
    };
    for _ in 0..5 {
        let found = search(&best, &cost);
        let gain = best.value - found.value;
        best = found;
        if gain.is_nan() || gain < 10.0 * LEAST_GAIN {
            break;
        }
    }
    if best.value.is_finite() {
        Ok(best.theta)
    } else {
        Err(
            Error::data("the likelihood has no maximum on these customers")
                .hint("Check the purchase histories, or use another objective."),
        )
    }
}

#[derive(Clone)]
struct Point {
    theta: Vec<f64>,
    value: f64,
}

fn search(start: &Point, cost: &impl Fn(&[f64]) -> f64) -> Point {
    let size = start.theta.len();
    let mut here = start.clone();
    let mut slope = gradient(&here.theta, cost);
    let mut inverse = identity(size);
    for _ in 0..ITERATIONS {
        let mut direction = product(&inverse, &slope);
        direction.iter_mut().for_each(|d| *d = -*d);
        if dot(&direction, &slope) >= 0.0 {
            inverse = identity(size);
            direction = slope.iter().map(|s| -s).collect();
        }
        let Some(next) = step(&here, &direction, &slope, cost) else {
            break;
        };
        let next_slope = gradient(&next.theta, cost);
        let moved = difference(&next.theta, &here.theta);
        let bent = difference(&next_slope, &slope);
        let gain = here.value - next.value;
        (here, slope) = (next, next_slope);
        if gain <= LEAST_GAIN * here.value.abs().max(1.0) {
            break;
        }
        update(&mut inverse, &moved, &bent);
    }
    here
}

/// The first of ever shorter steps that gains enough; none where no step does.
fn step(
    here: &Point,
    direction: &[f64],
    slope: &[f64],
    cost: &impl Fn(&[f64]) -> f64,
) -> Option<Point> {
    let furthest = direction.iter().fold(0.0f64, |most, d| most.max(d.abs()));
    let mut length = (FURTHEST / furthest).min(1.0);
    while length > 1e-12 {
        let theta: Vec<f64> = here
            .theta
            .iter()
            .zip(direction)
            .map(|(t, d)| inside(t + length * d))
            .collect();
        let promised = dot(&difference(&theta, &here.theta), slope);
        let value = cost(&theta);
        if promised < 0.0 && value <= here.value + KEPT_PROMISE * promised {
            return Some(Point { theta, value });
        }
        length *= 0.5;
    }
    None
}

fn gradient(theta: &[f64], cost: &impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at = |axis: usize, value: f64| {
        let mut moved = theta.to_vec();
        moved[axis] = value;
        cost(&moved)
    };
    let along = |axis: usize| {
        let (low, high) = (inside(theta[axis] - STEP), inside(theta[axis] + STEP));
        let slope = (at(axis, high) - at(axis, low)) / (high - low);
        if slope.is_finite() { slope } else { 0.0 }
    };
    (0..theta.len()).map(along).collect()
}

/// Of the inverse of the matrix of second derivatives, from how the slope changed along a step.
fn update(inverse: &mut [Vec<f64>], moved: &[f64], bent: &[f64]) {
    let curvature = dot(moved, bent);
    if curvature.is_nan() || curvature <= 1e-14 {
        return;
    }
    let turned = product(inverse, bent);
    let scale = (1.0 + dot(bent, &turned) / curvature) / curvature;
    for (i, row) in inverse.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry += scale * moved[i] * moved[j]
                - (turned[i] * moved[j] + moved[i] * turned[j]) / curvature;
        }
    }
}

fn inside(theta: f64) -> f64 {
    theta.clamp(-BOUND, BOUND)
}

fn identity(size: usize) -> Vec<Vec<f64>> {
    let row = |i| (0..size).map(|j| f64::from(u8::from(i == j))).collect();
    (0..size).map(row).collect()
}

fn product(matrix: &[Vec<f64>], vector: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, vector)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

pub(super) fn log_sum_exp(a: f64, b: f64) -> f64 {
    let largest = a.max(b);
    largest + ((a - largest).exp() + (b - largest).exp()).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Curved valleys, and a maximum at infinity, in a few hundred looks.
    #[test]
    fn the_maximum_is_found_with_few_looks() -> Result<()> {
        let looks = Cell::new(0);
        let rosenbrock = |t: &[f64]| {
            looks.set(looks.get() + 1);
            -(1.0 - t[0]).powi(2) - 100.0 * (t[1] - t[0] * t[0]).powi(2) - (t[2] + 3.0).powi(2)
        };
        let found = maximise(vec![0.0; 3], rosenbrock)?;
        for (found, wanted) in found.iter().zip([1.0, 1.0, -3.0]) {
            assert!((found - wanted).abs() < 1e-5, "{found} instead of {wanted}");
        }
        assert!(looks.get() < 1000, "{}", looks.get());
        looks.set(0);
        let flat = |t: &[f64]| {
            looks.set(looks.get() + 1);
            -(-t[0]).exp() - (t[1] - 2.0).powi(2)
        };
        let found = maximise(vec![0.0; 2], flat)?;
        assert!(
            found[0] > 20.0 && (found[1] - 2.0).abs() < 1e-5,
            "{found:?}"
        );
        assert!(looks.get() < 1000, "{}", looks.get());
        assert!(maximise(vec![0.0], |_| f64::NAN).is_err());
        Ok(())
    }
}
