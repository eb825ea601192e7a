//! `cmltv`: contrastive multi-view regression. Three regressors look at paying customers in different ways, a
//! purchase estimator at everybody, and contrasts between rows keep them in agreement.

use super::contrast::{class_contrast, regression_contrast};
use super::paying_rows::PayingRows;
pub use super::paying_rows::amount_class;
use super::terms::{
    EXPONENT_LIMIT, SIGMA_FLOOR, bce, column, export_lognormal, export_minimum, export_probability,
    export_sigma, export_softplus, lognormal, paying, sigma,
};
use super::tower::Tower;
use super::{
    Distribution, HeadOutput, Loss, Objective, Prediction, TargetStatistics, inverse_softplus,
};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::kernels::functions::{expm1, log_gamma, log1p, sigmoid, softplus};
use crate::layers::softmax::{export_softmax, log_softmax, softmax};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// Added to the gamma law's shape and rate.
const EPSILON: f64 = 1e-6;

/// A way of looking at the amount of a paying customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// A distribution, by its likelihood.
    Distribution,
    /// The logarithm, by squared error.
    Log,
    /// Classes of amounts, by cross entropy.
    Classes,
}

/// The distribution of the first view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Gamma, by shape and rate.
    Gamma,
    /// Lognormal, by mu and sigma.
    Lognormal,
}

/// Settings of [`Cmltv`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CmltvConfig {
    /// Hidden layers of each of the four small networks.
    pub hidden: Vec<usize>,
    /// The law of [`View::Distribution`].
    pub distribution: Law,
    /// The views in use.
    pub views: Vec<View>,
    /// Shares of the views in the prediction, `[distribution, log, classes]`; divided by the sum over those in use.
    pub view_weights: [f64; 3],
    /// Weight of the purchase loss.
    pub purchase_weight: f64,
    /// Weights of the three regression losses.
    pub regression_weights: [f64; 3],
    /// Weight of the contrast between payers and others.
    pub class_contrast_weight: f64,
    /// Weight of the contrast between pairs of different value.
    pub regression_contrast_weight: f64,
    /// How many pairs a regression contrast compares at most.
    pub pairs: usize,
}

impl Default for CmltvConfig {
    fn default() -> Self {
        Self {
            hidden: vec![32],
            distribution: Law::Gamma,
            views: vec![View::Distribution, View::Log, View::Classes],
            view_weights: [0.3, 0.3, 0.4],
            purchase_weight: 1.0,
            regression_weights: [1.0; 3],
            class_contrast_weight: 0.1,
            regression_contrast_weight: 0.1,
            pairs: 4096,
        }
    }
}

/// The head's output: purchase logit `[batch]`, the law's two raw parameters `[batch]` each, the log view before its
/// ReLU `[batch]`, class logits `[batch, classes]`; a view that is switched off is there, but unused.
pub struct Cmltv {
    config: CmltvConfig,
    scale: f64,
    middles: Vec<f64>,
    purchase: Tower,
    law: Tower,
    log: Tower,
    classes: Tower,
}

