//! Simulated customers on which an idea must win by construction, and models fitted to them.
#![allow(dead_code)]

use super::common::TestResult;
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::metrics::{self, Observations};
use ltv_core::params::standard_normal;
use ltv_core::recipe::{Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Quiet, predict, train};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use std::collections::HashMap;

/// Simulated customers: named columns, what they spend, and what is really true of them.
#[derive(Default)]
pub struct World {
    pub columns: Vec<(String, ColumnKind, ColumnData)>,
    pub target: Vec<f64>,
    pub truth: Vec<f64>,
}

impl World {
    fn numeric(&mut self, name: impl Into<String>, values: Vec<f64>) {
        let values = values.into_iter().map(|v| v as f32).collect();
        self.columns.push((
            name.into(),
            ColumnKind::Numeric,
            ColumnData::Numeric(values),
        ));
    }

    /// One column per place of the rows `x`.
    fn numerics(&mut self, x: &[Vec<f64>]) {
        for index in 0..x.first().map_or(0, Vec::len) {
            let values = x.iter().map(|row| row[index]).collect();
            self.numeric(format!("x{index}"), values);
        }
    }

    /// Every third customer is for validation. Sequence columns only if the model reads them.
    pub fn table(&self, with_sequence: bool) -> TestResult<TrainingTable> {
        let used: Vec<_> = self
            .columns
            .iter()
            .filter(|(_, kind, _)| with_sequence || !matches!(kind, ColumnKind::Sequence { .. }))
            .collect();
        let inputs = used
            .iter()
            .map(|(name, kind, _)| FeatureColumn::new(name.as_str(), *kind, "real"))
            .collect();
        let data: Vec<ColumnData> = used.iter().map(|(_, _, data)| data.clone()).collect();
        let split: Vec<Split> = (0..self.target.len())
            .map(|row| match row % 3 {
                0 => Split::Validation,
                _ => Split::Train,
            })
            .collect();
        Ok(TrainingTable::from_columns(
            inputs,
            &data,
            &self.target,
            &split,
            None,
        )?)
    }
}

pub type Predictions = HashMap<&'static str, Vec<f64>>;

pub fn fit(
    world: &World,
    unseen: &World,
    (backbone, objective): (&str, &str),
    options: &Json,
    seed: u64,
) -> TestResult<Predictions> {
    let mut settings = json!({
        "ensemble": 1, "calibration": "none", "batch_size": 256, "seed": seed,
        "learning_rate": 0.003, "epochs": 40, "patience": 10, "dropout": 0.0,
        "blend_trees": false,
    });
    for (key, value) in options.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    let recipe = Recipe {
        backbone: backbone.to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&settings)?,
        ..Recipe::default()
    };
    let sequence = ["lstm", "gru", "transformer", "tft"].contains(&backbone);
    let model = train(world.table(sequence)?, &recipe, &Quiet)?;
    let predicted = predict(&model.weights, unseen.table(sequence)?)?;
    Ok(predicted
        .into_iter()
        .map(|(name, values)| (name, values.into_iter().map(f64::from).collect()))
        .collect())
}

pub fn metric(name: &str, actual: &[f64], prediction: &[f64]) -> TestResult<f64> {
    let all = metrics::evaluate(&Observations {
        actual,
        prediction,
        without_value: true,
        ..Observations::default()
    })?;
    Ok(metrics::named(&all, name)?.expect("the metric is defined"))
}

pub fn normals(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| standard_normal(rng)).collect()
}

pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// A tenth of the customers who look alike may turn out to be whales, with amounts from a law of their own. Another
/// segment pays either next to nothing or a little: one lognormal for it has so wide a tail that its mean is
/// absurd, and a model with one lognormal per customer takes that segment for its best.
pub fn whales(rows: usize, seed: u64) -> World {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::default();
    let x: Vec<Vec<f64>> = (0..rows).map(|_| normals(&mut rng, 5)).collect();
    for x in &x {
        let (erratic, prospect) = (x[0] > 0.8, x[1] > 1.2);
        let pays = rng.random_bool(if erratic || prospect { 0.5 } else { 0.3 });
        let noise = standard_normal(&mut rng);
        let is_whale = prospect && rng.random_bool(sigmoid(3.0 * x[2] - 2.0));
        let amount = match (is_whale, erratic) {
            (true, _) => (6.2 + 0.4 * noise).exp(),
            (false, true) if rng.random_bool(0.5) => 0.002,
            (false, true) => 15.0,
            _ => (3.0 + 0.5 * noise).exp(),
        };
        world.target.push(if pays { amount } else { 0.0 });
    }
    world.numerics(&x);
    world
}

