//! Graphs with 8-bit weights, run by ONNX Runtime beside those they were made from.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::{Customers, FLAT, run};
use ltv_core::onnx::{Range, activations, observed, quantise, range_outputs};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Quiet, train};
use serde_json::json;

fn trained(sizes: &[usize]) -> TestResult<Vec<u8>> {
    let options = json!({"epochs": 3, "ensemble": 2, "hidden_sizes": sizes});
    let recipe = Recipe {
        options: Options::from_json(&options)?,
        ..Recipe::default()
    };
    let customers = Customers::random(400, FLAT, 21);
    Ok(train(customers.table(), &recipe, &Quiet)?.onnx)
}

fn ranges(onnx: &[u8], rows: &Customers) -> TestResult<Vec<Range>> {
    let names = activations(onnx)?;
    let found = run(&observed(onnx, &names)?, rows.raw_inputs()?)?;
    let ranges = names.into_iter().enumerate().map(|(i, name)| {
        let (low, high) = range_outputs(i);
        Range {
            name,
            low: found[&low].iter().copied().fold(f32::INFINITY, f32::min),
            high: found[&high]
                .iter()
                .copied()
                .fold(f32::NEG_INFINITY, f32::max),
        }
    });
    Ok(ranges.collect())
}

#[test]
fn predictions_stay_close_and_the_file_gets_smaller() -> TestResult {
    let onnx = trained(&[128, 64])?;
    let sample = Customers::random(500, FLAT, 22);
    let ranges = ranges(&onnx, &sample)?;
    assert!(ranges.iter().all(|r| r.low <= r.high));
    let small = quantise(&onnx, &ranges)?;
    assert!(
        small.len() * 2 < onnx.len(),
        "{} of {}",
        small.len(),
        onnx.len()
    );
    let plain = run(&onnx, sample.raw_inputs()?)?;
    let quantised = run(&small, sample.raw_inputs()?)?;
    for (name, values) in &plain {
        let size: f32 = values.iter().map(|v| v.abs()).sum();
        let off: f32 = values
            .iter()
            .zip(&quantised[name])
            .map(|(a, b)| (a - b).abs())
            .sum();
        assert!(off <= 0.05 * size, "{name}: off by {off} of {size}");
    }
    Ok(())
}

#[test]
fn small_layers_are_left_alone() -> TestResult {
    let onnx = trained(&[4])?;
    assert!(activations(&onnx).is_err());
    Ok(())
}
