//! `expltv`: a gate recognises whales among buyers and mixes two experts' lognormal laws.

use super::terms::{
    EXPONENT_LIMIT, Lognormal, SIGMA_FLOOR, bce, column, export_lognormal, export_probability,
    export_sigma, lognormal, paying, safe_log, sigma,
};
use super::tower::Tower;
use super::{
    Distribution, HeadOutput, Loss, Objective, Prediction, TargetStatistics, inverse_softplus,
};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::kernels::functions::{expm1, sigmoid, softplus};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Logarithms are taken of nothing smaller.
const TINY: f64 = 1e-30;

/// Settings of [`Expltv`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpltvConfig {
    /// Hidden layers of the purchase estimator, the gate and each expert.
    pub hidden: Vec<usize>,
    /// R: who spends as much is a whale. By default the `whale_quantile` of paying customers' amounts.
    pub whale_threshold: Option<f64>,
    /// See `whale_threshold`.
    pub whale_quantile: f64,
    /// Lambda, the weight of the lognormal loss.
    pub ltv_weight: f64,
    /// Weight of the loss of the gate.
    pub whale_weight: f64,
    /// The experts' sigma is no smaller.
    pub sigma_floor: f64,
    /// 2 as published; 1 leaves the gate without influence on the amount.
    pub experts: usize,
}

impl Default for ExpltvConfig {
    fn default() -> Self {
        Self {
            hidden: vec![32],
            whale_threshold: None,
            whale_quantile: 0.93,
            ltv_weight: 1.0,
            whale_weight: 1.0,
            sigma_floor: SIGMA_FLOOR,
            experts: 2,
        }
    }
}

/// The head's output: purchase logit and whale logit `[batch]`, mu and raw sigma of the experts `[batch, experts]`
/// each, the whales' expert first.
pub struct Expltv {
    config: ExpltvConfig,
    threshold: f64,
    purchase: Tower,
    gate: Tower,
    experts: Vec<Tower>,
}

impl Expltv {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &ExpltvConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        if !(1..=2).contains(&config.experts) {
            return Err(Error::invalid("expltv has one or two experts")
                .detail(format!("{} experts were asked for.", config.experts)));
        }
        let threshold = config
            .whale_threshold
            .unwrap_or_else(|| statistics.payer_quantile(config.whale_quantile));
        if !(threshold > 0.0 && threshold.is_finite()) {
            return Err(Error::invalid("the whale threshold must be above 0")
                .detail(format!("It is {threshold}."))
                .hint("Set whale_threshold to the amount from which a customer is a whale."));
        }
        let amounts = &statistics.payer_quantiles;
        let labels = amounts.iter().map(|y| -(-y / threshold).exp_m1());
        let share = (labels.sum::<f64>() / amounts.len().max(1) as f64).clamp(0.01, 0.99);
        let hidden = &config.hidden;
        let mut tower = |name: &str, start: &[f64]| Tower::new(params, name, width, hidden, start);
        let purchase = tower("head.purchase", &[statistics.paying_logit()])?;
        let gate = tower("head.gate", &[(share / (1.0 - share)).ln()])?;
        let spread = inverse_softplus(statistics.payer_log_std.max(0.1));
        let centre = statistics.payer_log_mean;
        let starts = match config.experts {
            // Each expert starts where its kind of customer is.
            2 => vec![threshold.ln().max(centre), centre],
            _ => vec![centre],
        };
        let experts = starts
            .iter()
            .enumerate()
            .map(|(index, &mu)| tower(&format!("head.expert.{index}"), &[mu, spread]))
            .collect::<Result<_>>()?;
        Ok(Self {
            config: config.clone(),
            threshold,
            purchase,
            gate,
            experts,
        })
    }

    /// `(mu, sigma)`, the experts' mixed by the gate.
    fn mixed(&self, output: &HeadOutput) -> Result<(Tensor, Tensor)> {
        let sigmas = sigma(&output[3], self.config.sigma_floor)?.minimum(EXPONENT_LIMIT)?;
        if self.config.experts == 1 {
            return Ok((column(&output[2], 0)?, column(&sigmas, 0)?));
        }
        let whale = sigmoid(&output[1])?;
        let general = sigmoid(&output[1].neg()?)?;
        let mix = |x: &Tensor| -> Result<Tensor> {
            Ok(((&whale * column(x, 0)?)? + (&general * column(x, 1)?)?)?)
        };
        Ok((mix(&output[2])?, mix(&sigmas)?))
    }

    /// Divergence of the joint probability from the soft label, per row.
    fn divergence(&self, output: &HeadOutput, target: &Tensor) -> Result<Tensor> {
        let ratio = target.affine(1.0 / self.threshold, 0.0)?;
        let label = expm1(&ratio.neg()?)?.neg()?;
        let rest = ratio.neg()?.exp()?;
        let (z, g) = (&output[0], &output[1]);
        let log_joint = (softplus(&z.neg()?)? + softplus(&g.neg()?)?)?.neg()?;
        // 1 - sigmoid(z) sigmoid(g) without cancellation.
        let no_joint = (sigmoid(&z.neg()?)? + (sigmoid(z)? * sigmoid(&g.neg()?)?)?)?;
        let entropy = ((&label * label.maximum(TINY)?.log()?)? - (&rest * ratio)?)?;
        let cross = ((&label * log_joint)? + (&rest * no_joint.maximum(TINY)?.log()?)?)?;
        Ok((entropy - cross)?)
    }
}

