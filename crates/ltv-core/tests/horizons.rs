//! Several horizons in one model: gradients, graphs, monotony, and customers of yesterday who teach what nobody else knows.

mod common;
#[path = "common/customers.rs"]
mod customers;

use candle_core::{DType, Device, Tensor};
use common::{TestResult, check_gradients, random_batch, statistics};
use customers::{Customers, FLAT, Kinds, run};
use ltv_core::backbone::{self, BackboneConfig};
use ltv_core::batch::{InputShape, Mode};
use ltv_core::data::{ColumnData, RecordFormat, SpilledRows, Split, TrainingData, TrainingTable};
use ltv_core::objective::horizons::{ENDS, OBJECTIVES};
use ltv_core::objective::{
    self, ObjectiveConfig, RegressionConfig, TargetTransform, TweedieConfig, ZilnConfig,
};
use ltv_core::params::{Params, standard_normal};
use ltv_core::recipe::{BACKBONES, Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn, horizon_output};
use ltv_core::train::{Quiet, TrainedModel, predict, train};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value as Json, json};

const DAYS: [f32; 3] = [30.0, 91.0, 365.0];

/// The same customers with what they spent by the end of each horizon.
fn with_labels(
    customers: &Customers,
    days: &[f32],
    labels: impl Fn(usize) -> Vec<f64>,
) -> TestResult<TrainingTable> {
    let table = TrainingTable::new(customers.inputs.clone(), customers.as_of.is_some())?;
    let mut table = table.with_horizons(days.to_vec());
    for row in 0..customers.rows() {
        let mut writer = table.row();
        for (column, input) in customers.columns.iter().zip(&customers.inputs) {
            match (column, input.kind) {
                (ColumnData::Numeric(values), _) => writer.number(Some(values[row].into()))?,
                (ColumnData::Categorical(values), _) => writer.category(values[row].as_deref())?,
                (ColumnData::Vector(values), ColumnKind::Vector { len }) => {
                    writer.vector(&values[row * len..(row + 1) * len])?;
                }
                (ColumnData::Sequence(values), _) => writer.sequence(&values[row])?,
                _ => return Err("a column of the wrong kind".into()),
            }
        }
        let as_of = customers.as_of.as_ref().map(|days| days[row]);
        writer.finish_horizons(&labels(row), customers.split[row], as_of)?;
    }
    Ok(table)
}

/// The target in three parts; of every third customer the last is not known, of every sixth the last two.
fn in_parts(customers: &Customers) -> TestResult<TrainingTable> {
    with_labels(customers, &DAYS, |row| {
        let all = customers.target[row];
        let share = 0.2 + 0.4 * (row as f64 * 0.7).sin().powi(2);
        let mut labels = vec![share * all, (0.5 + share / 2.0) * all, all];
        if row % 3 == 0 {
            labels[2] = f64::NAN;
        }
        if row % 6 == 0 {
            labels[1] = f64::NAN;
        }
        labels
    })
}

fn recipe(backbone: &str, objective: &str, mut options: Json) -> TestResult<Recipe> {
    if options["epochs"].is_null() && backbone != "trees" {
        options["epochs"] = json!(3);
    }
    if backbone == "trees" {
        options["rounds"] = json!(20);
        options["min_data_in_leaf"] = json!(20);
    }
    Ok(Recipe {
        backbone: backbone.to_owned(),
        objective: objective.to_owned(),
        options: Options::from_json(&options)?,
        ..Recipe::default()
    })
}

/// The graph says what the networks say, no later horizon is worth less, and the last one is the expected value.
fn assert_right(model: &TrainedModel, customers: &Customers) -> TestResult {
    assert_eq!(model.schema.horizons, DAYS);
    let expected = predict(&model.weights, customers.table())?;
    let actual = run(&model.onnx, customers.raw_inputs()?)?;
    let outputs: Vec<&str> = model.schema.outputs.iter().map(String::as_str).collect();
    assert!(outputs.contains(&"ltv_30") && outputs.contains(&"ltv_91") && outputs[0] == "ltv");
    for (name, expected) in &expected {
        let end = ENDS.iter().position(|end| end == name);
        let public = end.map_or_else(|| (*name).to_owned(), |at| horizon_output(DAYS[at]));
        for (row, (e, a)) in expected.iter().zip(&actual[&public]).enumerate() {
            assert!(e.is_finite() && a.is_finite(), "{public}[{row}]: {e}, {a}");
            let scale = if *name == "mu" { 1.0 } else { 1e-3 };
            let gap = (e - a).abs();
            assert!(
                gap <= 2e-5 * e.abs().max(scale),
                "{public}[{row}]: {a} instead of {e}"
            );
        }
    }
    let [first, second, last] = ["ltv_30", "ltv_91", "ltv"].map(|name| &actual[name]);
    for ((first, second), last) in first.iter().zip(second).zip(last) {
        assert!(
            0.0 <= *first && first <= second && second <= last,
            "{first}, {second}, {last}"
        );
    }
    Ok(())
}

