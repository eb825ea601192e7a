//! Objectives: head + loss + prediction.

pub mod cmltv;
mod contrast;
pub mod expltv;
pub mod horizons;
mod paying_rows;
mod purchase;
mod quantile;
mod regression;
pub mod terms;
mod tower;
mod tweedie;
pub mod ziln;

pub use cmltv::CmltvConfig;
pub use expltv::ExpltvConfig;
pub use quantile::{inverse_gamma, inverse_normal, quantile};
pub use regression::{RegressionConfig, TargetTransform};
pub use tweedie::TweedieConfig;
pub use ziln::ZilnConfig;

use crate::backbone::Backbone;
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::layers::dense::{self, Dense};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Facts about the training target that heads are built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatistics {
    /// Training rows.
    pub rows: usize,
    /// Rows with y > 0.
    pub payers: usize,
    /// Mean over all rows, in money.
    pub mean: f64,
    /// Mean over paying rows.
    pub payer_mean: f64,
    /// Mean and standard deviation of ln(y) over paying rows.
    pub payer_log_mean: f64,
    /// See `payer_log_mean`.
    pub payer_log_std: f64,
    /// The largest amount.
    pub max: f64,
    /// Values of paying rows at 0.00, 0.01 ... 1.00.
    pub payer_quantiles: Vec<f64>,
}

impl TargetStatistics {
    /// Share of paying rows, kept away from 0 and 1.
    fn paying_share(&self) -> f64 {
        let rows = self.rows.max(1) as f64;
        (self.payers as f64 / rows).clamp(1e-4, 1.0 - 1e-4)
    }

    fn paying_logit(&self) -> f64 {
        let share = self.paying_share();
        (share / (1.0 - share)).ln()
    }

    /// The `q` quantile of paying rows, interpolated between the stored percentiles; 0 where there are none.
    pub fn payer_quantile(&self, q: f64) -> f64 {
        let Some(last) = self.payer_quantiles.len().checked_sub(1) else {
            return 0.0;
        };
        let position = q.clamp(0.0, 1.0) * last as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(last);
        let low = self.payer_quantiles[below];
        low + (self.payer_quantiles[above] - low) * (position - below as f64)
    }

    /// What amounts are divided by so that they are of order 1.
    pub(crate) fn amount_scale(&self) -> f64 {
        if self.payer_mean.is_finite() && self.payer_mean > 0.0 {
            self.payer_mean
        } else {
            1.0
        }
    }
}

/// The head's raw outputs, in the order the head defines; each `[batch]` or `[batch, k]`.
pub type HeadOutput = Vec<Tensor>;

