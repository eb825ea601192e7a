//! Calibration and judgement of a trained ensemble on the rows that it has not seen.

use super::blend::FittedMbgNbd;
use super::bounded::Bounded;
use super::calibration::Calibration;
use super::log_depth::LogDepth;
use super::season::Season;
use super::silence::Silence;
use super::{Finish, report};
use crate::error::{Error, Result};
use crate::metrics::{Customers, TotalRatio};
use crate::objective::TargetStatistics;
use crate::preprocess::describe_values;
use crate::train::fit::Trainer;
use crate::train::fit::network::{Network, Predictions};
use serde_json::{Value, json};

/// Rows, at equal distances, that show the distribution of the predictions.
const SAMPLE: usize = 50_000;

/// A network that predicts more than so many times the largest target has left what it knows: exp() of a feature far
/// out, times itself in a cross layer, can outweigh all customers together.
const MOST: f64 = 2.0;

/// What stands beside the networks.
pub struct Beside {
    pub mbgnbd: Option<FittedMbgNbd>,
    pub silence: Option<Silence>,
    pub season: Option<Season>,
    pub log_depth: Option<LogDepth>,
}

pub struct Judged {
    pub finish: Finish,
    pub metrics: Value,
    pub statistics: Value,
}

/// Calibration and metrics from the held-out rows (of an ensemble: each row from the network that did not see it), and
/// the `statistics` of the version.
pub fn judge(
    trainer: &Trainer,
    networks: &[Network],
    target: &TargetStatistics,
    beside: Beside,
    mut features: Vec<Value>,
) -> Result<Judged> {
    let Beside {
        mbgnbd,
        silence,
        season,
        log_depth,
    } = beside;
    let options = trainer.options;
    let mut evaluated_on = if networks.len() == 1 {
        "validation"
    } else {
        "cross-validation"
    };
    let mut rows = Vec::new();
    let mut held_out = Predictions::default();
    let cap = (target.max * MOST) as f32;
    let mut finish = Finish {
        cap: Some(cap),
        silence,
        ..Finish::default()
    };
    for (network, fold) in networks.iter().zip(&trainer.folds) {
        let mut predictions = predict(trainer, network, &fold.validation)?;
        finish.limit(&mut predictions);
        held_out.extend(predictions);
        rows.extend_from_slice(&fold.validation);
    }
    let mut actual: Vec<f64> = rows.iter().map(|&row| trainer.target(row)).collect();
    let customers_of = |rows: &[u32]| -> Vec<u32> {
        rows.iter()
            .map(|&row| trainer.data.groups[row as usize])
            .collect()
    };
    let mut customers = customers_of(&rows);
    let values = mbgnbd.as_ref().map(|mbgnbd| mbgnbd.values.clone());
    let classic_of = |rows: &[u32]| -> Option<Vec<f32>> {
        let values = values.as_ref()?;
        Some(rows.iter().map(|&row| values[row as usize]).collect())
    };
    let own = classic_of(&rows).unwrap_or_default();
    let mut season_log = 0.0;
    let mut largest = None;
    finish.blend = mbgnbd.and_then(|mbgnbd| {
        let networks = held_out.get("ltv").unwrap_or_default();
        let bounded = bounded(networks, &actual, &customers);
        mbgnbd.weigh(networks, &own, &bounded.actual, cap)
    });
    if let Some(value) = held_out.get("ltv") {
        let blended = finish.blended(value.to_vec(), Some(&own));
        let weights = match &log_depth {
            Some(log_depth) => log_depth.weights(&rows),
            None => vec![1.0; rows.len()],
        };
        let bounded = bounded(&blended, &actual, &customers);
        let is_everybody = networks.len() > 1 && trainer.spilled.is_none();
        finish.calibration =
            Calibration::fit(&options.calibration, &bounded, &weights, is_everybody);
        largest = bounded.largest.filter(|_| finish.calibration.is_some());
        if let (Some(calibration), Some(season)) = (&mut finish.calibration, &season) {
            let calibrated = blended.iter().map(|&value| calibration.apply(value).into());
            let calibrated: Vec<f64> = calibrated.collect();
            season_log = season.correction(&rows, &customers, &calibrated, &actual);
            calibration.raise(season_log);
        }
    }
    let sample = sample(trainer, SAMPLE);
    let mut members = Vec::with_capacity(networks.len());
    for network in networks {
        members.push(predict(trainer, network, &sample)?);
    }
    let final_predictions = finish.combine(members, classic_of(&sample).as_deref(), None);
    features.push(describe_values(
        "ltv",
        "prediction",
        final_predictions.value(),
        0,
    ));
    let judged = if rows.is_empty() {
        evaluated_on = "training";
        actual = sample.iter().map(|&row| trainer.target(row)).collect();
        customers = customers_of(&sample);
        final_predictions
    } else {
        finish.combine(vec![held_out], classic_of(&rows).as_deref(), None)
    };
    let distribution = networks.first().and_then(Network::distribution);
    let whale = options
        .whale_threshold
        .unwrap_or_else(|| target.payer_quantile(options.whale_quantile));
    if evaluated_on != "training"
        && let Some(value) = judged.get("ltv")
    {
        // The season is of the time of use, not of these rows.
        let usual = |&value: &f32| f64::from(value) / season_log.exp();
        let value: Vec<f64> = value.iter().map(usual).collect();
        let ratio = TotalRatio::of(&value, &actual, &Customers::of(&customers));
        if let Some(remark) = report::remark_on_total(ratio, largest) {
            trainer.control.notice(&remark);
        }
    }
    let mut metrics = report::evaluate(&actual, &judged, &customers, distribution, whale)?;
    metrics.insert("evaluated_on".into(), json!(evaluated_on));
    let statistics = json!({
        "features": features,
        "target": target,
        "calibration": finish.calibration,
        "ageing": finish.silence,
        "bgnbd": finish.blend,
        "season_factor": season_log.exp(),
    });
    Ok(Judged {
        finish,
        metrics: Value::Object(metrics),
        statistics,
    })
}

fn bounded(predicted: &[f32], actual: &[f64], customers: &[u32]) -> Bounded {
    let predicted: Vec<f64> = predicted.iter().map(|&value| value.into()).collect();
    Bounded::new(&predicted, actual, &Customers::of(customers))
}

fn predict(trainer: &Trainer, network: &Network, rows: &[u32]) -> Result<Predictions> {
    if trainer.control.is_cancelled() {
        return Err(Error::cancelled());
    }
    network.predict_rows(&trainer.rows, rows, trainer.hardware.evaluation_batch())
}

fn sample(trainer: &Trainer, count: usize) -> Vec<u32> {
    let rows = trainer.data.rows;
    let step = rows.div_ceil(count).max(1);
    (0..rows as u32).step_by(step).collect()
}
