//! `ltv' = exp(f(a + b * ln(ltv)))`: on rows that no network was trained on, `a` makes the total right, `b` the spread
//! between low and high predictions, and the curve f each group of customers. Monotone, so it never changes an order.

mod curve;

use super::bounded::Bounded;
use super::deviance;
use crate::onnx::{GraphBuilder, Value};
use curve::Curve;
use serde::{Deserialize, Serialize};

/// Predictions are taken for at least this before the logarithm.
const TINY: f32 = 1e-9;
/// `exp` of this is the largest prediction.
const LIMIT: f32 = 80.0;
/// The slope is kept in this range.
const SLOPES: (f64, f64) = (0.5, 1.5);
/// Paying customers needed for more than the total.
const PAYERS_FOR_SLOPE: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    intercept: f32,
    slope: f32,
    #[serde(default)]
    curve: Option<Curve>,
}

impl Calibration {
    /// Fits what `method` asks for, as far as the paying customers allow. Each row counts with its weight for what is different
    /// from group to group; the total is made right over all of them alike. `is_everybody`: each customer of the table is among the rows.
    pub fn fit(method: &str, rows: &Bounded, weights: &[f64], is_everybody: bool) -> Option<Self> {
        if method == "none" || rows.payers == 0 {
            return None;
        }
        let actual = rows.actual.as_slice();
        let logs: Vec<f64> = rows
            .predicted
            .iter()
            .map(|value| value.max(f64::from(TINY)).ln())
            .collect();
        let equal = vec![1.0; actual.len()];
        let enough = rows.payers >= PAYERS_FOR_SLOPE;
        let slope = match method {
            "total" => 1.0,
            _ if enough => deviance::slope(&logs, actual, weights, SLOPES).unwrap_or(1.0),
            _ => 1.0,
        };
        let steep: Vec<f64> = logs.iter().map(|log| slope * log).collect();
        let mut intercept = total(&steep, actual, &equal);
        if !enough && !is_everybody {
            intercept = shrunk(intercept, rows.variance);
        }
        if !intercept.is_finite() {
            return None;
        }
        let mut fitted = Self {
            intercept: intercept as f32,
            slope: slope as f32,
            curve: None,
        };
        if enough && matches!(method, "auto" | "curve") {
            let right = total(&steep, actual, weights);
            let straight: Vec<f64> = steep.iter().map(|log| right + log).collect();
            if let Some(mut curve) = Curve::fit(&straight, actual, weights) {
                fitted.intercept = right as f32;
                let curved = |log: &f64| f64::from(curve.apply(*log as f32));
                let curved: Vec<f64> = straight.iter().map(curved).collect();
                curve.raise(total(&curved, actual, &equal));
                fitted.curve = Some(curve);
            }
        }
        Some(fitted)
    }

    /// Every value is `exp(by)` times as high.
    pub fn raise(&mut self, by: f64) {
        match &mut self.curve {
            Some(curve) => curve.raise(by),
            None => self.intercept += by as f32,
        }
    }

    pub fn apply(&self, value: f32) -> f32 {
        let straight = value.max(TINY).ln() * self.slope + self.intercept;
        let exponent = match &self.curve {
            Some(curve) => curve.apply(straight),
            None => straight,
        };
        exponent.clamp(-LIMIT, LIMIT).exp()
    }

    pub fn export(&self, graph: &mut GraphBuilder, value: &Value) -> Value {
        let value = graph.max(value, TINY);
        let log = graph.log(&value);
        let exponent = match &self.curve {
            Some(curve) => curve.export(graph, &log, (self.slope, self.intercept)),
            None => {
                let slope = graph.float(self.slope);
                let steep = graph.mul(&log, &slope);
                let intercept = graph.float(self.intercept);
                graph.add(&steep, &intercept)
            }
        };
        let exponent = graph.clip(&exponent, -LIMIT, LIMIT);
        graph.exp(&exponent)
    }
}

/// What has to be added to make the total right.
fn total(logs: &[f64], actual: &[f64], weights: &[f64]) -> f64 {
    let sum = |values: &mut dyn Iterator<Item = f64>| -> f64 {
        values
            .zip(weights)
            .map(|(value, weight)| value * weight)
            .sum()
    };
    let spent = sum(&mut actual.iter().copied());
    let predicted = sum(&mut logs.iter().map(|log| log.exp()));
    (spent / predicted).ln()
}

