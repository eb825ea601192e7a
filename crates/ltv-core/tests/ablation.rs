//! The parts of `cmltv` and `expltv` switched off: what is switched off is gone, and nothing else changes.

mod common;
#[path = "common/customers.rs"]
mod customers;

use candle_core::{DType, Device, Tensor, Var};
use common::{TestResult, assert_close, statistics, values};
use customers::{Customers, Kinds};
use ltv_core::backbone::{self, BackboneConfig};
use ltv_core::batch::{InputShape, Mode};
use ltv_core::objective::{
    self, CmltvConfig, ExpltvConfig, HeadOutput, Objective, ObjectiveConfig, cmltv::View,
};
use ltv_core::params::{Params, standard_normal};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Quiet, TrainedModel, train};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

const TARGET: [f64; 8] = [0.0, 12.0, 0.0, 0.5, 300.0, 0.0, 41.0, 7.0];

fn build(config: ObjectiveConfig) -> TestResult<Box<dyn Objective>> {
    let mut params = Params::new(1, DType::F64, Device::Cpu);
    let shape = InputShape {
        numeric: 5,
        ..InputShape::default()
    };
    let backbone = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
    Ok(objective::build(
        &config,
        backbone.as_ref(),
        &statistics(),
        &mut params,
    )?)
}

/// Loss, its terms, its gradient by each part of the head's output, and the predictions, all from the same output.
struct Seen {
    total: f64,
    terms: BTreeMap<&'static str, f64>,
    slopes: Vec<Vec<f64>>,
    prediction: BTreeMap<&'static str, Vec<f64>>,
}

fn see(config: ObjectiveConfig, widths: &[usize]) -> TestResult<Seen> {
    let objective = build(config)?;
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut variables = Vec::new();
    for &width in widths {
        let noise: Vec<f64> = (0..TARGET.len() * width.max(1))
            .map(|_| 0.7 * standard_normal(&mut rng) + 0.5)
            .collect();
        let shape: &[usize] = &[TARGET.len(), width];
        let shape = if width == 0 { &shape[..1] } else { shape };
        variables.push(Var::from_tensor(&Tensor::from_vec(
            noise,
            shape,
            &Device::Cpu,
        )?)?);
    }
    let output: HeadOutput = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let target = Tensor::new(&TARGET, &Device::Cpu)?;
    let loss = objective.loss(&output, &target, &Mode::Evaluate)?;
    let gradients = loss.total.backward()?;
    let slopes = variables
        .iter()
        .map(|variable| match gradients.get(variable) {
            Some(gradient) => values(gradient),
            None => Ok(vec![0.0; variable.elem_count()]),
        })
        .collect::<TestResult<_>>()?;
    let prediction = objective
        .predict(&output)?
        .into_iter()
        .map(|(name, value)| Ok((name, values(&value)?)))
        .collect::<TestResult<_>>()?;
    let terms = loss
        .terms
        .iter()
        .map(|(name, term)| Ok((*name, values(term)?[0])))
        .collect::<TestResult<_>>()?;
    Ok(Seen {
        total: values(&loss.total)?[0],
        terms,
        slopes,
        prediction,
    })
}

/// Purchase logit, both parameters of the law, log view, ten classes.
fn cmltv(config: CmltvConfig) -> TestResult<Seen> {
    see(ObjectiveConfig::Cmltv(config), &[0, 0, 0, 0, 10])
}

fn full() -> CmltvConfig {
    CmltvConfig {
        regression_weights: [0.7, 1.3, 0.9],
        purchase_weight: 1.1,
        class_contrast_weight: 0.4,
        regression_contrast_weight: 0.6,
        ..CmltvConfig::default()
    }
}

/// Weight of each term in the total.
fn weight(config: &CmltvConfig, name: &str) -> f64 {
    match name {
        "purchase" => config.purchase_weight,
        "distribution" => config.regression_weights[0],
        "log" => config.regression_weights[1],
        "classes" => config.regression_weights[2],
        "class_contrast" => config.class_contrast_weight,
        _ => config.regression_contrast_weight,
    }
}

fn assert_adds_up(label: &str, config: &CmltvConfig, seen: &Seen) {
    let sum: f64 = seen
        .terms
        .iter()
        .map(|(name, term)| weight(config, name) * term)
        .sum();
    assert_close(label, &[seen.total], &[sum], 1e-12, 0.0);
}

