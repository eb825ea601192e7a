//! Gradients and Hessians of the parts of an objective. A part is boosted and stopped by itself: those of a zero-inflated lognormal are
//! the logit of a purchase, and the lognormal of those who pay.

use super::histogram::Pair;
use crate::kernels::functions::scalar::sigmoid;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

/// Scores stay within this, so that their exponentials are finite.
const LIMIT: f64 = 80.0;
/// Of the logarithm of sigma. Measured on two logs: the order of customers is as good or better than with 1, and than with 0.
const SIGMA_PACE: f64 = 0.25;
/// No Hessian is smaller: a row never stops to count.
const LEAST_HESSIAN: f64 = 1e-16;

/// What is learned from the spend of customers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Squared error of the label.
    Square,
    /// Squared error near the label, absolute error beyond this distance.
    Huber(f64),
    /// Whether a customer pays, from the logit.
    Purchase,
    /// Tweedie's quasi-likelihood with this power, from the logarithm of the mean.
    Tweedie(f64),
    /// The lognormal of what is paid: its mean, and the logarithm of its sigma.
    Lognormal,
}

/// A loss with the rows it is of and the label it wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The loss.
    pub loss: Loss,
    /// What spend is divided by.
    pub scale: f64,
    /// Whether the label is ln(1 + spend / scale).
    pub log1p: bool,
    /// Of what spend: 0 is the target, others are the intervals between the ends of several horizons.
    #[serde(default)]
    pub interval: usize,
}

impl Part {
    /// Of the spend as it is.
    pub fn new(loss: Loss) -> Self {
        Self {
            loss,
            scale: 1.0,
            log1p: false,
            interval: 0,
        }
    }

    /// Whether a customer who spent this counts; NaN is not known.
    pub fn counts(&self, spent: f32) -> bool {
        match self.loss {
            Loss::Lognormal => spent > 0.0,
            _ => !spent.is_nan(),
        }
    }

    /// What the loss compares scores with.
    pub fn label(&self, spent: f32) -> f64 {
        let amount = f64::from(spent) / self.scale;
        match self.loss {
            Loss::Purchase => f64::from(u8::from(spent > 0.0)),
            Loss::Lognormal => f64::from(spent).max(f64::MIN_POSITIVE).ln(),
            _ if self.log1p => amount.ln_1p(),
            _ => amount,
        }
    }
}