impl Cmltv {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &CmltvConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let share: f64 = View::ALL
            .iter()
            .filter(|view| config.views.contains(view))
            .map(|&view| config.view_weights[view as usize])
            .sum();
        if share.is_nan() || share <= 0.0 {
            return Err(Error::invalid("cmltv has no view to predict from")
                .hint("Name at least one view whose weight is above 0."));
        }
        let classes = amount_class(statistics.max, 64) + 1;
        let middles = (0..classes)
            .map(|c| 0.5 * ((1u64 << c) as f64 - 1.0 + 2.0 * (1u64 << c) as f64 - 1.0))
            .collect();
        let spread = statistics.payer_log_std.max(0.1);
        let law_start = match config.distribution {
            // A gamma law of mean 1 whose shape has about the spread of the data.
            Law::Gamma => [inverse_softplus((1.0 / (spread * spread)).clamp(0.2, 5.0)); 2],
            Law::Lognormal => [statistics.payer_log_mean, inverse_softplus(spread)],
        };
        let log_start = statistics.payer_log_mean.max(0.5);
        let hidden = &config.hidden;
        let mut tower = |name: &str, start: &[f64]| Tower::new(params, name, width, hidden, start);
        Ok(Self {
            config: config.clone(),
            scale: statistics.amount_scale(),
            middles,
            purchase: tower("head.purchase", &[statistics.paying_logit()])?,
            law: tower("head.distribution", &law_start)?,
            log: tower("head.log", &[log_start])?,
            classes: tower("head.classes", &class_start(statistics, classes))?,
        })
    }

    fn uses(&self, view: View) -> bool {
        self.config.views.contains(&view)
    }

    /// The views in use with their share of the prediction.
    fn shares(&self) -> Vec<(View, f64)> {
        let weight = |view: View| self.config.view_weights[view as usize];
        let used = View::ALL.into_iter().filter(|&view| self.uses(view));
        let total: f64 = used.clone().map(weight).sum();
        used.map(|view| (view, weight(view) / total)).collect()
    }

    /// Both parameters of the law: shape and rate of the amount over `scale`, or mu and sigma of the amount.
    fn law_parameters(&self, first: &Tensor, second: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(match self.config.distribution {
            Law::Gamma => (
                softplus(first)?.affine(1.0, EPSILON)?,
                softplus(second)?.affine(1.0, EPSILON)?,
            ),
            Law::Lognormal => (first.clone(), sigma(second, SIGMA_FLOOR)?),
        })
    }

    fn law_value(&self, first: &Tensor, second: &Tensor) -> Result<Tensor> {
        Ok(match self.config.distribution {
            Law::Gamma => (first / second)?.affine(self.scale, 0.0)?,
            Law::Lognormal => (first.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?
                + second.minimum(EXPONENT_LIMIT)?.sqr()?.affine(0.5, 0.0)?)?
            .minimum(EXPONENT_LIMIT)?
            .exp()?,
        })
    }

    fn class_value(&self, logits: &Tensor) -> Result<Tensor> {
        let middles = Tensor::new(self.middles.as_slice(), logits.device())?;
        let middles = middles.to_dtype(logits.dtype())?;
        Ok(softmax(logits)?.broadcast_mul(&middles)?.sum(D::Minus1)?)
    }

    /// Per view in use: its regression loss on paying rows and log1p of its value there.
    fn regressions(
        &self,
        rows: &PayingRows,
        output: &HeadOutput,
    ) -> Result<Vec<(View, Tensor, Tensor)>> {
        let select = |x: &Tensor| rows.select(x);
        let mut regressions = Vec::with_capacity(3);
        if self.uses(View::Distribution) {
            let (first, second) =
                self.law_parameters(&select(&output[1])?, &select(&output[2])?)?;
            let loss = match self.config.distribution {
                Law::Gamma => {
                    let y = rows.amounts.affine(1.0 / self.scale, 0.0)?;
                    let log_likelihood = (((&first * second.log()?)? - log_gamma(&first)?)?
                        + ((first.affine(1.0, -1.0)? * y.log()?)? - (&second * y)?)?)?;
                    log_likelihood.neg()?
                }
                Law::Lognormal => lognormal(&rows.amounts.log()?, &first, &second)?,
            };
            let value = log1p(&self.law_value(&first, &second)?)?;
            regressions.push((View::Distribution, loss.mean_all()?, value));
        }
        if self.uses(View::Log) {
            let value = select(&output[3])?.relu()?;
            let loss = (&value - log1p(&rows.amounts)?)?.sqr()?.mean_all()?;
            regressions.push((View::Log, loss, value));
        }
        if self.uses(View::Classes) {
            let logits = select(&output[4])?;
            let classes = rows.classes(self.middles.len(), logits.device())?;
            let chosen = log_softmax(&logits)?.gather(&classes, 1)?;
            let value = log1p(&self.class_value(&logits)?)?;
            regressions.push((View::Classes, chosen.mean_all()?.neg()?, value));
        }
        Ok(regressions)
    }
}

impl View {
    const ALL: [Self; 3] = [Self::Distribution, Self::Log, Self::Classes];

