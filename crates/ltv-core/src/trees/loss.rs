//! Gradients and Hessians of the parts of an objective. A part is boosted and stopped by itself: those of a zero-inflated lognormal are
//! the logit of a purchase, and the lognormal of those who pay.

use super::histogram::Pair;
use crate::kernels::real::Real;
use crate::kernels::vectorised::vectorised;
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
        let [loss, factor] = self.loss_by(y, scores, f64::exp);
        loss + factor.ln()
    }

    /// The same as a sum of a number and the logarithm of another, which is between 1 and 2.
    #[inline(always)]
    fn loss_by(&self, y: f64, scores: [f64; 2], exp: impl Fn(f64) -> f64) -> [f64; 2] {
        let f = scores[0];
        let loss = match *self {
            Self::Square => 0.5 * (f - y).powi(2),
            Self::Huber(delta) => {
                let near = (f - y).clamp(-delta, delta);
                near * (f - y - 0.5 * near)
            }
            Self::Purchase => return [f.max(0.0) - y * f, 1.0 + exp(-f.abs())],
            Self::Tweedie(q) => {
                let f = f.clamp(-LIMIT, LIMIT);
                exp((2.0 - q) * f) / (2.0 - q) - y * exp((1.0 - q) * f) / (1.0 - q)
            }
            Self::Lognormal => {
                let rho = scores[1].clamp(-LIMIT, LIMIT);
                rho + 0.5 * ((y - f) * exp(-rho)).powi(2).min(LARGE)
            }
        };
        [loss, 1.0]
    }

    /// The gradient and the Hessian of one row by score `parameter`.
    ///
    /// The Hessian of the lognormal is the expected one, that of `huber` one everywhere, as LightGBM has it.
    #[inline]
    pub fn slopes(&self, parameter: usize, y: f64, scores: [f64; 2]) -> [f64; 2] {
        self.slopes_by(parameter, y, scores, f64::exp)
    }

    #[inline(always)]
    fn slopes_by(
        &self,
        parameter: usize,
        y: f64,
        scores: [f64; 2],
        exp: impl Fn(f64) -> f64,
    ) -> [f64; 2] {
        let f = scores[0];
        match *self {
            Self::Square => [f - y, 1.0],
            Self::Huber(delta) => [(f - y).clamp(-delta, delta), 1.0],
            Self::Purchase => {
                let p = 1.0 / (1.0 + exp(-f.clamp(-LIMIT, LIMIT)));
                [p - y, (p * (1.0 - p)).max(LEAST_HESSIAN)]
            }
            Self::Tweedie(q) => {
                let f = f.clamp(-LIMIT, LIMIT);
                let (low, high) = (y * exp((1.0 - q) * f), exp((2.0 - q) * f));
                let hessian = (2.0 - q) * high - (1.0 - q) * low;
                [high - low, hessian.max(LEAST_HESSIAN)]
            }
            Self::Lognormal => {
                let one_over = exp(-scores[1].clamp(-LIMIT, LIMIT));
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

    /// Of one parameter, for all rows, as closely as the singles that they are kept in.
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
            .for_each(|((into, y), (a, b))| match *self {
                // Said once more, so that the compiler knows it within the loop.
                Self::Purchase => {
                    slopes(
                        |y, s| Self::Purchase.slopes_by(0, y, s, near_exp),
                        y,
                        a,
                        b,
                        into,
                    );
                }
                Self::Tweedie(q) => {
                    slopes(
                        |y, s| Self::Tweedie(q).slopes_by(0, y, s, near_exp),
                        y,
                        a,
                        b,
                        into,
                    );
                }
                Self::Lognormal if parameter == 0 => {
                    slopes(
                        |y, s| Self::Lognormal.slopes_by(0, y, s, near_exp),
                        y,
                        a,
                        b,
                        into,
                    );
                }
                Self::Lognormal => {
                    slopes(
                        |y, s| Self::Lognormal.slopes_by(1, y, s, near_exp),
                        y,
                        a,
                        b,
                        into,
                    );
                }
                _ => slopes(|y, s| self.slopes(parameter, y, s), y, a, b, into),
            });
    }

    /// The mean over all rows.
    pub(super) fn mean(&self, labels: &[f64], scores: &[Vec<f64>]) -> f64 {
        let (first, second) = both(scores);
        let parts: Vec<f64> = labels
            .par_chunks(PART)
            .zip(first.par_chunks(PART).zip(second.par_chunks(PART)))
            .map(|(y, (a, b))| {
                let mut sum = 0.0;
                match *self {
                    Self::Purchase => {
                        add_up(
                            |y, s| Self::Purchase.loss_by(y, s, near_exp),
                            y,
                            a,
                            b,
                            &mut sum,
                        );
                    }
                    Self::Tweedie(q) => {
                        add_up(
                            |y, s| Self::Tweedie(q).loss_by(y, s, near_exp),
                            y,
                            a,
                            b,
                            &mut sum,
                        );
                    }
                    Self::Lognormal => {
                        add_up(
                            |y, s| Self::Lognormal.loss_by(y, s, near_exp),
                            y,
                            a,
                            b,
                            &mut sum,
                        );
                    }
                    _ => add_up(|y, s| self.loss_by(y, s, f64::exp), y, a, b, &mut sum),
                }
                sum
            })
            .collect();
        parts.iter().sum::<f64>() / labels.len().max(1) as f64
    }
}

/// exp() to the seven digits of a single, without branches.
#[inline(always)]
fn near_exp(x: f64) -> f64 {
    f64::from(<f32 as Real>::exp(x as f32))
}

/// Two numbers from a label and scores.
trait OfRow: Fn(f64, [f64; 2]) -> [f64; 2] {}
impl<F: Fn(f64, [f64; 2]) -> [f64; 2]> OfRow for F {}

vectorised! {
fn slopes<T: OfRow>(of_row: T, labels: &[f64], first: &[f64], second: &[f64], into: &mut [Pair]) {
    let rows = labels.iter().zip(first.iter().zip(second));
    for (pair, (y, (a, b))) in into.iter_mut().zip(rows) {
        *pair = of_row(*y, [*a, *b]).map(|slope| slope as f32);
    }
}
}

vectorised! {
/// Adds the first numbers and the logarithms of the second ones, which are between 1 and 2: so many of them are multiplied before the
/// logarithm is taken.
fn add_up<T: OfRow>(of_row: T, labels: &[f64], first: &[f64], second: &[f64], into: &mut f64) {
    const LANES: usize = 8;
    const FACTORS: usize = 64 * LANES;
    let parts = labels.chunks(FACTORS);
    for (y, (a, b)) in parts.zip(first.chunks(FACTORS).zip(second.chunks(FACTORS))) {
        let (mut sums, mut products) = ([0.0; LANES], [1.0; LANES]);
        let mut take = |place: usize, y: f64, a: f64, b: f64| {
            let [sum, factor] = of_row(y, [a, b]);
            sums[place] += sum;
            products[place] *= factor;
        };
        let (y, last_y) = y.as_chunks::<LANES>();
        let (a, last_a) = a.as_chunks::<LANES>();
        let (b, last_b) = b.as_chunks::<LANES>();
        for (y, (a, b)) in y.iter().zip(a.iter().zip(b)) {
            for place in 0..LANES {
                take(place, y[place], a[place], b[place]);
            }
        }
        let last = last_y.iter().zip(last_a.iter().zip(last_b));
        for (place, (y, (a, b))) in last.enumerate() {
            take(place, *y, *a, *b);
        }
        *into += sums.iter().sum::<f64>();
        *into += products.iter().map(|product| product.ln()).sum::<f64>();
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// What all rows get at once is what each gets by itself, to the digits of a single.
    #[test]
    fn all_rows_at_once_are_each_by_itself() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let rows = 3 * PART + 777;
        let mut draw = |low: f64, high: f64| -> Vec<f64> {
            (0..rows).map(|_| random.random_range(low..high)).collect()
        };
        for loss in [
            Loss::Square,
            Loss::Huber(1.0),
            Loss::Purchase,
            Loss::Tweedie(1.5),
            Loss::Lognormal,
        ] {
            let mut labels = draw(0.0, 5.0);
            if loss == Loss::Purchase {
                labels.iter_mut().for_each(|y| *y = y.round().min(1.0));
            }
            let mut scores: Vec<Vec<f64>> = vec![draw(-6.0, 6.0)];
            if loss.parameters() == 2 {
                scores.push(draw(-2.0, 2.0));
            }
            let of = |row: usize| [scores[0][row], scores[scores.len() - 1][row]];
            let mut pairs = vec![[0.0; 2]; rows];
            for parameter in 0..loss.parameters() {
                loss.pairs(parameter, &labels, &scores, &mut pairs);
                for (row, pair) in pairs.iter().enumerate() {
                    let slopes = loss.slopes(parameter, labels[row], of(row));
                    for (fast, plain) in pair.iter().zip(slopes) {
                        let gap = (f64::from(*fast) - plain).abs();
                        assert!(gap < 2e-6 * (1.0 + plain.abs()), "{loss:?}: {fast} {plain}");
                    }
                }
            }
            let each = (0..rows).map(|row| loss.loss(labels[row], of(row)));
            let plain = each.sum::<f64>() / rows as f64;
            let gap = (loss.mean(&labels, &scores) - plain).abs();
            assert!(gap < 1e-6 * (1.0 + plain.abs()), "{loss:?}: {gap}");
        }
    }
}
