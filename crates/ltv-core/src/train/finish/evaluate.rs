//! Calibration and judgement of a trained ensemble on the rows that it has not seen.

use super::blend::FittedMbgNbd;
use super::bounded::Bounded;
use super::calibration::Calibration;
use super::correction::{Aside, Correction};
use super::curve::{self, Curve};
use super::log_depth::LogDepth;
use super::mix::Mix;
use super::season::Season;
use super::silence::Silence;
use super::spread::{Spread, Surprise};
use super::{Finish, report};
use crate::data::Horizons;
use crate::error::{Error, Result};
use crate::metrics::{Customers, TotalRatio};
use crate::objective::{Distribution, TargetStatistics};
use crate::preprocess::describe_values;
use crate::recipe::Options;
use crate::schema::{Intervals, Observed};
use crate::train::control::Control;
use crate::train::fit::network::Predictions;
use crate::train::rows::folds::Fold;
use serde_json::{Value, json};

/// Rows, at equal distances, that show the distribution of the predictions.
const SAMPLE: usize = 50_000;

/// A network that predicts more than so many times the largest target has left what it knows: exp() of a feature far
/// out, times itself in a cross layer, can outweigh all customers together.
const MOST: f64 = 2.0;

/// Models of one kind, each trained on all rows but those of its fold.
pub struct Ensemble<'a> {
    pub folds: &'a [Fold],
    /// Per row what the customer spent, and a hash of who it is.
    pub spent: &'a [f32],
    pub groups: &'a [u32],
    /// Where several are learned; then what a customer spent is NaN where its time has not come.
    pub horizons: Option<&'a Horizons>,
    pub options: &'a Options,
    pub control: &'a dyn Control,
    /// Whether there are rows that are not in memory.
    pub is_spilled: bool,
    pub distribution: Option<Distribution>,
    /// What a member predicts for some rows.
    pub predict: &'a dyn Fn(usize, &[u32]) -> Result<Predictions>,
    /// What trees beside it, grown on the same folds, predict.
    pub trees: Option<&'a Trees<'a>>,
}

/// What a member among trees predicts for some rows.
pub type Trees<'a> = dyn Fn(usize, &[u32]) -> Predictions + 'a;

impl Ensemble<'_> {
    fn predict(&self, member: usize, rows: &[u32]) -> Result<Predictions> {
        if self.control.is_cancelled() {
            return Err(Error::cancelled());
        }
        (self.predict)(member, rows)
    }

    fn trees(&self, member: usize, rows: &[u32]) -> Result<Option<Predictions>> {
        if self.control.is_cancelled() {
            return Err(Error::cancelled());
        }
        Ok(self.trees.map(|trees| trees(member, rows)))
    }

    /// Rows at equal distances.
    fn sample(&self, count: usize) -> Vec<u32> {
        let step = self.spent.len().div_ceil(count).max(1);
        (0..self.spent.len() as u32).step_by(step).collect()
    }
}

/// What stands beside the networks.
pub struct Beside {
    pub mbgnbd: Option<FittedMbgNbd>,
    /// Of each horizon, the longest last.
    pub silences: Vec<Option<Silence>>,
    pub seasons: Vec<Option<Season>>,
    pub log_depth: Option<LogDepth>,
    /// Whether each row is of the latest cut-off whose horizon has ended; empty where there is one cut-off only.
    pub is_latest: Vec<bool>,
    /// The day of the cut-off of each row; empty where the relation has none.
    pub days: Vec<i32>,
}