/// One customer in thirty pays, and three payments in ten are corrections of a few cents: in logarithms, which is all
/// that a lognormal sees, outliers that outweigh the features.
pub fn scarce_and_noisy(rows: usize, seed: u64) -> World {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::default();
    let x: Vec<Vec<f64>> = (0..rows).map(|_| normals(&mut rng, 8)).collect();
    for x in &x {
        let probability = sigmoid(-3.5 + 0.3 * x[0]);
        let centre = 3.0 + 0.8 * x[1] + 0.6 * x[2];
        let amount = if rng.random_bool(0.3) {
            0.01
        } else {
            (centre + 0.5 * standard_normal(&mut rng)).exp()
        };
        let pays = rng.random_bool(probability);
        world.target.push(if pays { amount } else { 0.0 });
        world.truth.push(probability * centre.exp());
    }
    world.numerics(&x);
    world
}

/// Whether somebody buys depends on a sum of products of two numbers each; without `paired`, on a sum of single ones.
pub fn products(rows: usize, seed: u64, paired: bool) -> World {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::default();
    let x: Vec<Vec<f64>> = (0..rows).map(|_| normals(&mut rng, 16)).collect();
    for x in &x {
        let product = |pair: usize| x[2 * pair] * if paired { x[2 * pair + 1] } else { 1.0 };
        let sum: f64 = (0..8)
            .map(|pair| {
                if pair % 2 == 0 {
                    product(pair)
                } else {
                    -product(pair)
                }
            })
            .sum();
        let pays = rng.random_bool(sigmoid(1.5 * sum));
        world.target.push(if pays { 10.0 } else { 0.0 });
    }
    world.numerics(&x);
    world
}

/// Spending that rises against spending that falls: the same amounts in another order. Without `in_order` the model is
/// shown them shuffled.
pub fn trends(rows: usize, seed: u64, in_order: bool) -> World {
    const STEPS: usize = 8;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::default();
    let mut series = Vec::with_capacity(rows);
    let mut aggregates = vec![Vec::new(); 4];
    for _ in 0..rows {
        let steps: Vec<f64> = normals(&mut rng, STEPS)
            .iter()
            .map(|z| (0.7 * z).exp())
            .collect();
        let centre = (STEPS as f64 - 1.0) / 2.0;
        let trend: f64 = steps
            .iter()
            .enumerate()
            .map(|(step, amount)| (step as f64 - centre) / STEPS as f64 * amount)
            .sum();
        let pays = rng.random_bool(sigmoid(3.0 * trend));
        world.target.push(if pays { 10.0 } else { 0.0 });
        let mean = steps.iter().sum::<f64>() / STEPS as f64;
        let spread = steps.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
        let least = steps.iter().copied().fold(f64::INFINITY, f64::min);
        let most = steps.iter().copied().fold(0.0, f64::max);
        for (column, value) in aggregates.iter_mut().zip([mean, spread, least, most]) {
            column.push(value);
        }
        let mut shown: Vec<f32> = steps.iter().map(|&v| v as f32).collect();
        if !in_order {
            for last in (1..STEPS).rev() {
                shown.swap(last, rng.random_range(0..=last));
            }
        }
        series.push(shown);
    }
    for (name, values) in ["mean", "spread", "least", "most"]
        .into_iter()
        .zip(aggregates)
    {
        world.numeric(name, values);
    }
    world.columns.push((
        "spend".to_owned(),
        ColumnKind::Sequence { channels: 1 },
        ColumnData::Sequence(series),
    ));
    world
}

/// From this amount on a customer of [`whales`] is one.
pub const WHALE: f64 = 100.0;

/// Share of all whales among the best 1 %.
pub fn whale_recall(score: &[f64], actual: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_by(|&a, &b| score[b].total_cmp(&score[a]));
    let is_whale = |row: &&usize| actual[**row] >= WHALE;
    let found = order[..order.len() / 100].iter().filter(is_whale).count();
    found as f64 / order.iter().filter(is_whale).count() as f64
}
