//! `cascade`: an amount is reached level by level, after CC-OR-Net (2026). At each edge a customer goes on or stays; who stays has a place
//! between two edges, and how far one is beyond the last edge is lognormal.

use super::terms::{
    EXPONENT_LIMIT, SIGMA_FLOOR, bce, column, export_minimum, export_probability, export_sigma,
    lognormal, safe_log, sigma,
};
use super::{HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, inverse_softplus};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::kernels::functions::sigmoid;
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// An edge lies above the one before by this factor at least.
const STEP: f64 = 1.001;
/// In the loss an output counts no further than this: squares of its distance in units of sigma still fit single precision.
const OUTPUT_LIMIT: f64 = 1e6;

/// Settings of [`Cascade`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CascadeConfig {
    /// Edges above 0 at most. Half of the paying customers are beyond the first, half of these beyond the second, and so on.
    pub levels: usize,
    /// Sigma beyond the last edge is no smaller.
    pub sigma_floor: f64,
}

impl Default for CascadeConfig {
    fn default() -> Self {
        Self {
            levels: 4,
            sigma_floor: SIGMA_FLOOR,
        }
    }
}

/// The head's output is one tensor `[batch, 2 * edges + 1]`, the edges 0 = c_0 to c_J: for each of them the logit of passing it, the one before
/// being passed; for each but c_0 the place below it as a logit; mu and raw sigma of the logarithm of y / c_J beyond the last.
pub struct Cascade {
    config: CascadeConfig,
    /// 0, then rising; at least two.
    edges: Vec<f64>,
    head: Dense,
}

impl Cascade {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        config: &CascadeConfig,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let mut edges = vec![0.0];
        let mut start = vec![statistics.paying_logit()];
        let (mut last, mut reached) = (0.0, 1.0);
        for level in 1..=config.levels {
            let beyond = 0.5f64.powi(level as i32);
            let edge = statistics.payer_quantile(1.0 - beyond);
            if edge.is_finite() && edge > last * STEP {
                edges.push(edge);
                start.push((beyond / (reached - beyond)).ln());
                (last, reached) = (edge, beyond);
            }
        }
        if edges.len() < 2 {
            return Err(
                Error::data("objective \"cascade\" finds no level among the amounts")
                    .detail("Its levels are quantiles of what paying customers spend.")
                    .hint("Use objective \"ziln\"."),
            );
        }
        start.extend(vec![0.0; edges.len() - 1]);
        let quantiles = statistics.payer_quantiles.iter();
        let above: Vec<f64> = quantiles
            .filter(|&&y| y > last)
            .map(|y| (y / last).ln())
            .collect();
        let count = above.len().max(1) as f64;
        let mean = above.iter().sum::<f64>() / count;
        let variance = above.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        start.extend([mean, inverse_softplus(variance.sqrt().max(0.1))]);
        Ok(Self {
            config: config.clone(),
            head: head(params, "head", width, &start)?,
            edges,
        })
    }

    fn last(&self) -> f64 {
        self.edges.last().copied().unwrap_or(1.0)
    }

    /// From the edge before to edge `index`.
    fn width(&self, index: usize) -> f64 {
        self.edges[index] - self.edges[index - 1]
    }
}