impl Beside {
    /// What corrections read of these rows, for each horizon. Silence leaves all of what is expected of rows that show what is spent by its end.
    fn of(&self, rows: &[u32]) -> Vec<Aside> {
        let pick = |values: &Vec<f32>| rows.iter().map(|&row| values[row as usize]).collect();
        let of = |end: usize| Aside {
            mbgnbd: (self.mbgnbd.as_ref()).map_or_else(Vec::new, |law| pick(&law.values[end])),
            left: Vec::new(),
        };
        (0..self.seasons.len()).map(of).collect()
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
    ensemble: &Ensemble,
    target: &TargetStatistics,
    beside: &Beside,
    features: &[Value],
) -> Result<Judged> {
    let mut finish = Finish {
        cap: Some((target.max * MOST) as f32),
        ..Finish::default()
    };
    let all = HeldOut::of(ensemble, &mut finish)?;
    let held_out = all.known();
    let said = all.correct(ensemble, beside, &mut finish);
    drop(all);
    let sample = ensemble.sample(SAMPLE);
    let (mut members, mut trees) = (Vec::new(), Vec::new());
    for member in 0..ensemble.folds.len() {
        members.push(ensemble.predict(member, &sample)?);
        if finish.mix.is_some() {
            trees.extend(ensemble.trees(member, &sample)?);
        }
    }
    if finish.mix.is_some_and(Mix::is_trees_alone) {
        (members, trees) = (trees, Vec::new());
    }
    let of_sample = finish.combine(members, trees, &beside.of(&sample));
    let mut features = features.to_vec();
    features.push(describe_values("ltv", "prediction", of_sample.value(), 0));
    let mut spread = None;
    let metrics = match held_out.rows.is_empty() {
        true => {
            let seen = HeldOut::with(ensemble, sample, of_sample).known();
            seen.metrics(ensemble, target, "training")?
        }
        false => {
            let aside = beside.of(&held_out.rows);
            let predictions = finish.combine(vec![held_out.predictions], Vec::new(), &aside);
            let judged = HeldOut {
                predictions,
                ..held_out
            };
            judged.remark(ensemble, &said);
            spread = judged.spread(beside, &said);
            let observed = ensemble
                .distribution
                .and_then(|law| Some((law, judged.observed(law, beside, &said)?)));
            let on = match ensemble.folds.len() {
                1 => "validation",
                _ => "cross-validation",
            };
            let mut metrics = judged.metrics(ensemble, target, on)?;
            if let Some((law, observed)) = observed {
                if let Some([inside, width]) = Intervals::judge(law, &observed) {
                    metrics["interval_coverage"] = json!(inside);
                    metrics["interval_width"] = json!(width);
                }
                finish.intervals = Intervals::fit(law, observed);
            }
            metrics
        }
    };
    let statistics = json!({
        "features": features,
        "target": target,
        "calibration": finish.correction.calibration,
        "ageing": finish.correction.silence,
        "trees": finish.mix,
        "bgnbd": finish.correction.blend,
        "season_factor": said.season_log.exp(),
        "spread": spread,
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
#[derive(Default)]
struct Said {
    /// The share of all that was spent which one customer holds, if a calibration counts a part of it only.
    largest: Option<f64>,
    /// The logarithm of the factor of the season.
    season_log: f64,
}

impl HeldOut {
    /// Of each member the rows that it has not seen; with the trees' share, which is weighed here.
    fn of(ensemble: &Ensemble, finish: &mut Finish) -> Result<Self> {
        let mut rows = Vec::new();
        let (mut all, mut trees) = (Predictions::default(), Predictions::default());
        for (member, fold) in ensemble.folds.iter().enumerate() {
            let mut predictions = ensemble.predict(member, &fold.validation)?;
            finish.limit(&mut predictions);
            all.extend(predictions);
            if let Some(mut predictions) = ensemble.trees(member, &fold.validation)? {
                finish.limit(&mut predictions);
                trees.extend(predictions);
            }
            rows.extend_from_slice(&fold.validation);
        }
        let mut held_out = Self::with(ensemble, rows, all);
        if let (true, Some(of_trees)) =
            (held_out.predictions.get("ltv").is_some(), trees.get("ltv"))
        {
            let known = held_out.known();
            let actual = known.bounded(known.predictions.value()).actual;
            let (own, of_trees) = (known.predictions.value(), held_out.pick(of_trees));
            let cap = finish.cap.unwrap_or(f32::INFINITY);
            let mut outputs = held_out.predictions.columns.iter();
            let can_be_alone = outputs.all(|(name, _)| trees.get(name).is_some());
            let mix = Mix::weigh(own, &of_trees, &actual, cap, can_be_alone);
            held_out.predictions = match mix.is_trees_alone() {
                true => trees,
                false => mix.apply(held_out.predictions, &trees),
            };
            finish.mix = (mix.weight > 0.0).then_some(mix);
        }
        Ok(held_out)
    }

    fn with(ensemble: &Ensemble, rows: Vec<u32>, predictions: Predictions) -> Self {
        let customer = |&row: &u32| ensemble.groups[row as usize];
        let spent = |&row: &u32| f64::from(ensemble.spent[row as usize]);
        Self {
            actual: rows.iter().map(spent).collect(),
            customers: rows.iter().map(customer).collect(),
            rows,
            predictions,
        }
    }

    /// Places of the rows whose target is known.
    fn known_places(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows.len()).filter(|&place| !self.actual[place].is_nan())
    }

    /// Of values, one per row, those of the rows whose target is known.
    fn pick<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.known_places().map(|place| values[place]).collect()
    }

    /// The rows whose target is known.
    fn known(&self) -> Self {
        let columns = self.predictions.columns.iter();
        Self {
            rows: self.pick(&self.rows),
            predictions: Predictions {
                columns: columns
                    .map(|(name, values)| (*name, self.pick(values)))
                    .collect(),
            },
            actual: self.pick(&self.actual),
            customers: self.pick(&self.customers),
        }
    }

    /// Fits the correction of each horizon, and says what the longest one's rows say.
    fn correct(&self, ensemble: &Ensemble, beside: &Beside, finish: &mut Finish) -> Said {
        let Some(horizons) = ensemble.horizons else {
            let known = self.known();
            let own = known.predictions.get("ltv").map(<[f32]>::to_vec);
            let (correction, said) = known.correct_end(0, own, ensemble, beside, finish.cap);
            finish.correction = correction;
            return said;
        };
        let mut said = Said::default();
        let mut corrections = Vec::with_capacity(horizons.count());
        for (end, expected) in curve::sums(&self.predictions).into_iter().enumerate() {
            let spent = |&row: &u32| -> f64 {
                let intervals = &horizons.row(row as usize)[..=end];
                intervals.iter().map(|&spent| f64::from(spent)).sum()
            };
            let by_then = Self {
                rows: self.rows.clone(),
                predictions: Predictions {
                    columns: vec![("ltv", expected)],
                },
                actual: self.rows.iter().map(spent).collect(),
                customers: self.customers.clone(),
            };
            let known = by_then.known();
            let own = known.predictions.get("ltv").map(<[f32]>::to_vec);
            let (correction, of_end) = known.correct_end(end, own, ensemble, beside, finish.cap);
            corrections.push(correction);
            said = of_end;
        }
        finish.correction = corrections.pop().unwrap_or_default();
        finish.curve = Some(Curve {
            days: horizons.days().to_vec(),
            shorter: corrections,
        });
        said
    }

    /// Fits the weight of MBG/NBD, the calibration and the season of what is expected up to the end of a horizon, from rows that show what is spent
    /// by then.
    fn correct_end(
        &self,
        end: usize,
        expected: Option<Vec<f32>>,
        ensemble: &Ensemble,
        beside: &Beside,
        cap: Option<f32>,
    ) -> (Correction, Said) {
        let mut correction = Correction {
            silence: beside.silences.get(end).cloned().flatten(),
            ..Correction::default()
        };
        let mut said = Said::default();
        let aside = beside.of(&self.rows).swap_remove(end);
        let networks = expected.as_deref().unwrap_or_default();
        correction.blend = beside.mbgnbd.as_ref().and_then(|mbgnbd| {
            let actual = self.bounded(networks).actual;
            mbgnbd.weigh(
                networks,
                &aside.mbgnbd,
                &actual,
                cap.unwrap_or(f32::INFINITY),
            )
        });
        let Some(mut blended) = expected else {
            return (correction, said);
        };
        correction.blended(&mut blended, &aside);
        let weights = match &beside.log_depth {
            Some(log_depth) => log_depth.weights(&self.rows),
            None => vec![1.0; self.rows.len()],
        };
        let bounded = self.bounded(&blended);
        let is_everybody = ensemble.folds.len() > 1 && !ensemble.is_spilled;
        let method = &ensemble.options.calibration;
        correction.calibration = Calibration::fit(method, &bounded, &weights, is_everybody);
        if let Some(calibration) = &mut correction.calibration {
            said.largest = bounded.largest;
            let calibrated = blended.iter().map(|&value| calibration.apply(value).into());
            let calibrated: Vec<f64> = calibrated.collect();
            if let Some(season) = beside.seasons.get(end).and_then(Option::as_ref) {
                said.season_log =
                    season.correction(&self.rows, &self.customers, &calibrated, &self.actual);
            }
            calibration.raise(said.season_log);
        }
        (correction, said)
    }

    fn bounded(&self, predicted: &[f32]) -> Bounded {
        let predicted: Vec<f64> = predicted.iter().map(|&value| value.into()).collect();
        Bounded::new(&predicted, &self.actual, &Customers::of(&self.customers))
    }

    /// Says what has to be said of the total.
    fn remark(&self, ensemble: &Ensemble, said: &Said) {
        let Some(value) = self.predictions.get("ltv") else {
            return;
        };
        // The season is of the time of use, not of these rows.
        let usual = |&value: &f32| f64::from(value) / said.season_log.exp();
        let value: Vec<f64> = value.iter().map(usual).collect();
        let ratio = TotalRatio::of(&value, &self.actual, &Customers::of(&self.customers));
        if let Some(remark) = report::remark_on_total(ratio, said.largest) {
            ensemble.control.notice(&remark);
        }
    }

    /// Customers, the law of each and what was spent, of the rows that customers to come will be most like: those of the latest cut-off and, where the season is
    /// known from them, those a year before the model is used. To these the season belongs.
    fn observed(&self, law: Distribution, beside: &Beside, said: &Said) -> Option<Vec<Observed>> {
        let [p, first, second] = law.parameters().map(|name| self.predictions.get(name));
        let (p, first, second) = (p?, first?, second?);
        let value = self.predictions.value();
        let is_latest = |row: u32| beside.is_latest.get(row as usize) != Some(&false);
        let season = beside.seasons.last().and_then(Option::as_ref);
        let season = season.filter(|_| said.season_log != 0.0);
        let is_same = |row: u32| season.is_some_and(|season| season.is_same(row));
        let parameters = |place: usize, season: f64| {
            let [p, first, second] = [p, first, second].map(|of| f64::from(of[place]));
            match law {
                Distribution::ZeroInflatedLognormal => [p, first - season, second],
                Distribution::ZeroInflatedGamma => [p, first, second * season.exp()],
            }
        };
        let places = (0..self.rows.len()).filter_map(|place| {
            let row = self.rows[place];
            match is_same(row) {
                true => Some((place, 0.0)),
                false => is_latest(row).then_some((place, said.season_log)),
            }
        });
        let observed = places.map(|(place, season)| Observed {
            customer: self.customers[place],
            value: value[place],
            parameters: parameters(place, season),
            spent: self.actual[place],
        });
        Some(observed.collect())
    }

    /// How far what is spent lies from what is expected.
    fn spread(&self, beside: &Beside, said: &Said) -> Option<Spread> {
        let value = self.predictions.get("ltv")?;
        let usual = said.season_log.exp();
        let rows = (0..self.rows.len()).map(|place| Surprise {
            value: f64::from(value[place]) / usual,
            spent: self.actual[place],
            customer: self.customers[place],
            day: beside
                .days
                .get(self.rows[place] as usize)
                .map_or(0, |day| *day),
        });
        Spread::fit(rows.collect())
    }

    fn metrics(
        &self,
        ensemble: &Ensemble,
        target: &TargetStatistics,
        evaluated_on: &str,
    ) -> Result<Value> {
        let options = ensemble.options;
        let whale = options
            .whale_threshold
            .unwrap_or_else(|| target.payer_quantile(options.whale_quantile));
        let mut metrics = report::evaluate(
            &self.actual,
            &self.predictions,
            &self.customers,
            ensemble.distribution,
            whale,
        )?;
        metrics.insert("evaluated_on".into(), json!(evaluated_on));
        if let Some(horizons) = ensemble.horizons {
            let by_horizon = report::by_horizon(horizons, &self.rows, &self.predictions)?;
            metrics.insert("horizons".into(), by_horizon);
        }
        Ok(Value::Object(metrics))
    }
}
