//! Objectives: head + loss + prediction.

use crate::batch::Mode;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Facts about the training target that heads are built from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetStatistics {
    pub rows: usize,
    pub payers: usize,
    pub mean: f64,
    /// Mean over paying rows.
    pub payer_mean: f64,
    /// Mean and standard deviation of ln(y) over paying rows.
    pub payer_log_mean: f64,
    pub payer_log_std: f64,
    pub max: f64,
    /// Values of paying rows at 0.00, 0.01 ... 1.00.
    pub payer_quantiles: Vec<f64>,
}

/// The head's raw outputs, in the order the head defines; each `[batch]` or `[batch, k]`.
pub type HeadOutput = Vec<Tensor>;

/// The total (a scalar tensor that gradients flow from) and its named parts, for the training log.
pub struct Loss {
    pub total: Tensor,
    pub terms: Vec<(&'static str, Tensor)>,
}

/// Predictions by public name (`ltv`, `purchase_probability`, ...), each `[batch]`.
pub type Prediction = Vec<(&'static str, Tensor)>;

pub trait Objective: Send + Sync {
    fn name(&self) -> &'static str;

    /// From `h` `[batch, width]`.
    fn forward(&self, hidden: &Tensor, mode: &Mode) -> Result<HeadOutput>;

    /// `target` is y, `[batch]`, in money. A batch without a paying row contributes 0 where a term needs one.
    fn loss(&self, output: &HeadOutput, target: &Tensor, mode: &Mode) -> Result<Loss>;

    fn predict(&self, output: &HeadOutput) -> Result<Prediction>;

    /// Names of what [`Objective::predict`] and [`Objective::export`] return, `ltv` first where there is one.
    fn outputs(&self) -> &'static [&'static str];

    /// How `mu`/`sigma` or `alpha`/`rate` among the outputs are to be read, if they are there.
    fn distribution(&self) -> Option<Distribution>;

    fn export(
        &self,
        graph: &mut GraphBuilder,
        hidden: &Value,
    ) -> Result<Vec<(&'static str, Value)>>;
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