#[test]
fn a_contrast_switched_off_takes_only_its_term_along() -> TestResult {
    let all = cmltv(full())?;
    assert_adds_up("all", &full(), &all);
    let contrasts = ["contrast_classes", "contrast_distribution", "contrast_log"];
    let names: Vec<&str> = all.terms.keys().copied().collect();
    let expected = [
        "class_contrast",
        "classes",
        contrasts[0],
        contrasts[1],
        contrasts[2],
        "distribution",
        "log",
        "purchase",
    ];
    assert_eq!(names, expected);

    let without_class = CmltvConfig {
        class_contrast_weight: 0.0,
        ..full()
    };
    let seen = cmltv(without_class.clone())?;
    assert_adds_up("no class contrast", &without_class, &seen);
    assert!(all.terms["class_contrast"] > 0.0);
    let part = 0.4 * all.terms["class_contrast"];
    assert_close("total", &[seen.total], &[all.total - part], 1e-12, 0.0);
    // It moves the purchase logit and nothing else.
    assert_ne!(seen.slopes[0], all.slopes[0]);
    assert_eq!(seen.slopes[1..], all.slopes[1..]);

    let without_regression = CmltvConfig {
        regression_contrast_weight: 0.0,
        ..full()
    };
    let seen = cmltv(without_regression.clone())?;
    assert_adds_up("no regression contrast", &without_regression, &seen);
    assert!(seen.terms.keys().all(|name| !name.starts_with("contrast")));
    let part: f64 = contrasts.iter().map(|name| 0.6 * all.terms[name]).sum();
    assert_close("total", &[seen.total], &[all.total - part], 1e-12, 0.0);
    assert_eq!(seen.prediction, all.prediction);

    // Neither: the logit is that of the cross entropy, and the views do not see it.
    let plain = CmltvConfig {
        class_contrast_weight: 0.0,
        regression_contrast_weight: 0.0,
        ..full()
    };
    let seen = cmltv(plain)?;
    let rows = TARGET.len() as f64;
    let expected: Vec<f64> = seen.prediction["purchase_probability"]
        .iter()
        .zip(TARGET)
        .map(|(p, y)| 1.1 * (p - f64::from(u8::from(y > 0.0))) / rows)
        .collect();
    assert_close("logit", &seen.slopes[0], &expected, 1e-12, 1e-15);
    Ok(())
}

#[test]
fn a_view_switched_off_is_neither_trained_nor_predicted_from() -> TestResult {
    let all = cmltv(full())?;
    let p = &all.prediction["purchase_probability"];
    // What each view says, from the prediction of that view alone.
    let mut of_view = Vec::new();
    for view in [View::Distribution, View::Log, View::Classes] {
        let alone = cmltv(CmltvConfig {
            views: vec![view],
            ..full()
        })?;
        let value = alone.prediction["ltv"].iter().zip(p).map(|(v, p)| v / p);
        of_view.push(value.collect::<Vec<f64>>());
    }
    let mixed = |shares: [f64; 3]| -> Vec<f64> {
        let sum: f64 = shares.iter().sum();
        (0..TARGET.len())
            .map(|row| {
                p[row]
                    * (0..3)
                        .map(|v| shares[v] / sum * of_view[v][row])
                        .sum::<f64>()
            })
            .collect()
    };
    let expected = mixed([0.3, 0.3, 0.4]);
    assert_close("all", &all.prediction["ltv"], &expected, 1e-12, 0.0);

    let places = [
        (View::Distribution, "distribution", vec![1, 2]),
        (View::Log, "log", vec![3]),
        (View::Classes, "classes", vec![4]),
    ];
    for (index, (view, name, outputs)) in places.iter().enumerate() {
        let config = CmltvConfig {
            views: [View::Distribution, View::Log, View::Classes]
                .into_iter()
                .filter(|other| other != view)
                .collect(),
            ..full()
        };
        let seen = cmltv(config.clone())?;
        assert_adds_up(name, &config, &seen);
        for (term, value) in &all.terms {
            let gone = term == name || *term == format!("contrast_{name}");
            assert_eq!(seen.terms.get(term), (!gone).then_some(value), "{term}");
        }
        for (output, slopes) in seen.slopes.iter().enumerate().skip(1) {
            if outputs.contains(&output) {
                assert!(slopes.iter().all(|slope| *slope == 0.0), "{name} {output}");
            } else {
                assert_eq!(slopes, &all.slopes[output], "{name} {output}");
            }
        }
        let mut shares = [0.3, 0.3, 0.4];
        shares[index] = 0.0;
        let expected = mixed(shares);
        assert_close(name, &seen.prediction["ltv"], &expected, 1e-12, 0.0);
    }

    let weighed = cmltv(CmltvConfig {
        view_weights: [0.8, 0.2, 0.0],
        ..full()
    })?;
    let expected = mixed([0.8, 0.2, 0.0]);
    assert_close("weights", &weighed.prediction["ltv"], &expected, 1e-12, 0.0);
    assert_eq!(weighed.slopes, all.slopes);
    Ok(())
}

