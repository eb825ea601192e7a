//! `ziln`: the zero-inflated lognormal of Wang, Liu and Miao (2019).

use super::terms::{
    Lognormal, SIGMA_FLOOR, bce, column, export_lognormal, export_probability, export_sigma,
    lognormal, paying, safe_log, sigma,
};
use super::{
    Distribution, HeadOutput, Loss, Objective, Prediction, TargetStatistics, head,
    inverse_softplus, taken,
};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::functions::scalar;
use crate::kernels::operation::{Given, Operation, apply2};
use crate::kernels::real::Real;
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Settings of [`Ziln`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZilnConfig {
    /// Sigma is no smaller.
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
    /// Adds the head over `width` numbers.
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

/// Both terms in one pass, as a vector of two, with the gradient by hand.
struct Fused {
    floor: f64,
}

impl Fused {
    /// The terms of one row, and their derivatives: of the first by the logit, of the second by mu and raw sigma. Nothing of a row whose `y` is not
    /// known.
    fn row(&self, [z, mu, raw]: [f64; 3], y: f64) -> ([f64; 2], [f64; 3]) {
        if y.is_nan() {
            return Default::default();
        }
        let paying = f64::from(y > 0.0);
        let purchase = scalar::softplus(z) - z * paying;
        let by_z = scalar::sigmoid(z) - paying;
        if y <= 0.0 {
            return ([purchase, 0.0], [by_z, 0.0, 0.0]);
        }
        let free = scalar::softplus(raw);
        let sigma = free.max(self.floor);
        let log_y = y.ln();
        let t = (log_y - mu) / sigma;
        let lognormal = log_y + sigma.ln() + 0.5 * (std::f64::consts::TAU.ln() + t * t);
        let by_sigma = if free > self.floor {
            (1.0 - t * t) / sigma * scalar::sigmoid(raw)
        } else {
            0.0
        };
        ([purchase, lognormal], [by_z, -t / sigma, by_sigma])
    }
}

impl Operation<2> for Fused {
    const NAME: &'static str = "ziln";
    /// Per row the derivatives of its terms by logit, mu and raw sigma.
    type Kept<T: Real> = Vec<[f64; 3]>;

    fn forward<T: Real>(
        &self,
        [output, target]: [&[T]; 2],
    ) -> candle_core::Result<(Vec<T>, Vec<[f64; 3]>)> {
        let mut sums = [0.0; 2];
        let mut slopes = Vec::with_capacity(target.len());
        for (row, y) in output.chunks_exact(3).zip(target) {
            let raw = [row[0].to_f64(), row[1].to_f64(), row[2].to_f64()];
            let (terms, slope) = self.row(raw, y.to_f64());
            sums[0] += terms[0];
            sums[1] += terms[1];
            slopes.push(slope);
        }
        let rows = target.len().max(1) as f64;
        Ok((sums.map(|sum| T::from_f64(sum / rows)).to_vec(), slopes))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, Vec<[f64; 3]>, 2>,
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let slopes = given.kept;
        let rows = slopes.len().max(1) as f64;
        let [purchase, lognormal] = [0, 1].map(|term| given.gradient[term].to_f64() / rows);
        let by_output = slopes
            .iter()
            .flat_map(|[z, mu, raw]| [purchase * z, lognormal * mu, lognormal * raw])
            .map(T::from_f64)
            .collect();
        Ok([Some(by_output), None])
    }
}

impl Objective for Ziln {
    fn name(&self) -> &'static str {
        "ziln"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        Ok(vec![self.head.forward(hidden, Activation::Identity)?])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let floor = self.config.sigma_floor;
        let (purchase, lognormal) = if dispatch::applies(&output[0]) {
            let terms = apply2(Fused { floor }, [&output[0], target], 2)?;
            (terms.get(0)?, terms.get(1)?)
        } else {
            definition(&output[0], target, floor)?
        };
        let total = (&purchase + &lognormal)?;
        Ok(Loss::new(
            total,
            vec![("purchase", purchase), ("lognormal", lognormal)],
        ))
    }

    fn skips_unknown(&self, output: &Tensor) -> bool {
        dispatch::applies(output)
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

    fn only_layer(&self) -> Option<&Dense> {
        Some(&self.head)
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let [logit, mu, raw] = taken(scores)?;
        let probability = export_probability(graph, logit);
        let sigma = export_sigma(graph, raw, self.config.sigma_floor);
        let (mu, sigma, ltv) = export_lognormal(graph, &probability, mu, &sigma);
        Ok(vec![
            ("ltv", ltv),
            ("purchase_probability", probability),
            ("mu", mu),
            ("sigma", sigma),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn one_pass_equals_the_definition() -> Result<()> {
        let rows = 40;
        let raw: Vec<f64> = (0..3 * rows)
            .map(|i| 4.0 * (i as f64 * 1.3).sin())
            .collect();
        let output = Var::from_vec(raw, (rows, 3), &Device::Cpu)?;
        let pay = |i: usize| {
            if i.is_multiple_of(3) {
                (i as f64).exp2().min(1e6)
            } else {
                0.0
            }
        };
        let target =
            Tensor::from_vec((0..rows).map(pay).collect::<Vec<f64>>(), rows, &Device::Cpu)?;
        for floor in [1e-3, 0.5] {
            let terms = apply2(Fused { floor }, [output.as_tensor(), &target], 2)?;
            let (purchase, lognormal) = definition(&output, &target, floor)?;
            // Uneven weights, so that each term's own gradient shows.
            let fast = (terms.get(0)?.affine(0.7, 0.0)? + terms.get(1)?)?;
            let plain = (purchase.affine(0.7, 0.0)? + lognormal)?;
            let gap = (&fast - &plain)?.abs()?.to_scalar::<f64>()?;
            assert!(gap < 1e-10, "{gap}");
            let (fast, plain) = (fast.backward()?, plain.backward()?);
            let (Some(a), Some(b)) = (fast.get(&output), plain.get(&output)) else {
                panic!("a gradient is missing");
            };
            let gap = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
            assert!(gap < 1e-11, "{gap}");
        }
        Ok(())
    }
}
