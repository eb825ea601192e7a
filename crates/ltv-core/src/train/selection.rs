//! Which candidate is the best, judged on customers that none of them has seen.
//!
//! Marketing needs the order of customers and the money: a candidate must rank as well as the best one, up to what chance
//! alone does, and among those the one whose amounts are right wins.

use crate::error::Result;
use crate::metrics::{self, Observations};

/// The rule in words, kept with the result.
pub(super) const RULE: &str = "rank order first: the mean of normalized_gini and spearman, of which a candidate may have one standard error \
     (of its difference to the best, by jackknife over customers) less than the best; among those the least error in money: \
     decile_mape + abs(ln(total_ratio))";

/// Parts of the customers, each left out once, that show what chance does.
const PARTS: usize = 20;
/// Differences below this are nothing even where the jackknife sees no noise.
const LEAST: f64 = 1e-3;
/// A candidate that is so many standard errors behind needs no further round.
const HOPELESS: f64 = 2.5;

/// The customers that candidates are judged on.
#[derive(Default)]
pub(super) struct Truth {
    pub actual: Vec<f64>,
    /// Rows of one customer share it.
    pub groups: Vec<u32>,
}

/// How well a candidate did.
pub(super) struct Score {
    pub metrics: Vec<metrics::Metric>,
    order: f64,
    money: f64,
    /// The order without each part of the customers.
    parts: Vec<f64>,
}

impl Score {
    pub fn of(truth: &Truth, prediction: &[f32]) -> Result<Self> {
        let prediction: Vec<f64> = prediction.iter().map(|&value| f64::from(value)).collect();
        let metrics = metrics::evaluate(&Observations {
            actual: &truth.actual,
            prediction: &prediction,
            ..Observations::default()
        })?;
        let mut parts = Vec::with_capacity(PARTS);
        for part in 0..PARTS {
            let kept = |row: &usize| truth.groups[*row] as usize % PARTS != part;
            let rows: Vec<usize> = (0..truth.actual.len()).filter(kept).collect();
            let actual: Vec<f64> = rows.iter().map(|&row| truth.actual[row]).collect();
            let prediction: Vec<f64> = rows.iter().map(|&row| prediction[row]).collect();
            parts.push(metrics::rank_order(&actual, &prediction));
        }
        let named = |name: &str| {
            let found = metrics.iter().find(|(other, _)| other == name);
            found.and_then(|(_, value)| *value)
        };
        let total = named("total_ratio").filter(|ratio| *ratio > 0.0);
        Ok(Self {
            order: metrics::rank_order(&truth.actual, &prediction),
            money: named("decile_mape").unwrap_or(f64::INFINITY)
                + total.map_or(f64::INFINITY, |ratio| ratio.ln().abs()),
            parts,
            metrics,
        })
    }

    /// How far it is behind `best`, and the standard error of that.
    fn behind(&self, best: &Self) -> (f64, f64) {
        let gaps: Vec<f64> = best
            .parts
            .iter()
            .zip(&self.parts)
            .map(|(a, b)| a - b)
            .collect();
        let mean = gaps.iter().sum::<f64>() / PARTS as f64;
        let spread: f64 = gaps.iter().map(|gap| (gap - mean).powi(2)).sum();
        let error = (spread * (PARTS - 1) as f64 / PARTS as f64).sqrt();
        (best.order - self.order, error.max(LEAST))
    }
}

fn best(scores: &[(usize, Score)]) -> Option<&Score> {
    scores
        .iter()
        .map(|(_, score)| score)
        .max_by(|a, b| a.order.total_cmp(&b.order))
}

/// The winner among candidates that were judged on the same customers. Of equals the earlier one.
pub(super) fn choose(scores: &[(usize, Score)]) -> Option<usize> {
    let best = best(scores)?;
    let as_good = scores.iter().filter(|(_, score)| {
        let (gap, error) = score.behind(best);
        gap <= error
    });
    as_good
        .min_by(|(_, a), (_, b)| a.money.total_cmp(&b.money))
        .map(|(candidate, _)| *candidate)
}

/// Those that a look at more customers could still make the winner.
pub(super) fn hopeful(scores: &[(usize, Score)]) -> Vec<usize> {
    let Some(best) = best(scores) else {
        return Vec::new();
    };
    let hopeful = scores.iter().filter(|(_, score)| {
        let (gap, error) = score.behind(best);
        gap <= HOPELESS * error
    });
    hopeful.map(|(candidate, _)| *candidate).collect()
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

    #[test]
    fn no_candidate_no_winner() {
        assert_eq!(choose(&[]), None);
        assert!(hopeful(&[]).is_empty());
    }
}
