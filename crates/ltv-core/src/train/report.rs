//! What is kept with a version to judge it: metrics on held-out rows, distributions, the history.

use super::combine::combine;
use super::epochs::Trainer;
use super::network::{Network, Predictions};
use crate::error::{Error, Result};
use crate::metrics::{self, Observations};
use crate::objective::{Distribution, TargetStatistics, quantile};
use crate::preprocess::describe_values;
use serde_json::{Map, Value, json};

/// Fewer validation rows than this do not show the distribution of the predictions; training rows do then.
const ROWS_FOR_DISTRIBUTION: usize = 500;
const TRAINING_SAMPLE: usize = 50_000;

/// The metrics on the validation rows (on training rows where there are none) and the `statistics` of the version.
pub(super) fn judge(
    trainer: &Trainer,
    networks: &[Network],
    target: &TargetStatistics,
    mut features: Vec<Value>,
) -> Result<(Value, Value)> {
    let sample = sample(&trainer.train_rows, TRAINING_SAMPLE);
    let (rows, evaluated_on) = if trainer.validation_rows.is_empty() {
        (sample.as_slice(), "training")
    } else {
        (trainer.validation_rows.as_slice(), "validation")
    };
    let predictions = predict(trainer, networks, rows)?;
    let actual: Vec<f64> = rows.iter().map(|&row| trainer.target(row)).collect();
    let distribution = networks.first().and_then(Network::distribution);
    let options = trainer.options;
    let whale = options
        .whale_threshold
        .unwrap_or_else(|| target.payer_quantile(options.whale_quantile));
    let mut judged = evaluate(&actual, &predictions, distribution, whale)?;
    judged.insert("evaluated_on".into(), json!(evaluated_on));
    let described = if rows.len() >= ROWS_FOR_DISTRIBUTION {
        predictions
    } else {
        predict(trainer, networks, &sample)?
    };
    features.push(describe_values("ltv", "prediction", described.value(), 0));
    let statistics = json!({"features": features, "target": target});
    Ok((Value::Object(judged), statistics))
}

fn predict(trainer: &Trainer, networks: &[Network], rows: &[u32]) -> Result<Predictions> {
    let mut members = Vec::with_capacity(networks.len());
    for network in networks {
        if trainer.control.is_cancelled() {
            return Err(Error::cancelled());
        }
        members.push(network.predict_rows(trainer.data, rows, &trainer.device)?);
    }
    Ok(combine(members))
}

/// At most `count` rows at equal distances.
fn sample(rows: &[u32], count: usize) -> Vec<u32> {
    let step = rows.len().div_ceil(count).max(1);
    rows.iter().step_by(step).copied().collect()
}

fn evaluate(
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
    let mut members = Vec::new();
    for mut history in histories {
        if let Value::Array(entries) = history["epochs"].take() {
            epochs.extend(entries);
        }
        members.push(json!({"best_epoch": history["best_epoch"], "ended": history["ended"]}));
    }
    json!({
        "epochs": epochs,
        "members": members,
        "best_epoch": members[0]["best_epoch"],
        "ended": members[0]["ended"],
        "batch_size": trainer.batch_size,
        "training_rows": trainer.train_rows.len(),
        "validation_rows": trainer.validation_rows.len(),
        "continued": continued,
    })
}