/// The total (a scalar tensor that gradients flow from) and its named parts, for the training log.
pub struct Loss {
    /// What is minimised.
    pub total: Tensor,
    /// Name and value of each part.
    pub terms: Vec<(&'static str, Tensor)>,
}

impl Loss {
    fn new(total: Tensor, terms: Vec<(&'static str, Tensor)>) -> Self {
        let terms = terms
            .into_iter()
            .map(|(name, term)| (name, term.detach()))
            .collect();
        Self { total, terms }
    }

    fn single(name: &'static str, total: Tensor) -> Self {
        let term = total.detach();
        Self {
            total,
            terms: vec![(name, term)],
        }
    }
}

/// Predictions by public name (`ltv`, `purchase_probability`, ...), each `[batch]`.
pub type Prediction = Vec<(&'static str, Tensor)>;

/// A head over a backbone's output, its loss and its predictions.
pub trait Objective: Send + Sync {
    /// As options and reports spell it.
    fn name(&self) -> &'static str;

    /// From `h` `[batch, width]`.
    fn forward(&self, hidden: &Tensor, mode: &Mode) -> Result<HeadOutput>;

    /// `target` is y, `[batch]`, in money. A batch without a paying row contributes 0 where a term needs one.
    fn loss(&self, output: &HeadOutput, target: &Tensor, mode: &Mode) -> Result<Loss>;

    /// Predictions in money and probabilities, from the head's output.
    fn predict(&self, output: &HeadOutput) -> Result<Prediction>;

    /// Names of what [`Objective::predict`] and [`Objective::export`] return, `ltv` first where there is one.
    fn outputs(&self) -> &'static [&'static str] {
        &["ltv"]
    }

    /// How `mu`/`sigma` or `alpha`/`rate` among the outputs are to be read, if they are there.
    fn distribution(&self) -> Option<Distribution> {
        None
    }

    /// How many numbers of a row predictions are made of.
    fn scores(&self) -> usize {
        self.only_layer().map_or(0, Dense::outputs)
    }

    /// The layer that computes them, where it is all that the head has.
    fn only_layer(&self) -> Option<&Dense> {
        None
    }

    /// These numbers inside a graph, float `[batch, scores]`, from `h` float `[batch, width]`.
    fn export_scores(&self, graph: &mut GraphBuilder, hidden: &Value) -> Result<Value> {
        match self.only_layer() {
            Some(layer) => layer.export(graph, hidden, 2),
            None => Err(Error::internal("a head cannot be exported")),
        }
    }

    /// The predictions inside a graph, element by element: `scores` have one shape, whichever it is, and so have the predictions.
    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>>;

    /// The predictions inside a graph, float `[batch]`, from `h` float `[batch, width]`.
    fn export(
        &self,
        graph: &mut GraphBuilder,
        hidden: &Value,
    ) -> Result<Vec<(&'static str, Value)>> {
        let scores = self.export_scores(graph, hidden)?;
        let scores: Vec<Value> = (0..self.scores() as i64)
            .map(|index| graph.column(&scores, index))
            .collect();
        self.export_predictions(graph, &scores)
    }

    /// Whether the loss of this output leaves out rows whose target is NaN, and is a share of all rows.
    fn skips_unknown(&self, _output: &Tensor) -> bool {
        false
    }

    /// Whether the loss is more than a mean over rows that know nothing of each other.
    fn couples_rows(&self) -> bool {
        false
    }

    /// How many paying rows a batch should hold for the loss to be of use; 0 where it does not matter.
    fn payers_per_batch(&self) -> usize {
        0
    }
}

/// Which objective, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveConfig {
    /// Squared error.
    Mse(RegressionConfig),
    /// Squared error near the target, absolute error far from it (Huber 1964).
    Huber(RegressionConfig),
    /// Compound Poisson-gamma (Jørgensen 1987).
    Tweedie(TweedieConfig),
    /// Whether a customer buys at all.
    Purchase,
    /// Zero-inflated lognormal (Wang, Liu and Miao 2019).
    Ziln(ZilnConfig),
    /// Contrastive multi-view regression.
    Cmltv(CmltvConfig),
    /// A gate for whales and two experts.
    Expltv(ExpltvConfig),
}

/// Adds the head of `config` for the output of `backbone`.
pub fn build(
    config: &ObjectiveConfig,
    backbone: &dyn Backbone,
    statistics: &TargetStatistics,
    params: &mut Params,
) -> Result<Box<dyn Objective>> {
    use regression::{Penalty, Regression};
    let width = backbone.width();
    Ok(match config {
        ObjectiveConfig::Mse(config) => {
            let penalty = Penalty::Square;
            Box::new(Regression::new(params, width, penalty, config, statistics)?)
        }
        ObjectiveConfig::Huber(config) => {
            let penalty = Penalty::Huber;
            Box::new(Regression::new(params, width, penalty, config, statistics)?)
        }
        ObjectiveConfig::Tweedie(config) => {
            Box::new(tweedie::Tweedie::new(params, width, config, statistics)?)
        }
        ObjectiveConfig::Purchase => {
            let units = backbone.unit_columns();
            Box::new(purchase::Purchase::new(params, width, units, statistics)?)
        }
        ObjectiveConfig::Ziln(config) => {
            Box::new(ziln::Ziln::new(params, width, config, statistics)?)
        }
        ObjectiveConfig::Cmltv(config) => {
            Box::new(cmltv::Cmltv::new(params, width, config, statistics)?)
        }
        ObjectiveConfig::Expltv(config) => {
            Box::new(expltv::Expltv::new(params, width, config, statistics)?)
        }
    })
}

/// Like [`build`], with a head for each interval between the ends of several horizons, if there are any.
pub fn build_horizons(
    config: &ObjectiveConfig,
    backbone: &dyn Backbone,
    statistics: &TargetStatistics,
    intervals: &[TargetStatistics],
    params: &mut Params,
) -> Result<Box<dyn Objective>> {
    let whole = build(config, backbone, statistics, params)?;
    if intervals.is_empty() {
        return Ok(whole);
    }
    let mut heads = Vec::with_capacity(intervals.len());
    for (index, of_interval) in intervals.iter().enumerate() {
        let scope = format!("interval_{}", index + 1);
        heads.push(params.within(&scope, |params| {
            build(config, backbone, of_interval, params)
        })?);
    }
    Ok(Box::new(horizons::Horizons::new(whole, heads)))
}

/// The predictions of several networks of one kind inside a graph, float `[batch, networks]`, from the `h` of each, float
/// `[batch, width]`. What follows the products is there once for all of them.
pub fn export_together(
    graph: &mut GraphBuilder,
    objectives: &[&dyn Objective],
    hidden: &[Value],
) -> Result<Vec<(&'static str, Value)>> {
    let Some(first) = objectives.first() else {
        return Ok(Vec::new());
    };
    let layers: Option<Vec<&Dense>> = objectives.iter().map(|head| head.only_layer()).collect();
    let scores = match layers {
        Some(layers) => dense::export_side_by_side(graph, &layers, hidden)?,
        None => {
            let mut parts = Vec::with_capacity(hidden.len());
            for (objective, hidden) in objectives.iter().zip(hidden) {
                parts.push(objective.export_scores(graph, hidden)?);
            }
            let parts = graph.concat(&parts.iter().collect::<Vec<_>>(), 1);
            let (scores, networks) = (first.scores(), objectives.len());
            let order: Vec<i64> = (0..scores * networks)
                .map(|place| (place % networks * scores + place / networks) as i64)
                .collect();
            graph.columns(&parts, &order)
        }
    };
    let scores = graph.split(&scores, 1, first.scores());
    first.export_predictions(graph, &scores)
}

/// The scores, if there are as many as are wanted.
fn taken<const COUNT: usize>(scores: &[Value]) -> Result<&[Value; COUNT]> {
    let taken = scores.try_into();
    taken.map_err(|_| Error::internal("a head has another number of scores"))
}

/// The last layer of a head. It starts near zero with its bias at `start`, that is, at the prediction one would
/// make without features.
fn head(params: &mut Params, name: &str, width: usize, start: &[f64]) -> Result<Dense> {
    let bound = 0.1 / (width.max(1) as f64).sqrt();
    let dense = Dense::new(params, name, width, start.len(), Init::Uniform(bound))?;
    dense.set_bias(start)?;
    Ok(dense)
}

/// The `x` with `softplus(x) = y`, for `y > 0`.
fn inverse_softplus(y: f64) -> f64 {
    y + (-(-y).exp_m1()).ln()
}

/// Zero with probability `1 - purchase_probability`, otherwise drawn from the named law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Parameters `mu`, `sigma`.
    ZeroInflatedLognormal,
    /// Parameters `alpha` (shape) and `rate`.
    ZeroInflatedGamma,
}
