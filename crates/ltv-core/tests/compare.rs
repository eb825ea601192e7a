//! Objective `auto`: on data whose truth is known the right candidate wins, also out of time; one that fails, fails alone.

mod common;

use common::TestResult;
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::recipe::Recipe;
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Control, Progress, Quiet, TrainedModel, train};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

/// Amounts follow the product of two features, which a linear model cannot see. With cut-offs, what `drift` pays in the first
/// one it does not pay in the later ones.
fn customers(rows: usize, cut_offs: &[f32], seed: u64) -> TestResult<TrainingTable> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let inputs = ["a", "b"].map(|name| FeatureColumn::new(name, ColumnKind::Numeric, "real"));
    let mut table = TrainingTable::new(inputs.to_vec(), !cut_offs.is_empty())?;
    for customer in 0..rows {
        let (a, b) = (
            random.random_range(-2.0..2.0),
            random.random_range(-2.0..2.0),
        );
        for day in if cut_offs.is_empty() {
            &[f32::NAN]
        } else {
            cut_offs
        } {
            let pays = random.random::<f64>() < 0.6;
            let noise: f64 = random.random_range(-0.3..0.3);
            let amount = if pays {
                (2.0f64 + a * b + noise).exp()
            } else {
                0.0
            };
            let mut row = table.row();
            row.customer(&customer.to_string());
            row.number(Some(a))?;
            row.number(Some(b))?;
            row.finish(
                amount,
                Split::from_id(&customer.to_string(), 0.2),
                Some(*day),
            )?;
        }
    }
    Ok(table)
}

fn compare(
    table: TrainingTable,
    compare: Value,
    options: Value,
    control: &dyn Control,
) -> TestResult<TrainedModel> {
    let recipe =
        Recipe::from_json(&json!({"objective": "auto", "compare": compare, "options": options}))?;
    Ok(train(table, &recipe, control)?)
}

