//! What each part of `cmltv` and `expltv` is worth: each switched off by option, on the simulations made for them and on
//! a table of customers.
//!
//!     cargo run --release --example ablation -- [features.csv [seeds]]
//!
//! The file has a header and numbers; its columns `split` (`train`, `validation`, `test`) and `ltv` are the split and the
//! target, `customer_id` and `as_of` are left out. Prints a Markdown table: mean and standard deviation over the seeds, and the mean
//! difference to the whole objective with its standard error.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/worlds.rs"]
mod worlds;

use common::TestResult;
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::metrics::{self, Observations};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Quiet, predict, train};
use serde_json::{Value as Json, json};
use worlds::{fit, metric, scarce_and_noisy, whale_recall, whales};

const SEEDS: u64 = 8;

fn variants() -> Vec<(&'static str, &'static str, Json)> {
    vec![
        ("cmltv", "whole", json!({})),
        (
            "cmltv",
            "no classification contrast",
            json!({"classification_contrast": 0}),
        ),
        (
            "cmltv",
            "no regression contrast",
            json!({"regression_contrast": 0}),
        ),
        (
            "cmltv",
            "no contrast",
            json!({"classification_contrast": 0, "regression_contrast": 0}),
        ),
        (
            "cmltv",
            "contrasts ten times as strong",
            json!({"classification_contrast": 1, "regression_contrast": 1}),
        ),
        (
            "cmltv",
            "no distribution view",
            json!({"views": ["log", "class"]}),
        ),
        (
            "cmltv",
            "no log view",
            json!({"views": ["distribution", "class"]}),
        ),
        (
            "cmltv",
            "no class view",
            json!({"views": ["distribution", "log"]}),
        ),
        (
            "cmltv",
            "distribution view alone",
            json!({"views": ["distribution"]}),
        ),
        ("cmltv", "log view alone", json!({"views": ["log"]})),
        ("cmltv", "class view alone", json!({"views": ["class"]})),
        ("expltv", "whole", json!({})),
        ("expltv", "no whale detection", json!({"whale_weight": 0})),
        ("expltv", "one expert", json!({"experts": 1})),
        (
            "expltv",
            "one expert, no whale detection",
            json!({"experts": 1, "whale_weight": 0}),
        ),
        ("ziln", "for comparison", json!({})),
    ]
}

fn main() -> TestResult {
    match std::env::args().nth(1) {
        None => simulated()?,
        Some(path) => {
            let seeds = std::env::args().nth(2).map(|text| text.parse());
            on_customers(&path, seeds.transpose()?.unwrap_or(SEEDS))?;
        }
    }
    Ok(())
}

/// `cmltv` by the rank correlation with the true value, `expltv` by the whales among the best 1 %.
fn simulated() -> TestResult {
    println!(
        "| objective | | rank correlation, scarce noisy payers | whales in the top 1 % |\n|---|---|---|---|"
    );
    let mut whole: Vec<Vec<f64>> = Vec::new();
    for (objective, name, options) in variants() {
        let mut options = options;
        options["hidden_sizes"] = json!([32, 16]);
        let mut order = Vec::new();
        let mut recall = Vec::new();
        for seed in 1..=SEEDS {
            let (world, unseen) = (
                scarce_and_noisy(15_000, seed),
                scarce_and_noisy(8_000, 100 + seed),
            );
            let fitted = fit(&world, &unseen, ("mlp", objective), &options, seed)?;
            order.push(metric("spearman", &unseen.truth, &fitted["ltv"])?);
            let (world, unseen) = (whales(12_000, seed), whales(20_000, 100 + seed));
            options["whale_threshold"] = json!(worlds::WHALE);
            let fitted = fit(&world, &unseen, ("mlp", objective), &options, seed)?;
            // Without detection the gate says nothing about whales.
            let detects = options["whale_weight"].is_null();
            let score = fitted.get("whale_probability").filter(|_| detects);
            recall.push(whale_recall(
                score.unwrap_or(&fitted["ltv"]),
                &unseen.target,
            ));
            options
                .as_object_mut()
                .expect("an object")
                .remove("whale_threshold");
        }
        row(objective, name, &[order, recall], &mut whole);
    }
    Ok(())
}

