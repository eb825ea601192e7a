//! The integral of a model, for all customers at once: of one customer it depends on the purchases and the age only, and
//! as a function of these two it is smooth. So it is interpolated, by a polynomial in each, from as many values as it
//! takes.

use super::bgnbd::BgNbd;
use super::quadrature::mean_purchases;
use std::f64::consts::PI;

/// Largest relative error, where it is checked: half-way between the values.
const TOLERANCE: f64 = 1e-9;
const FEWEST: usize = 8;
const MOST: usize = 160;
/// As many repeat purchases as a customer may have.
const MOST_PURCHASES: f64 = 1e6;

/// `ln(E[(1 - (1 + p w)^-s) / p] / (s w))` with `s = r + x`, `w = horizon / (alpha + T)`.
pub(super) struct Surface {
    /// By `ln((x + near) / (x + far))`: logarithmic in between, and nothing changes any more far beyond.
    pub near: f64,
    pub far: f64,
    pub purchases: Nodes,
    /// By `ln(1 + scale w)`.
    pub scale: f64,
    pub window: Nodes,
    /// One row for each node of `purchases`.
    pub values: Vec<f64>,
}

/// Chebyshev nodes of an interval with the weights of the barycentric formula.
pub(super) struct Nodes {
    low: f64,
    high: f64,
    pub at: Vec<f64>,
    pub weights: Vec<f64>,
}

impl Surface {
    pub fn new(model: &BgNbd, horizon: f64) -> Self {
        let (r, a) = (model.r, model.a);
        let b = model.b + model.dropout.first();
        let longest = horizon / model.alpha;
        // Where x begins to matter, and where w does, to the customer to whom it matters most.
        let near = b.min(0.25);
        let far = a.max(b).max(r).max(longest).max(10.0);
        let sensitivity = |x: f64| (r + x + 1.0) * a.max(1.0) / (a.max(1.0) + b + x);
        let scale = sensitivity(0.0).max(sensitivity(MOST_PURCHASES)).max(1.0);
        let purchases = |t: f64| {
            let share = t.exp();
            ((share * far - near) / (1.0 - share)).max(0.0)
        };
        let value = |t: f64, u: f64| {
            // The logarithm has a limit at w = 0, but no value there.
            let (x, w) = (purchases(t), (u.exp_m1() / scale).max(1e-100));
            (mean_purchases(a, b + x, r + x, w) / ((r + x) * w)).ln()
        };
        let nodes_of_purchases = |count| {
            let most = (MOST_PURCHASES + near) / (MOST_PURCHASES + far);
            Nodes::new(count, (near / far).ln(), most.ln())
        };
        let nodes_of_window = |count| Nodes::new(count, 0.0, (scale * longest).ln_1p());
        let with = |rows: usize, columns: usize| {
            let (purchases, window) = (nodes_of_purchases(rows), nodes_of_window(columns));
            let values = pairs(&purchases.at, &window.at).map(|(t, u)| value(t, u));
            Self {
                near,
                far,
                scale,
                values: values.collect(),
                purchases,
                window,
            }
        };
        let (mut rows, mut columns) = (FEWEST, FEWEST);
        loop {
            let surface = with(rows, columns);
            let is_wrong = |(t, u)| {
                let error: f64 = surface.at(t, u) - value(t, u);
                error.abs() > TOLERANCE
            };
            let (by_x, by_w) = (&surface.purchases, &surface.window);
            let more_rows = rows < MOST && pairs(&by_x.between(), &by_w.at).any(is_wrong);
            let more_columns = columns < MOST && pairs(&by_x.at, &by_w.between()).any(is_wrong);
            if !(more_rows || more_columns) {
                return surface;
            }
            let grow = |count: usize, more: bool| match more {
                true => (count * 7 / 5).min(MOST),
                false => count,
            };
            (rows, columns) = (grow(rows, more_rows), grow(columns, more_columns));
        }
    }

    fn at(&self, t: f64, u: f64) -> f64 {
        let (by_x, by_w) = (self.purchases.shares(t), self.window.shares(u));
        let rows = self.values.chunks_exact(by_w.len());
        let along = |row: &[f64]| {
            row.iter()
                .zip(&by_w)
                .map(|(v, share)| v * share)
                .sum::<f64>()
        };
        rows.zip(by_x).map(|(row, share)| share * along(row)).sum()
    }
}

impl Nodes {
    fn new(count: usize, low: f64, high: f64) -> Self {
        let angles = (0..count).map(|k| PI * (k as f64 + 0.5) / count as f64);
        let (at, weights) = angles
            .enumerate()
            .map(|(k, angle)| {
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                (place(low, high, angle), sign * angle.sin())
            })
            .unzip();
        Self {
            low,
            high,
            at,
            weights,
        }
    }

    /// Where the interpolation is worst: half-way between the nodes, and the ends.
    fn between(&self) -> Vec<f64> {
        let count = self.at.len();
        (0..=count)
            .map(|k| place(self.low, self.high, PI * k as f64 / count as f64))
            .collect()
    }

    /// How much the value at each node counts.
    fn shares(&self, t: f64) -> Vec<f64> {
        let parts = self.at.iter().zip(&self.weights);
        let parts: Vec<f64> = parts
            .map(|(at, weight)| weight / (t - at + LEAST_DISTANCE))
            .collect();
        let total: f64 = parts.iter().sum();
        parts.into_iter().map(|part| part / total).collect()
    }
}

fn pairs(rows: &[f64], columns: &[f64]) -> impl Iterator<Item = (f64, f64)> {
    rows.iter()
        .flat_map(|&t| columns.iter().map(move |&u| (t, u)))
}

fn place(low: f64, high: f64, angle: f64) -> f64 {
    0.5 * (low + high) + 0.5 * (high - low) * angle.cos()
}

/// Added to the distance from a node: nothing but where that is zero, and there the node is all that counts.
pub(super) const LEAST_DISTANCE: f64 = 1e-30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btyd::Dropout;

    /// Between the places where it was checked, too, and where a fit has run off to a point in the place of a distribution.
    #[test]
    fn it_is_the_integral() {
        let models = [
            (0.243, 0.793, 2.426, 8.8),
            (0.525, 0.891, 1.614, 6.3),
            (3.0, 500.0, 12.0, 436.0),
            (2000.0, 0.01, 0.01, 1e4),
            (0.01, 2000.0, 2000.0, 1e4),
            (1.0, 1e10, 7e10, 50.0),
        ];
        for (r, a, b, longest) in models {
            let dropout = Dropout::AfterEvery;
            let alpha = 1.0;
            let model = BgNbd {
                r,
                alpha,
                a,
                b,
                dropout,
            };
            let surface = Surface::new(&model, longest);
            for index in 0..400u32 {
                let part = |step: f64| (f64::from(index) * step).fract();
                let x = (part(0.618) * MOST_PURCHASES.ln_1p()).exp_m1();
                let w = (part(0.755) * (1e6 * longest).ln_1p()).exp_m1() / 1e6;
                let t = ((x + surface.near) / (x + surface.far)).ln();
                let u = (surface.scale * w).ln_1p();
                let mean = mean_purchases(a, b + 1.0 + x, r + x, w);
                let error = surface.at(t, u) - (mean / ((r + x) * w)).ln();
                assert!(
                    error.abs() < 1e-8 || w == 0.0,
                    "{model:?}, x {x}, w {w}: {error:e}"
                );
            }
        }
    }
}
