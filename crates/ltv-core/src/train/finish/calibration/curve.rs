//! A monotone piecewise linear map of the logarithm of a prediction: what is left to correct where the predictions of
//! small and large spenders are not right on average, group by group.

use crate::onnx::{GraphBuilder, Value};
use serde::{Deserialize, Serialize};

/// Equal groups by prediction, each of which gives one knot.
const GROUPS: usize = 20;
/// Prior strength: each group's correction is shrunk towards none as if this many customers had spent exactly what was
/// predicted. Amounts with a heavy tail count for few customers.
const PRIOR: f64 = 25.0;
/// The map rises at least so much, so that no two predictions become one, and at most so much, so that a difference in
/// their last digits stays one.
const SLOPES: (f64, f64) = (0.1, 4.0);
/// Knots lie at least so far apart.
const LEAST_STEP: f64 = 1e-3;

/// Corrections at increasing logarithms of the prediction; between them linear, beyond them constant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    at: Vec<f32>,
    plus: Vec<f32>,
}

impl Curve {
    /// `logs`: logarithms of predictions whose total is right, each row counted with its weight. `None` where they do not differ.
    pub fn fit(logs: &[f64], actual: &[f64], weights: &[f64]) -> Option<Self> {
        let mut order: Vec<usize> = (0..logs.len()).collect();
        order.sort_by(|&a, &b| logs[b].total_cmp(&logs[a]).then(a.cmp(&b)));
        let mut knots: Vec<(f64, f64)> = Vec::with_capacity(GROUPS);
        // What one paying customer weighs: their share of the sum of squares. Groups without any take it from their richer neighbours.
        let mut weight = None;
        for rows in groups(&order, weights) {
            let sum = |of: &dyn Fn(usize) -> f64| -> f64 {
                rows.iter().map(|&row| weights[row] * of(row)).sum()
            };
            let spent = sum(&|row| actual[row]);
            let predicted = sum(&|row| logs[row].exp());
            let at = sum(&|row| logs[row]) / sum(&|_| 1.0);
            if spent > 0.0 {
                weight = Some(sum(&|row| actual[row].powi(2)) / spent);
            }
            let plus = weight.map_or(0.0, |weight: f64| {
                ((spent / weight + PRIOR) / (predicted / weight + PRIOR)).ln()
            });
            if knots
                .last()
                .is_none_or(|&(above, _)| at < above - LEAST_STEP)
            {
                knots.push((at, plus));
            }
        }
        knots.reverse();
        for index in 1..knots.len() {
            let (at, plus) = knots[index - 1];
            let step = knots[index].0 - at;
            let [least, most] = [SLOPES.0, SLOPES.1].map(|slope| plus + (slope - 1.0) * step);
            knots[index].1 = knots[index].1.clamp(least, most);
        }
        let finite = knots.iter().all(|(at, plus)| (at + plus).is_finite());
        (knots.len() > 1 && finite).then(|| Self {
            at: knots.iter().map(|(at, _)| *at as f32).collect(),
            plus: knots.iter().map(|(_, plus)| *plus as f32).collect(),
        })
    }

    /// The same curve, `by` higher everywhere.
    pub fn raise(&mut self, by: f64) {
        for plus in &mut self.plus {
            *plus += by as f32;
        }
    }

    pub fn apply(&self, log: f32) -> f32 {
        let [first, ..] = self.plus[..] else {
            return log;
        };
        let rises = self.rises().into_iter().zip(self.at.windows(2));
        let correction = rises.map(|(rise, ends)| (log.max(ends[0]).min(ends[1]) - ends[0]) * rise);
        log + (first + correction.sum::<f32>())
    }

    /// The slope of the correction between neighbouring knots.
    fn rises(&self) -> Vec<f32> {
        let pairs = self.plus.windows(2).zip(self.at.windows(2));
        pairs
            .map(|(plus, at)| (plus[1] - plus[0]) / (at[1] - at[0]))
            .collect()
    }

    /// The curve at `slope * log + intercept`; `log` and the result have the shape `[batch]`.
    ///
    /// Distances from the knots, none below 0 and none beyond the next knot, times what the curve rises there: before the first
    /// knot and behind the last one it rises by 1.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        log: &Value,
        (slope, intercept): (f32, f32),
    ) -> Value {
        let [first, ..] = self.at[..] else {
            return log.clone();
        };
        let inner = self.at.windows(2).map(|ends| ends[1] - ends[0]);
        let widths: Vec<f32> = std::iter::once(f32::MAX)
            .chain(inner)
            .chain([f32::MAX])
            .collect();
        let inner = self.rises().into_iter().map(|rise| 1.0 + rise);
        let rises: Vec<f32> = std::iter::once(-1.0).chain(inner).chain([1.0]).collect();
        // Downwards from the first knot, upwards from each.
        let slopes: Vec<f32> = std::iter::once(-slope)
            .chain(self.at.iter().map(|_| slope))
            .collect();
        let starts: Vec<f32> = std::iter::once(first - intercept)
            .chain(self.at.iter().map(|at| intercept - at))
            .collect();
        let segments = widths.len();
        let slopes = graph.floats(&slopes, &[1, segments]);
        let starts = graph.floats(&starts, &[1, segments]);
        let widths = graph.floats(&widths, &[1, segments]);
        let rises = graph.floats(&rises, &[segments, 1]);
        let lowest = graph.floats(&[first + self.plus[0]], &[1, 1]);
        let column = graph.reshape(log, &[-1, 1]);
        let distances = graph.affine(&column, &slopes, &starts);
        let distances = graph.relu(&distances);
        let distances = graph.op("Min", &[&distances, &widths], &[]);
        let curve = graph.affine(&distances, &rises, &lowest);
        graph.reshape(&curve, &[-1])
    }
}

/// `order` in groups of equal weight, as far as rows can be dealt so; none is empty.
fn groups<'a>(order: &'a [usize], weights: &[f64]) -> Vec<&'a [usize]> {
    let total: f64 = weights.iter().sum();
    let mut passed = 0.0;
    let mut group_of = |row: usize| {
        // By the middle of the row: rounding cannot move a row across an edge that lies between two.
        let middle = passed + weights[row] / 2.0;
        passed += weights[row];
        (middle / total * GROUPS as f64) as usize
    };
    let of: Vec<usize> = order.iter().map(|&row| group_of(row)).collect();
    let mut rest = order;
    let sizes = of.chunk_by(|a, b| a == b).map(<[usize]>::len);
    let mut found = Vec::with_capacity(GROUPS);
    for size in sizes {
        let (group, others) = rest.split_at(size);
        found.push(group);
        rest = others;
    }
    found
}
