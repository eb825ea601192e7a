//! How far what customers spend lies from what was predicted, so that a sum of predictions has an interval too.
//!
//! Quantiles of customers do not add up; variances do. That of one customer is taken from the customers held out who were predicted about as much: in each
//! tenth of them the squares of the surprises over the predictions to the power of 1.5, for who is expected to spend more also varies more. To that comes
//! what moves all customers together, or all of a tier: the level of the predictions is known from the customers held out only, and is not the same at each
//! cut-off.

use crate::metrics::{Customers, TotalRatio};
use crate::schema::tiers;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Limits at 95 % are so many standard deviations apart.
const BETWEEN_LIMITS: f64 = 2.0 * 1.959_964;
/// Cut-offs that say how they differ.
const FEWEST_CUT_OFFS: usize = 3;

/// What a sum of predictions needs to know of its error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The predictions at which the next tier begins, ascending.
    pub tiers: Vec<f64>,
    /// Of each tier the variance of what a customer spends over the prediction to the power of 1.5.
    pub dispersion: Vec<f64>,
    /// Standard deviation of the logarithm of the level.
    pub level: f64,
    /// The same of each tier beside that.
    pub tier: f64,
}

/// A row held out.
#[derive(Clone, Copy, Debug)]
pub struct Surprise {
    /// What was expected.
    pub value: f64,
    /// What was spent.
    pub spent: f64,
    /// Who spent it.
    pub customer: u32,
    /// The day of the cut-off, 0 where there is none.
    pub day: i32,
}

impl Spread {
    /// `None` where customers are too few, or nothing was spent.
    pub fn fit(mut rows: Vec<Surprise>) -> Option<Self> {
        let places = tiers(rows.len());
        if places.is_empty() {
            return None;
        }
        let by_chance = chance(&rows)?;
        let between = excess(&rows);
        rows.sort_by(|a, b| a.value.total_cmp(&b.value));
        let tiers: Vec<&[Surprise]> = places.into_iter().map(|tier| &rows[tier]).collect();
        Some(Self {
            tiers: tiers[1..].iter().map(|tier| tier[0].value).collect(),
            dispersion: tiers.iter().map(|tier| dispersion(tier)).collect(),
            level: (by_chance + between.unwrap_or(0.0).max(0.0)).sqrt(),
            tier: of_tiers(&tiers, between).sqrt(),
        })
    }
}

fn dispersion(rows: &[Surprise]) -> f64 {
    let squares: f64 = rows.iter().map(|row| (row.spent - row.value).powi(2)).sum();
    let scale: f64 = rows.iter().map(|row| row.value.powf(1.5)).sum();
    match scale > 0.0 {
        true => squares / scale,
        false => 0.0,
    }
}

fn ratio(rows: &[Surprise]) -> Option<TotalRatio> {
    let column = |of: fn(&Surprise) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
    let customers: Vec<u32> = rows.iter().map(|row| row.customer).collect();
    let customers = Customers::of(&customers);
    let ratio = TotalRatio::of(
        &column(|row| row.value),
        &column(|row| row.spent),
        &customers,
    )?;
    (ratio.low > 0.0 && ratio.high.is_finite()).then_some(ratio)
}

/// The variance of the logarithm of the total that chance explains.
fn chance(rows: &[Surprise]) -> Option<f64> {
    Some((ratio(rows)?.width().ln() / BETWEEN_LIMITS).powi(2))
}

/// Of each cut-off the logarithm of the ratio of the totals, and its variance by chance.
fn by_cut_off(rows: &[Surprise]) -> Vec<(f64, f64)> {
    let mut by_day: BTreeMap<i32, Vec<Surprise>> = BTreeMap::new();
    for row in rows {
        by_day.entry(row.day).or_default().push(*row);
    }
    let found = by_day.values().filter_map(|rows| {
        let found = ratio(rows).filter(|found| found.ratio > 0.0)?;
        Some((
            found.ratio.ln(),
            (found.width().ln() / BETWEEN_LIMITS).powi(2),
        ))
    });
    found.collect()
}

/// How much more than by chance the totals of cut-offs differ, as a variance of logarithms; `None` where there are too few of them.
fn excess(rows: &[Surprise]) -> Option<f64> {
    let known = by_cut_off(rows);
    if known.len() < FEWEST_CUT_OFFS {
        return None;
    }
    let count = known.len() as f64;
    let mean = known.iter().map(|(log, _)| log).sum::<f64>() / count;
    let squares: f64 = known.iter().map(|(log, _)| (log - mean).powi(2)).sum();
    let by_chance = known.iter().map(|(_, variance)| variance).sum::<f64>() / count;
    Some(squares / (count - 1.0) - by_chance)
}