/// Purchase and whale logit, mu and raw sigma of the experts.
fn expltv(config: ExpltvConfig) -> TestResult<Seen> {
    let experts = config.experts;
    see(ObjectiveConfig::Expltv(config), &[0, 0, experts, experts])
}

#[test]
fn whale_detection_switched_off_leaves_the_gate_to_the_experts() -> TestResult {
    let all = expltv(ExpltvConfig::default())?;
    let sum = all.terms["purchase"] + all.terms["whale"] + all.terms["ziln"];
    assert_close("all", &[all.total], &[sum], 1e-12, 0.0);
    let off = expltv(ExpltvConfig {
        whale_weight: 0.0,
        ..ExpltvConfig::default()
    })?;
    let expected = all.total - all.terms["whale"];
    assert_close("off", &[off.total], &[expected], 1e-12, 0.0);
    assert_eq!(off.terms, all.terms);
    assert_eq!(off.prediction, all.prediction);
    // The experts never saw the detection; the gate is now moved by nothing but them.
    assert_eq!(off.slopes[2..], all.slopes[2..]);
    assert_ne!(off.slopes[1], all.slopes[1]);
    for (row, y) in TARGET.iter().enumerate() {
        assert_eq!(off.slopes[1][row] != 0.0, *y > 0.0, "row {row}");
    }
    Ok(())
}

#[test]
fn without_the_value_loss_the_experts_stand_still() -> TestResult {
    let off = expltv(ExpltvConfig {
        ltv_weight: 0.0,
        ..ExpltvConfig::default()
    })?;
    let expected = off.terms["purchase"] + off.terms["whale"];
    assert_close("off", &[off.total], &[expected], 1e-12, 0.0);
    assert!(off.slopes[2..].iter().flatten().all(|slope| *slope == 0.0));
    Ok(())
}

/// One expert is the lognormal of `ziln`: the gate detects whales, and has no say in the amount.
#[test]
fn one_expert_is_ziln_beside_a_detector() -> TestResult {
    let one = expltv(ExpltvConfig {
        experts: 1,
        whale_weight: 0.0,
        ..ExpltvConfig::default()
    })?;
    assert!(one.slopes[1].iter().all(|slope| *slope == 0.0));
    let expected: Vec<f64> = (0..TARGET.len())
        .map(|row| {
            let (mu, sigma) = (one.prediction["mu"][row], one.prediction["sigma"][row]);
            one.prediction["purchase_probability"][row] * (mu + sigma * sigma / 2.0).exp()
        })
        .collect();
    assert_close("ltv", &one.prediction["ltv"], &expected, 1e-12, 0.0);
    // Two experts that agree are one.
    let two = expltv(ExpltvConfig::default())?;
    assert_ne!(two.prediction["mu"], one.prediction["mu"]);
    Ok(())
}

fn trained(customers: &Customers, objective: &str, options: Json) -> TestResult<TrainedModel> {
    let mut settings = json!({"epochs": 3, "ensemble": 1, "hidden_sizes": [8]});
    for (key, value) in options.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    let recipe = Recipe {
        objective: objective.to_owned(),
        options: Options::from_json(&settings)?,
        ..Recipe::default()
    };
    Ok(train(customers.table(), &recipe, &Quiet)?)
}

const NUMBERS: Kinds = Kinds {
    numeric: true,
    category: false,
    timestamp: false,
    vector: false,
    sequence: false,
    as_of: false,
};

