//! Objective `bgnbd` through the same door as the networks, on the CDNOW sample of Fader and Hardie.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::run;
use ltv_core::btyd::{BgNbd, Btyd, Customer, GammaGamma};
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Quiet, train};
use ort::session::SessionInputValue;
use ort::value::Tensor;
use serde_json::json;
use std::collections::HashMap;

const NAMES: [&str; 5] = ["recency", "frequency", "t", "monetary_mean", "first_amount"];

/// The sample in days, as `ltv_create_features` would give it. The value of the first purchase is not in the sample: it
/// is set to 10, and the mean of all purchases follows from it.
fn features() -> Vec<[f32; 5]> {
    include_str!("reference/cdnow_sample_rfm.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let field: Vec<f32> = line
                .split(',')
                .skip(1)
                .map(|f| f.parse().unwrap())
                .collect();
            let (x, t_x, t, m) = (field[0], field[1] * 7.0, field[2] * 7.0, field[3]);
            [t - t_x, x, t, (m * x + 10.0) / (x + 1.0), 10.0]
        })
        .collect()
}

fn table(rows: &[[f32; 5]], names: &[&str]) -> TestResult<TrainingTable> {
    let inputs = names
        .iter()
        .map(|name| FeatureColumn::new(*name, ColumnKind::Numeric, "real"))
        .collect();
    let columns: Vec<ColumnData> = names
        .iter()
        .map(|name| {
            let index = NAMES.iter().position(|n| n == name).unwrap();
            ColumnData::Numeric(rows.iter().map(|row| row[index]).collect())
        })
        .collect();
    let target: Vec<f64> = (0..rows.len()).map(|row| (row % 3) as f64 * 10.0).collect();
    Ok(TrainingTable::from_columns(
        inputs,
        &columns,
        &target,
        &vec![Split::Train; rows.len()],
        None,
    )?)
}

fn recipe(options: serde_json::Value) -> Recipe {
    Recipe {
        objective: "bgnbd".to_owned(),
        options: Options::from_json(&options).expect("the options are right"),
        ..Recipe::default()
    }
}

fn inputs(rows: &[[f32; 5]]) -> TestResult<HashMap<String, SessionInputValue<'static>>> {
    // Tensors are ONNX Runtime's, which must be there before the first.
    common::environment();
    let mut inputs = HashMap::new();
    for (index, name) in NAMES.iter().enumerate() {
        let values: Vec<f32> = rows.iter().map(|row| row[index]).collect();
        inputs.insert(
            (*name).to_owned(),
            Tensor::from_array(([rows.len(), 1], values))?.into(),
        );
    }
    Ok(inputs)
}

#[test]
fn the_stored_graph_scores_raw_features() -> TestResult {
    let rows = features();
    let model = train(
        table(&rows, &NAMES)?,
        &recipe(json!({"horizon": 273})),
        &Quiet,
    )?;
    let fitted: BgNbd =
        serde_json::from_value(model.statistics["parameters"]["purchases"].clone())?;
    assert!(
        (fitted.r - 0.2426).abs() < 5e-4 && (fitted.alpha - 7.0 * 4.4135).abs() < 0.05,
        "{fitted:?}"
    );
    let spend: GammaGamma =
        serde_json::from_value(model.statistics["parameters"]["spend"].clone())?;
    let native = Btyd {
        purchases: fitted,
        spend,
        horizon: 273.0,
    };

    let actual = run(&model.onnx, inputs(&rows)?)?;
    for (row, features) in rows.iter().enumerate() {
        let [recency, x, t, mean, first] = features.map(f64::from);
        let customer = Customer {
            frequency: x,
            recency: if x > 0.0 { t - recency } else { 0.0 },
            age: t,
            monetary: if x > 0.0 {
                (mean * (x + 1.0) - first) / x
            } else {
                0.0
            },
        };
        let expected = native.expected_value(&customer);
        let got = f64::from(actual["ltv"][row]);
        assert!(
            (got - expected).abs() <= 1e-4 * expected,
            "row {row}: {got} instead of {expected}"
        );
    }
    Ok(())
}