/// The same of tiers, beyond what all of them have in common.
fn of_tiers(tiers: &[&[Surprise]], in_common: Option<f64>) -> f64 {
    let Some(in_common) = in_common else {
        return 0.0;
    };
    let found: Vec<f64> = tiers.iter().filter_map(|rows| excess(rows)).collect();
    let mean = found.iter().sum::<f64>() / found.len().max(1) as f64;
    (mean - in_common.max(0.0)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Result};
    use crate::params::standard_normal;
    use crate::schema::FEWEST_IN_TIER;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Customers who buy with a probability and an amount of their own, predicted without error but for the factor `level`.
    fn shop(count: u32, day: i32, level: f64, rng: &mut ChaCha8Rng) -> Vec<Surprise> {
        (0..count)
            .map(|customer| {
                let mu = 3.0 + standard_normal(rng);
                let buys = rng.random_bool(0.4);
                let amount = (mu + 0.8 * standard_normal(rng)).exp();
                Surprise {
                    value: 0.4 * (mu + 0.32).exp(),
                    spent: f64::from(u8::from(buys)) * amount * level,
                    customer,
                    day,
                }
            })
            .collect()
    }

    /// The 80 % interval of a lognormal law with this mean and coefficient of variation, as `ltv.sum_interval` in SQL has it.
    fn holds(spread: &Spread, rows: &[Surprise]) -> bool {
        let expected: f64 = rows.iter().map(|row| row.value).sum();
        let spent: f64 = rows.iter().map(|row| row.spent).sum();
        let mut sums = vec![0.0; spread.dispersion.len()];
        let mut variance = 0.0;
        for row in rows {
            let tier = spread.tiers.partition_point(|bound| *bound <= row.value);
            variance += spread.dispersion[tier] * row.value.powf(1.5);
            sums[tier] += row.value;
        }
        let of_tiers: f64 = sums.iter().map(|sum| (spread.tier * sum).powi(2)).sum();
        let variance = variance + of_tiers;
        let log_variance = (1.0 + variance / expected.powi(2) + spread.level.powi(2)).ln();
        let away = (spent / expected).ln() + log_variance / 2.0;
        away.abs() <= 1.281_552 * log_variance.sqrt()
    }

    /// Of 600 models and as many groups of customers to come, each: the sums of 300 customers are mostly chance, those of 20,000 mostly the error of the level.
    #[test]
    fn an_interval_of_a_sum_holds_what_it_promises() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for size in [300, 20_000] {
            let mut held = 0;
            for _ in 0..600 {
                let mut known = shop(3000, 0, 1.0, &mut rng);
                // A model learns its level from what was spent.
                let total = |of: fn(&Surprise) -> f64| known.iter().map(of).sum::<f64>();
                let learned = total(|row| row.spent) / total(|row| row.value);
                known.iter_mut().for_each(|row| row.value *= learned);
                let spread = Spread::fit(known).ok_or_else(|| Error::internal("no spread"))?;
                let mut unseen = shop(size, 0, 1.0, &mut rng);
                unseen.iter_mut().for_each(|row| row.value *= learned);
                held += usize::from(holds(&spread, &unseen));
            }
            let share = f64::from(held as u32) / 600.0;
            // Two standard deviations of 600 are .033.
            assert!((share - 0.8).abs() < 0.04, "{size}: {share}");
        }
        Ok(())
    }

    /// Times differ by a fifth, which no customer held out at the same times shows.
    #[test]
    fn how_cut_offs_differ_is_part_of_it() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let (mut held, mut held_without) = (0, 0);
        for _ in 0..300 {
            let mut known = Vec::new();
            for day in 0..8 {
                let level = (0.2 * standard_normal(&mut rng)).exp();
                known.extend(shop(2000, day, level, &mut rng));
            }
            let spread = Spread::fit(known).ok_or_else(|| Error::internal("no spread"))?;
            let level = (0.2 * standard_normal(&mut rng)).exp();
            let later = shop(4000, 8, level, &mut rng);
            held += usize::from(holds(&spread, &later));
            let without = Spread {
                level: 0.0,
                tier: 0.0,
                ..spread
            };
            held_without += usize::from(holds(&without, &later));
        }
        let share = f64::from(held as u32) / 300.0;
        // Eight cut-offs say little of how they differ, so that it is a little less than promised.
        assert!((0.7..0.85).contains(&share), "{share}");
        assert!(held_without < 100, "{held_without}");
        Ok(())
    }

    #[test]
    fn too_few_or_nobody_who_spends_has_none() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(
            Spread::fit(shop(FEWEST_IN_TIER as u32 - 1, 0, 1.0, &mut rng)),
            None
        );
        let nothing = shop(500, 0, 0.0, &mut rng);
        assert_eq!(Spread::fit(nothing), None);
    }
}
