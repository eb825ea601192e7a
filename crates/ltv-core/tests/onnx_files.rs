//! Graphs as files: cutting the front off ours, reading anybody's.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::{Customers, FLAT, Kinds, run, specialised_inputs};
use ltv_core::error::ErrorKind;
use ltv_core::onnx::{Axis, BATCH, ElementType, GraphBuilder, Limits, inspect, proto, specialise};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Quiet, train};
use prost::Message;
use serde_json::json;

fn stored(customers: &Customers) -> TestResult<Vec<u8>> {
    let options = json!({"epochs": 2, "ensemble": 2, "hidden_sizes": [8]});
    let recipe = Recipe {
        options: Options::from_json(&options)?,
        ..Recipe::default()
    };
    Ok(train(customers.table(), &recipe, &Quiet)?.onnx)
}

#[test]
fn specialised_graphs_give_the_same_numbers() -> TestResult {
    let none = Kinds::default();
    let vector = Kinds {
        vector: true,
        ..none
    };
    let category = Kinds {
        category: true,
        ..none
    };
    for kinds in [FLAT, vector, category] {
        let customers = Customers::random(300, kinds, 11);
        let onnx = stored(&customers)?;
        let special = specialise(&onnx).ok_or("not specialised")?;
        for customers in [Customers::random(50, kinds, 12), customers.extreme()] {
            let plain = run(&onnx, customers.raw_inputs()?)?;
            let fast = run(&special.onnx, specialised_inputs(&customers, &special)?)?;
            assert_eq!(plain, fast);
        }
    }
    Ok(())
}

/// A graph somebody else might have made: `ltv = mean(x)`.
fn foreign() -> Vec<u8> {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", ElementType::Float, &[BATCH, Axis::Fixed(3)]);
    let one = graph.float(1.0);
    let x = graph.add(&x, &one);
    let mean = graph.mean(&x, 1, false);
    graph.output("value", &mean, ElementType::Float, &[BATCH]);
    graph.finish(&[])
}

#[test]
fn foreign_graphs_are_described_and_left_alone() -> TestResult {
    let onnx = foreign();
    assert!(specialise(&onnx).is_none());
    let seen = inspect(&onnx, &Limits::default())?;
    assert_eq!(seen.inputs.len(), 1);
    assert_eq!(seen.inputs[0].name, "x");
    assert_eq!(seen.inputs[0].describe(), "float [?, 3]");
    assert_eq!(seen.outputs[0].shape, Some(vec![None]));
    assert_eq!(seen.opset, 17);
    let customers = Customers::random(300, FLAT, 13);
    let ours = inspect(&stored(&customers)?, &Limits::default())?;
    let names: Vec<&str> = ours.inputs.iter().map(|port| port.name.as_str()).collect();
    assert!(names.contains(&"as_of") && names.contains(&"country"));
    Ok(())
}

#[test]
fn what_is_no_model_is_refused() -> TestResult {
    for bytes in [&b""[..], b"PK\x03\x04 a zip file", &[0xff; 64], b"hello"] {
        let error = inspect(bytes, &Limits::default()).unwrap_err();
        assert_eq!(error.message, "not an ONNX model");
        assert_eq!(error.kind, ErrorKind::InvalidModel);
        assert!(specialise(bytes).is_none());
    }
    let onnx = foreign();
    for length in 0..onnx.len() {
        // Whatever is cut off, reading ends in an answer.
        let _ = inspect(&onnx[..length], &Limits::default());
    }
    let mut model = proto::ModelProto::decode(onnx.as_slice())?;
    if let Some(graph) = &mut model.graph {
        graph.initializer[0].data_location = 1;
    }
    let error = inspect(&model.encode_to_vec(), &Limits::default()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.message.contains("another file"));
    Ok(())
}
