//! Backbone `trees` from rows to a stored graph: parity with ONNX Runtime, borders, options, files, trees that go on.

mod common;
#[path = "common/customers.rs"]
mod customers;
#[path = "common/spilled.rs"]
mod spilled;

use common::TestResult;
use customers::{Customers, FLAT, Kinds, assert_parity, run};
use ltv_core::data::ColumnData;
use ltv_core::error::ErrorKind;
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Control, Progress, Quiet, TrainedModel, predict, train};
use serde_json::{Value, json};

fn recipe(objective: &str, mut options: Value) -> Recipe {
    for (key, value) in [
        ("rounds", json!(40)),
        ("ensemble", json!(1)),
        ("min_data_in_leaf", json!(10)),
    ] {
        if options[key].is_null() {
            options[key] = value;
        }
    }
    Recipe {
        backbone: "trees".to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&options).expect("the options are right"),
        ..Recipe::default()
    }
}

fn trained(customers: &Customers, recipe: &Recipe) -> TestResult<TrainedModel> {
    Ok(train(customers.table(), recipe, &Quiet)?)
}

const OBJECTIVES: [&str; 5] = ["mse", "huber", "purchase", "tweedie", "ziln"];

#[test]
fn graphs_agree_with_trees_on_all_columns() -> TestResult {
    let customers = Customers::random(800, FLAT, 1);
    let unseen = Customers::random(200, FLAT, 2);
    for objective in OBJECTIVES {
        for options in [
            json!({}),
            json!({"ensemble": 3, "target_transform": "none"}),
        ] {
            let model = trained(&customers, &recipe(objective, options))?;
            assert_parity(&model, &customers)?;
            assert_parity(&model, &unseen)?;
            assert_parity(&model, &customers.extreme())?;
        }
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
            sequence: true,
            ..none
        },
        Kinds {
            timestamp: true,
            as_of: true,
            ..none
        },
    ] {
        let customers = Customers::random(400, kinds, 3);
        let model = trained(&customers, &recipe("ziln", json!({})))?;
        assert_parity(&model, &Customers::random(100, kinds, 4))?;
    }
    Ok(())
}

/// Leaves too large for these rows: there is no tree, and everybody gets the mean.
#[test]
fn without_a_split_all_are_alike() -> TestResult {
    for kinds in [
        FLAT,
        Kinds {
            category: true,
            ..Kinds::default()
        },
    ] {
        let customers = Customers::random(200, kinds, 5);
        let model = trained(
            &customers,
            &recipe("tweedie", json!({"min_data_in_leaf": 5000})),
        )?;
        assert_parity(&model, &customers)?;
        let values = run(&model.onnx, customers.raw_inputs()?)?
            .remove("ltv")
            .unwrap_or_default();
        assert!(values.iter().all(|value| *value == values[0]));
    }
    Ok(())
}

/// Values next to each other in single precision, which spend differently: whoever is on a border is on its left in the graph too.
#[test]
fn borders_are_exact() -> TestResult {
    let kinds = Kinds {
        numeric: true,
        ..Kinds::default()
    };
    let mut customers = Customers::random(1200, kinds, 6);
    let start = 1.0f32 / 3.0;
    let value = |row: usize| f32::from_bits(start.to_bits() + (row % 12) as u32);
    customers.columns[0] = ColumnData::Numeric((0..1200).map(value).collect());
    customers.target = (0..1200)
        .map(|row| if row % 12 % 2 == 0 { 10.0 } else { 90.0 })
        .collect();
    let options = json!({"rounds": 1, "tree_learning_rate": 1.0, "column_share": 1.0, "row_share": 1.0, "calibration": "none", "target_transform": "none"});
    let model = trained(&customers, &recipe("mse", options))?;
    let graph = run(&model.onnx, customers.raw_inputs()?)?
        .remove("ltv")
        .unwrap_or_default();
    for (row, value) in graph.iter().enumerate() {
        let gap = (f64::from(*value) - customers.target[row]).abs();
        assert!(
            gap < 3.0,
            "{row}: {value} instead of {}",
            customers.target[row]
        );
    }
    assert_parity(&model, &customers)
}

