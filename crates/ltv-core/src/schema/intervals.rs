//! Intervals with a promise: quantiles of the predicted law, moved so that they held what they promise on customers that nobody had learned from.
//!
//! Conformalised quantile regression (Romano, Patterson and Candès 2019), by tier of the prediction: one shift for all would let large customers pay for
//! the zeros of the small ones.

use crate::objective::{Distribution, quantile};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Shares of the customers that intervals promise to hold.
pub const COVERAGES: [f64; 4] = [0.5, 0.8, 0.9, 0.95];
/// Groups of customers by prediction, as far as there are rows.
const TIERS: usize = 10;
/// Rows of a tier at least.
pub const FEWEST_IN_TIER: usize = 50;

/// How far the ends of intervals move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The expected values at which the next tier begins, ascending.
    tiers: Vec<f32>,
    /// For each of [`COVERAGES`] by how much both ends of each tier move outwards, in money.
    moves: Vec<Vec<f32>>,
}

/// What was predicted for a customer that nobody had learned from, and what they spent.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// Who it is.
    pub customer: u32,
    /// Expected value.
    pub value: f32,
    /// Of the law, in the order of `Distribution::parameters`.
    pub parameters: [f64; 3],
    /// What was spent.
    pub spent: f64,
}

/// Where the rows of each tier lie, of so many in the order of the predictions; none where there are too few.
pub fn tiers(rows: usize) -> Vec<Range<usize>> {
    let count = (rows / FEWEST_IN_TIER).min(TIERS);
    (0..count)
        .map(|tier| tier * rows / count..(tier + 1) * rows / count)
        .collect()
}

/// The quantiles between which a share of the law lies, as much below as above.
fn ends(law: Distribution, parameters: [f64; 3], coverage: f64) -> (f64, f64) {
    let outside = (1.0 - coverage) / 2.0;
    let at = |level| quantile(law, parameters, level);
    (at(outside), at(1.0 - outside))
}

impl Intervals {
    /// Whether they are as [`Intervals::fit`] makes them: who reads them from elsewhere has to ask.
    pub fn is_sound(&self) -> bool {
        let ascends = self.tiers.windows(2).all(|pair| pair[0] <= pair[1]);
        let finite = |moves: &Vec<f32>| moves.iter().all(|by| by.is_finite());
        let fits = |moves: &Vec<f32>| moves.len() == self.tiers.len() + 1 && finite(moves);
        ascends && self.moves.len() == COVERAGES.len() && self.moves.iter().all(fits)
    }

    /// `None` where there are too few customers.
    pub fn fit(law: Distribution, mut customers: Vec<Observed>) -> Option<Self> {
        let places = tiers(customers.len());
        let (_, later) = places.split_first()?;
        // Stable sorting would take half as much memory again.
        customers.sort_unstable_by(|a, b| a.value.total_cmp(&b.value));
        let tiers = later.iter().map(|tier| customers[tier.start].value);
        let tiers = tiers.collect();
        let moves = COVERAGES.map(|coverage| {
            let rows = places.iter().map(|tier| &customers[tier.clone()]);
            rows.map(|rows| shift(law, rows, coverage)).collect()
        });
        let moves = moves.to_vec();
        Some(Self { tiers, moves })
    }

    /// The share of customers inside their 80 % interval and how wide it is on average, for each half by what the other half did: on the customers that they
    /// were moved for intervals hold what they promise. Rows of one customer are in one half.
    pub fn judge(law: Distribution, customers: &[Observed]) -> Option<[f64; 2]> {
        let of_half = |half: u32| {
            let rows = customers.iter().copied();
            rows.filter(move |row| row.customer % 2 == half)
        };
        let (mut inside, mut width) = (0, 0.0);
        for half in 0..2 {
            let fitted = Self::fit(law, of_half(1 - half).collect())?;
            for row in of_half(half) {
                let [low, high] = fitted.of(law, row.parameters, row.value, 0.8)?;
                inside += usize::from((low..=high).contains(&row.spent));
                width += high - low;
            }
        }
        let rows = customers.len() as f64;
        Some([inside as f64 / rows, width / rows])
    }

    /// The ends of the interval of a customer; `None` for a coverage that is not one of [`COVERAGES`].
    pub fn of(
        &self,
        law: Distribution,
        parameters: [f64; 3],
        value: f32,
        coverage: f64,
    ) -> Option<[f64; 2]> {
        let index = COVERAGES.iter().position(|known| *known == coverage)?;
        let tier = self.tiers.partition_point(|bound| *bound <= value);
        let mut widest: Option<[f64; 2]> = None;
        // Each holds those that promise less, which move by other distances.
        for (coverage, moves) in COVERAGES.iter().zip(&self.moves).take(index + 1) {
            let [low, high] = moved(ends(law, parameters, *coverage), (*moves.get(tier)?).into());
            widest = Some(match widest {
                Some(inner) => [low.min(inner[0]), high.max(inner[1])],
                None => [low, high],
            });
        }
        widest
    }
}

fn moved((low, high): (f64, f64), outwards: f64) -> [f64; 2] {
    let middle = (low + high) / 2.0;
    // Nobody spends less than nothing: there is no lower end to move.
    let low = match low > 0.0 {
        true => (low - outwards).max(0.0),
        false => low,
    };
    let high = (high + outwards).max(0.0);
    // Moved inwards further than they are apart, they meet in the middle.
    match low > high {
        true => [middle, middle],
        false => [low, high],
    }
}