/// One law says what a model of each horizon alone says, whatever labels are known, and never less for a later day.
#[test]
fn several_horizons_are_those_of_one_law() -> TestResult {
    const DAYS: [f32; 3] = [30.0, 91.0, 273.0];
    let rows = features();
    let given = table(&rows, &NAMES)?.inputs().to_vec();
    let mut labelled = TrainingTable::new(given, false)?.with_horizons(DAYS.to_vec());
    for (row, features) in rows.iter().enumerate() {
        let mut writer = labelled.row();
        for value in features {
            writer.number(Some((*value).into()))?;
        }
        let spent = (row % 3) as f64 * 10.0;
        let last = if row % 4 == 0 { f64::NAN } else { spent };
        let labels = [spent / 4.0, spent / 2.0, last];
        writer.finish_horizons(&labels, Split::Train, None)?;
    }
    let model = train(labelled, &recipe(json!({"horizon": 273})), &Quiet)?;
    assert_eq!(model.schema.horizons, DAYS);
    let known: Vec<_> = (0..3)
        .map(|end| model.metrics["horizons"][end]["rows"].as_f64())
        .collect();
    let unknown = rows.len().div_ceil(4);
    let known_at_last = (rows.len() - unknown) as f64;
    let all = rows.len() as f64;
    assert_eq!(known, [all, all, known_at_last].map(Some));
    let actual = run(&model.onnx, inputs(&rows)?)?;
    for (name, days) in [("ltv_30", 30), ("ltv_91", 91), ("ltv", 273)] {
        let alone = train(
            table(&rows, &NAMES)?,
            &recipe(json!({"horizon": days})),
            &Quiet,
        )?;
        let alone = run(&alone.onnx, inputs(&rows)?)?;
        for (one, alone) in actual[name].iter().zip(&alone["ltv"]) {
            assert!((one - alone).abs() <= 1e-5 * alone, "{name}: {one} {alone}");
        }
    }
    let odd: Vec<[f32; 5]> = [f32::NAN, f32::INFINITY, -1.0, 0.0, 1e-30, 1e30]
        .iter()
        .flat_map(|&odd| (0..5).map(move |at| (odd, at)))
        .map(|(odd, at)| {
            let mut row = [30.0, 2.0, 200.0, 20.0, 10.0];
            row[at] = odd;
            row
        })
        .collect();
    for rows in [rows, odd] {
        let actual = run(&model.onnx, inputs(&rows)?)?;
        let ends = ["ltv_30", "ltv_91", "ltv"].map(|name| &actual[name]);
        for ((first, second), last) in ends[0].iter().zip(ends[1]).zip(ends[2]) {
            assert!(
                0.0 <= *first && first <= second && second <= last && last.is_finite(),
                "{first}, {second}, {last}"
            );
        }
    }
    Ok(())
}

#[test]
fn whatever_comes_in_the_outputs_are_finite() -> TestResult {
    let rows = features();
    let model = train(
        table(&rows, &NAMES)?,
        &recipe(json!({"horizon": 30})),
        &Quiet,
    )?;
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -5.0, 0.0, 1e9];
    let rows: Vec<[f32; 5]> = (0..odd.len().pow(3))
        .map(|i| {
            [
                odd[i % 6],
                odd[i / 6 % 6],
                odd[i / 36],
                odd[i % 6],
                odd[i / 6 % 6],
            ]
        })
        .collect();
    for (name, values) in run(&model.onnx, inputs(&rows)?)? {
        for (row, value) in values.iter().enumerate() {
            assert!(
                value.is_finite() && *value >= 0.0,
                "{name} of {:?} is {value}",
                rows[row]
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> TestResult {
    let rows = features();
    let error = train(
        table(&rows, &NAMES[..3])?,
        &recipe(json!({"horizon": 30})),
        &Quiet,
    )
    .unwrap_err();
    assert_eq!(
        error.message,
        "objective \"bgnbd\" needs a numeric feature \"monetary_mean\""
    );
    let error = train(table(&rows, &NAMES)?, &recipe(json!({})), &Quiet).unwrap_err();
    assert_eq!(error.message, "BG/NBD needs the option \"horizon\"");
    Ok(())
}
