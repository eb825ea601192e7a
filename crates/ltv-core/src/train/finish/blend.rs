//! MBG/NBD with Gamma-Gamma as one more voice in the average. Networks do not know how a customer ages beyond what they
//! were shown; MBG/NBD is a law of how customers age. Where customers follow another law, held-out rows show it and its
//! weight is less, or nothing.

use super::deviance::{deviance_at_total, deviance_of_mean};
use super::mbgnbd::MbgNbd;
use crate::btyd::BgNbd;
use crate::data::TrainingTable;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};

/// Weights of MBG/NBD that are tried; the networks have the rest.
const WEIGHTS: [f32; 9] = [0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0];

/// What it gets where held-out rows hardly mind: a model is used at a later time than it was trained for, and what a law of
/// ageing gains there they cannot show.
const FOR_LATER: f32 = 0.5;
/// Share of the deviance that the networks explain which held-out rows may lose to that.
const ALLOWANCE: f64 = 0.03;

/// Paying rows without which the weight is not looked for.
const FEWEST_PAYERS: usize = 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    #[serde(rename = "model")]
    law: MbgNbd,
    /// Of the law's value; the rest is the networks'.
    weight: f32,
    /// Brings the law's total to the networks'.
    factor: f32,
    /// Its value counts for no more than this.
    cap: f32,
}

/// A law whose weight is not yet known, and its values for the rows of the table.
pub struct FittedMbgNbd {
    law: MbgNbd,
    /// Up to the end of each horizon, the longest last.
    pub values: Vec<Vec<f32>>,
    /// Whether it is wanted where there are too few held-out rows to weigh it by.
    is_for_later: bool,
}

/// Fits MBG/NBD if the recipe asks for it, or leaves it open and the data are made for it.
pub fn fit(
    table: &TrainingTable,
    rows: &[u32],
    recipe: &Recipe,
    members: usize,
) -> Result<Option<FittedMbgNbd>> {
    let asked = recipe.options.blend_bgnbd;
    let has_directions = !recipe.options.monotone_increasing.is_empty()
        || !recipe.options.monotone_decreasing.is_empty();
    // The law keeps to no direction but its own.
    let is_off = asked == Some(false) || (asked.is_none() && has_directions);
    if is_off || recipe.objective == "purchase" {
        return Ok(None);
    }
    // One network is what large data get, from which it learns what the law knows.
    let is_for_later = asked == Some(true) || table.has_several_cut_offs();
    if asked.is_none() && (recipe.options.horizon.is_none() || !(is_for_later || members > 1)) {
        return Ok(None);
    }
    match MbgNbd::fit(table, rows, recipe) {
        Ok(law) => Ok(Some(FittedMbgNbd {
            values: match table.horizons() {
                Some(horizons) => law.values(table, horizons.days()),
                None => law.values(table, &[law.horizon() as f32]),
            },
            law,
            is_for_later,
        })),
        Err(error) if asked == Some(true) => Err(error),
        Err(_) => Ok(None),
    }
}

impl FittedMbgNbd {
    /// How often customers buy.
    pub fn purchases(&self) -> BgNbd {
        self.law.purchases()
    }

    /// Weighs it by held-out rows: the networks' values, its own, and what was spent. `None` where it is of no use.
    pub fn weigh(&self, networks: &[f32], own: &[f32], actual: &[f64], cap: f32) -> Option<Blend> {
        let sum = |values: &[f32]| -> f64 { values.iter().map(|&v| f64::from(v.min(cap))).sum() };
        let factor = (sum(networks) / sum(own)) as f32;
        let mut blend = Blend {
            law: self.law.clone(),
            weight: FOR_LATER,
            factor: if factor.is_normal() { factor } else { 1.0 },
            cap,
        };
        let payers = actual.iter().filter(|&&y| y > 0.0).count();
        if payers < FEWEST_PAYERS {
            return self.is_for_later.then_some(blend);
        }
        let mut of = |weight: f32| {
            blend.weight = weight;
            let pairs = networks.iter().zip(own);
            let blended: Vec<f64> = pairs
                .map(|(value, own)| f64::from(blend.apply(*value, *own)))
                .collect();
            deviance_at_total(&blended, actual)
        };
        let alone = of(0.0);
        let explained = (deviance_of_mean(actual) - alone).max(0.0);
        let deviances = WEIGHTS.map(|weight| (weight, of(weight)));
        let best = deviances.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let most = alone + ALLOWANCE * explained;
        let later =
            (deviances.iter()).find(|(weight, deviance)| *weight <= FOR_LATER && *deviance <= most);
        let weight = best.into_iter().chain(later).map(|(weight, _)| *weight);
        let weight = weight.fold(0.0, f32::max);
        blend.weight = weight;
        (weight > 0.0).then_some(blend)
    }
}

impl Blend {
    /// The law's values of all rows up to so many days; without, up to the end of its horizon.
    pub fn values(&self, table: &TrainingTable, days: Option<f32>) -> Vec<f32> {
        let days = days.unwrap_or(self.horizon() as f32);
        let values = self.law.values(table, &[days]);
        values.into_iter().next().unwrap_or_default()
    }

    /// In days.
    pub fn horizon(&self) -> f64 {
        self.law.horizon()
    }

    /// The mean of the roots, squared: between the arithmetic mean, where the larger value decides for customers
    /// whom one of the two has given up, and the geometric mean, where the smaller one does.
    pub fn apply(&self, value: f32, mbgnbd: f32) -> f32 {
        let mbgnbd = mbgnbd.clamp(0.0, self.cap) * self.factor;
        let root = value.max(0.0).sqrt() * (1.0 - self.weight) + mbgnbd.sqrt() * self.weight;
        root * root
    }