#[test]
fn same_seed_same_model_whatever_the_threads() -> TestResult {
    let customers = Customers::random(900, FLAT, 7);
    let of = |seed: u64, threads: usize| {
        trained(
            &customers,
            &recipe(
                "ziln",
                json!({"ensemble": 2, "seed": seed, "threads": threads}),
            ),
        )
    };
    let (one, two, other) = (of(1, 1)?, of(1, 2)?, of(2, 1)?);
    assert!(one.onnx == two.onnx && one.weights == two.weights);
    assert!(one.onnx != other.onnx);
    Ok(())
}

#[test]
fn gains_and_history_say_what_was_learned() -> TestResult {
    let customers = Customers::random(2000, FLAT, 8);
    let model = trained(&customers, &recipe("ziln", json!({"ensemble": 2})))?;
    let gains = model.statistics["gains"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let gain = |name: &str| {
        let entry = gains.iter().find(|entry| entry["name"] == name);
        entry
            .and_then(|entry| entry["gain"].as_f64())
            .unwrap_or(f64::NAN)
    };
    let sum: f64 = gains
        .iter()
        .filter_map(|entry| entry["gain"].as_f64())
        .sum();
    assert!((sum - 1.0).abs() < 1e-9);
    assert!(
        gain("recency") > 0.0 && gain("constant") == 0.0,
        "{gains:?}"
    );
    let epochs = model.history["epochs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        epochs
            .iter()
            .any(|entry| entry["member"] == 2 && entry["training"]["lognormal"].is_f64())
    );
    assert_eq!(model.history["trees"].as_array().map(Vec::len), Some(4));
    assert_eq!(model.metrics["evaluated_on"], "cross-validation");
    Ok(())
}

#[test]
fn what_only_networks_have_is_refused() {
    let of = |objective: &str, options: Value| {
        let json = json!({"backbone": "trees", "objective": objective, "options": options});
        Recipe::from_json(&json)
            .err()
            .map(|error| (error.message, error.detail.unwrap_or_default()))
    };
    let (message, detail) = of("cmltv", json!({})).unwrap_or_default();
    assert_eq!(
        message,
        "objective \"cmltv\" needs a network, and backbone \"trees\" is none"
    );
    assert_eq!(
        detail,
        "Trees can be grown for mse, huber, purchase, tweedie, ziln."
    );
    let (message, detail) = of("ziln", json!({"hidden_sizes": [8]})).unwrap_or_default();
    assert_eq!(
        message,
        "option \"hidden_sizes\" is one of networks, and backbone \"trees\" is none"
    );
    assert!(
        detail.starts_with("The options of trees are rounds, "),
        "{detail}"
    );
    for objective in OBJECTIVES {
        assert_eq!(
            of(objective, json!({"leaves": 7, "threads": 1, "ensemble": 2})),
            None
        );
    }
    // A stored recipe names every option.
    assert_eq!(of("ziln", Options::default().to_json()), None);
}

#[test]
fn a_direction_needs_an_order() {
    let customers = Customers::random(300, FLAT, 9);
    let refused = |options: Value| {
        let error = trained(&customers, &recipe("ziln", options)).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let message = "expected values cannot be monotone in";
    assert!(refused(json!({"monotone_increasing": ["nothing"]})).starts_with(message));
    assert!(refused(json!({"monotone_increasing": ["country"]})).starts_with(message));
    assert!(
        refused(json!({"monotone_increasing": ["recency"], "monotone_decreasing": ["recency"]}))
            .starts_with(message)
    );
    assert_eq!(refused(json!({"monotone_decreasing": ["recency"]})), "");
}

/// With the signal of the customers turned around, so that the direction is against what the data say, and with it.
#[test]
fn expected_values_keep_a_direction() -> TestResult {
    let kinds = Kinds {
        numeric: true,
        ..Kinds::default()
    };
    let customers = Customers::random(1500, kinds, 10);
    let mut asked = Customers::random(200, kinds, 11);
    asked.columns = asked
        .columns
        .iter()
        .map(|_| ColumnData::Numeric(vec![0.5; 200]))
        .collect();
    asked.columns[0] = ColumnData::Numeric((0..200).map(|row| row as f32 / 40.0 - 2.5).collect());
    for (option, sign) in [("monotone_increasing", 1.0), ("monotone_decreasing", -1.0)] {
        let model = trained(
            &customers,
            &recipe("ziln", json!({option: ["recency"], "ensemble": 2})),
        )?;
        let values = predict(&model.weights, asked.table())?.remove(0).1;
        let steps = values.windows(2).map(|pair| sign * (pair[1] - pair[0]));
        assert!(
            steps.into_iter().all(|step| step >= -1e-6 * values[0]),
            "{option}"
        );
    }
    Ok(())
}

#[test]
fn trees_go_on_from_an_earlier_version() -> TestResult {
    let customers = Customers::random(1500, FLAT, 12);
    let first = trained(&customers, &recipe("ziln", json!({})))?;
    let mut again = recipe("ziln", json!({}));
    again.warm_start = Some(first.weights.clone());
    let second = trained(&customers, &again)?;
    assert_eq!(second.history["continued"], true);
    assert_parity(&second, &customers)?;
    let count = |model: &TrainedModel| {
        let parts = model.history["trees"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        parts
            .iter()
            .filter_map(|part| part["trees"].as_u64())
            .sum::<u64>()
    };
    assert!(count(&second) >= count(&first));

    // Another objective, and a network: from scratch.
    let mut other = recipe("tweedie", json!({}));
    other.warm_start = Some(first.weights.clone());
    assert_eq!(trained(&customers, &other)?.history["continued"], false);
    let mut network = Recipe {
        options: Options::from_json(&json!({"epochs": 1, "ensemble": 1}))?,
        ..Recipe::default()
    };
    network.warm_start = Some(first.weights);
    assert_eq!(trained(&customers, &network)?.history["continued"], false);
    Ok(())
}

#[test]
fn rows_in_a_file_grow_the_same_trees() -> TestResult {
    let customers = Customers::random(900, FLAT, 13);
    for ensemble in [1, 3] {
        let recipe = recipe("ziln", json!({"ensemble": ensemble, "threads": 1}));
        let memory = train(customers.table(), &recipe, &Quiet)?;
        let file = match ensemble {
            1 => spilled::data(&customers, 100)?,
            _ => spilled::all(&customers, 100)?,
        };
        let file = train(file, &recipe, &Quiet)?;
        assert_eq!(memory.history["trees"], file.history["trees"]);
        let [memory, file] = [memory, file].map(|model| predict(&model.weights, customers.table()));
        assert_eq!(memory?[0].1, file?[0].1);
    }
    // Too little memory for all of them: some of the customers, and it is said.
    let customers = Customers::random(3000, FLAT, 18);
    let mut recipe = recipe("ziln", json!({"threads": 1}));
    recipe.options.leaves = 2;
    recipe.memory = Some(160_000);
    let listener = Listener::default();
    train(spilled::data(&customers, 100)?, &recipe, &listener)?;
    let said = listener.0.lock().join("\n");
    assert!(
        said.contains("% of the customers, because the bins of all rows do not fit"),
        "{said}"
    );
    Ok(())
}

#[test]
fn histograms_have_to_fit_into_memory() {
    let customers = Customers::random(300, FLAT, 17);
    let mut recipe = recipe("ziln", json!({"leaves": 1000, "threads": 1}));
    recipe.memory = Some(1 << 20);
    let error = trained(&customers, &recipe)
        .err()
        .map(|error| error.to_string());
    assert_eq!(
        error.as_deref(),
        Some("the trees of this recipe need too much memory")
    );
}

#[derive(Default)]
struct Listener(parking_lot::Mutex<Vec<String>>);

impl Control for Listener {
    fn progress(&self, _: Progress) {}
    fn is_cancelled(&self) -> bool {
        false
    }
    fn notice(&self, message: &str) {
        self.0.lock().push(message.to_owned());
    }
}

struct Cancelled;

impl Control for Cancelled {
    fn progress(&self, _: Progress) {}
    fn is_cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_training_can_be_cancelled_and_has_a_limit() -> TestResult {
    let customers = Customers::random(500, FLAT, 14);
    let error = train(customers.table(), &recipe("ziln", json!({})), &Cancelled).err();
    assert_eq!(error.map(|error| error.kind), Some(ErrorKind::Cancelled));
    let endless = recipe(
        "ziln",
        json!({"rounds": 20_000, "round_patience": 20_000, "max_seconds": 0.2}),
    );
    let model = trained(&customers, &endless)?;
    assert!(model.seconds < 20.0);
    Ok(())
}

/// Networks with trees beside them: one graph, whatever the objective of the networks.
#[test]
fn graphs_agree_with_networks_and_trees_together() -> TestResult {
    let customers = Customers::random(900, FLAT, 15);
    let unseen = Customers::random(200, FLAT, 16);
    for (objective, ensemble) in [("ziln", 3), ("mse", 1), ("cmltv", 2), ("tweedie", 1)] {
        let options = json!({"blend_trees": true, "ensemble": ensemble, "epochs": 3, "rounds": 30, "calibration": "power"});
        let recipe = Recipe {
            objective: objective.to_owned(),
            options: Options::from_json(&options)?,
            ..Recipe::default()
        };
        let model = trained(&customers, &recipe)?;
        let weight = model.statistics["trees"]["weight"].as_f64().unwrap_or(0.0);
        let has_trees = String::from_utf8_lossy(&model.onnx).contains("TreeEnsembleRegressor");
        let has_networks = String::from_utf8_lossy(&model.onnx).contains("transB");
        assert_eq!(
            (has_trees, has_networks),
            (weight > 0.0, weight < 1.0),
            "{objective}: {weight}"
        );
        assert!(weight > 0.0, "{objective}");
        assert_parity(&model, &unseen)?;
        assert_parity(&model, &customers.extreme())?;
        assert!(model.statistics["gains"].is_array());
        let again = trained(&customers, &recipe)?;
        assert!(model.onnx == again.onnx && model.weights == again.weights);
    }
    Ok(())
}

/// A graph has the trees of one member, however many were weighed: with two leaves each they can be counted.
#[test]
fn one_member_speaks_for_all() -> TestResult {
    let customers = Customers::random(900, FLAT, 20);
    let options = json!({"blend_trees": true, "ensemble": 3, "epochs": 2, "rounds": 30, "leaves": 2, "tree_learning_rate": 0.1});
    let recipe = Recipe {
        options: Options::from_json(&options)?,
        ..Recipe::default()
    };
    let model = trained(&customers, &recipe)?;
    let parts = model.history["trees"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let grown = |part: &str| -> f64 {
        let trees = parts.iter().filter(|entry| entry["part"] == part);
        trees.filter_map(|entry| entry["trees"].as_f64()).sum()
    };
    let expected: f64 = ["tweedie", "purchase"]
        .map(|part| (grown(part) / 3.0).round())
        .iter()
        .sum();
    let leaves = String::from_utf8_lossy(&model.onnx).matches("LEAF").count();
    assert!(expected > 4.0);
    assert_eq!(leaves as f64, 2.0 * expected);
    assert_parity(&model, &customers)
}

/// Beside networks trees are the same wherever the rows lie.
#[test]
fn rows_in_a_file_grow_the_same_trees_beside_networks() -> TestResult {
    let customers = Customers::random(1500, FLAT, 21);
    for ensemble in [2, 3] {
        let options = json!({"ensemble": ensemble, "epochs": 2, "threads": 1, "tree_learning_rate": 0.1, "min_data_in_leaf": 10});
        let recipe = Recipe {
            options: Options::from_json(&options)?,
            ..Recipe::default()
        };
        let memory = trained(&customers, &recipe)?;
        let file = train(spilled::all(&customers, 100)?, &recipe, &Quiet)?;
        let trees = memory.history["trees"].as_array();
        assert_eq!(trees.map(Vec::len), Some(2 * ensemble));
        assert_eq!(memory.history["trees"], file.history["trees"]);
        assert!(file.statistics["trees"]["weight"].as_f64() > Some(0.0));
        assert_parity(&file, &customers)?;
    }
    // Too little memory for the bins of all of them: some of the customers, wherever they lie.
    let customers = Customers::random(3000, FLAT, 22);
    let recipe = Recipe {
        options: Options::from_json(
            &json!({"ensemble": 2, "epochs": 1, "threads": 1, "leaves": 2}),
        )?,
        memory: Some(640_000),
        ..Recipe::default()
    };
    for data in [spilled::all(&customers, 100)?, customers.table().into()] {
        let listener = Listener::default();
        let model = train(data, &recipe, &listener)?;
        let said = listener.0.lock().join("\n");
        assert!(
            said.contains("% of the customers, because the bins"),
            "{said}"
        );
        assert!(model.history["trees"].is_array());
    }
    Ok(())
}