impl Objective for Cascade {
    fn name(&self) -> &'static str {
        "cascade"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        Ok(vec![self.head.forward(hidden, Activation::Identity)?])
    }

    /// Each term is about the rows that have come so far, as a mean over all rows of the batch.
    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let output = output[0].clamp(-OUTPUT_LIMIT, OUTPUT_LIMIT)?;
        let count = self.edges.len();
        let mut levels = target.zeros_like()?;
        let mut places = target.zeros_like()?;
        let mut there = target.ones_like()?;
        for (index, &edge) in self.edges.iter().enumerate() {
            let beyond = target.gt(edge)?.to_dtype(target.dtype())?;
            levels = (levels + (bce(&column(&output, index)?, &beyond)? * &there)?)?;
            if index > 0 {
                let stays = (&there - &beyond)?;
                let width = self.width(index);
                let place = target
                    .affine(1.0 / width, -self.edges[index - 1] / width)?
                    .clamp(0.0, 1.0)?;
                let miss = bce(&column(&output, count + index - 1)?, &place)?;
                places = (places + (miss * stays)?)?;
            }
            there = beyond;
        }
        let excess = safe_log(target, &there)?.affine(1.0, -self.last().ln())?;
        let mu = column(&output, 2 * count - 1)?;
        let sigma = sigma(&column(&output, 2 * count)?, self.config.sigma_floor)?;
        let top = (lognormal(&excess, &mu, &sigma)? * there)?.mean_all()?;
        let (levels, places) = (levels.mean_all()?, places.mean_all()?);
        let total = ((&levels + &places)? + &top)?;
        Ok(Loss::new(
            total,
            vec![("levels", levels), ("places", places), ("top", top)],
        ))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let output = &output[0];
        let count = self.edges.len();
        let probability = sigmoid(&column(output, 0)?)?;
        let mut there = probability.clone();
        let mut value = probability.zeros_like()?;
        for index in 1..count {
            let passes = column(output, index)?;
            let place = sigmoid(&column(output, count + index - 1)?)?;
            let amount = place.affine(self.width(index), self.edges[index - 1])?;
            value = (value + ((&there * sigmoid(&passes.neg()?)?)? * amount)?)?;
            there = (there * sigmoid(&passes)?)?;
        }
        let mu = column(output, 2 * count - 1)?.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?;
        let sigma = sigma(&column(output, 2 * count)?, self.config.sigma_floor)?;
        let sigma = sigma.minimum(EXPONENT_LIMIT)?;
        let beyond = (mu + sigma.sqr()?.affine(0.5, 0.0)?)?.relu()?;
        let exponent = beyond.affine(1.0, self.last().ln())?;
        let top = (there * exponent.minimum(EXPONENT_LIMIT)?.exp()?)?;
        Ok(vec![
            ("ltv", (value + top)?),
            ("purchase_probability", probability),
        ])
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["ltv", "purchase_probability"]
    }

    fn only_layer(&self) -> Option<&Dense> {
        Some(&self.head)
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let count = self.edges.len();
        if scores.len() != 2 * count + 1 {
            return Err(Error::internal("a head has another number of scores"));
        }
        let probability = export_probability(graph, &scores[0]);
        let mut there = probability.clone();
        let mut parts = Vec::with_capacity(count);
        for index in 1..count {
            let negative = graph.op("Neg", &[&scores[index]], &[]);
            let stays = export_probability(graph, &negative);
            let stays = graph.mul(&there, &stays);
            let place = export_probability(graph, &scores[count + index - 1]);
            let width = graph.float(self.width(index) as f32);
            let edge = graph.float(self.edges[index - 1] as f32);
            let amount = graph.mul(&place, &width);
            let amount = graph.add(&amount, &edge);
            parts.push(graph.mul(&stays, &amount));
            let passes = export_probability(graph, &scores[index]);
            there = graph.mul(&there, &passes);
        }
        let limit = EXPONENT_LIMIT as f32;
        let mu = graph.clip(&scores[2 * count - 1], -limit, limit);
        let sigma = export_sigma(graph, &scores[2 * count], self.config.sigma_floor);
        let half = graph.float(0.5);
        let variance = graph.mul(&sigma, &sigma);
        let half_variance = graph.mul(&variance, &half);
        let beyond = graph.add(&mu, &half_variance);
        let beyond = graph.relu(&beyond);
        let last = graph.float(self.last().ln() as f32);
        let exponent = graph.add(&beyond, &last);
        let exponent = export_minimum(graph, &exponent, limit);
        let top = graph.exp(&exponent);
        parts.push(graph.mul(&there, &top));
        let ltv = graph.op("Sum", &parts.iter().collect::<Vec<_>>(), &[]);
        Ok(vec![("ltv", ltv), ("purchase_probability", probability)])
    }
}
