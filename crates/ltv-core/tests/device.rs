//! The way to train on a GPU, on the CPU: by tensor operations, with rows that lie on the device or come there in
//! blocks. It must give what the fast paths of the CPU give.

mod common;
#[path = "common/customers.rs"]
mod customers;
#[path = "common/spilled.rs"]
mod spilled;

use common::TestResult;
use customers::{Customers, FLAT, Kinds};
use ltv_core::error::ErrorKind;
use ltv_core::recipe::{BACKBONES, OBJECTIVES, Options, Recipe, TREES, is_law};
use ltv_core::train::{Quiet, TrainedModel, predict, train, train_like_a_gpu};
use serde_json::json;
use spilled::data;

const PLENTY: usize = 1 << 40;

fn recipe(backbone: &str, objective: &str, mut options: serde_json::Value) -> TestResult<Recipe> {
    for (key, value) in [("epochs", json!(2)), ("ensemble", json!(1))] {
        if options[key].is_null() {
            options[key] = value;
        }
    }
    Ok(Recipe {
        backbone: backbone.to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&options)?,
        ..Recipe::default()
    })
}

fn losses(model: &TrainedModel) -> Vec<f64> {
    let epochs = model.history["epochs"].as_array().unwrap();
    let of = |part: &'static str| epochs.iter().filter_map(move |e| e[part]["loss"].as_f64());
    of("training").chain(of("validation")).collect()
}

/// Largest relative difference.
fn gap(a: impl IntoIterator<Item = f64>, b: impl IntoIterator<Item = f64>) -> f64 {
    let relative = |(a, b): (f64, f64)| (a - b).abs() / (a.abs() + b.abs()).max(1e-3);
    a.into_iter().zip(b).map(relative).fold(0.0, f64::max)
}

#[test]
fn every_network_trains_by_tensor_operations_alone() -> TestResult {
    let kinds = Kinds {
        sequence: true,
        ..FLAT
    };
    // A layer norm over two numbers is d / sqrt(d^2 + 1e-5) of half their difference, nearly a jump, and the selection of
    // a `tft` has one over the two channels: rounding grows a hundredfold where a row comes to lie there. With these
    // customers the two ways stay together for every network.
    let customers = Customers::random(400, kinds, 29);
    for &backbone in BACKBONES.iter().filter(|&&name| name != TREES) {
        for &objective in OBJECTIVES.iter().filter(|name| !is_law(name)) {
            let options = json!({
                "batch_size": 100,
                "max_timesteps": 6,
                "hidden_sizes": [16, 8],
                "recurrent_sizes": [8],
                "attention_size": 8,
                "optimizer": if objective == "mse" { "adam" } else { "adamw" },
            });
            let recipe = recipe(backbone, objective, options)?;
            let fast = train(customers.table(), &recipe, &Quiet)?;
            let plain = train_like_a_gpu(customers.table(), &recipe, &Quiet, PLENTY)?;
            let by_loss = gap(losses(&fast), losses(&plain));
            let predictions = |model: &TrainedModel| -> TestResult<Vec<f64>> {
                let columns = predict(&model.weights, customers.table())?;
                Ok(columns[0].1.iter().map(|&value| value.into()).collect())
            };
            let by_value = gap(predictions(&fast)?, predictions(&plain)?);
            assert!(by_loss < 1e-4, "{backbone} {objective}: losses {by_loss}");
            assert!(by_value < 1e-3, "{backbone} {objective}: values {by_value}");
        }
    }
    Ok(())
}

/// With plenty of memory, and twice with so little that rows come in blocks.
fn in_blocks(rows: usize, recipe: &Recipe) -> TestResult<[TrainedModel; 3]> {
    let customers = Customers::random(rows, FLAT, 7);
    // The network takes some of it; how much is not for a test to know.
    let enough = |free: &usize| train_like_a_gpu(customers.table(), recipe, &Quiet, *free).is_ok();
    let least = (1..200).map(|step| step * 20_000).find(enough);
    let least = least.ok_or("no memory was enough")?;
    let train = |free: usize| train_like_a_gpu(customers.table(), recipe, &Quiet, free);
    Ok([train(PLENTY)?, train(least)?, train(least)?])
}

#[test]
fn rows_come_in_blocks_where_they_do_not_fit() -> TestResult {
    let mut recipe = recipe(
        "mlp",
        "ziln",
        json!({"batch_size": 100, "hidden_sizes": [16]}),
    )?;
    recipe.options.epochs = 15;
    let [resident, blocks, again] = in_blocks(4000, &recipe)?;
    assert!(blocks.weights == again.weights);
    assert!(blocks.weights != resident.weights);
    let gini = |model: &TrainedModel| model.metrics["normalized_gini"].as_f64().unwrap();
    let (blocks, resident) = (gini(&blocks), gini(&resident));
    assert!(blocks > resident - 0.03, "{blocks} instead of {resident}");
    Ok(())
}

#[test]
fn rows_of_a_file_come_in_its_blocks() -> TestResult {
    let customers = Customers::random(4000, FLAT, 7);
    let mut recipe = recipe("mlp", "ziln", json!({"batch_size": 200}))?;
    recipe.options.epochs = 15;
    let gini = |model: &TrainedModel| model.metrics["normalized_gini"].as_f64().unwrap();
    let memory = train(customers.table(), &recipe, &Quiet)?;
    let gpu = |free: usize| -> TestResult<TrainedModel> {
        Ok(train_like_a_gpu(
            data(&customers, 500)?,
            &recipe,
            &Quiet,
            free,
        )?)
    };
    let (blocks, again) = (gpu(PLENTY)?, gpu(PLENTY)?);
    assert!(blocks.weights == again.weights);
    assert!(gini(&blocks) > gini(&memory) - 0.03);
    Ok(())
}

#[test]
fn too_little_memory_is_an_error_before_anything_is_trained() -> TestResult {
    let customers = Customers::random(500, FLAT, 7);
    let recipe = recipe("mlp", "ziln", json!({"batch_size": 100}))?;
    let error = train_like_a_gpu(customers.table(), &recipe, &Quiet, 100_000).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Resources);
    assert_eq!(
        error.message,
        "the device has not enough free memory for the training"
    );
    assert!(error.detail.is_some() && error.hint.is_some());
    Ok(())
}

#[test]
fn a_build_without_cuda_says_so() -> TestResult {
    let customers = Customers::random(100, FLAT, 7);
    let mut recipe = recipe("mlp", "ziln", json!({}))?;
    recipe.options.device = "cuda:1".to_owned();
    let error = train(customers.table(), &recipe, &Quiet).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(error.message, "this build computes on the CPU only");
    Ok(())
}
