//! What an epoch is worth, by the validation rows.

use super::Trainer;
use super::loss_sum::LossSum;
use super::network::{Network, Predictions};
use crate::error::{Error, Result};
use crate::kernels::threads;
use crate::metrics::{self, Observations};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde_json::{Map, Value, json};

/// What the validation rows say of a network.
pub struct Validation {
    /// What early stopping minimises.
    pub value: f64,
    pub loss: f64,
    /// For the history.
    pub entry: Map<String, Value>,
}

impl Trainer<'_> {
    /// The loss and the metrics of `network` on these rows.
    pub fn validate(&self, network: &Network, validation: &[u32]) -> Result<Validation> {
        let mut sum = LossSum::default();
        let mut predictions = Predictions::default();
        let mut actual = Vec::new();
        let at_once = self.feed.hardware.evaluation_batch();
        let evaluate = |rows: &[u32]| {
            if self.control.is_cancelled() {
                return Err(Error::cancelled());
            }
            let (loss, predicted) = network.evaluate(&self.feed.rows.gather(rows)?)?;
            // The tensor of a loss holds on to all that it was computed from.
            let mut sum = LossSum::default();
            sum.add(&loss, rows.len())?;
            sum.settle()?;
            Ok((sum, predicted))
        };
        let judged: Result<Vec<_>> = validation
            .par_chunks(at_once)
            .map(|rows| threads::alone(|| evaluate(rows)))
            .collect();
        for (rows, (part, predicted)) in validation.chunks(at_once).zip(judged?) {
            sum.merge(part);
            predictions.extend(predicted);
            actual.extend(rows.iter().map(|&row| self.feed.target(row)));
        }
        let mut entry = sum.to_json();
        let metrics = rank_metrics(&actual, &predictions)?;
        for (name, value) in &metrics {
            entry.insert(name.clone(), json!(value));
        }
        let metric = match self.options.early_stopping_metric.as_str() {
            "auto" if self.objective == "purchase" => "auc",
            "auto" => "loss",
            name => name,
        };
        let value = metrics
            .iter()
            .find(|(name, _)| name == metric)
            .and_then(|(_, value)| *value)
            .map_or(sum.mean(), |value| -value);
        Ok(Validation {
            value,
            loss: sum.mean(),
            entry,
        })
    }
}

/// Over the rows whose target is known.
fn rank_metrics(actual: &[f64], predictions: &Predictions) -> Result<Vec<metrics::Metric>> {
    let known: Vec<usize> = (0..actual.len())
        .filter(|&row| !actual[row].is_nan())
        .collect();
    if known.is_empty() && !actual.is_empty() {
        return Ok(Vec::new());
    }
    let actual: Vec<f64> = known.iter().map(|&row| actual[row]).collect();
    let widen =
        |values: &[f32]| -> Vec<f64> { known.iter().map(|&row| f64::from(values[row])).collect() };
    let prediction = widen(predictions.value());
    if prediction.iter().any(|value| value.is_nan()) {
        return Ok(Vec::new());
    }
    let probability = predictions.get("purchase_probability").map(widen);
    let all = metrics::evaluate(&Observations {
        actual: &actual,
        prediction: &prediction,
        purchase_probability: probability.as_deref(),
        without_value: true,
        ..Observations::default()
    })?;
    Ok(all
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "normalized_gini" | "spearman" | "auc"))
        .collect())
}
