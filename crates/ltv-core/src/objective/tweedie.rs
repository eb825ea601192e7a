//! `tweedie`: the mean of a compound Poisson-gamma law, whose many zeros and few large amounts are one distribution.

use super::terms::EXPONENT_LIMIT;
use super::{HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, taken};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Settings of objective `tweedie`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TweedieConfig {
    /// The variance is proportional to the mean to this power, between 1 (Poisson) and 2 (gamma).
    pub power: f64,
}

impl Default for TweedieConfig {
    fn default() -> Self {
        Self { power: 1.5 }
    }
}

/// The output is the logarithm of the mean over `scale`, the mean amount of a paying customer, so that the learning rate
/// means the same whatever the currency.
pub struct Tweedie {
    power: f64,
    scale: f64,
    head: Dense,
}

impl Tweedie {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &TweedieConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        if !(config.power > 1.0 && config.power < 2.0) {
            return Err(
                Error::invalid("the power of a Tweedie law must be between 1 and 2")
                    .detail(format!("It is {}.", config.power)),
            );
        }
        let start = statistics.paying_share().ln();
        Ok(Self {
            power: config.power,
            scale: statistics.amount_scale(),
            head: head(params, "head", width, &[start])?,
        })
    }
}

fn limited(output: &Tensor) -> Result<Tensor> {
    Ok(output.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?)
}

impl Objective for Tweedie {
    fn name(&self) -> &'static str {
        "tweedie"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        let output = self.head.forward(hidden, Activation::Identity)?;
        Ok(vec![output.squeeze(1)?])
    }

    /// Half the deviance, without what does not depend on the mean: `m^(2-k) / (2-k) - y m^(1-k) / (1-k)`.
    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let log_mean = limited(&output[0])?;
        let power = |exponent: f64| -> Result<Tensor> {
            Ok(log_mean
                .affine(exponent, 0.0)?
                .exp()?
                .affine(1.0 / exponent, 0.0)?)
        };
        let y = target.affine(1.0 / self.scale, 0.0)?;
        let total = (power(2.0 - self.power)? - (y * power(1.0 - self.power)?)?)?;
        Ok(Loss::single("tweedie", total.mean_all()?))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let ltv = limited(&output[0])?.exp()?.affine(self.scale, 0.0)?;
        Ok(vec![("ltv", ltv.minimum(EXPONENT_LIMIT.exp())?)])
    }

    fn only_layer(&self) -> Option<&Dense> {
        Some(&self.head)
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let [output] = taken(scores)?;
        let limit = EXPONENT_LIMIT as f32;
        let output = graph.clip(output, -limit, limit);
        let mean = graph.exp(&output);
        let scale = graph.float(self.scale as f32);
        let ltv = graph.mul(&mean, &scale);
        let ltv = super::terms::export_minimum(graph, &ltv, EXPONENT_LIMIT.exp() as f32);
        Ok(vec![("ltv", ltv)])
    }
}