#[test]
fn gradients_of_all_heads_are_right_where_targets_are_missing() -> TestResult {
    let log = RegressionConfig {
        target_transform: TargetTransform::Log1p,
        ..RegressionConfig::default()
    };
    for config in [
        ObjectiveConfig::Mse(log.clone()),
        ObjectiveConfig::Huber(log),
        ObjectiveConfig::Tweedie(TweedieConfig { power: 1.4 }),
        ObjectiveConfig::Ziln(ZilnConfig::default()),
    ] {
        let shape = InputShape {
            numeric: 4,
            ..InputShape::default()
        };
        let mut params = Params::new(1, DType::F64, Device::Cpu);
        let backbone = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
        let (whole, intervals) = (statistics(), vec![statistics(); 2]);
        let heads =
            objective::build_horizons(&config, backbone.as_ref(), &whole, &intervals, &mut params)?;
        common::perturb(&params, 0.05, 2)?;
        let batch = random_batch(&shape, 6, 1.0, 3, DType::F64)?;
        let nan = f64::NAN;
        for targets in [
            [
                30.0, 10.0, 20.0, 0.0, 0.0, 0.0, 5.0, 5.0, 0.0, 7.0, 0.0, 7.0, 90.0, 50.0, 40.0,
                3.0, 1.0, 2.0,
            ],
            [
                nan, 10.0, nan, nan, 0.0, nan, 5.0, 5.0, 0.0, nan, 0.0, 7.0, nan, 50.0, nan, 3.0,
                1.0, 2.0,
            ],
            [
                nan, 10.0, nan, nan, 0.0, nan, nan, 5.0, nan, nan, 0.0, nan, nan, 0.0, nan, nan,
                1.0, nan,
            ],
        ] {
            let target = Tensor::from_vec(targets.to_vec(), (6, 3), &Device::Cpu)?;
            check_gradients(params.weights(), 4, |mode| {
                let hidden = backbone.forward(&batch, mode)?;
                let output = heads.forward(&hidden, mode)?;
                Ok(heads.loss(&output, &target, mode)?.total)
            })?;
        }
    }
    Ok(())
}

/// A batch that knows nothing of a horizon moves none of its weights, and one that knows everything is the sum of its heads.
#[test]
fn what_is_not_known_counts_nothing() -> TestResult {
    let shape = InputShape {
        numeric: 3,
        ..InputShape::default()
    };
    let config = ObjectiveConfig::Ziln(ZilnConfig::default());
    let mut params = Params::new(1, DType::F64, Device::Cpu);
    let backbone = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
    let intervals = vec![statistics(); 2];
    let heads = objective::build_horizons(
        &config,
        backbone.as_ref(),
        &statistics(),
        &intervals,
        &mut params,
    )?;
    let batch = random_batch(&shape, 4, 1.0, 3, DType::F64)?;
    let nan = f64::NAN;
    let targets = vec![nan, 1.0, nan, nan, 0.0, nan, nan, 2.0, nan, nan, nan, nan];
    let target = Tensor::from_vec(targets, (4, 3), &Device::Cpu)?;
    let hidden = backbone.forward(&batch, &Mode::Evaluate)?;
    let output = heads.forward(&hidden, &Mode::Evaluate)?;
    let gradients = heads
        .loss(&output, &target, &Mode::Evaluate)?
        .total
        .backward()?;
    for (name, var) in params.weights() {
        let moved = match gradients.get(var) {
            Some(gradient) => gradient.abs()?.sum_all()?.to_scalar::<f64>()?,
            None => 0.0,
        };
        assert_eq!(
            moved > 0.0,
            name.starts_with("interval_1."),
            "{name}: {moved}"
        );
    }
    Ok(())
}

#[test]
fn every_backbone_and_objective_agrees_with_its_graph() -> TestResult {
    let kinds = Kinds {
        sequence: true,
        ..FLAT
    };
    let customers = Customers::random(400, kinds, 31);
    let unseen = Customers::random(100, kinds, 32);
    for backbone in BACKBONES {
        for objective in OBJECTIVES {
            let options = match *backbone {
                "trees" => json!({"ensemble": 1}),
                _ => json!({
                    "ensemble": 1, "hidden_sizes": [16, 8], "recurrent_sizes": [8, 4], "attention_size": 8,
                    "attention_heads": 2, "feed_forward_size": 16, "max_timesteps": 6,
                }),
            };
            let recipe = recipe(backbone, objective, options)?;
            let model = train(in_parts(&customers)?, &recipe, &Quiet)?;
            println!("{backbone} {objective}");
            assert_right(&model, &unseen)?;
            assert_right(&model, &customers.extreme())?;
        }
    }
    Ok(())
}