fn candidates(model: &TrainedModel) -> Vec<Value> {
    model.history["comparison"]["candidates"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn the_right_candidate_wins_and_is_trained_on_all() -> TestResult {
    let table = customers(3000, &[], 1)?;
    let pairs = json!({"objectives": ["ziln"], "backbones": ["linear", "mlp"]});
    let model = compare(
        table,
        pairs,
        json!({"ensemble": 1, "epochs": 40, "hidden_sizes": [32]}),
        &Quiet,
    )?;
    let chosen = model.chosen.as_ref().expect("something is chosen");
    assert_eq!(
        (chosen.objective.as_str(), chosen.backbone.as_str()),
        ("ziln", "mlp")
    );
    assert_eq!(model.n_rows, 3000);
    let candidates = candidates(&model);
    assert_eq!(candidates.len(), 2);
    assert_eq!(candidates[0]["chosen"], json!(false));
    assert_eq!(candidates[1]["chosen"], json!(true));
    // The linear model was out of the running after one part of the customers.
    assert_eq!(candidates[0]["rounds"], json!(1));
    Ok(())
}

#[test]
fn a_candidate_that_fails_is_a_line_of_the_table() -> TestResult {
    let table = customers(1000, &[], 2)?;
    let pairs = json!({"objectives": ["bgnbd", "ziln"], "backbones": ["linear", "gru"]});
    let model = compare(table, pairs, json!({"ensemble": 1, "epochs": 3}), &Quiet)?;
    assert_eq!(
        model.chosen.as_ref().map(|chosen| chosen.backbone.as_str()),
        Some("linear")
    );
    let errors: Vec<bool> = candidates(&model)
        .iter()
        .map(|entry| entry["error"].is_string())
        .collect();
    assert_eq!(errors, [true, false, true]);
    Ok(())
}

#[test]
fn where_all_fail_the_error_says_why() -> TestResult {
    let table = customers(1000, &[], 3)?;
    let pairs = json!({"objectives": ["bgnbd"]});
    let error = compare(table, pairs, json!({}), &Quiet).expect_err("there is no frequency");
    assert!(error.to_string().contains("no candidate could be trained"));
    Ok(())
}

#[test]
fn the_latest_cut_off_judges() -> TestResult {
    for (options, wanted, rows) in [
        // 100 + 30 <= 200, 150 + 30 <= 200: both earlier cut-offs train.
        (json!({"horizon": 30}), "the latest cut-off", 800),
        // Nothing has ended by the latest cut-off: customers are held out.
        (
            json!({"horizon": 300}),
            "customers held out, at the latest cut-off",
            0,
        ),
        (json!({}), "customers held out, at the latest cut-off", 0),
    ] {
        let table = customers(800, &[100.0, 150.0, 200.0], 4)?;
        let mut all = json!({"ensemble": 1, "epochs": 3});
        all.as_object_mut()
            .expect("an object")
            .extend(options.as_object().cloned().unwrap_or_default());
        let pairs = json!({"objectives": ["ziln"], "backbones": ["linear"]});
        let model = compare(table, pairs, all, &Quiet)?;
        let comparison = &model.history["comparison"];
        assert!(
            comparison["judged_on"]
                .as_str()
                .is_some_and(|text| text.starts_with(wanted)),
            "{comparison}"
        );
        if rows > 0 {
            assert_eq!(comparison["rows"], json!(rows));
        }
        // The winner is trained on all cut-offs.
        assert_eq!(model.n_rows, 2400);
    }
    Ok(())
}

#[test]
fn a_spent_budget_still_gives_a_model() -> TestResult {
    let table = customers(20_000, &[], 5)?;
    let search = json!({"search": {"hidden_sizes": [[64], [128], [256]], "learning_rate": [0.001, 0.002, 0.004]}, "budget": 1});
    let model = compare(
        table,
        search,
        json!({"epochs": 50, "ensemble": 1, "max_seconds": 3.0}),
        &Quiet,
    )?;
    let candidates = candidates(&model);
    let untried = candidates
        .iter()
        .filter(|entry| entry["error"] == json!("not tried: the budget was spent"));
    assert!(untried.count() > 0);
    assert!(
        candidates
            .iter()
            .any(|entry| entry["chosen"] == json!(true))
    );
    Ok(())
}

/// Cancels at the second candidate.
#[derive(Default)]
struct Impatient {
    steps: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Control for Impatient {
    fn progress(&self, progress: Progress) {
        if let Some(step) = progress.step {
            if step.starts_with("candidate 2") {
                self.stop.store(true, Ordering::Relaxed);
            }
            self.steps.lock().push(step);
        }
    }
    fn is_cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[test]
fn it_says_what_it_does_and_stops_when_told() -> TestResult {
    let table = customers(1000, &[], 6)?;
    let control = Impatient::default();
    let pairs = json!({"objectives": ["ziln"], "backbones": ["linear", "mlp"]});
    let error =
        compare(table, pairs, json!({"ensemble": 1}), &control).expect_err("it was cancelled");
    assert_eq!(error.to_string(), "training was cancelled");
    let steps = control.steps.lock();
    assert_eq!(
        steps.first().map(String::as_str),
        Some("candidate 1 of 2: ziln linear")
    );
    assert_eq!(
        steps.last().map(String::as_str),
        Some("candidate 2 of 2: ziln mlp")
    );
    Ok(())
}

#[test]
fn the_same_seed_compares_the_same() -> TestResult {
    let run = || {
        let pairs = json!({"objectives": ["ziln", "huber"], "backbones": ["linear"]});
        compare(
            customers(1500, &[], 7)?,
            pairs,
            json!({"ensemble": 1, "epochs": 5}),
            &Quiet,
        )
    };
    let (first, second) = (run()?, run()?);
    assert_eq!(first.onnx, second.onnx);
    for (a, b) in candidates(&first).iter().zip(candidates(&second)) {
        assert_eq!(a["normalized_gini"], b["normalized_gini"]);
    }
    Ok(())
}

/// A subset has the same rows, whatever their kind.
#[test]
fn a_subset_keeps_rows_whole() -> TestResult {
    let inputs = vec![
        FeatureColumn::new("n", ColumnKind::Numeric, "real"),
        FeatureColumn::new("c", ColumnKind::Categorical, "text"),
        FeatureColumn::new("s", ColumnKind::Sequence { channels: 1 }, "real[]"),
    ];
    let columns = |rows: &[usize]| {
        [
            ColumnData::Numeric(rows.iter().map(|&row| row as f32).collect()),
            ColumnData::Categorical(
                rows.iter()
                    .map(|&row| Some(format!("c{}", row % 3)))
                    .collect(),
            ),
            ColumnData::Sequence(rows.iter().map(|&row| vec![row as f32; row % 4]).collect()),
        ]
    };
    let make = |rows: &[usize]| {
        let target: Vec<f64> = rows
            .iter()
            .map(|&row| if row % 2 == 0 { row as f64 } else { 0.0 })
            .collect();
        let split: Vec<Split> = rows
            .iter()
            .map(|row| Split::from_id(&row.to_string(), 0.2))
            .collect();
        TrainingTable::from_columns(inputs.clone(), &columns(rows), &target, &split, None)
    };
    let all: Vec<usize> = (0..200).collect();
    let some: Vec<usize> = (0..200).filter(|row| row % 3 != 1).collect();
    let rows: Vec<u32> = some.iter().map(|&row| row as u32).collect();
    let model = train(
        make(&all)?,
        &Recipe::from_json(&json!({"backbone": "gru", "options": {"epochs": 1, "ensemble": 1}}))?,
        &Quiet,
    )?;
    let direct = ltv_core::train::predict(&model.weights, make(&some)?)?;
    let subset = ltv_core::train::predict(&model.weights, make(&all)?.subset(&rows))?;
    assert_eq!(direct, subset);
    Ok(())
}
