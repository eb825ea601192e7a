//! From rows to a stored graph: what ONNX Runtime computes from raw values is what the trained network predicts.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::{Customers, FLAT, Kinds, assert_parity, run};
use ltv_core::error::ErrorKind;
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Control, Progress, Quiet, TrainedModel, predict, train};
use serde_json::json;

fn recipe(backbone: &str, objective: &str, mut options: serde_json::Value) -> Recipe {
    options["epochs"] = json!(3);
    if options["ensemble"].is_null() {
        options["ensemble"] = json!(1);
    }
    Recipe {
        backbone: backbone.to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&options).expect("the options are right"),
        ..Recipe::default()
    }
}

fn trained(customers: &Customers, recipe: &Recipe) -> TestResult<TrainedModel> {
    Ok(train(customers.table(), recipe, &Quiet)?)
}

#[test]
fn graphs_agree_with_networks_on_all_columns() -> TestResult {
    let customers = Customers::random(400, FLAT, 1);
    let unseen = Customers::random(200, FLAT, 2);
    for (backbone, objective) in [
        ("linear", "ziln"),
        ("mlp", "ziln"),
        ("mlp", "mse"),
        ("linear", "huber"),
        ("deepfm", "purchase"),
        ("dcn", "cmltv"),
        ("mlp", "expltv"),
    ] {
        let model = trained(&customers, &recipe(backbone, objective, json!({})))?;
        assert_parity(&model, &unseen)?;
        assert_parity(&model, &customers.extreme())?;
    }
    Ok(())
}

#[test]
fn graphs_agree_for_every_set_of_columns() -> TestResult {
    let none = Kinds::default();
    for kinds in [
        Kinds {
            numeric: true,
            ..none
        },
        Kinds {
            category: true,
            ..none
        },
        Kinds {
            timestamp: true,
            ..none
        },
        Kinds {
            vector: true,
            ..none
        },
        Kinds {
            timestamp: true,
            as_of: true,
            ..none
        },
    ] {
        let customers = Customers::random(300, kinds, 3);
        for transform in ["all", "none"] {
            let options = json!({"log_transform": transform, "hidden_sizes": [8]});
            let model = trained(&customers, &recipe("mlp", "ziln", options))?;
            assert_parity(&model, &Customers::random(100, kinds, 4))?;
            assert_parity(&model, &customers.extreme())?;
        }
    }
    Ok(())
}

#[test]
fn ensembles_are_one_graph() -> TestResult {
    let customers = Customers::random(400, FLAT, 5);
    let model = trained(&customers, &recipe("mlp", "ziln", json!({"ensemble": 3})))?;
    assert_parity(&model, &customers)?;
    assert_parity(&model, &customers.extreme())?;
    let outputs = predict(&model.weights, customers.table())?;
    let column = |name: &str| &outputs.iter().find(|(n, _)| *n == name).unwrap().1;
    for row in 0..customers.rows() {
        let (p, mu, sigma) = (
            column("purchase_probability")[row],
            column("mu")[row],
            column("sigma")[row],
        );
        let mean = p * (mu + sigma * sigma / 2.0).exp();
        let value = column("ltv")[row];
        assert!((mean - value).abs() < 1e-4 * value, "{mean} and {value}");
    }
    Ok(())
}

/// Rows that a network has not seen are judged by it, and the calibrated total over them is the true one.
#[test]
fn calibration_makes_the_total_right() -> TestResult {
    let customers = Customers::random(1500, FLAT, 8);
    for (ensemble, evaluated_on, rows) in [(1, "validation", 300), (4, "cross-validation", 1500)] {
        for method in ["auto", "total"] {
            let options = json!({"ensemble": ensemble, "calibration": method});
            let model = trained(&customers, &recipe("mlp", "mse", options))?;
            let ratio = model.metrics["total_ratio"].as_f64().unwrap();
            assert!((ratio - 1.0).abs() < 1e-3, "{ratio}");
            assert_eq!(model.metrics["evaluated_on"], evaluated_on);
            assert_eq!(model.metrics["rows"], f64::from(rows));
            assert_parity(&model, &customers)?;
        }
        let options = json!({"ensemble": ensemble, "calibration": "none"});
        let model = trained(&customers, &recipe("mlp", "mse", options))?;
        let ratio = model.metrics["total_ratio"].as_f64().unwrap();
        assert!((ratio - 1.0).abs() > 1e-2, "{ratio}");
    }
    Ok(())
}

