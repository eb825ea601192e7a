//! Every backbone with every objective, from raw rows to the stored graph.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::{Customers, FLAT, Kinds, assert_parity};
use ltv_core::objective::quantile;
use ltv_core::recipe::{BACKBONES, OBJECTIVES, Options, Recipe, TREES, is_law};
use ltv_core::train::{Quiet, TrainedModel, predict, train};
use ltv_core::trees;
use serde_json::json;

/// Columns of every kind.
const ALL: Kinds = Kinds {
    sequence: true,
    ..FLAT
};

fn trained(customers: &Customers, backbone: &str, objective: &str) -> TestResult<TrainedModel> {
    let options = json!({
        "epochs": 2, "ensemble": 1, "hidden_sizes": [16, 8], "recurrent_sizes": [8, 4],
        "attention_size": 8, "attention_heads": 2, "feed_forward_size": 16, "head_hidden_sizes": [8],
        "max_timesteps": 6,
    });
    let recipe = Recipe {
        backbone: backbone.to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&options)?,
        ..Recipe::default()
    };
    Ok(train(customers.table(), &recipe, &Quiet)?)
}

/// p10 <= p50 <= p90, all finite, wherever the head knows them.
fn assert_quantiles(model: &TrainedModel, customers: &Customers) -> TestResult {
    let Some(law) = model.schema.distribution else {
        return Ok(());
    };
    let outputs = predict(&model.weights, customers.table())?;
    let column = |wanted: &str| {
        let found = outputs.iter().find(|(name, _)| *name == wanted);
        found.map_or(&[][..], |(_, values)| values.as_slice())
    };
    let parameters = law.parameters().map(column);
    for row in 0..customers.rows() {
        let at = |q| quantile(law, parameters.map(|values| f64::from(values[row])), q);
        let (low, middle, high) = (at(0.1), at(0.5), at(0.9));
        assert!(
            high.is_finite() && 0.0 <= low && low <= middle && middle <= high,
            "row {row}: {low}, {middle}, {high}"
        );
    }
    Ok(())
}

/// What came in may be NaN, infinite or the largest float: the graph and the network agree, and nothing is infinite.
#[test]
fn every_pair_agrees_with_its_graph() -> TestResult {
    let customers = Customers::random(300, ALL, 21);
    let unseen = Customers::random(100, ALL, 22);
    let extreme = customers.extreme();
    for backbone in BACKBONES {
        let goes = |name: &&&str| *backbone != TREES || trees::OBJECTIVES.contains(*name);
        let objectives = OBJECTIVES.iter().filter(|name| !is_law(name));
        for objective in objectives.filter(goes) {
            let model = trained(&customers, backbone, objective)?;
            let check = |customers: &Customers| -> TestResult {
                assert_parity(&model, customers)?;
                assert_quantiles(&model, customers)
            };
            println!("{backbone} {objective}");
            check(&unseen)?;
            check(&extreme)?;
        }
    }
    Ok(())
}

/// The shares that `tft` gives the features can be read: they add up to 1, one per feature and channel.
#[test]
fn selection_weights_are_kept_with_the_model() -> TestResult {
    let customers = Customers::random(300, ALL, 23);
    let model = trained(&customers, "tft", "ziln")?;
    let list = model.statistics["selection"].as_array().expect("a list");
    for kind in ["static", "sequence"] {
        let of_kind = list.iter().filter(|entry| entry["kind"] == kind);
        let sum: f64 = of_kind.map(|e| e["mean"].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{kind}: {sum}");
    }
    let names: Vec<&str> = list.iter().map(|e| e["name"].as_str().unwrap()).collect();
    let mut expected = Vec::new();
    for input in &customers.inputs {
        match input.kind {
            ltv_core::schema::ColumnKind::Vector { len } => {
                expected.extend((1..=len).map(|place| format!("{}[{place}]", input.name)));
            }
            ltv_core::schema::ColumnKind::Sequence { .. } => {}
            _ => expected.push(input.name.clone()),
        }
    }
    assert_eq!(names[..expected.len()], expected);
    assert!(names[expected.len()..].iter().all(|n| n.contains('[')));
    assert!(trained(&customers, "gru", "ziln")?.statistics["selection"].is_null());
    Ok(())
}