impl Loss {
    /// How many scores a row has.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Lognormal => 2,
            _ => 1,
        }
    }

    /// How fast a parameter learns, as a share of the learning rate: a wrong sigma costs more than one that is too even, because the expected
    /// value grows with the exponential of its square.
    pub(super) fn pace(&self, parameter: usize) -> f64 {
        match (self, parameter) {
            (Self::Lognormal, 1) => SIGMA_PACE,
            _ => 1.0,
        }
    }

    /// The scores that all rows have before the first tree.
    pub fn start(&self, labels: &[f64]) -> Vec<f64> {
        let count = labels.len().max(1) as f64;
        let mean = labels.iter().sum::<f64>() / count;
        match self {
            Self::Square | Self::Huber(_) => vec![mean],
            Self::Purchase => {
                let share = mean.clamp(1e-6, 1.0 - 1e-6);
                vec![(share / (1.0 - share)).ln()]
            }
            Self::Tweedie(_) => vec![mean.max(1e-30).ln()],
            Self::Lognormal => {
                let variance = labels.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / count;
                vec![mean, 0.5 * variance.max(1e-4).ln()]
            }
        }
    }

    /// The loss of one row, up to terms of the label alone.
    #[inline]
    pub fn loss(&self, y: f64, scores: [f64; 2]) -> f64 {
        let f = scores[0];
        match *self {
            Self::Square => 0.5 * (f - y).powi(2),
            Self::Huber(delta) => {
                let near = (f - y).clamp(-delta, delta);
                near * (f - y - 0.5 * near)
            }
            Self::Purchase => f.max(0.0) + (1.0 + (-f.abs()).exp()).ln() - y * f,
            Self::Tweedie(q) => {
                let f = f.clamp(-LIMIT, LIMIT);
                ((2.0 - q) * f).exp() / (2.0 - q) - y * ((1.0 - q) * f).exp() / (1.0 - q)
            }
            Self::Lognormal => {
                let rho = scores[1].clamp(-LIMIT, LIMIT);
                rho + 0.5 * ((y - f) * (-rho).exp()).powi(2).min(LARGE)
            }
        }
    }

    /// The gradient and the Hessian of one row by score `parameter`.
    ///
    /// The Hessian of the lognormal is the expected one, that of `huber` one everywhere, as LightGBM has it.
    #[inline]
    pub fn slopes(&self, parameter: usize, y: f64, scores: [f64; 2]) -> [f64; 2] {
        let f = scores[0];
        match *self {
            Self::Square => [f - y, 1.0],
            Self::Huber(delta) => [(f - y).clamp(-delta, delta), 1.0],
            Self::Purchase => {
                let p = sigmoid(f);
                [p - y, (p * (1.0 - p)).max(LEAST_HESSIAN)]
            }
            Self::Tweedie(q) => {
                let f = f.clamp(-LIMIT, LIMIT);
                let (low, high) = (y * ((1.0 - q) * f).exp(), ((2.0 - q) * f).exp());
                let hessian = (2.0 - q) * high - (1.0 - q) * low;
                [high - low, hessian.max(LEAST_HESSIAN)]
            }
            Self::Lognormal => {
                let one_over = (-scores[1].clamp(-LIMIT, LIMIT)).exp();
                let e = (y - f) * one_over;
                match parameter {
                    0 => {
                        let hessian = (one_over * one_over).clamp(LEAST_HESSIAN, LARGE);
                        [-(e * one_over).clamp(-LARGE, LARGE), hessian]
                    }
                    _ => [1.0 - (e * e).min(LARGE), 2.0],
                }
            }
        }
    }

    /// Of one parameter, for all rows.
    pub(super) fn pairs(
        &self,
        parameter: usize,
        labels: &[f64],
        scores: &[Vec<f64>],
        into: &mut [Pair],
    ) {
        let (first, second) = both(scores);
        into.par_chunks_mut(PART)
            .zip(labels.par_chunks(PART))
            .zip(first.par_chunks(PART).zip(second.par_chunks(PART)))
            .for_each(|((into, labels), (first, second))| {
                let rows = labels.iter().zip(first.iter().zip(second));
                for (pair, (y, (a, b))) in into.iter_mut().zip(rows) {
                    *pair = self
                        .slopes(parameter, *y, [*a, *b])
                        .map(|slope| slope as f32);
                }
            });
    }

    /// The mean over all rows.
    pub(super) fn mean(&self, labels: &[f64], scores: &[Vec<f64>]) -> f64 {
        let (first, second) = both(scores);
        let parts: Vec<f64> = labels
            .par_chunks(PART)
            .zip(first.par_chunks(PART).zip(second.par_chunks(PART)))
            .map(|(labels, (first, second))| {
                let rows = labels.iter().zip(first.iter().zip(second));
                rows.map(|(y, (a, b))| self.loss(*y, [*a, *b])).sum()
            })
            .collect();
        parts.iter().sum::<f64>() / labels.len().max(1) as f64
    }
}

/// Rows that a thread takes at a time.
const PART: usize = 16_384;
/// Squares and inverse variances stay below this.
const LARGE: f64 = 1e12;

/// The scores of the first and of the last parameter.
fn both(scores: &[Vec<f64>]) -> (&[f64], &[f64]) {
    let first = scores.first().map_or(&[][..], Vec::as_slice);
    let last = scores.last().map_or(&[][..], Vec::as_slice);
    (first, last)
}