/// With MBG/NBD, trees beside networks, silence: whatever a model is put together from.
#[test]
fn averages_of_all_kinds_agree_with_their_graphs() -> TestResult {
    let buyers = Customers::buyers(1200, 33);
    let flat = Customers::random(1200, FLAT, 34);
    for (customers, options, has) in [
        (
            &buyers,
            json!({"horizon": 365, "ensemble": 3, "epochs": 10}),
            "bgnbd",
        ),
        (
            &flat,
            json!({"ensemble": 3, "blend_trees": true, "rounds": 30, "min_data_in_leaf": 20}),
            "",
        ),
        (&flat, json!({"ensemble": 2, "calibration": "none"}), ""),
        (&flat, json!({"ensemble": 2, "calibration": "total"}), ""),
    ] {
        let model = train(
            in_parts(customers)?,
            &recipe("mlp", "ziln", options)?,
            &Quiet,
        )?;
        assert_right(&model, customers)?;
        assert_right(&model, &customers.extreme())?;
        if !has.is_empty() {
            assert!(model.statistics[has].is_object(), "{}", model.statistics);
        }
    }
    Ok(())
}

/// Held-out customers get the right total of each interval that they know, and metrics of each horizon.
#[test]
fn totals_of_all_horizons_are_right() -> TestResult {
    let customers = Customers::random(3000, FLAT, 35);
    let options = json!({"ensemble": 3, "epochs": 15, "blend_trees": false});
    let model = train(
        in_parts(&customers)?,
        &recipe("mlp", "tweedie", options)?,
        &Quiet,
    )?;
    let horizons = model.metrics["horizons"].as_array().expect("a list");
    assert_eq!(horizons.len(), 3);
    for horizon in horizons {
        let ratio = horizon["total_ratio"].as_f64().expect("a ratio");
        // Judged by those whose time has come, calibrated by all who know the interval.
        assert!((ratio - 1.0).abs() < 0.1, "{horizon}");
        assert!(horizon["normalized_gini"].as_f64() > Some(0.2), "{horizon}");
    }
    Ok(())
}

#[test]
fn rows_in_a_file_are_trained_on_like_those_in_memory() -> TestResult {
    let customers = Customers::random(600, FLAT, 36);
    for backbone in ["mlp", "trees"] {
        let mut options = json!({"ensemble": 1});
        if backbone == "mlp" {
            options["epochs"] = json!(1);
            options["batch_size"] = json!(200);
        }
        let recipe = recipe(backbone, "ziln", options)?;
        let table = in_parts(&customers)?;
        let format = RecordFormat::of(&table, 50);
        let (mut bytes, mut rows) = (Vec::new(), 0);
        for row in 0..table.rows() {
            if customers.split[row] == Split::Train {
                format.write(&table, row, (row as u64, 0), &mut bytes);
                rows += 1;
            }
        }
        let path = std::env::temp_dir().join(format!("pg_ltv-horizons-{}", std::process::id()));
        std::fs::write(&path, bytes)?;
        let file = std::fs::File::open(&path)?;
        std::fs::remove_file(&path)?;
        let data = TrainingData {
            rows: table.rows(),
            spilled: Some(SpilledRows::new(file, format, rows, usize::MAX)),
            table,
        };
        let (file, memory) = (
            train(data, &recipe, &Quiet)?,
            train(in_parts(&customers)?, &recipe, &Quiet)?,
        );
        assert!(file.weights == memory.weights, "{backbone}");
        assert_eq!(file.metrics, memory.metrics);
    }
    Ok(())
}

#[test]
fn a_training_goes_on_from_the_same_horizons_only() -> TestResult {
    let customers = Customers::random(500, FLAT, 37);
    let first = train(
        in_parts(&customers)?,
        &recipe("mlp", "ziln", json!({"ensemble": 1}))?,
        &Quiet,
    )?;
    let continued = |table: TrainingTable| -> TestResult<bool> {
        let recipe = Recipe {
            warm_start: Some(first.weights.clone()),
            ..recipe("mlp", "ziln", json!({"ensemble": 1}))?
        };
        let model = train(table, &recipe, &Quiet)?;
        Ok(model.history["continued"] == json!(true))
    };
    assert!(continued(in_parts(&customers)?)?);
    assert!(!continued(customers.table())?);
    let others = with_labels(&customers, &[30.0, 365.0], |row| {
        vec![customers.target[row] / 2.0, customers.target[row]]
    })?;
    assert!(!continued(others)?);
    Ok(())
}

