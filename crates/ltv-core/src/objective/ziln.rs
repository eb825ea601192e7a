//! `ziln`: the zero-inflated lognormal of Wang, Liu and Miao (2019).

use super::terms::{
    Lognormal, SIGMA_FLOOR, bce, column, export_lognormal, export_probability, export_sigma,
    lognormal, paying, safe_log, sigma,
};
use super::{
    Distribution, HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, inverse_softplus,
};
use crate::batch::Mode;
use crate::error::Result;
use crate::layers::dense::{Activation, Dense};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZilnConfig {
    pub sigma_floor: f64,
}

impl Default for ZilnConfig {
    fn default() -> Self {
        Self {
            sigma_floor: SIGMA_FLOOR,
        }
    }
}

/// The head's output is one `[batch, 3]` tensor: purchase logit, mu, raw sigma.
pub struct Ziln {
    config: ZilnConfig,
    head: Dense,
}

impl Ziln {
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &ZilnConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let start = [
            statistics.paying_logit(),
            statistics.payer_log_mean,
            inverse_softplus(statistics.payer_log_std.max(0.1)),
        ];
        Ok(Self {
            config: config.clone(),
            head: head(params, "head", width, &start)?,
        })
    }
}

/// The two terms of the loss by plain tensor operations: means over all rows.
pub fn definition(output: &Tensor, target: &Tensor, sigma_floor: f64) -> Result<(Tensor, Tensor)> {
    let paying = paying(target)?;
    let log_y = safe_log(target, &paying)?;
    let purchase = bce(&column(output, 0)?, &paying)?.mean_all()?;
    let sigma = sigma(&column(output, 2)?, sigma_floor)?;
    let density = lognormal(&log_y, &column(output, 1)?, &sigma)?;
    let lognormal = (density * paying)?.mean_all()?;
    Ok((purchase, lognormal))
}

impl Objective for Ziln {
    fn name(&self) -> &'static str {
        "ziln"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        Ok(vec![self.head.forward(hidden, Activation::Identity)?])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let (purchase, lognormal) = definition(&output[0], target, self.config.sigma_floor)?;
        let total = (&purchase + &lognormal)?;
        Ok(Loss::new(
            total,
            vec![("purchase", purchase), ("lognormal", lognormal)],
        ))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let output = &output[0];
        let sigma = sigma(&column(output, 2)?, self.config.sigma_floor)?;
        let law = Lognormal::predict(&column(output, 0)?, &column(output, 1)?, &sigma)?;
        Ok(vec![
            ("ltv", law.mean),
            ("purchase_probability", law.probability),
            ("mu", law.mu),
            ("sigma", law.sigma),
        ])
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["ltv", "purchase_probability", "mu", "sigma"]
    }

    fn distribution(&self) -> Option<Distribution> {
        Some(Distribution::ZeroInflatedLognormal)
    }

    fn export(
        &self,
        graph: &mut GraphBuilder,
        hidden: &Value,
    ) -> Result<Vec<(&'static str, Value)>> {
        let output = self.head.export(graph, hidden, 2)?;
        let logit = graph.column(&output, 0);
        let probability = export_probability(graph, &logit);
        let mu = graph.column(&output, 1);
        let raw = graph.column(&output, 2);
        let sigma = export_sigma(graph, &raw, self.config.sigma_floor);
        let (mu, sigma, ltv) = export_lognormal(graph, &probability, &mu, &sigma);
        Ok(vec![
            ("ltv", ltv),
            ("purchase_probability", probability),
            ("mu", mu),
            ("sigma", sigma),
        ])
    }
}
