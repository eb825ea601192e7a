//! `mixture`: several zero-inflated lognormals, and for each customer how much each of them counts: the soft choice among distributions of
//! OptDist (2024). A hard choice that is wrong would multiply the error.

use super::terms::{
    EXPONENT_LIMIT, SIGMA_FLOOR, export_lognormal, export_probability, export_sigma, paying,
    safe_log, sigma,
};
use super::{
    Distribution, HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, inverse_normal,
    inverse_softplus,
};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::kernels::functions::{sigmoid, softplus};
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::layers::softmax::{log_softmax, softmax};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::{D, Tensor};
use serde::{Deserialize, Serialize};

/// Logarithms are taken of nothing smaller.
const TINY: f64 = 1e-30;
/// In the loss an output counts no further than this: squares of its distance in units of sigma still fit single precision.
const OUTPUT_LIMIT: f64 = 1e6;

/// Settings of [`Mixture`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixtureConfig {
    /// How many laws.
    pub laws: usize,
    /// No law's sigma is smaller.
    pub sigma_floor: f64,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            laws: 3,
            sigma_floor: SIGMA_FLOOR,
        }
    }
}

/// The head's output is one `[batch, 4 * laws]` tensor: the shares of the laws as logits, then their purchase logits, their mu, their raw sigma.
pub struct Mixture {
    config: MixtureConfig,
    head: Dense,
}

/// `[batch, laws]` each.
struct Laws {
    /// Logits of the shares.
    shares: Tensor,
    /// Logits of a purchase.
    purchase: Tensor,
    mu: Tensor,
    sigma: Tensor,
}

impl Mixture {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &MixtureConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let laws = config.laws;
        if laws == 0 {
            return Err(Error::invalid("a mixture has at least one law"));
        }
        let spread = statistics.payer_log_std.max(0.1);
        // Each law starts in the middle of its part of the payers: laws that start alike stay alike.
        let centre = |law: usize| {
            let middle = (law as f64 + 0.5) / laws as f64;
            statistics.payer_log_mean + spread * inverse_normal(middle)
        };
        let mut start = vec![0.0; laws];
        start.extend(vec![statistics.paying_logit(); laws]);
        start.extend((0..laws).map(centre));
        start.extend(vec![inverse_softplus(spread); laws]);
        Ok(Self {
            config: config.clone(),
            head: head(params, "head", width, &start)?,
        })
    }

    fn laws(&self, output: &Tensor) -> Result<Laws> {
        let laws = self.config.laws;
        let part = |index: usize| -> Result<Tensor> {
            Ok(output.narrow(D::Minus1, index * laws, laws)?.contiguous()?)
        };
        Ok(Laws {
            shares: part(0)?,
            purchase: part(1)?,
            mu: part(2)?,
            sigma: sigma(&part(3)?, self.config.sigma_floor)?,
        })
    }
}

/// `ln(sum(exp(x)))` over the last axis, without overflow.
fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    let most = x.max_keepdim(D::Minus1)?.detach();
    let total = x.broadcast_sub(&most)?.exp()?.sum_keepdim(D::Minus1)?;
    Ok((total.log()? + most)?.squeeze(D::Minus1)?)
}

