//! Networks and trees as one voice: the mean of the roots of their values, squared, and the mean of their probabilities. The weight is chosen
//! by rows that neither was trained on. Whoever does not help there is left out.

use super::deviance::{deviance_at_total, deviance_of_mean};
use super::is_spend;
use crate::onnx::{GraphBuilder, Value};
use crate::train::fit::network::Predictions;
use serde::{Deserialize, Serialize};

/// Weights of the trees that are tried, the most even one first; the networks have the rest.
const WEIGHTS: [f32; 10] = [0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9, 1.0];
/// Share of the deviance explained that the most even weight may cost: two voices err less at a later time than one.
const ALLOWANCE: f64 = 0.005;
/// Share of the deviance explained that trees must add to what networks explain alone: a forest costs several times the scoring.
const LEAST_GAIN: f64 = 0.01;
/// Paying rows without which the weight is not looked for.
const FEWEST_PAYERS: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Of the trees; the rest is the networks'.
    pub weight: f32,
}

impl Mix {
    /// From what networks and trees expect of rows that they were not trained on, and what was spent there. `can_be_alone`: whether trees say all
    /// that networks say, so that these may be left out.
    pub fn weigh(
        networks: &[f32],
        trees: &[f32],
        actual: &[f64],
        cap: f32,
        can_be_alone: bool,
    ) -> Self {
        let payers = actual.iter().filter(|&&y| y > 0.0).count();
        if payers < FEWEST_PAYERS {
            return Self { weight: 0.0 };
        }
        let of = |weight: f32| {
            let mix = Self { weight };
            let pairs = networks.iter().zip(trees);
            let mixed: Vec<f64> = pairs
                .map(|(n, t)| f64::from(mix.value(n.min(cap), t.min(cap))))
                .collect();
            deviance_at_total(&mixed, actual)
        };
        let is_possible = |weight: &&f32| can_be_alone || **weight < 1.0;
        let tried: Vec<(f32, f64)> = WEIGHTS
            .iter()
            .filter(is_possible)
            .map(|&weight| (weight, of(weight)))
            .collect();
        let best = tried
            .iter()
            .map(|(_, found)| *found)
            .fold(f64::INFINITY, f64::min);
        let explained = (deviance_of_mean(actual) - best).max(0.0);
        let most = best + ALLOWANCE * explained;
        if of(0.0) <= best + LEAST_GAIN * explained {
            return Self { weight: 0.0 };
        }
        let even = tried.iter().find(|(_, found)| *found <= most);
        Self {
            weight: even.map_or(0.0, |(weight, _)| *weight),
        }
    }

    /// Whether the networks are of no use beside the trees.
    pub fn is_trees_alone(self) -> bool {
        self.weight >= 1.0
    }

    fn value(self, networks: f32, trees: f32) -> f32 {
        let root =
            networks.max(0.0).sqrt() * (1.0 - self.weight) + trees.max(0.0).sqrt() * self.weight;
        root * root
    }

    fn probability(self, networks: f32, trees: f32) -> f32 {
        networks * (1.0 - self.weight) + trees * self.weight
    }

    /// The networks' predictions with the trees' share.
    pub fn apply(self, mut networks: Predictions, trees: &Predictions) -> Predictions {
        for (name, column) in &mut networks.columns {
            let Some(others) = trees.get(name) else {
                continue;
            };
            for (value, other) in column.iter_mut().zip(others) {
                match *name {
                    name if is_spend(name) => *value = self.value(*value, *other),
                    "purchase_probability" => *value = self.probability(*value, *other),
                    _ => {}
                }
            }
        }
        networks
    }

    /// The same in a graph.
    pub fn export(
        self,
        graph: &mut GraphBuilder,
        networks: &mut [(&'static str, Value)],
        trees: &[(&'static str, Value)],
    ) {
        for (name, value) in networks {
            let other = trees.iter().find(|(other, _)| other == name);
            let Some((_, other)) = other else {
                continue;
            };
            let mean = |graph: &mut GraphBuilder, own: &Value, other: &Value| {
                let (rest, weight) = (graph.float(1.0 - self.weight), graph.float(self.weight));
                let own = graph.mul(own, &rest);
                let other = graph.mul(other, &weight);
                graph.add(&own, &other)
            };
            match *name {
                name if is_spend(name) => {
                    let [own, other] = [&*value, other].map(|value| {
                        let value = graph.max(value, 0.0);
                        graph.op("Sqrt", &[&value], &[])
                    });
                    let root = mean(graph, &own, &other);
                    *value = graph.mul(&root, &root);
                }
                "purchase_probability" => *value = mean(graph, value, other),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: u32 = 4000;

    fn noise(row: u32, seed: u32) -> f64 {
        let hash = (row ^ seed.rotate_left(16)).wrapping_mul(0x9e37_79b9);
        f64::from((hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca6b) >> 8) / f64::from(1u32 << 24)
    }

    /// What is expected of customers with an error of this size, and what they spend.
    fn voices(spread: f64, seed: u32) -> (Vec<f32>, Vec<f64>) {
        let of = |row| {
            let expected = (4.0 * noise(row, 1)).exp();
            let own = expected * (spread * (noise(row, seed) - 0.5)).exp();
            (
                own as f32,
                if noise(row, 2) < 0.5 {
                    2.0 * expected
                } else {
                    0.0
                },
            )
        };
        (0..ROWS).map(of).unzip()
    }

    fn weight(networks: f64, trees: f64, can_be_alone: bool) -> f32 {
        let (n, actual) = voices(networks, 3);
        let (t, _) = voices(trees, 4);
        Mix::weigh(&n, &t, &actual, 1e9, can_be_alone).weight
    }

    #[test]
    fn the_better_voice_has_the_larger_weight_and_noise_none() {
        assert_eq!(weight(1.0, 1.0, true), 0.5);
        assert!(weight(3.0, 1.0, true) > 0.5 && weight(1.0, 3.0, true) < 0.5);
        assert_eq!(
            (weight(0.1, 12.0, true), weight(12.0, 0.1, true)),
            (0.0, 1.0)
        );
        assert_eq!(weight(12.0, 0.1, false), 0.9);
    }

    #[test]
    fn without_payers_networks_are_left_as_they_are() {
        let values = [1.0; 100];
        assert_eq!(
            Mix::weigh(&values, &values, &[0.0; 100], 9.0, true).weight,
            0.0
        );
    }

    #[test]
    fn values_lie_between_and_parameters_stay() {
        let of = |value: f32, probability: f32| Predictions {
            columns: vec![
                ("ltv", vec![value]),
                ("purchase_probability", vec![probability]),
                ("sigma", vec![value]),
            ],
        };
        let mixed = Mix { weight: 0.25 }.apply(of(4.0, 0.2), &of(16.0, 0.6));
        assert_eq!(mixed.get("ltv"), Some(&[6.25][..]));
        assert!(
            mixed
                .get("purchase_probability")
                .is_some_and(|p| (p[0] - 0.3).abs() < 1e-6)
        );
        assert_eq!(mixed.get("sigma"), Some(&[4.0][..]));
    }
}
