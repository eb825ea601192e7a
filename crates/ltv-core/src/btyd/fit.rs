//! Maximum likelihood over the logarithms of positive parameters, by the simplex of Nelder and Mead (1965).
//!
//! Written here rather than taken from a crate: three or four parameters need no more than these lines.

use crate::error::{Error, Result};

type Vertex = (Vec<f64>, f64);

/// Far from any data the likelihood is flat: the search stays where exp() of a parameter means something.
const BOUND: f64 = 25.0;
const ITERATIONS: usize = 4000;
/// Of the mean log likelihood; its parameters are known to about the root of this.
const SPREAD: f64 = 1e-13;

/// The simplex is restarted at its own optimum until that gains nothing, which frees it where it had collapsed.
pub(super) fn maximise(
    start: Vec<f64>,
    log_likelihood: impl Fn(&[f64]) -> f64,
) -> Result<Vec<f64>> {
    let cost = |theta: &[f64]| {
        let value = -log_likelihood(theta);
        let usable = theta.iter().all(|t| t.abs() <= BOUND) && !value.is_nan();
        if usable { value } else { f64::INFINITY }
    };
    let mut best = (start, f64::INFINITY);
    for _ in 0..20 {
        let found = search(&best.0, &cost);
        let gain = best.1 - found.1;
        best = found;
        if gain < 1e-11 {
            break;
        }
    }
    if best.1.is_finite() {
        Ok(best.0)
    } else {
        Err(
            Error::data("the likelihood has no maximum on these customers")
                .hint("Check the purchase histories, or use another objective."),
        )
    }
}

fn search(start: &[f64], cost: &impl Fn(&[f64]) -> f64) -> Vertex {
    let vertex = |point: Vec<f64>| {
        let value = cost(&point);
        (point, value)
    };
    let mut simplex = vec![vertex(start.to_vec())];
    for axis in 0..start.len() {
        let mut corner = start.to_vec();
        corner[axis] += 0.5;
        simplex.push(vertex(corner));
    }
    for _ in 0..ITERATIONS {
        simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (best, worst) = (simplex[0].1, simplex[start.len()].1);
        if worst - best <= SPREAD * best.abs() {
            break;
        }
        let second_worst = simplex[start.len() - 1].1;
        let along = |factor: f64| vertex(point_along(&simplex, factor));
        let reflected = along(1.0);
        let candidate = if reflected.1 < best {
            let expanded = along(2.0);
            if expanded.1 < reflected.1 {
                expanded
            } else {
                reflected
            }
        } else if reflected.1 < second_worst {
            reflected
        } else {
            along(if reflected.1 < worst { 0.5 } else { -0.5 })
        };
        if candidate.1 < worst {
            simplex[start.len()] = candidate;
        } else {
            let centre = simplex[0].0.clone();
            for corner in &mut simplex[1..] {
                *corner = vertex(
                    corner
                        .0
                        .iter()
                        .zip(&centre)
                        .map(|(c, b)| b + 0.5 * (c - b))
                        .collect(),
                );
            }
        }
    }
    simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
    simplex.swap_remove(0)
}

/// `factor` times the way from the worst vertex (the last) through the centre of the others.
fn point_along(simplex: &[Vertex], factor: f64) -> Vec<f64> {
    let others = simplex.len() - 1;
    (0..others)
        .map(|axis| {
            let centre = simplex[..others].iter().map(|v| v.0[axis]).sum::<f64>() / others as f64;
            centre + factor * (centre - simplex[others].0[axis])
        })
        .collect()
}

pub(super) fn log_sum_exp(a: f64, b: f64) -> f64 {
    let largest = a.max(b);
    largest + ((a - largest).exp() + (b - largest).exp()).ln()
}
