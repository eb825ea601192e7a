//! `ltv' = exp(a + b * ln(ltv))`: two numbers that make the total right on rows the network was not trained on, and
//! the spread between low and high predictions. Monotone, so it never changes an order.

use crate::onnx::{GraphBuilder, Value};
use serde::{Deserialize, Serialize};

/// Predictions are taken for at least this before the logarithm.
const TINY: f32 = 1e-9;
/// `exp` of this is the largest prediction.
const LIMIT: f32 = 80.0;
/// The slope is kept in this range ...
const SLOPES: (f64, f64) = (0.5, 1.5);
/// ... and the factor of a correction from few paying rows in this one.
const FACTORS: (f64, f64) = (0.5, 2.0);
/// Predictions that are so many times too high in total owe it to a few rows: scaling all of them would be worse.
const TOO_HIGH: f64 = 5.0;
/// Paying rows needed for two parameters, and for one.
const PAYERS_FOR_SLOPE: usize = 100;
const PAYERS_FOR_TOTAL: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Calibration {
    intercept: f32,
    slope: f32,
}

impl Calibration {
    /// Fits what `method` asks for, as far as the paying rows allow.
    pub fn fit(method: &str, predicted: &[f32], actual: &[f64]) -> Option<Self> {
        let payers = actual.iter().filter(|&&y| y > 0.0).count();
        if method == "none" || payers < PAYERS_FOR_TOTAL {
            return None;
        }
        let logs: Vec<f64> = predicted
            .iter()
            .map(|&value| f64::from(value.max(TINY).ln()))
            .collect();
        if total(&logs, actual, 1.0) < -TOO_HIGH.ln() {
            return None;
        }
        let fitted = if method != "total" && payers >= PAYERS_FOR_SLOPE {
            power(&logs, actual)
        } else {
            None
        };
        let slope = fitted.unwrap_or(1.0);
        let mut intercept = total(&logs, actual, slope);
        if payers < PAYERS_FOR_SLOPE {
            intercept = intercept.clamp(FACTORS.0.ln(), FACTORS.1.ln());
        }
        intercept.is_finite().then_some(Self {
            intercept: intercept as f32,
            slope: slope as f32,
        })
    }

    pub fn apply(&self, value: f32) -> f32 {
        let exponent = value.max(TINY).ln() * self.slope + self.intercept;
        exponent.clamp(-LIMIT, LIMIT).exp()
    }

    pub fn export(&self, graph: &mut GraphBuilder, value: &Value) -> Value {
        let value = graph.max(value, TINY);
        let log = graph.log(&value);
        let slope = graph.float(self.slope);
        let exponent = graph.mul(&log, &slope);
        let intercept = graph.float(self.intercept);
        let exponent = graph.add(&exponent, &intercept);
        let exponent = graph.clip(&exponent, -LIMIT, LIMIT);
        graph.exp(&exponent)
    }
}

/// The intercept that makes the total right for a given slope.
fn total(logs: &[f64], actual: &[f64], slope: f64) -> f64 {
    let predicted: f64 = logs.iter().map(|log| (slope * log).exp()).sum();
    (actual.iter().sum::<f64>() / predicted).ln()
}

/// The slope of a Poisson regression of `actual` on the logarithm of the prediction, by Newton's method.
fn power(logs: &[f64], actual: &[f64]) -> Option<f64> {
    let rows = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / rows;
    let std = (logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / rows).sqrt();
    if !(std > 1e-6 && std.is_finite()) {
        return None;
    }
    let mut slope = 1.0;
    for _ in 0..50 {
        // Gradient and curvature in the slope with the intercept at its optimum: a weighted mean and variance.
        let intercept = total(logs, actual, slope);
        let (mut weight, mut first, mut second, mut observed) = (0.0, 0.0, 0.0, 0.0);
        for (log, y) in logs.iter().zip(actual) {
            let u = (log - mean) / std;
            let expected = (intercept + slope * log).exp();
            weight += expected;
            first += expected * u;
            second += expected * u * u;
            observed += y * u;
        }
        let curvature = second - first * first / weight;
        let step = (observed - first) / curvature / std;
        if !step.is_finite() {
            return None;
        }
        slope = (slope + step.clamp(-0.5, 0.5)).clamp(SLOPES.0, SLOPES.1);
        if step.abs() < 1e-9 {
            break;
        }
    }
    Some(slope)
}
