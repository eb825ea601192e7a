//! `mse` and `huber`: one output for the amount, or for log1p of it.

use super::terms::{EXPONENT_LIMIT, export_expm1, export_minimum};
use super::{HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, taken};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::functions::{expm1, log1p};
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// What is regressed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetTransform {
    /// The amount.
    #[default]
    None,
    /// `ln(1 + amount)`.
    Log1p,
}

/// Settings of objectives `mse` and `huber`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegressionConfig {
    /// Of the amount.
    pub target_transform: TargetTransform,
    /// Where the Huber loss turns from square to linear, in units of the mean amount of a paying customer, or of 1 under log1p.
    pub delta: f64,
}

impl Default for RegressionConfig {
    fn default() -> Self {
        Self {
            target_transform: TargetTransform::None,
            delta: 1.0,
        }
    }
}

/// What an error costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty {
    /// Its square.
    Square,
    /// Its square near 0, in proportion to its size beyond `delta`.
    Huber,
}

/// The output is in units of `scale`: the mean amount of a paying customer, or 1 under log1p. The loss is taken
/// in the same units, so that the learning rate and `delta` mean the same whatever the currency.
pub struct Regression {
    penalty: Penalty,
    config: RegressionConfig,
    scale: f64,
    head: Dense,
}

impl Regression {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        penalty: Penalty,
        config: &RegressionConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let share = statistics.paying_share();
        let (scale, start) = match config.target_transform {
            TargetTransform::None => (statistics.amount_scale(), share),
            TargetTransform::Log1p => (1.0, share * statistics.payer_log_mean.max(0.0)),
        };
        Ok(Self {
            penalty,
            config: config.clone(),
            scale,
            head: head(params, "head", width, &[start])?,
        })
    }
}

impl Objective for Regression {
    fn name(&self) -> &'static str {
        match self.penalty {
            Penalty::Square => "mse",
            Penalty::Huber => "huber",
        }
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        let output = self.head.forward(hidden, Activation::Identity)?;
        Ok(vec![output.squeeze(1)?])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let expected = match self.config.target_transform {
            TargetTransform::None => target.affine(1.0 / self.scale, 0.0)?,
            TargetTransform::Log1p => log1p(target)?,
        };
        let error = (&output[0] - expected)?;
        let total = match self.penalty {
            Penalty::Square => error.sqr()?.mean_all()?,
            Penalty::Huber => {
                // 0.5 a^2 up to delta, then delta (a - delta/2): with c = min(a, delta), c (a - c/2).
                let absolute = error.abs()?;
                let capped = absolute.minimum(self.config.delta)?;
                (&capped * (&absolute - capped.affine(0.5, 0.0)?)?)?.mean_all()?
            }
        };
        Ok(Loss::single(self.name(), total))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let ltv = match self.config.target_transform {
            TargetTransform::None => output[0].affine(self.scale, 0.0)?,
            TargetTransform::Log1p => expm1(&output[0].minimum(EXPONENT_LIMIT)?)?,
        };
        Ok(vec![("ltv", ltv.maximum(0.0)?)])
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
        let ltv = match self.config.target_transform {
            TargetTransform::None => {
                let scale = graph.float(self.scale as f32);
                graph.mul(output, &scale)
            }
            TargetTransform::Log1p => {
                let limited = export_minimum(graph, output, EXPONENT_LIMIT as f32);
                export_expm1(graph, &limited)
            }
        };
        Ok(vec![("ltv", graph.max(&ltv, 0.0))])
    }
}