#[test]
fn objectives_without_increments_say_so() -> TestResult {
    let customers = Customers::random(300, FLAT, 38);
    for objective in ["purchase", "cmltv", "expltv"] {
        let refused = train(
            in_parts(&customers)?,
            &recipe("mlp", objective, json!({}))?,
            &Quiet,
        );
        let error = refused.expect_err("no increments");
        assert!(
            error.message.contains("cannot predict several horizons"),
            "{}",
            error.message
        );
    }
    Ok(())
}

/// A shop that has found a new channel: its customers came in the last month, so that nobody knows their year, and they spend
/// three times as much. Their first month is known.
fn shop(rows: usize, seed: u64, is_training: bool) -> (Customers, Vec<[f64; 3]>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut channel, mut visits, mut spent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rows {
        let is_new = rng.random_bool(0.4);
        let taste = standard_normal(&mut rng);
        let level = (1.0 + 0.5 * taste).exp() * if is_new { 3.0 } else { 1.0 };
        let mut sum = 0.0;
        let by = [1.0, 1.5, 3.0].map(|share| {
            let pays = rng.random_bool(0.6);
            sum += if pays {
                level * share * (0.5 * standard_normal(&mut rng)).exp()
            } else {
                0.0
            };
            sum
        });
        channel.push(Some(if is_new { "new" } else { "old" }.to_owned()));
        visits.push((taste + 0.5 * standard_normal(&mut rng)) as f32);
        spent.push(match is_new && is_training {
            true => [by[0], f64::NAN, f64::NAN],
            false => by,
        });
    }
    let inputs = vec![
        FeatureColumn::new("channel", ColumnKind::Categorical, "text"),
        FeatureColumn::new("visits", ColumnKind::Numeric, "real"),
    ];
    let customers = Customers {
        inputs,
        columns: vec![
            ColumnData::Categorical(channel),
            ColumnData::Numeric(visits),
        ],
        target: spent.iter().map(|by| by[2]).collect(),
        split: (0..rows)
            .map(|row| {
                if row % 5 == 0 {
                    Split::Validation
                } else {
                    Split::Train
                }
            })
            .collect(),
        as_of: None,
    };
    (customers, spent)
}

/// The model that waits for the year has never seen the new channel; the one of three horizons knows their month. It orders the customers of
/// both better by what they spend in a year, on every seed.
#[test]
fn customers_of_yesterday_teach_what_nobody_else_knows() -> TestResult {
    let columns = |customers: &Customers| customers.columns.clone();
    for seed in 1..=3 {
        let (customers, spent) = shop(6000, seed, true);
        let (later, _) = shop(4000, 100 + seed, false);
        let options = json!({"ensemble": 1, "epochs": 30, "blend_trees": false, "seed": seed});
        let of_three = with_labels(&customers, &DAYS, |row| spent[row].to_vec())?;
        let of_three = train(of_three, &recipe("mlp", "ziln", options.clone())?, &Quiet)?;
        let known: Vec<usize> = (0..customers.rows())
            .filter(|&row| !spent[row][2].is_nan())
            .collect();
        let pick = |column: &ColumnData| match column {
            ColumnData::Numeric(values) => {
                ColumnData::Numeric(known.iter().map(|&row| values[row]).collect())
            }
            ColumnData::Categorical(values) => {
                ColumnData::Categorical(known.iter().map(|&row| values[row].clone()).collect())
            }
            other => other.clone(),
        };
        let who_wait = Customers {
            columns: columns(&customers).iter().map(pick).collect(),
            inputs: customers.inputs.clone(),
            target: known.iter().map(|&row| spent[row][2]).collect(),
            split: known.iter().map(|&row| customers.split[row]).collect(),
            as_of: None,
        };
        let waiting = train(who_wait.table(), &recipe("mlp", "ziln", options)?, &Quiet)?;
        let judge = |model: &TrainedModel| -> TestResult<(f64, f64)> {
            let predicted = run(&model.onnx, later.raw_inputs()?)?["ltv"].clone();
            let predicted: Vec<f64> = predicted.into_iter().map(f64::from).collect();
            let found = ltv_core::metrics::evaluate(&ltv_core::metrics::Observations {
                actual: &later.target,
                prediction: &predicted,
                ..Default::default()
            })?;
            let of = |name: &str| {
                let metric = found.iter().find(|(metric, _)| metric == name);
                metric.and_then(|(_, value)| *value).unwrap_or(f64::NAN)
            };
            Ok((of("normalized_gini"), of("total_ratio")))
        };
        let (own, other) = (judge(&of_three)?, judge(&waiting)?);
        println!("seed {seed}: three horizons {own:?}, waiting {other:?}");
        assert!(own.0 > other.0 + 0.03, "{own:?} {other:?}");
        assert!(
            (own.1 - 1.0).abs() < (other.1 - 1.0).abs(),
            "{own:?} {other:?}"
        );
    }
    Ok(())
}