/// The options of `ltv_train` reach the parts: what an epoch's history lists is what was trained.
#[test]
fn options_switch_the_parts_off() -> TestResult {
    let customers = Customers::random(600, NUMBERS, 31);
    let terms = |model: &TrainedModel| -> Vec<String> {
        let epoch = model.history["epochs"][0]["training"].as_object();
        epoch.expect("terms").keys().cloned().collect()
    };
    let all = trained(&customers, "cmltv", json!({}))?;
    for (options, gone, outputs) in [
        (
            json!({"regression_contrast": 0}),
            vec!["contrast_distribution", "contrast_log", "contrast_classes"],
            4,
        ),
        (
            json!({"views": ["log", "class"]}),
            vec!["distribution", "contrast_distribution"],
            2,
        ),
        (
            json!({"views": ["distribution", "class"]}),
            vec!["log", "contrast_log"],
            4,
        ),
        (
            json!({"views": ["distribution", "log"]}),
            vec!["classes", "contrast_classes"],
            4,
        ),
    ] {
        let model = trained(&customers, "cmltv", options.clone())?;
        let mut expected = terms(&all);
        expected.retain(|term| !gone.contains(&term.as_str()));
        assert_eq!(terms(&model), expected, "{options}");
        let known = model.schema.outputs.len();
        assert_eq!(known, outputs, "{options}");
    }
    let contrast_off = trained(&customers, "cmltv", json!({"classification_contrast": 0}))?;
    assert_ne!(contrast_off.weights, all.weights);

    let all = trained(&customers, "expltv", json!({}))?;
    for options in [
        json!({"experts": 1}),
        json!({"whale_weight": 0}),
        json!({"value_weight": 0.1}),
    ] {
        let model = trained(&customers, "expltv", options.clone())?;
        assert_eq!(terms(&model), terms(&all), "{options}");
        assert_ne!(model.weights, all.weights, "{options}");
    }
    Ok(())
}

/// How many payers a batch holds is seen to by itself, and can be overruled.
#[test]
fn batches_hold_enough_payers() -> TestResult {
    let mut customers = Customers::random(4000, NUMBERS, 32);
    for (row, target) in customers.target.iter_mut().enumerate() {
        *target = if row % 50 == 3 { 5.0 + row as f64 } else { 0.0 };
    }
    let size = |objective: &str, options: Json| -> TestResult<u64> {
        let model = trained(&customers, objective, options)?;
        Ok(model.history["batch_size"].as_u64().expect("a number"))
    };
    let ziln = size("ziln", json!({}))?;
    // One training row in forty pays: 64 payers take 2560 rows, 32 take 1280.
    assert_eq!(ziln, 256);
    assert_eq!(size("cmltv", json!({}))?, 2560);
    assert_eq!(size("expltv", json!({}))?, 1280);
    assert_eq!(size("cmltv", json!({"batch_size": 128}))?, 128);
    Ok(())
}

/// Three payers, or batches and validation parts without any: training ends, and all it leaves is finite.
#[test]
fn few_payers_do_no_harm() -> TestResult {
    let mut customers = Customers::random(500, NUMBERS, 33);
    for (row, target) in customers.target.iter_mut().enumerate() {
        *target = if [7, 150, 301].contains(&row) {
            10.0 + row as f64
        } else {
            0.0
        };
    }
    for objective in ["cmltv", "expltv", "ziln"] {
        for options in [
            json!({"ensemble": 1}),
            json!({"ensemble": 5}),
            json!({"ensemble": 1, "batch_size": 16, "stratified_batches": false}),
        ] {
            let mut options = options;
            options["epochs"] = json!(60);
            options["patience"] = json!(4);
            let model = trained(&customers, objective, options.clone())?;
            for epoch in model.history["epochs"].as_array().expect("epochs") {
                for part in ["training", "validation"] {
                    let loss = epoch[part]["loss"].as_f64();
                    assert!(loss.is_some_and(f64::is_finite), "{objective} {options}");
                }
            }
            for network in model.history["networks"].as_array().expect("networks") {
                assert_eq!(network["ended"], "early_stopping", "{objective} {options}");
            }
            customers::assert_parity(&model, &customers)?;
        }
    }
    Ok(())
}