    /// The same in a graph, for values up to a day, from its raw matrix.
    pub fn export(&self, graph: &mut GraphBuilder, value: &Value, raw: &Value, days: f64) -> Value {
        let mbgnbd = self.law.export(graph, raw, days);
        let mbgnbd = graph.clip(&mbgnbd, 0.0, self.cap);
        let weighted = |graph: &mut GraphBuilder, value: &Value, weight: f32| {
            let root = graph.op("Sqrt", &[value], &[]);
            let weight = graph.float(weight);
            graph.mul(&root, &weight)
        };
        let value = graph.max(value, 0.0);
        let networks = weighted(graph, &value, 1.0 - self.weight);
        let mbgnbd = weighted(graph, &mbgnbd, self.factor.sqrt() * self.weight);
        let root = graph.add(&networks, &mbgnbd);
        graph.mul(&root, &root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    const ROWS: u32 = 4000;

    fn mbgnbd(is_for_later: bool) -> Result<FittedMbgNbd> {
        Ok(FittedMbgNbd {
            law: MbgNbd::example()?,
            values: Vec::new(),
            is_for_later,
        })
    }

    fn noise(row: u32, seed: u32) -> f64 {
        let hash = (row ^ seed.rotate_left(16)).wrapping_mul(0x9e37_79b9);
        f64::from((hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b) >> 8) / f64::from(1u32 << 24)
    }

    /// What customers are expected to spend, and what every other one does.
    fn truth() -> (Vec<f64>, Vec<f64>) {
        let of = |row| {
            let expected = (4.0 * noise(row, 1)).exp();
            let pays = noise(row, 2) < 0.5;
            (expected, if pays { 2.0 * expected } else { 0.0 })
        };
        (0..ROWS).map(of).unzip()
    }

    fn noisy(expected: &[f64], seed: u32, spread: f64) -> Vec<f32> {
        let rows = expected.iter().zip(0..);
        rows.map(|(value, row)| (value * (spread * (noise(row, seed) - 0.5)).exp()) as f32)
            .collect()
    }

    fn weight(own: &[f32], networks: &[f32]) -> Result<Option<f32>> {
        let (_, actual) = truth();
        let blend = mbgnbd(false)?.weigh(networks, own, &actual, 1000.0);
        Ok(blend.map(|blend| blend.weight))
    }

    #[test]
    fn two_voices_of_equal_quality_count_the_same() -> Result<()> {
        let (expected, _) = truth();
        let (one, other) = (noisy(&expected, 3, 3.0), noisy(&expected, 4, 3.0));
        assert_eq!(weight(&one, &other)?, Some(0.5));
        Ok(())
    }

    #[test]
    fn the_better_voice_has_the_larger_weight() -> Result<()> {
        let (expected, _) = truth();
        let (good, worse) = (noisy(&expected, 3, 1.0), noisy(&expected, 4, 3.0));
        let law = weight(&good, &worse)?;
        assert!(law.is_some_and(|weight| weight > 0.5), "{law:?}");
        let networks = weight(&worse, &good)?;
        assert!(networks.is_none_or(|weight| weight < 0.5), "{networks:?}");
        Ok(())
    }

    #[test]
    fn a_voice_that_costs_little_is_heard_for_a_later_time() -> Result<()> {
        let (expected, _) = truth();
        let (good, worse) = (noisy(&expected, 3, 0.2), noisy(&expected, 4, 1.0));
        assert_eq!(weight(&worse, &good)?, Some(0.5));
        Ok(())
    }

    #[test]
    fn a_law_that_customers_do_not_follow_has_no_weight() -> Result<()> {
        let (expected, _) = truth();
        let good = noisy(&expected, 3, 0.2);
        let reversed: Vec<f32> = expected.iter().map(|v| (100.0 / v) as f32).collect();
        let explosive: Vec<f32> = (0..ROWS)
            .map(|row| (40.0 * noise(row, 5)).exp() as f32)
            .collect();
        for own in [reversed, explosive] {
            let weight = weight(&own, &good)?;
            assert!(weight.is_none_or(|weight| weight <= 0.1), "{weight:?}");
        }
        Ok(())
    }

    #[test]
    fn too_few_payers_weigh_nothing() -> Result<()> {
        let few = |is_for_later| -> Result<Option<f32>> {
            let (values, actual) = (vec![1.0; 100], vec![0.0; 100]);
            let blend = mbgnbd(is_for_later)?.weigh(&values, &values, &actual, 10.0);
            Ok(blend.map(|blend| blend.weight))
        };
        assert_eq!((few(false)?, few(true)?), (None, Some(FOR_LATER)));
        Ok(())
    }

    #[test]
    fn values_are_capped_and_brought_to_the_total_of_the_networks() -> Result<()> {
        let (expected, actual) = truth();
        let networks = noisy(&expected, 3, 0.2);
        let own: Vec<f32> = networks.iter().map(|value| value * 7.0).collect();
        let blend = mbgnbd(true)?.weigh(&networks, &own, &actual, 1e6);
        let blend = blend.ok_or_else(|| Error::internal("no weight"))?;
        for (value, own) in networks.iter().zip(&own) {
            assert!((blend.apply(*value, *own) - value).abs() <= 1e-5 * value);
        }
        let most = blend.apply(1.0, f32::MAX);
        assert_eq!(most, blend.apply(1.0, 1e6));
        assert_eq!(blend.apply(0.0, 0.0), 0.0);
        Ok(())
    }
}
