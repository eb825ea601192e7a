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

impl Beside {
    /// What MBG/NBD expects of these rows.
    fn expected(&self, rows: &[u32]) -> Option<Vec<f32>> {
        let values = &self.mbgnbd.as_ref()?.values;
        Some(rows.iter().map(|&row| values[row as usize]).collect())
    }
}

/// What the held-out rows made of a training.
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
    beside: &Beside,
    features: &[Value],
) -> Result<Judged> {
    let mut finish = Finish {
        cap: Some((target.max * MOST) as f32),
        silence: beside.silence.clone(),
        ..Finish::default()
    };
    let held_out = HeldOut::of(trainer, networks, &finish)?;
    let correction = held_out.correct(trainer, beside, &mut finish);
    let sample = sample(trainer, SAMPLE);
    let mut members = Vec::with_capacity(networks.len());
    for network in networks {
        members.push(predict(trainer, network, &sample)?);
    }
    let of_sample = finish.combine(members, beside.expected(&sample).as_deref(), None);
    let mut features = features.to_vec();
    features.push(describe_values("ltv", "prediction", of_sample.value(), 0));
    let metrics = match held_out.rows.is_empty() {
        true => {
            let seen = HeldOut::with(trainer, sample, of_sample);
            seen.metrics(trainer, networks, target, "training")?
        }
        false => {
            let own = beside.expected(&held_out.rows);
            let predictions = finish.combine(vec![held_out.predictions], own.as_deref(), None);
            let judged = HeldOut {
                predictions,
                ..held_out
            };
            judged.remark(trainer, &correction);
            let on = match networks.len() {
                1 => "validation",
                _ => "cross-validation",
            };
            judged.metrics(trainer, networks, target, on)?
        }
    };
    let statistics = json!({
        "features": features,
        "target": target,
        "calibration": finish.calibration,
        "ageing": finish.silence,
        "bgnbd": finish.blend,
        "season_factor": correction.season_log.exp(),
    });
    Ok(Judged {
        finish,
        metrics,
        statistics,
    })
}

/// Rows, and what was predicted and spent there.
struct HeldOut {
    rows: Vec<u32>,
    predictions: Predictions,
    actual: Vec<f64>,
    customers: Vec<u32>,
}

/// What the held-out rows say besides the corrections that [`Finish`] keeps.
struct Correction {
    /// The share of all that was spent which one customer holds, if a calibration counts a part of it only.
    largest: Option<f64>,
    /// The logarithm of the factor of the season.
    season_log: f64,
}

impl HeldOut {
    /// Of each network the rows that it has not seen.
    fn of(trainer: &Trainer, networks: &[Network], finish: &Finish) -> Result<Self> {
        let mut rows = Vec::new();
        let mut all = Predictions::default();
        for (network, fold) in networks.iter().zip(&trainer.feed.folds) {
            let mut predictions = predict(trainer, network, &fold.validation)?;
            finish.limit(&mut predictions);
            all.extend(predictions);
            rows.extend_from_slice(&fold.validation);
        }
        Ok(Self::with(trainer, rows, all))
    }

    fn with(trainer: &Trainer, rows: Vec<u32>, predictions: Predictions) -> Self {
        let feed = &trainer.feed;
        let customer = |&row: &u32| feed.data.groups[row as usize];
        Self {
            actual: rows.iter().map(|&row| feed.target(row)).collect(),
            customers: rows.iter().map(customer).collect(),
            rows,
            predictions,
        }
    }

    /// Fits the weight of MBG/NBD, the calibration and the season.
    fn correct(&self, trainer: &Trainer, beside: &Beside, finish: &mut Finish) -> Correction {
        let mut correction = Correction {
            largest: None,
            season_log: 0.0,
        };
        let own = beside.expected(&self.rows).unwrap_or_default();
        let cap = finish.cap.unwrap_or(f32::INFINITY);
        finish.blend = beside.mbgnbd.as_ref().and_then(|mbgnbd| {
            let networks = self.predictions.get("ltv").unwrap_or_default();
            mbgnbd.weigh(networks, &own, &self.bounded(networks).actual, cap)
        });
        let Some(value) = self.predictions.get("ltv") else {
            return correction;
        };
        let blended = finish.blended(value.to_vec(), Some(&own));
        let weights = match &beside.log_depth {
            Some(log_depth) => log_depth.weights(&self.rows),
            None => vec![1.0; self.rows.len()],
        };
        let bounded = self.bounded(&blended);
        let feed = &trainer.feed;
        let is_everybody = feed.folds.len() > 1 && feed.spilled.is_none();
        let method = &trainer.options.calibration;
        finish.calibration = Calibration::fit(method, &bounded, &weights, is_everybody);
        correction.largest = bounded.largest.filter(|_| finish.calibration.is_some());
        if let (Some(calibration), Some(season)) = (&mut finish.calibration, &beside.season) {
            let calibrated = blended.iter().map(|&value| calibration.apply(value).into());
            let calibrated: Vec<f64> = calibrated.collect();
            correction.season_log =
                season.correction(&self.rows, &self.customers, &calibrated, &self.actual);
            calibration.raise(correction.season_log);
        }
        correction
    }

    fn bounded(&self, predicted: &[f32]) -> Bounded {
        let predicted: Vec<f64> = predicted.iter().map(|&value| value.into()).collect();
        Bounded::new(&predicted, &self.actual, &Customers::of(&self.customers))
    }

    /// Says what has to be said of the total.
    fn remark(&self, trainer: &Trainer, correction: &Correction) {
        let Some(value) = self.predictions.get("ltv") else {
            return;
        };
        // The season is of the time of use, not of these rows.
        let usual = |&value: &f32| f64::from(value) / correction.season_log.exp();
        let value: Vec<f64> = value.iter().map(usual).collect();
        let ratio = TotalRatio::of(&value, &self.actual, &Customers::of(&self.customers));
        if let Some(remark) = report::remark_on_total(ratio, correction.largest) {
            trainer.control.notice(&remark);
        }
    }

    fn metrics(
        &self,
        trainer: &Trainer,
        networks: &[Network],
        target: &TargetStatistics,
        evaluated_on: &str,
    ) -> Result<Value> {
        let options = trainer.options;
        let whale = options
            .whale_threshold
            .unwrap_or_else(|| target.payer_quantile(options.whale_quantile));
        let mut metrics = report::evaluate(
            &self.actual,
            &self.predictions,
            &self.customers,
            networks.first().and_then(Network::distribution),
            whale,
        )?;
        metrics.insert("evaluated_on".into(), json!(evaluated_on));
        Ok(Value::Object(metrics))
    }
}

fn predict(trainer: &Trainer, network: &Network, rows: &[u32]) -> Result<Predictions> {
    if trainer.control.is_cancelled() {
        return Err(Error::cancelled());
    }
    network.predict_rows(
        &trainer.feed.rows,
        rows,
        trainer.feed.hardware.evaluation_batch(),
    )
}

fn sample(trainer: &Trainer, count: usize) -> Vec<u32> {
    let rows = trainer.feed.data.rows;
    let step = rows.div_ceil(count).max(1);
    (0..rows as u32).step_by(step).collect()
}