/// A correction of which `variance` could as well be chance. Those who train know the total of their own customers: only where few
/// others say something else, and say it clearly, are they believed.
fn shrunk(found: f64, variance: f64) -> f64 {
    let square = found * found;
    found * square / (square + variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Customers;
    use proptest::prelude::*;

    /// Of rows that are a customer each.
    fn weighed(
        method: &str,
        predicted: &[f32],
        actual: &[f64],
        weights: &[f64],
    ) -> Option<Calibration> {
        let wide: Vec<f64> = predicted.iter().map(|&value| value.into()).collect();
        let customers = Customers::one_per_row(actual.len());
        Calibration::fit(
            method,
            &Bounded::new(&wide, actual, &customers),
            weights,
            true,
        )
    }

    fn fit(method: &str, predicted: &[f32], actual: &[f64]) -> Option<Calibration> {
        weighed(method, predicted, actual, &vec![1.0; actual.len()])
    }

    /// Predictions from 1 to 1000, and customers of whom every other one pays twice what `truth` says.
    fn customers(truth: impl Fn(f64) -> f64) -> (Vec<f32>, Vec<f64>) {
        let rows = 0..20_000;
        rows.map(|row| {
            let value = (f64::from(row) / 20_000.0 * 1000f64.ln()).exp();
            let y = if row % 2 == 0 {
                2.0 * truth(value)
            } else {
                0.0
            };
            (value as f32, y)
        })
        .unzip()
    }

    /// The largest relative error of the mean of ten groups, and of the total.
    fn errors(method: &str, predicted: &[f32], actual: &[f64]) -> (f64, f64) {
        let fitted = fit(method, predicted, actual);
        let apply = |value: &f32| {
            fitted
                .as_ref()
                .map_or(*value, |fitted| fitted.apply(*value))
        };
        let values: Vec<f64> = predicted.iter().map(|v| f64::from(apply(v))).collect();
        let error = |rows: std::ops::Range<usize>| {
            let ratio = values[rows.clone()].iter().sum::<f64>() / actual[rows].iter().sum::<f64>();
            (ratio - 1.0).abs()
        };
        let group = predicted.len() / 10;
        let groups = (0..10).map(|k| error(k * group..(k + 1) * group));
        (groups.fold(0.0, f64::max), error(0..predicted.len()))
    }

    #[test]
    fn a_power_is_found_and_a_bend_needs_the_curve() {
        let (predicted, actual) = customers(|value| 3.0 * value.powf(0.8));
        for (method, at_most) in [
            ("none", 5.0),
            ("total", 1.0),
            ("power", 1e-3),
            ("curve", 0.02),
        ] {
            assert!(errors(method, &predicted, &actual).0 < at_most, "{method}");
        }
        // Small spenders are predicted three times too much, large ones right.
        let (predicted, actual) = customers(|value| if value < 30.0 { value / 3.0 } else { value });
        let (power, _) = errors("power", &predicted, &actual);
        let (curve, total) = errors("curve", &predicted, &actual);
        assert!(power > 0.3 && curve < 0.2, "{power} {curve}");
        assert!(total < 1e-5, "{total}");
    }

    /// Two kinds of rows that bend in opposite ways: the curve follows the one that counts, the total is that of both.
    #[test]
    fn the_curve_is_that_of_the_rows_that_count_and_the_total_that_of_all() {
        let (predicted, bent) = customers(|value| if value < 30.0 { value / 3.0 } else { value });
        let (_, other) = customers(|value| if value < 30.0 { value * 3.0 } else { value });
        let both: Vec<f64> = (0..20_000)
            .map(|row| {
                if row / 2 % 2 == 0 {
                    bent[row]
                } else {
                    other[row]
                }
            })
            .collect();
        let weights: Vec<f64> = (0..20_000)
            .map(|row| if row / 2 % 2 == 0 { 1.0 } else { 1e-6 })
            .collect();
        let fitted = weighed("curve", &predicted, &both, &weights);
        let apply = |value: f32| fitted.as_ref().map_or(value, |fitted| fitted.apply(value));
        let small = apply(5.0) / apply(200.0) * 40.0;
        assert!((small - 1.0 / 3.0).abs() < 0.05, "{small}");
        let total: f64 = predicted.iter().map(|&value| f64::from(apply(value))).sum();
        assert!(
            (total / both.iter().sum::<f64>() - 1.0).abs() < 1e-5,
            "{total}"
        );
    }

    /// Predictions that hardly differ, of customers who differ much: rounding must not show.
    #[test]
    fn last_digits_stay_last_digits() {
        let rows = 0..20_000u32;
        let predicted: Vec<f32> = rows.clone().map(|row| 20.0 + 1e-5 * row as f32).collect();
        let actual: Vec<f64> = rows.map(|row| f64::from(row / 1000 % 2) * 40.0).collect();
        let fitted = fit("auto", &predicted, &actual);
        assert!(fitted.as_ref().is_some_and(|fitted| fitted.curve.is_some()));
        for value in predicted {
            let [value, next] = [value, value.next_up()]
                .map(|value| fitted.as_ref().map_or(0.0, |fitted| fitted.apply(value)));
            assert!((next / value - 1.0).abs() < 5e-6, "{value} {next}");
        }
    }

    fn few(actual: &[f64], payers: usize) -> Vec<f64> {
        let mut seen = 0;
        let keep = |y: &f64| {
            seen += usize::from(*y > 0.0);
            if seen > payers { 0.0 } else { *y }
        };
        actual.iter().map(keep).collect()
    }

    /// However far off the predictions are: a shop to which one customer in a hundred comes back.
    #[test]
    fn of_everybody_the_total_is_right_however_few_pay() {
        let (predicted, actual) = customers(|value| value / 15.0);
        for payers in [3, 30, 300] {
            let rows = 2_000..2_000 + 50 * payers;
            let actual = few(&actual[rows.clone()], payers);
            let (_, total) = errors("auto", &predicted[rows], &actual);
            assert!(total < 1e-4, "{payers}: {total}");
        }
    }

    /// Few held-out customers beside many that were trained on.
    #[test]
    fn few_others_are_believed_as_far_as_they_are_clear() {
        let correction = |truth: f64, payers: usize| {
            let (predicted, actual) = customers(|value| truth * value);
            let rows = 9_000..9_000 + 2 * payers;
            let wide: Vec<f64> = predicted[rows.clone()].iter().map(|&v| v.into()).collect();
            let customers = Customers::one_per_row(wide.len());
            let bounded = Bounded::new(&wide, &actual[rows], &customers);
            let fitted = Calibration::fit("auto", &bounded, &vec![1.0; wide.len()], false);
            let value = predicted[9_000 + payers];
            let times = fitted.map_or(1.0, |fitted| f64::from(fitted.apply(value) / value));
            times.ln() / truth.ln()
        };
        let (clear, unclear) = (correction(1.0 / 15.0, 30), correction(1.1, 30));
        assert!(clear > 0.95 && clear < 1.0, "{clear}");
        assert!(unclear > 0.0 && unclear < 0.5, "{unclear}");
        let enough = correction(1.1, 300);
        assert!((enough - 1.0).abs() < 0.05, "{enough}");
    }

    #[test]
    fn nobody_who_paid_no_calibration_and_few_no_curve() {
        let (predicted, actual) = customers(|value| value * 3.0);
        assert_eq!(fit("auto", &predicted, &few(&actual, 0)), None);
        let curve = |payers| {
            fit("auto", &predicted[..400], &few(&actual, payers)[..400])
                .map(|fitted| fitted.curve.is_some())
        };
        assert_eq!(curve(50), Some(false));
        assert_eq!(curve(200), Some(true));
    }

    /// What a few predictions out of all proportion do to a total is no reason to scale all others, and neither is a customer who
    /// spends as much as all others together.
    #[test]
    fn one_customer_moves_the_total_by_a_bounded_share() {
        let (mut predicted, mut actual) = customers(|value| value);
        let all: f64 = actual.iter().sum();
        let scale = |predicted: &[f32], actual: &[f64]| {
            let fitted = fit("total", predicted, actual);
            fitted.map_or(f32::NAN, |fitted| fitted.apply(100.0) / 100.0)
        };
        actual[7] += all;
        let whale = scale(&predicted, &actual);
        assert!(whale > 1.15 && whale < 1.2, "{whale}");
        actual[7] -= all;
        predicted[7] = 1e12;
        let absurd = scale(&predicted, &actual);
        assert!(absurd > 0.84 && absurd < 0.86, "{absurd}");
        let fitted = fit("auto", &predicted, &actual);
        let apply = |value: f32| {
            fitted
                .as_ref()
                .map_or(f32::NAN, |fitted| fitted.apply(value))
        };
        for value in [2.0, 30.0, 500.0] {
            let ratio = apply(value) / value;
            assert!(ratio > 0.7 && ratio < 1.1, "{value}: {ratio}");
        }
    }

    #[test]
    fn a_calibration_of_an_earlier_version_is_read() {
        let text = r#"{"intercept": 0.5, "slope": 1.0}"#;
        let read: Calibration = serde_json::from_str(text).expect("a calibration");
        assert_eq!(read.curve, None);
        assert!((read.apply(2.0) - 2.0 * 0.5f32.exp()).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn whatever_it_is_fitted_on_it_keeps_the_order(
            rows in prop::collection::vec((0.0f32..1e4, 0.0f64..1e5, 0.0f64..1.0), 120..400),
            share in 0.0f64..1.0,
            mut scored in prop::collection::vec(0.0f32..1e9, 2..50),
        ) {
            let predicted: Vec<f32> = rows.iter().map(|(value, ..)| *value).collect();
            let actual: Vec<f64> = rows.iter().map(|(_, y, u)| if *u < share { *y } else { 0.0 }).collect();
            if let Some(fitted) = fit("curve", &predicted, &actual) {
                scored.extend([0.0, f32::MIN_POSITIVE, f32::MAX]);
                scored.sort_by(f32::total_cmp);
                let values: Vec<f32> = scored.iter().map(|value| fitted.apply(*value)).collect();
                for pair in values.windows(2) {
                    prop_assert!(pair[0].is_finite() && pair[1].is_finite());
                    // Up to the last digits of float32.
                    prop_assert!(pair[0] <= pair[1] * (1.0 + 1e-5), "{pair:?}");
                }
            }
        }
    }
}