impl Objective for Mixture {
    fn name(&self) -> &'static str {
        "mixture"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        Ok(vec![self.head.forward(hidden, Activation::Identity)?])
    }

    /// Minus the logarithm of the likelihood: of nothing `sum_k share_k (1 - p_k)`, of an amount `sum_k share_k p_k density_k`.
    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let laws = self.laws(&output[0].clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT)?)?;
        let paying = paying(target)?;
        let log_y = safe_log(target, &paying)?.unsqueeze(1)?;
        let distance = log_y.broadcast_sub(&laws.mu)?.div(&laws.sigma)?;
        let half_log_tau = 0.5 * std::f64::consts::TAU.ln();
        let density = (laws.sigma.log()? + distance.sqr()?.affine(0.5, half_log_tau)?)?;
        let density = density.broadcast_add(&log_y)?;
        let nothing = softplus(&laws.purchase)?.neg()?;
        let something = (&laws.purchase - density)?.broadcast_mul(&paying.unsqueeze(1)?)?;
        let each = ((log_softmax(&laws.shares)? + nothing)? + something)?;
        let total = log_sum_exp(&each)?.mean_all()?.neg()?;
        Ok(Loss::single("likelihood", total))
    }

    /// Beside value and probability the lognormal with the same mean, and the same mean of the logarithm, as the mixture's paying part.
    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let laws = self.laws(&output[0])?;
        let bought = (softmax(&laws.shares)? * sigmoid(&laws.purchase)?)?;
        let probability = bought.sum(D::Minus1)?;
        let mu = laws.mu.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?;
        let sigma = laws.sigma.minimum(EXPONENT_LIMIT)?;
        let exponent = (&mu + sigma.sqr()?.affine(0.5, 0.0)?)?.minimum(EXPONENT_LIMIT)?;
        let ltv = (&bought * exponent.exp()?)?.sum(D::Minus1)?;
        let some = probability.maximum(TINY)?;
        let centre = ((&bought * mu)?.sum(D::Minus1)? / &some)?;
        let half_variance = ((ltv.maximum(TINY)?.log()? - some.log()?)? - &centre)?;
        let spread = half_variance.relu()?.affine(2.0, 0.0)?.sqrt()?;
        Ok(vec![
            ("ltv", ltv),
            ("purchase_probability", probability),
            ("mu", centre),
            ("sigma", spread.maximum(self.config.sigma_floor)?),
        ])
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["ltv", "purchase_probability", "mu", "sigma"]
    }

    fn distribution(&self) -> Option<Distribution> {
        Some(Distribution::ZeroInflatedLognormal)
    }

    fn only_layer(&self) -> Option<&Dense> {
        Some(&self.head)
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let laws = self.config.laws;
        if scores.len() != 4 * laws {
            return Err(Error::internal("a head has another number of scores"));
        }
        let add_up = |graph: &mut GraphBuilder, values: &[Value]| {
            graph.op("Sum", &values.iter().collect::<Vec<_>>(), &[])
        };
        let shares: Vec<&Value> = scores[..laws].iter().collect();
        let most = graph.op("Max", &shares, &[]);
        // All of these in units of the sum of the shares.
        let (mut weights, mut bought, mut values, mut centres) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for law in 0..laws {
            let share = graph.sub(&scores[law], &most);
            let share = graph.exp(&share);
            let probability = export_probability(graph, &scores[laws + law]);
            let buys = graph.mul(&share, &probability);
            let sigma = export_sigma(graph, &scores[3 * laws + law], self.config.sigma_floor);
            let (mu, _, value) = export_lognormal(graph, &buys, &scores[2 * laws + law], &sigma);
            centres.push(graph.mul(&buys, &mu));
            weights.push(share);
            bought.push(buys);
            values.push(value);
        }
        let total = add_up(graph, &weights);
        let mut mean = |values: &[Value]| {
            let sum = add_up(graph, values);
            graph.div(&sum, &total)
        };
        let (probability, ltv, centre) = (mean(&bought), mean(&values), mean(&centres));
        let some = graph.max(&probability, TINY as f32);
        let centre = graph.div(&centre, &some);
        let log_some = graph.log(&some);
        let log_ltv = graph.max(&ltv, TINY as f32);
        let log_ltv = graph.log(&log_ltv);
        let difference = graph.sub(&log_ltv, &log_some);
        let half_variance = graph.sub(&difference, &centre);
        let half_variance = graph.relu(&half_variance);
        let variance = graph.add(&half_variance, &half_variance);
        let spread = graph.op("Sqrt", &[&variance], &[]);
        let spread = graph.max(&spread, self.config.sigma_floor as f32);
        Ok(vec![
            ("ltv", ltv),
            ("purchase_probability", probability),
            ("mu", centre),
            ("sigma", spread),
        ])
    }
}
