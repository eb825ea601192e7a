//! Which candidate is the best, judged on customers that none of them has seen.
//!
//! Marketing needs the order of customers and the money: a candidate must rank as well as the best one, up to what chance
//! alone does, and then get the amounts as right. Of what chance could tell apart the first in the list wins, which is what
//! has done best on other data. (The rule of Breiman and others, 1984, with two standard errors instead of one: the best of ten
//! equal candidates is more than one ahead more often than not.)

use crate::error::Result;
use crate::metrics::{self, Observations};

/// The rule in words, kept with the result.
pub const RULE: &str = "rank order first: the mean of normalized_gini and spearman; then the error in money: ln(1 + decile_mape) + \
     abs(ln(total_ratio)). In each a candidate may be two standard errors (of its difference to the best, by jackknife over customers) behind \
     the best, and of those that are not the first one in the list of candidates wins";

/// Parts of the customers, each left out once, that show what chance does.
const PARTS: usize = 20;
/// Differences of the order, and of the error in money (of which there may be hundreds where a group hardly spends), below these
/// are nothing even where the jackknife sees no noise.
const LEAST_ORDER: f64 = 1e-3;
const LEAST_MONEY: f64 = 1e-2;
/// The same where a later time judges: how high a total is there belongs to that time, and times differ by a seventh.
const LEAST_MONEY_LATER: f64 = 0.07;
/// Standard errors that a candidate may be behind the best one and yet count as equal.
const EQUAL: f64 = 2.0;
/// A candidate that is so many behind needs no further round.
const HOPELESS: f64 = 3.0;

/// The customers that candidates are judged on.
#[derive(Default)]
pub struct Truth {
    pub actual: Vec<f64>,
    /// Rows of one customer share it.
    pub groups: Vec<u32>,
    /// Whether they are customers of a later time than candidates were fitted on.
    pub is_later: bool,
}

/// How well a candidate did.
pub struct Score {
    pub metrics: Vec<metrics::Metric>,
    order: Measure,
    money: Measure,
}

/// More is better.
struct Measure {
    value: f64,
    /// Differences below this are nothing.
    least: f64,
    /// Without each part of the customers.
    parts: Vec<f64>,
}

impl Score {
    pub fn of(truth: &Truth, prediction: &[f32]) -> Result<Self> {
        let prediction: Vec<f64> = prediction.iter().map(|&value| f64::from(value)).collect();
        let metrics = measure(&truth.actual, &prediction)?;
        let (mut orders, mut moneys) = (Vec::with_capacity(PARTS), Vec::with_capacity(PARTS));
        for part in 0..PARTS {
            let kept = |row: &usize| truth.groups[*row] as usize % PARTS != part;
            let rows: Vec<usize> = (0..truth.actual.len()).filter(kept).collect();
            let actual: Vec<f64> = rows.iter().map(|&row| truth.actual[row]).collect();
            let prediction: Vec<f64> = rows.iter().map(|&row| prediction[row]).collect();
            orders.push(metrics::rank_order(&actual, &prediction));
            moneys.push(money(&measure(&actual, &prediction)?));
        }
        Ok(Self {
            order: Measure {
                value: metrics::rank_order(&truth.actual, &prediction),
                least: LEAST_ORDER,
                parts: orders,
            },
            money: Measure {
                value: money(&metrics),
                least: match truth.is_later {
                    true => LEAST_MONEY_LATER,
                    false => LEAST_MONEY,
                },
                parts: moneys,
            },
            metrics,
        })
    }
}

fn measure(actual: &[f64], prediction: &[f64]) -> Result<Vec<metrics::Metric>> {
    metrics::evaluate(&Observations {
        actual,
        prediction,
        ..Observations::default()
    })
}

/// The error in money, negative. A total of zero is wrong beyond measure.
fn money(metrics: &[metrics::Metric]) -> f64 {
    let named = |name: &str| {
        let found = metrics.iter().find(|(other, _)| other == name);
        found.and_then(|(_, value)| *value)
    };
    let total = named("total_ratio").map_or(0.0, |ratio| ratio.max(f64::MIN_POSITIVE));
    // Where a group hardly spends its error may be hundreds: its logarithm does not let one group decide.
    -(named("decile_mape").unwrap_or(0.0).ln_1p() + total.max(f64::MIN_POSITIVE).ln().abs())
}

impl Measure {
    /// How far it is behind `best`, and the standard error of that.
    fn behind(&self, best: &Self) -> (f64, f64) {
        let gaps: Vec<f64> = (best.parts.iter().zip(&self.parts))
            .map(|(a, b)| a - b)
            .collect();
        let mean = gaps.iter().sum::<f64>() / PARTS as f64;
        let spread: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
        let error = (spread * (PARTS - 1) as f64 / PARTS as f64).sqrt();
        (
            best.value - self.value,
            error.max(self.least * (1.0 + best.value.abs())),
        )
    }
}