#[test]
fn bgnbd_is_averaged_in_where_cut_offs_differ() -> TestResult {
    let customers = Customers::buyers(800, 10);
    for (options, blended) in [
        (json!({"horizon": 90, "ensemble": 3}), true),
        (json!({"horizon": 90, "calibration": "none"}), true),
        (json!({"ensemble": 3}), false),
        (json!({"horizon": 90, "blend_bgnbd": false}), false),
    ] {
        let model = trained(&customers, &recipe("mlp", "ziln", options.clone()))?;
        let has = !model.statistics["bgnbd"].is_null();
        assert_eq!(has, blended, "{options}");
        assert_parity(&model, &Customers::buyers(200, 11))?;
        assert_parity(&model, &customers.extreme())?;
    }
    let options = json!({"blend_bgnbd": true});
    let error = train(customers.table(), &recipe("mlp", "ziln", options), &Quiet).unwrap_err();
    assert!(error.message.contains("horizon"));
    Ok(())
}

/// Who is silent for longer than anybody in the training falls by the power that the model names; nobody else does.
#[test]
fn a_silence_longer_than_any_known_lowers_what_is_expected() -> TestResult {
    let customers = Customers::buyers(1500, 16);
    let longest = |times: f32| -> TestResult<Customers> {
        let mut later = Customers::buyers(1500, 16);
        for (column, input) in later.columns.iter_mut().zip(&later.inputs) {
            let ltv_core::data::ColumnData::Numeric(values) = column else {
                return Err("not numeric".into());
            };
            let most = values.iter().copied().fold(0.0, f32::max);
            if ["recency", "t"].contains(&input.name.as_str()) {
                values.fill(most * times);
            }
        }
        Ok(later)
    };
    let options = json!({"horizon": 90, "blend_bgnbd": false, "calibration": "none"});
    let model = trained(&customers, &recipe("mlp", "expltv", options.clone()))?;
    let power = model.statistics["ageing"]["power"].as_f64().unwrap();
    assert!((-4.0..-0.1).contains(&power), "{power}");
    // Both lie at the end of the range that the networks know.
    let (known, later) = (longest(1.5)?, longest(3.0)?);
    assert_parity(&model, &known)?;
    assert_parity(&model, &later)?;
    let (before, after) = (
        run(&model.onnx, known.raw_inputs()?)?,
        run(&model.onnx, later.raw_inputs()?)?,
    );
    for name in ["ltv", "purchase_probability", "whale_probability"] {
        for (before, after) in before[name].iter().zip(&after[name]) {
            let ratio = f64::from(after / before);
            assert!((ratio - 2f64.powf(power)).abs() < 1e-4, "{name}: {ratio}");
        }
    }
    let mut without = options;
    without["ageing"] = json!(false);
    let model = trained(&customers, &recipe("mlp", "expltv", without))?;
    assert!(model.statistics["ageing"].is_null());
    let same = run(&model.onnx, later.raw_inputs()?)?;
    assert_eq!(run(&model.onnx, known.raw_inputs()?)?["ltv"], same["ltv"]);
    Ok(())
}

/// Beyond the range seen in training a prediction is that at its end.
#[test]
fn inputs_are_limited_to_the_training_range() -> TestResult {
    let kinds = Kinds {
        vector: true,
        ..Kinds::default()
    };
    let customers = Customers::random(400, kinds, 14);
    let model = trained(&customers, &recipe("linear", "ziln", json!({})))?;
    let mut outside = Customers::random(2, kinds, 15);
    let at = |value: f32| vec![value; 6];
    let mut score = |value: f32| -> TestResult<Vec<f32>> {
        outside.columns = vec![ltv_core::data::ColumnData::Vector(at(value))];
        Ok(run(&model.onnx, outside.raw_inputs()?)?["ltv"].clone())
    };
    assert_eq!(score(10.0)?, score(1e6)?);
    assert_ne!(score(0.0)?, score(0.5)?);
    Ok(())
}