    fn loss_name(self) -> &'static str {
        ["distribution", "log", "classes"][self as usize]
    }

    fn contrast_name(self) -> &'static str {
        ["contrast_distribution", "contrast_log", "contrast_classes"][self as usize]
    }
}

/// Start of the class logits: the logarithm of each class's share, smoothed.
fn class_start(statistics: &TargetStatistics, classes: usize) -> Vec<f64> {
    let mut counts = vec![0.5; classes];
    for &y in &statistics.payer_quantiles {
        counts[amount_class(y, classes)] += 1.0;
    }
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| (count / total).ln()).collect()
}

impl Objective for Cmltv {
    fn name(&self) -> &'static str {
        "cmltv"
    }

    fn forward(&self, hidden: &Tensor, mode: &Mode) -> Result<HeadOutput> {
        let purchase = self.purchase.forward(hidden, mode)?;
        let law = self.law.forward(hidden, mode)?;
        let log = self.log.forward(hidden, mode)?;
        Ok(vec![
            column(&purchase, 0)?,
            column(&law, 0)?,
            column(&law, 1)?,
            column(&log, 0)?,
            self.classes.forward(hidden, mode)?,
        ])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let config = &self.config;
        let purchase = bce(&output[0], &paying(target)?)?.mean_all()?;
        let mut total = purchase.affine(config.purchase_weight, 0.0)?;
        let mut terms = vec![("purchase", purchase)];
        let mut add = |name, weight: f64, term: Tensor| -> Result<()> {
            if weight != 0.0 {
                total = (&total + term.affine(weight, 0.0)?)?;
            }
            terms.push((name, term));
            Ok(())
        };
        let zero = || target.sum_all()?.zeros_like();
        let Some(rows) = PayingRows::of(target)? else {
            for (view, _) in self.shares() {
                add(view.loss_name(), 0.0, zero()?)?;
                add(view.contrast_name(), 0.0, zero()?)?;
            }
            add("class_contrast", 0.0, zero()?)?;
            return Ok(Loss::new(total, terms));
        };
        let probability = sigmoid(&output[0])?;
        let contrast = class_contrast(&probability, &paying(target)?, rows.values.len())?;
        add("class_contrast", config.class_contrast_weight, contrast)?;
        let paying_probability = rows.select(&probability)?;
        for (view, loss, log_value) in self.regressions(&rows, output)? {
            add(
                view.loss_name(),
                config.regression_weights[view as usize],
                loss,
            )?;
            if config.regression_contrast_weight != 0.0 {
                let contrast = regression_contrast(&log_value, &paying_probability, config.pairs)?;
                let weight = config.regression_contrast_weight;
                add(view.contrast_name(), weight, contrast)?;
            }
        }
        Ok(Loss::new(total, terms))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let probability = sigmoid(&output[0])?;
        let (first, second) = self.law_parameters(&output[1], &output[2])?;
        let mut value = probability.zeros_like()?;
        for (view, share) in self.shares() {
            let part = match view {
                View::Distribution => self.law_value(&first, &second)?,
                View::Log => expm1(&output[3].relu()?.minimum(EXPONENT_LIMIT)?)?,
                View::Classes => self.class_value(&output[4])?,
            };
            value = (value + part.affine(share, 0.0)?)?;
        }
        let mut prediction = vec![
            ("ltv", (&probability * value)?),
            ("purchase_probability", probability),
        ];
        if self.uses(View::Distribution) {
            let [first_name, second_name] = self.parameter_names();
            let (first, second) = match self.config.distribution {
                Law::Gamma => (first, second.affine(1.0 / self.scale, 0.0)?),
                Law::Lognormal => (
                    first.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?,
                    second.minimum(EXPONENT_LIMIT)?,
                ),
            };
            prediction.push((first_name, first));
            prediction.push((second_name, second));
        }
        Ok(prediction)
    }

    fn outputs(&self) -> &'static [&'static str] {
        match (self.uses(View::Distribution), self.config.distribution) {
            (false, _) => &["ltv", "purchase_probability"],
            (true, Law::Gamma) => &["ltv", "purchase_probability", "alpha", "rate"],
            (true, Law::Lognormal) => &["ltv", "purchase_probability", "mu", "sigma"],
        }
    }

    fn distribution(&self) -> Option<Distribution> {
        self.uses(View::Distribution)
            .then_some(match self.config.distribution {
                Law::Gamma => Distribution::ZeroInflatedGamma,
                Law::Lognormal => Distribution::ZeroInflatedLognormal,
            })
    }

    fn couples_rows(&self) -> bool {
        true
    }

    fn payers_per_batch(&self) -> usize {
        64
    }

    fn scores(&self) -> usize {
        let of_view = |(view, _)| match view {
            View::Distribution => 2,
            View::Log | View::Classes => 1,
        };
        1 + self.shares().into_iter().map(of_view).sum::<usize>()
    }

    /// The purchase logit, the raw parameters of the law, the log view before its ReLU, the value of the class view.
    fn export_scores(&self, graph: &mut GraphBuilder, hidden: &Value) -> Result<Value> {
        let mut parts = vec![self.purchase.export(graph, hidden)?];
        for (view, _) in self.shares() {
            parts.push(match view {
                View::Distribution => self.law.export(graph, hidden)?,
                View::Log => self.log.export(graph, hidden)?,
                View::Classes => {
                    let logits = self.classes.export(graph, hidden)?;
                    let shares = export_softmax(graph, &logits);
                    let middles: Vec<f32> = self.middles.iter().map(|&m| m as f32).collect();
                    let middles = graph.floats(&middles, &[middles.len()]);
                    let product = graph.mul(&shares, &middles);
                    graph.sum(&product, 1, true)
                }
            });
        }
        Ok(graph.concat(&parts.iter().collect::<Vec<_>>(), 1))
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let mut scores = scores.iter();
        let mut next = || {
            let score = scores.next();
            score.ok_or_else(|| Error::internal("scores are missing"))
        };
        let probability = export_probability(graph, next()?);
        let mut value: Option<Value> = None;
        let mut parameters = Vec::new();
        for (view, share) in self.shares() {
            let part = match view {
                View::Distribution => {
                    let (part, law) = self.export_law(graph, next()?, next()?);
                    parameters = law;
                    part
                }
                View::Log => {
                    let log = graph.relu(next()?);
                    let log = export_minimum(graph, &log, EXPONENT_LIMIT as f32);
                    super::terms::export_expm1(graph, &log)
                }
                View::Classes => next()?.clone(),
            };
            let share = graph.float(share as f32);
            let part = graph.mul(&part, &share);
            value = Some(match value {
                Some(value) => graph.add(&value, &part),
                None => part,
            });
        }
        let value = value.ok_or_else(|| Error::internal("cmltv has no view"))?;
        let ltv = graph.mul(&probability, &value);
        let mut outputs = vec![("ltv", ltv), ("purchase_probability", probability)];
        outputs.extend(self.parameter_names().into_iter().zip(parameters));
        Ok(outputs)
    }
}

impl Cmltv {
    fn parameter_names(&self) -> [&'static str; 2] {
        match self.config.distribution {
            Law::Gamma => ["alpha", "rate"],
            Law::Lognormal => ["mu", "sigma"],
        }
    }

    /// The distribution view's value and its two public parameters.
    fn export_law(
        &self,
        graph: &mut GraphBuilder,
        first: &Value,
        second: &Value,
    ) -> (Value, Vec<Value>) {
        if self.config.distribution == Law::Lognormal {
            let one = graph.float(1.0);
            let second = export_sigma(graph, second, SIGMA_FLOOR);
            let (mu, sigma, mean) = export_lognormal(graph, &one, first, &second);
            return (mean, vec![mu, sigma]);
        }
        let first = export_softplus(graph, first);
        let second = export_softplus(graph, second);
        let epsilon = graph.float(EPSILON as f32);
        let alpha = graph.add(&first, &epsilon);
        let lambda = graph.add(&second, &epsilon);
        let scale = graph.float(self.scale as f32);
        let ratio = graph.div(&alpha, &lambda);
        let value = graph.mul(&ratio, &scale);
        let rate = graph.div(&lambda, &scale);
        (value, vec![alpha, rate])
    }
}