impl Objective for Expltv {
    fn name(&self) -> &'static str {
        "expltv"
    }

    fn forward(&self, hidden: &Tensor, mode: &Mode) -> Result<HeadOutput> {
        let purchase = column(&self.purchase.forward(hidden, mode)?, 0)?;
        let gate = column(&self.gate.forward(hidden, mode)?, 0)?;
        let experts = self
            .experts
            .iter()
            .map(|expert| expert.forward(hidden, mode))
            .collect::<Result<Vec<_>>>()?;
        let gather = |index: usize| -> Result<Tensor> {
            let columns = experts
                .iter()
                .map(|expert| expert.narrow(1, index, 1))
                .collect::<candle_core::Result<Vec<_>>>()?;
            Ok(Tensor::cat(&columns, 1)?)
        };
        Ok(vec![purchase, gate, gather(0)?, gather(1)?])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let paying = paying(target)?;
        let purchase = bce(&output[0], &paying)?.mean_all()?;
        let whale = self.divergence(output, target)?.mean_all()?;
        let (mu, sigma) = self.mixed(output)?;
        let density = lognormal(&safe_log(target, &paying)?, &mu, &sigma)?;
        let ziln = (&purchase + (density * paying)?.mean_all()?)?;
        let total = ((&purchase + whale.affine(self.config.whale_weight, 0.0)?)?
            + ziln.affine(self.config.ltv_weight, 0.0)?)?;
        Ok(Loss::new(
            total,
            vec![("purchase", purchase), ("whale", whale), ("ziln", ziln)],
        ))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let (mu, sigma) = self.mixed(output)?;
        let law = Lognormal::predict(&output[0], &mu, &sigma)?;
        let whale = (&law.probability * sigmoid(&output[1])?)?;
        Ok(vec![
            ("ltv", law.mean),
            ("purchase_probability", law.probability),
            ("whale_probability", whale),
            ("mu", law.mu),
            ("sigma", law.sigma),
        ])
    }

    fn outputs(&self) -> &'static [&'static str] {
        &[
            "ltv",
            "purchase_probability",
            "whale_probability",
            "mu",
            "sigma",
        ]
    }

    fn distribution(&self) -> Option<Distribution> {
        Some(Distribution::ZeroInflatedLognormal)
    }

    fn payers_per_batch(&self) -> usize {
        32
    }

    fn scores(&self) -> usize {
        2 + 2 * self.experts.len()
    }

    fn export_scores(&self, graph: &mut GraphBuilder, hidden: &Value) -> Result<Value> {
        let mut parts = vec![
            self.purchase.export(graph, hidden)?,
            self.gate.export(graph, hidden)?,
        ];
        for expert in &self.experts {
            parts.push(expert.export(graph, hidden)?);
        }
        Ok(graph.concat(&parts.iter().collect::<Vec<_>>(), 1))
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let [logit, gate, experts @ ..] = scores else {
            return Err(Error::internal("scores are missing"));
        };
        let probability = export_probability(graph, logit);
        let whale = export_probability(graph, gate);
        let negative = graph.op("Neg", &[gate], &[]);
        let general = export_probability(graph, &negative);
        let mut laws = Vec::with_capacity(2);
        for law in experts.chunks_exact(2) {
            let sigma = export_sigma(graph, &law[1], self.config.sigma_floor);
            laws.push((law[0].clone(), sigma));
        }
        let (mu, sigma) = match laws.as_slice() {
            [(mu_0, sigma_0), (mu_1, sigma_1)] => {
                let mut mix = |a: &Value, b: &Value| {
                    let a = graph.mul(a, &whale);
                    let b = graph.mul(b, &general);
                    graph.add(&a, &b)
                };
                (mix(mu_0, mu_1), mix(sigma_0, sigma_1))
            }
            [(mu, sigma), ..] => (mu.clone(), sigma.clone()),
            [] => return Err(Error::internal("expltv has no expert")),
        };
        let (mu, sigma, ltv) = export_lognormal(graph, &probability, &mu, &sigma);
        let joint = graph.mul(&probability, &whale);
        Ok(vec![
            ("ltv", ltv),
            ("purchase_probability", probability),
            ("whale_probability", joint),
            ("mu", mu),
            ("sigma", sigma),
        ])
    }
}
