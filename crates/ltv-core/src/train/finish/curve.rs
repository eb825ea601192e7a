//! From what is expected in each interval to the value by the end of each horizon.
//!
//! Values by the end of a horizon are averaged with those of MBG/NBD, with one weight for all horizons, so that both go up with the horizon and
//! their average does. Each is then calibrated on the rows that know it, as a model of that horizon alone would be, and raised to that of the horizon
//! before where it would be less: no correction can make a longer horizon worth less.

use super::Finish;
use super::calibration::Calibration;
use super::log_depth::LogDepth;
use crate::data::Horizons;
use crate::metrics::Customers;
use crate::objective::horizons::{ENDS, INTERVALS};
use crate::onnx::{GraphBuilder, NUMERIC, Value};
use crate::train::finish::bounded::Bounded;
use crate::train::fit::network::Predictions;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Ends of the horizons in days, ascending.
    pub days: Vec<f32>,
    /// Of the value by the end of each.
    calibrations: Vec<Option<Calibration>>,
}

/// Rows that no network was trained on, and what was spent from horizon to horizon.
pub struct Judged<'a> {
    pub rows: &'a [u32],
    pub customers: &'a [u32],
    pub predictions: &'a Predictions,
    pub horizons: &'a Horizons,
    /// What MBG/NBD expects up to the end of each horizon.
    pub mbgnbd: &'a [Vec<f32>],
}

impl Curve {
    /// Fits a calibration to each horizon, from the rows that know it.
    pub fn fit(
        judged: &Judged,
        finish: &Finish,
        method: &str,
        log_depth: Option<&LogDepth>,
        is_everybody: bool,
    ) -> Self {
        let spent = spent(judged.predictions);
        let calibrations = blended(finish, spent, judged.mbgnbd)
            .iter()
            .enumerate()
            .map(|(index, expected)| {
                let actual = |row: u32| -> f64 {
                    let intervals = &judged.horizons.row(row as usize)[..=index];
                    intervals.iter().map(|&spent| f64::from(spent)).sum()
                };
                let known: Vec<usize> = (0..judged.rows.len())
                    .filter(|&place| !actual(judged.rows[place]).is_nan())
                    .collect();
                let pick = |values: &[u32]| -> Vec<u32> {
                    known.iter().map(|&place| values[place]).collect()
                };
                let rows = pick(judged.rows);
                let expected: Vec<f64> =
                    known.iter().map(|&place| expected[place].into()).collect();
                let actual: Vec<f64> = rows.iter().map(|&row| actual(row)).collect();
                let customers = Customers::of(&pick(judged.customers));
                let weights = match log_depth {
                    Some(log_depth) => log_depth.weights(&rows),
                    None => vec![1.0; rows.len()],
                };
                let bounded = Bounded::new(&expected, &actual, &customers);
                Calibration::fit(method, &bounded, &weights, is_everybody)
            })
            .collect();
        Self {
            days: judged.horizons.days().to_vec(),
            calibrations,
        }
    }

    /// Every value is `exp(by)` times as high.
    pub fn raise(&mut self, by: f64) {
        let fitted = self.calibrations.iter_mut().flatten();
        fitted.for_each(|calibration| calibration.raise(by));
    }

    /// Values by the end of each horizon in place of what is expected in each interval.
    pub fn apply(&self, finish: &Finish, predictions: &mut Predictions, mbgnbd: &[Vec<f32>]) {
        let mut ends = blended(finish, spent(predictions), mbgnbd);
        for (end, calibration) in ends.iter_mut().zip(&self.calibrations) {
            if let Some(calibration) = calibration {
                end.iter_mut()
                    .for_each(|value| *value = calibration.apply(*value));
            }
        }
        for index in 1..ends.len() {
            let (before, after) = ends.split_at_mut(index);
            if let (Some(before), Some(after)) = (before.last(), after.first_mut()) {
                let pairs = after.iter_mut().zip(before);
                pairs.for_each(|(value, before)| *value = value.max(*before));
            }
        }
        let longest = ends.pop().unwrap_or_default();
        let columns = &mut predictions.columns;
        columns.retain(|(name, _)| !INTERVALS.contains(name));
        if let Some((_, value)) = columns.iter_mut().find(|(name, _)| *name == "ltv") {
            *value = longest;
        }
        columns.extend(ENDS.into_iter().zip(ends));
    }

    /// The same in a graph.
    pub fn export(
        &self,
        finish: &Finish,
        graph: &mut GraphBuilder,
        outputs: &mut Vec<(&'static str, Value)>,
    ) {
        let spent = outputs.iter().filter(|(name, _)| INTERVALS.contains(name));
        let mut ends: Vec<Value> = spent.map(|(_, value)| value.clone()).collect();
        sum_up(graph, &mut ends);
        if let Some(blend) = &finish.blend {
            let raw = Value::named(NUMERIC);
            for (end, days) in ends.iter_mut().zip(&self.days) {
                *end = blend.export(graph, end, &raw, f64::from(*days));
            }
        }
        for (end, calibration) in ends.iter_mut().zip(&self.calibrations) {
            if let Some(calibration) = calibration {
                *end = calibration.export(graph, end);
            }
        }
        for index in 1..ends.len() {
            ends[index] = graph.op("Max", &[&ends[index], &ends[index - 1]], &[]);
        }
        outputs.retain(|(name, _)| !INTERVALS.contains(name));
        if let (Some(longest), Some((_, value))) = (
            ends.pop(),
            outputs.iter_mut().find(|(name, _)| *name == "ltv"),
        ) {
            *value = longest;
        }
        outputs.extend(ENDS.into_iter().zip(ends));
    }
}

fn sum_up(graph: &mut GraphBuilder, steps: &mut [Value]) {
    for index in 1..steps.len() {
        steps[index] = graph.add(&steps[index - 1], &steps[index]);
    }
}

/// What is expected in each interval.
fn spent(predictions: &Predictions) -> Vec<Vec<f32>> {
    let names = INTERVALS.iter();
    names
        .map_while(|name| predictions.get(name))
        .map(<[f32]>::to_vec)
        .collect()
}

/// Values by the end of each horizon, with MBG/NBD's share.
fn blended(finish: &Finish, spent: Vec<Vec<f32>>, mbgnbd: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let ends = sums(spent).into_iter().enumerate();
    ends.map(|(index, values)| finish.blended(values, mbgnbd.get(index).map(Vec::as_slice)))
        .collect()
}

fn sums(mut steps: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    for index in 1..steps.len() {
        let (before, after) = steps.split_at_mut(index);
        if let (Some(before), Some(after)) = (before.last(), after.first_mut()) {
            let pairs = after.iter_mut().zip(before);
            pairs.for_each(|(value, before)| *value += before);
        }
    }
    steps
}