#[test]
fn training_continues_from_stored_weights() -> TestResult {
    let customers = Customers::random(1500, FLAT, 9);
    let mut recipe = recipe("mlp", "ziln", json!({"ensemble": 2}));
    recipe.options.epochs = 20;
    let first = trained(&customers, &recipe)?;
    recipe.warm_start = Some(first.weights.clone());
    let second = trained(&customers, &recipe)?;
    assert_eq!(second.history["continued"], true);
    let loss = |model: &TrainedModel| {
        model.history["epochs"][0]["training"]["loss"]
            .as_f64()
            .unwrap()
    };
    assert!(loss(&second) < loss(&first));
    assert!(
        second.history["epochs"].as_array().unwrap().len()
            < first.history["epochs"].as_array().unwrap().len()
    );
    assert_parity(&second, &customers)?;

    struct Notices(std::sync::Mutex<Vec<String>>);
    impl Control for Notices {
        fn progress(&self, _: Progress) {}
        fn is_cancelled(&self) -> bool {
            false
        }
        fn notice(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }
    let notices = Notices(std::sync::Mutex::default());
    recipe.options.hidden_sizes = Some(vec![4]);
    let third = train(customers.table(), &recipe, &notices)?;
    assert_eq!(third.history["continued"], false);
    let notices = notices.0.into_inner()?;
    assert!(notices[0].contains("the backbone or its options have changed"));
    Ok(())
}

#[test]
fn same_seed_same_bytes() -> TestResult {
    let customers = Customers::random(500, FLAT, 6);
    for options in [
        json!({}),
        json!({"threads": 2, "batch_size": 400}),
        json!({"threads": 2, "ensemble": 3}),
    ] {
        let recipe = recipe("mlp", "ziln", options);
        let first = trained(&customers, &recipe)?;
        let second = trained(&customers, &recipe)?;
        assert_eq!(first.onnx, second.onnx);
        assert_eq!(first.weights, second.weights);
        assert_eq!(first.metrics, second.metrics);
        let mut other = recipe;
        other.options.seed += 1;
        assert_ne!(first.onnx, trained(&customers, &other)?.onnx);
    }
    Ok(())
}

/// Progress runs through the phases, never backwards, and a cancelled training ends as such.
#[test]
fn progress_is_told_and_cancelling_works() -> TestResult {
    struct Watch {
        seen: std::sync::Mutex<Vec<Progress>>,
        cancel_after: usize,
    }
    impl Control for Watch {
        fn progress(&self, progress: Progress) {
            self.seen.lock().unwrap().push(progress);
        }
        fn is_cancelled(&self) -> bool {
            self.seen.lock().unwrap().len() > self.cancel_after
        }
    }
    let customers = Customers::random(2000, FLAT, 16);
    let recipe = recipe("mlp", "ziln", json!({"ensemble": 2, "blend_trees": false}));
    let watch = |cancel_after: usize| Watch {
        seen: std::sync::Mutex::default(),
        cancel_after,
    };
    let patient = watch(usize::MAX);
    train(customers.table(), &recipe, &patient)?;
    let seen = patient.seen.into_inner()?;
    let mut phases: Vec<&str> = seen.iter().map(|progress| progress.phase.name()).collect();
    phases.dedup();
    assert_eq!(
        phases,
        ["preprocessing", "training", "validating", "exporting"]
    );
    let training: Vec<&Progress> = seen.iter().filter(|progress| progress.epoch > 0).collect();
    assert!(training.windows(2).all(|pair| pair[0].rows <= pair[1].rows
        && pair[0].epoch <= pair[1].epoch
        && pair[1].epoch <= pair[1].epochs));
    assert!(training[0].training_loss.is_some_and(f64::is_finite));
    let mut networks: Vec<Option<&str>> = training.iter().map(|p| p.step.as_deref()).collect();
    networks.dedup();
    assert_eq!(networks, [Some("network 1 of 2"), Some("network 2 of 2")]);
    let error = train(customers.table(), &recipe, &watch(2)).unwrap_err();
    assert_eq!(error.kind, ltv_core::error::ErrorKind::Cancelled);
    Ok(())
}

/// Targets that nothing can be learned from, and what the errors say.
#[test]
fn useless_targets_are_refused() -> TestResult {
    let mut customers = Customers::random(50, FLAT, 17);
    let mut refused = |target: Vec<f64>, objective: &str| {
        customers.target = target;
        let recipe = recipe("mlp", objective, json!({}));
        let error = train(customers.table(), &recipe, &Quiet).unwrap_err();
        assert_eq!(error.kind, ltv_core::error::ErrorKind::InvalidData);
        assert!(error.detail.is_some() && error.hint.is_some());
        error.message
    };
    assert_eq!(
        refused(vec![0.0; 50], "ziln"),
        "no training row has a target above zero"
    );
    assert_eq!(
        refused(vec![7.0; 50], "ziln"),
        "the target has the same value in every training row"
    );
    let paying: Vec<f64> = (1..=50).map(f64::from).collect();
    assert_eq!(
        refused(paying, "purchase"),
        "every training row has a target above zero"
    );
    assert_eq!(refused(vec![], "ziln"), "there are no training rows");
    Ok(())
}

#[test]
fn training_learns() -> TestResult {
    let customers = Customers::random(4000, FLAT, 7);
    let mut recipe = recipe("mlp", "ziln", json!({}));
    recipe.options.epochs = 30;
    let model = trained(&customers, &recipe)?;
    let gini = model.metrics["normalized_gini"].as_f64().unwrap();
    let auc = model.metrics["auc"].as_f64().unwrap();
    assert!(gini > 0.5 && auc > 0.7, "{:?}", model.metrics);
    assert_eq!(model.metrics["evaluated_on"], "validation");
    let epochs = model.history["epochs"].as_array().unwrap();
    let loss = |epoch: usize| epochs[epoch]["training"]["loss"].as_f64().unwrap();
    assert!(loss(epochs.len() - 1) < loss(0));
    assert!(epochs[0]["training"]["lognormal"].is_number());
    assert!(epochs[0]["validation"]["auc"].is_number());
    Ok(())
}

/// Before anything is taken for it, and with what would have to change.
#[test]
fn networks_that_do_not_fit_are_refused() -> TestResult {
    let customers = Customers::random(200, FLAT, 21);
    for (backbone, options, named) in [
        (
            "mlp",
            json!({"hidden_sizes": [65536, 65536, 65536]}),
            "hidden_sizes",
        ),
        (
            "mlp",
            json!({"hidden_sizes": [20000], "ensemble": 64}),
            "ensemble",
        ),
        (
            "deepfm",
            json!({"fm_size": 1024, "hidden_sizes": [65536]}),
            "fm_size",
        ),
        (
            "dcn",
            json!({"hidden_sizes": [65536, 65536]}),
            "cross_layers",
        ),
        (
            "mlp",
            json!({"embedding_size": 4096, "hidden_sizes": [65536]}),
            "embedding_size",
        ),
    ] {
        let mut recipe = recipe(backbone, "ziln", options);
        recipe.memory = Some(64 << 20);
        let error = train(customers.table(), &recipe, &Quiet).expect_err(named);
        assert_eq!(error.kind, ErrorKind::Resources, "{error:?}");
        assert!(
            error.hint.is_some_and(|hint| hint.contains(named)),
            "{named}"
        );
        assert!(
            error.detail.is_some_and(|detail| detail.contains("64 MB")),
            "{named}"
        );
    }
    // Without a limit, what cannot be stored.
    let huge = recipe("mlp", "cmltv", json!({"hidden_sizes": [65536, 65536]}));
    let error = train(customers.table(), &huge, &Quiet).expect_err("4 billion weights");
    assert_eq!(error.kind, ErrorKind::Resources);
    // What everybody trains fits into the least there is.
    let mut usual = recipe("mlp", "ziln", json!({"ensemble": 5}));
    usual.memory = Some(8 << 20);
    train(customers.table(), &usual, &Quiet)?;
    Ok(())
}
