//! What is kept with a version to judge it: metrics on held-out rows, distributions, the history.

use super::epochs::Trainer;
use super::network::Predictions;
use crate::error::Result;
use crate::metrics::{self, Observations};
use crate::objective::{Distribution, quantile};
use serde_json::{Map, Value, json};

pub(super) fn evaluate(
    actual: &[f64],
    predictions: &Predictions,
    distribution: Option<Distribution>,
    whale_threshold: f64,
) -> Result<Map<String, Value>> {
    let widen = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let prediction = widen(predictions.value());
    let purchase = predictions.get("purchase_probability").map(widen);
    let whale = predictions.get("whale_probability").map(widen);
    let band = distribution.and_then(|law| {
        let names = law.parameters();
        let columns = [
            predictions.get(names[0])?,
            predictions.get(names[1])?,
            predictions.get(names[2])?,
        ];
        let at = |q: f64| -> Vec<f64> {
            (0..actual.len())
                .map(|row| quantile(law, columns.map(|column| f64::from(column[row])), q))
                .collect()
        };
        Some((at(0.1), at(0.9)))
    });
    let all = metrics::evaluate(&Observations {
        actual,
        prediction: &prediction,
        purchase_probability: purchase.as_deref(),
        whale_probability: whale.as_deref(),
        whale_threshold: (whale_threshold > 0.0).then_some(whale_threshold),
        band: band
            .as_ref()
            .map(|(low, high)| (low.as_slice(), high.as_slice())),
        without_value: predictions.get("ltv").is_none(),
    })?;
    Ok(all
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect())
}

/// One entry per epoch, all networks of an ensemble one after the other.
pub(super) fn history(trainer: &Trainer, histories: Vec<Value>, continued: bool) -> Value {
    let mut epochs = Vec::new();
    let mut networks = Vec::new();
    for (mut history, fold) in histories.into_iter().zip(&trainer.folds) {
        if let Value::Array(entries) = history["epochs"].take() {
            epochs.extend(entries);
        }
        networks.push(json!({
            "best_epoch": history["best_epoch"],
            "ended": history["ended"],
            "training_rows": history["training_rows"],
            "validation_rows": fold.validation.len(),
        }));
    }
    json!({
        "epochs": epochs,
        "networks": networks,
        "batch_size": trainer.batch_size,
        "continued": continued,
    })
}