/// The `ceil((n + 1) coverage)`-th smallest of the distances by which spend lies outside. Where the interval begins at nothing, it has one end only, and
/// who spends nothing is always inside: counted as lying on the end, they would keep the other one from moving inwards.
fn shift(law: Distribution, customers: &[Observed], coverage: f64) -> f32 {
    let mut outside: Vec<f64> = customers
        .iter()
        .map(|customer| {
            let (low, high) = ends(law, customer.parameters, coverage);
            match low > 0.0 {
                true => (low - customer.spent).max(customer.spent - high),
                false if customer.spent > 0.0 => customer.spent - high,
                false => f64::NEG_INFINITY,
            }
        })
        .collect();
    outside.sort_unstable_by(f64::total_cmp);
    let rank = ((outside.len() + 1) as f64 * coverage).ceil() as usize;
    (outside[rank.clamp(1, outside.len()) - 1] as f32).max(-f32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Result};
    use crate::params::standard_normal;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const LAW: Distribution = Distribution::ZeroInflatedLognormal;

    /// Customers of a law whose spread is twice what the model thinks, most of whom buy.
    fn customers(count: usize, seed: u64) -> Vec<Observed> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count)
            .map(|_| {
                let mu = 3.0 + standard_normal(&mut rng);
                let spent = match rng.random_bool(0.95) {
                    true => (mu + 0.8 * standard_normal(&mut rng)).exp(),
                    false => 0.0,
                };
                Observed {
                    customer: 0,
                    value: mu.exp() as f32,
                    parameters: [0.95, mu, 0.4],
                    spent,
                }
            })
            .collect()
    }

    #[test]
    fn intervals_hold_what_they_promise_in_each_third_although_the_law_is_wrong() -> Result<()> {
        let missing = || Error::internal("no interval");
        let fitted = Intervals::fit(LAW, customers(20_000, 1)).ok_or_else(missing)?;
        let mut unseen = customers(15_000, 2);
        unseen.sort_by(|a, b| a.value.total_cmp(&b.value));
        for coverage in COVERAGES {
            for third in unseen.chunks(5000) {
                let (mut inside, mut by_law) = (0, 0);
                for customer in third {
                    let [low, high] = fitted
                        .of(LAW, customer.parameters, customer.value, coverage)
                        .ok_or_else(missing)?;
                    let own = ends(LAW, customer.parameters, coverage);
                    inside += usize::from((low..=high).contains(&customer.spent));
                    by_law += usize::from((own.0..=own.1).contains(&customer.spent));
                }
                let share = inside as f64 / 5000.0;
                // Four standard deviations of 5,000 new customers and of some 2,000 in a tier.
                assert!((share - coverage).abs() < 0.04, "{coverage}: {share}");
                // The law alone misses by eight in a hundred and more.
                assert!(by_law + 400 < inside, "{by_law} {inside}");
            }
        }
        Ok(())
    }

    /// Two of three buy nothing, so that each interval begins at nothing, and the law takes those who buy for too many.
    #[test]
    fn intervals_from_nothing_move_inwards_too() -> Result<()> {
        let mut all = customers(20_000, 5);
        for (row, customer) in all.iter_mut().enumerate() {
            customer.parameters = [0.6, customer.parameters[1], 1.2];
            customer.spent *= f64::from(u8::from(row % 3 == 0));
        }
        let (known, unseen) = all.split_at(10_000);
        let fitted =
            Intervals::fit(LAW, known.to_vec()).ok_or_else(|| Error::internal("no interval"))?;
        let share = |of: &dyn Fn(&Observed) -> Option<[f64; 2]>| {
            let inside = |customer: &&Observed| {
                of(customer).is_some_and(|[low, high]| (low..=high).contains(&customer.spent))
            };
            unseen.iter().filter(inside).count() as f64 / unseen.len() as f64
        };
        let moved = share(&|customer| fitted.of(LAW, customer.parameters, customer.value, 0.8));
        let by_law = share(&|customer| Some(ends(LAW, customer.parameters, 0.8).into()));
        assert!((moved - 0.8).abs() < 0.02, "{moved}");
        assert!(by_law > 0.9, "{by_law}");
        Ok(())
    }

    #[test]
    fn whatever_the_numbers_the_ends_are_in_order() -> Result<()> {
        let mut odd = customers(600, 3);
        for (row, customer) in odd.iter_mut().enumerate() {
            match row % 4 {
                0 => customer.parameters = [f64::NAN, 1.0, 1.0],
                1 => customer.parameters = [1.0, 80.0, 80.0],
                2 => customer.parameters = [0.0, -80.0, 1e-3],
                _ => customer.value = f32::MAX,
            }
        }
        let fitted = Intervals::fit(LAW, odd.clone()).ok_or_else(|| Error::internal("none"))?;
        for customer in &odd {
            let ends = fitted.of(LAW, customer.parameters, customer.value, 0.8);
            let [low, high] = ends.ok_or_else(|| Error::internal("none"))?;
            assert!(
                low.is_nan() || high.is_nan() || 0.0 <= low && low <= high,
                "{low} {high}"
            );
        }
        assert_eq!(Intervals::fit(LAW, customers(FEWEST_IN_TIER - 1, 4)), None);
        assert_eq!(fitted.of(LAW, [0.5, 1.0, 1.0], 1.0, 0.7), None);
        Ok(())
    }
}