type Judged<'a> = &'a (usize, Score);

/// Those that are at most so many standard errors behind the best one, in their order.
fn near_best<'a>(
    scores: impl Iterator<Item = Judged<'a>> + Clone,
    of: fn(&Score) -> &Measure,
    errors: f64,
) -> Vec<Judged<'a>> {
    let best =
        (scores.clone().map(|(_, score)| of(score))).max_by(|a, b| a.value.total_cmp(&b.value));
    let near = scores.filter(|(_, score)| {
        best.is_some_and(|best| {
            let (gap, error) = of(score).behind(best);
            gap <= errors * error
        })
    });
    near.collect()
}

/// The winner among candidates that were judged on the same customers.
pub fn choose(scores: &[(usize, Score)]) -> Option<usize> {
    let in_order = near_best(scores.iter(), |score| &score.order, EQUAL);
    let in_money = near_best(in_order.into_iter(), |score| &score.money, EQUAL);
    in_money.iter().map(|(candidate, _)| *candidate).min()
}

/// Those that a look at more customers could still make the winner.
pub fn hopeful(scores: &[(usize, Score)]) -> Vec<usize> {
    near_best(scores.iter(), |score| &score.order, HOPELESS)
        .iter()
        .map(|(candidate, _)| *candidate)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4,000 customers of whom a third pay, and predictions with more or less noise.
    fn truth() -> Truth {
        let rows = 0..4000u32;
        Truth {
            actual: rows
                .clone()
                .map(|row| match row % 3 {
                    0 => f64::from(row % 97 + 1),
                    _ => 0.0,
                })
                .collect(),
            groups: rows.map(|row| row.wrapping_mul(0x9e37_79b9) >> 7).collect(),
            is_later: false,
        }
    }

    fn noisy(truth: &Truth, noise: f64, factor: f64) -> Vec<f32> {
        let hash = |row: usize| (row as u32).wrapping_mul(0x85eb_ca6b) >> 9;
        (truth.actual.iter().enumerate())
            .map(|(row, y)| {
                let random = f64::from(hash(row)) / f64::from(1u32 << 23);
                (factor * (y + noise * random + 1.0)) as f32
            })
            .collect()
    }

    #[test]
    fn a_better_order_wins_whatever_the_total() -> Result<()> {
        let truth = truth();
        let scores = [
            (7, Score::of(&truth, &noisy(&truth, 200.0, 0.2))?),
            (3, Score::of(&truth, &noisy(&truth, 10.0, 2.0))?),
        ];
        assert_eq!(choose(&scores), Some(3));
        assert_eq!(hopeful(&scores), [3]);
        Ok(())
    }

    #[test]
    fn of_equal_orders_the_better_total_wins() -> Result<()> {
        let truth = truth();
        let scores = [
            (0, Score::of(&truth, &noisy(&truth, 10.0, 2.0))?),
            (1, Score::of(&truth, &noisy(&truth, 10.0, 0.8))?),
            (2, Score::of(&truth, &noisy(&truth, 10.0, 0.8))?),
        ];
        assert_eq!(choose(&scores), Some(1));
        assert_eq!(hopeful(&scores), [0, 1, 2]);
        Ok(())
    }

    /// A total that is nearer by a tenth, which another time might have reversed, and one that is not twice too high.
    #[test]
    fn at_a_later_time_a_slightly_better_total_does_not_win() -> Result<()> {
        let of = |factors: [f64; 2], is_later: bool| -> Result<Option<usize>> {
            let truth = Truth {
                is_later,
                ..truth()
            };
            let score = |factor| Score::of(&truth, &noisy(&truth, 10.0, factor));
            let [first, second] = factors;
            Ok(choose(&[(0, score(first)?), (1, score(second)?)]))
        };
        assert_eq!(of([0.88, 0.8], false)?, Some(1));
        assert_eq!(of([0.88, 0.8], true)?, Some(0));
        assert_eq!(of([2.0, 0.8], true)?, Some(1));
        Ok(())
    }

    #[test]
    fn of_equals_the_first_wins() -> Result<()> {
        let truth = truth();
        let scores = [
            (4, Score::of(&truth, &noisy(&truth, 10.0, 0.8))?),
            (2, Score::of(&truth, &noisy(&truth, 10.0, 0.8001))?),
        ];
        assert_eq!(choose(&scores), Some(2));
        Ok(())
    }

    #[test]
    fn no_candidate_no_winner() {
        assert_eq!(choose(&[]), None);
        assert!(hopeful(&[]).is_empty());
    }
}