fn on_customers(path: &str, seeds: u64) -> TestResult {
    println!(
        "| objective | | normalized Gini | Spearman | decile MAPE | total |\n|---|---|---|---|---|---|"
    );
    let customers = Csv::read(path)?;
    let unseen = customers.table("test")?;
    let actual: Vec<f64> = unseen.target().iter().map(|&y| f64::from(y)).collect();
    let mut whole: Vec<Vec<f64>> = Vec::new();
    for (objective, name, mut options) in variants() {
        options["ensemble"] = json!(1);
        let mut columns = vec![Vec::new(); 4];
        for seed in 1..=seeds {
            options["seed"] = json!(seed);
            let recipe = Recipe {
                objective: objective.to_owned(),
                options: Options::from_json(&options)?,
                ..Recipe::default()
            };
            let model = train(customers.table("train")?, &recipe, &Quiet)?;
            let predicted = predict(&model.weights, unseen.clone())?;
            let (_, ltv) = predicted
                .iter()
                .find(|(name, _)| *name == "ltv")
                .ok_or("no ltv")?;
            let prediction: Vec<f64> = ltv.iter().map(|&v| f64::from(v)).collect();
            let all = metrics::evaluate(&Observations {
                actual: &actual,
                prediction: &prediction,
                ..Observations::default()
            })?;
            let names = ["normalized_gini", "spearman", "decile_mape", "total_ratio"];
            for (column, name) in columns.iter_mut().zip(names) {
                column.push(metrics::named(&all, name)?.ok_or("not defined")?);
            }
        }
        row(objective, name, &columns, &mut whole);
    }
    Ok(())
}

fn row(objective: &str, name: &str, columns: &[Vec<f64>], whole: &mut Vec<Vec<f64>>) {
    if name == "whole" {
        *whole = columns.to_vec();
    }
    let compared = name != "whole" && objective != "ziln";
    let cells: Vec<String> = columns
        .iter()
        .zip(whole.iter())
        .map(|(column, whole)| {
            let (mean, deviation) = moments(column);
            let cell = format!("{mean:.3} ± {deviation:.3}");
            if !compared {
                return cell;
            }
            let gaps: Vec<f64> = column.iter().zip(whole).map(|(a, b)| a - b).collect();
            let (gap, deviation) = moments(&gaps);
            let error = deviation / (gaps.len() as f64).sqrt();
            format!("{cell} ({gap:+.3}, se {error:.3})")
        })
        .collect();
    println!("| `{objective}` | {name} | {} |", cells.join(" | "));
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

struct Csv {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Csv {
    fn read(path: &str) -> TestResult<Self> {
        let text = std::fs::read_to_string(path)?;
        let mut lines = text
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect());
        let names = lines.next().ok_or("an empty file")?;
        Ok(Self {
            names,
            rows: lines.collect(),
        })
    }

    fn place(&self, name: &str) -> TestResult<usize> {
        let place = self.names.iter().position(|other| other == name);
        place.ok_or_else(|| format!("no column {name}").into())
    }

    /// The customers of the test, or all others.
    fn table(&self, part: &str) -> TestResult<TrainingTable> {
        let (split, target) = (self.place("split")?, self.place("ltv")?);
        let rows: Vec<&Vec<String>> = self
            .rows
            .iter()
            .filter(|row| (row[split] == "test") == (part == "test"))
            .collect();
        let used: Vec<usize> = (0..self.names.len())
            .filter(|&place| {
                !["split", "ltv", "customer_id", "as_of", "first_month"]
                    .contains(&self.names[place].as_str())
            })
            .collect();
        let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
        let inputs = used
            .iter()
            .map(|&place| {
                FeatureColumn::new(
                    self.names[place].as_str(),
                    ColumnKind::Numeric,
                    "double precision",
                )
            })
            .collect();
        let columns: Vec<ColumnData> = used
            .iter()
            .map(|&place| {
                ColumnData::Numeric(rows.iter().map(|row| number(&row[place]) as f32).collect())
            })
            .collect();
        let target: Vec<f64> = rows.iter().map(|row| number(&row[target])).collect();
        let splits: Vec<Split> = rows
            .iter()
            .map(|row| match row[split].as_str() {
                "validation" => Split::Validation,
                _ => Split::Train,
            })
            .collect();
        Ok(TrainingTable::from_columns(
            inputs, &columns, &target, &splits, None,
        )?)
    }
}
