//! Rows in a file: the same training as with the rows in memory.

mod common;
#[path = "common/customers.rs"]
mod customers;
#[path = "common/spilled.rs"]
mod spilled;

use common::TestResult;
use customers::{Customers, FLAT, Kinds};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Quiet, TrainedModel, train};
use serde_json::json;
use spilled::{all, data};

fn recipe(backbone: &str, threads: usize) -> TestResult<Recipe> {
    let options = json!({"epochs": 3, "ensemble": 1, "batch_size": 200, "threads": threads});
    Ok(Recipe {
        backbone: backbone.to_owned(),
        options: Options::from_json(&options)?,
        ..Recipe::default()
    })
}

#[test]
fn one_block_is_the_training_in_memory_bit_for_bit() -> TestResult {
    let all = Kinds {
        sequence: true,
        ..FLAT
    };
    for (kinds, backbone) in [(FLAT, "mlp"), (all, "gru")] {
        let customers = Customers::random(600, kinds, 1);
        for threads in [1, 2] {
            let mut recipe = recipe(backbone, threads)?;
            // Later ones begin with another order.
            recipe.options.epochs = 1;
            let memory = train(customers.table(), &recipe, &Quiet)?;
            let file = train(data(&customers, usize::MAX)?, &recipe, &Quiet)?;
            assert!(
                memory.weights == file.weights,
                "{backbone}, {threads} threads"
            );
            assert!(memory.onnx == file.onnx);
            assert_eq!(memory.metrics, file.metrics);
            assert_eq!(memory.n_rows, file.n_rows);
        }
    }
    Ok(())
}

#[test]
fn blocks_train_as_well_and_repeatably() -> TestResult {
    let customers = Customers::random(4000, FLAT, 7);
    let mut recipe = recipe("mlp", 1)?;
    recipe.options.epochs = 20;
    let gini = |model: &TrainedModel| model.metrics["normalized_gini"].as_f64();
    let memory = train(customers.table(), &recipe, &Quiet)?;
    let blocks = train(data(&customers, 500)?, &recipe, &Quiet)?;
    let again = train(data(&customers, 500)?, &recipe, &Quiet)?;
    assert!(blocks.weights == again.weights);
    assert!(blocks.weights != memory.weights);
    let (memory_gini, gini) = (gini(&memory).unwrap(), gini(&blocks).unwrap());
    assert!(gini > memory_gini - 0.03, "{gini} instead of {memory_gini}");
    assert_eq!(
        blocks.history["networks"][0]["training_rows"],
        memory.history["networks"][0]["training_rows"]
    );
    Ok(())
}

#[test]
fn an_ensemble_shares_the_rows_of_a_file_as_those_in_memory() -> TestResult {
    let customers = Customers::random(900, FLAT, 2);
    let mut recipe = recipe("mlp", 1)?;
    recipe.options.ensemble = Some(3);
    recipe.options.epochs = 1;
    let memory = train(customers.table(), &recipe, &Quiet)?;
    let file = train(all(&customers, usize::MAX)?, &recipe, &Quiet)?;
    assert!(memory.weights == file.weights);
    assert_eq!(memory.metrics, file.metrics);
    assert_eq!(memory.history["networks"], file.history["networks"]);
    assert_eq!(memory.metrics["evaluated_on"], "cross-validation");
    recipe.options.epochs = 10;
    let blocks = train(all(&customers, 100)?, &recipe, &Quiet)?;
    let memory = train(customers.table(), &recipe, &Quiet)?;
    let gini = |model: &TrainedModel| model.metrics["normalized_gini"].as_f64().unwrap();
    assert!(gini(&blocks) > gini(&memory) - 0.05);
    Ok(())
}
