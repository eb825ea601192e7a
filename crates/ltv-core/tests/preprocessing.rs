//! What a network sees of raw columns, worked out by hand.

mod common;

use candle_core::{DType, Device};
use common::{TestResult, assert_close, values};
use ltv_core::backbone::{self, BackboneConfig};
use ltv_core::batch::{Batch, InputShape};
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::params::Params;
use ltv_core::preprocess::Preprocessing;
use ltv_core::recipe::Options;
use ltv_core::schema::{ColumnKind, FeatureColumn};
use serde_json::{Value as Json, json};

type Columns = Vec<(&'static str, ColumnKind, &'static str, ColumnData)>;

fn table(columns: &Columns, rows: usize, as_of: Option<&[f32]>) -> TestResult<TrainingTable> {
    let inputs = columns
        .iter()
        .map(|(name, kind, sql, _)| FeatureColumn::new(*name, *kind, *sql))
        .collect();
    let data: Vec<ColumnData> = columns.iter().map(|(.., data)| data.clone()).collect();
    Ok(TrainingTable::from_columns(
        inputs,
        &data,
        &vec![0.0; rows],
        &vec![Split::Train; rows],
        as_of,
    )?)
}

/// Fitted on `seen`, applied to `shown`.
fn encode(seen: TrainingTable, shown: TrainingTable, options: &Json) -> TestResult<Batch> {
    let all: Vec<u32> = (0..seen.rows() as u32).collect();
    let (fitted, _) = Preprocessing::fit(&seen, &all, &Options::from_json(options)?)?;
    let rows: Vec<u32> = (0..shown.rows() as u32).collect();
    Ok(fitted.encode(shown)?.gather(&rows, &Device::Cpu)?.batch)
}

fn numeric(
    name: &'static str,
    values: &[f64],
) -> (&'static str, ColumnKind, &'static str, ColumnData) {
    let values = values.iter().map(|&v| v as f32).collect();
    (
        name,
        ColumnKind::Numeric,
        "real",
        ColumnData::Numeric(values),
    )
}

/// `(v - mean) / std` with the moments of `of`.
fn standardised(of: &[f64], shown: &[f64]) -> Vec<f64> {
    let count = of.len() as f64;
    let mean = of.iter().sum::<f64>() / count;
    let std = (of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt();
    shown.iter().map(|v| (v - mean) / std).collect()
}

#[test]
fn numbers_are_filled_transformed_and_standardised() -> TestResult {
    let plain: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40)).collect();
    let skewed: Vec<f64> = (0..40)
        .map(|i| f64::from(i % 10 - 2).signum() * 1.9f64.powi(i))
        .collect();
    let mut holes = plain.clone();
    (holes[3], holes[17]) = (f64::NAN, f64::INFINITY);
    let present: Vec<f64> = holes.iter().copied().filter(|v| v.is_finite()).collect();
    let mut sorted = present.clone();
    sorted.sort_by(f64::total_cmp);
    let median = (sorted[18] + sorted[19]) / 2.0;
    let constant = vec![7.0; 40];
    let seen = vec![
        numeric("plain", &plain),
        numeric("skewed", &skewed),
        numeric("holes", &holes),
        numeric("constant", &constant),
    ];
    // Something in between, and something missing everywhere.
    let shown = vec![
        numeric("plain", &[5.5, f64::NAN]),
        numeric("skewed", &[100.0, -100.0]),
        numeric("holes", &[5.5, f64::NEG_INFINITY]),
        numeric("constant", &[8.0, f64::NAN]),
    ];
    let batch = encode(table(&seen, 40, None)?, table(&shown, 2, None)?, &json!({}))?;
    // The four columns, and a flag for the one that had holes in training.
    assert_eq!(batch.numeric.dims(), [2, 5]);
    let column = |index| -> TestResult<Vec<f64>> { values(&batch.numeric.narrow(1, index, 1)?) };
    let expected = standardised(&plain, &[5.5, 19.5]);
    assert_close("plain", &column(0)?, &expected, 1e-5, 1e-6);
    let log = |v: f64| v.signum() * v.abs().ln_1p();
    let logs: Vec<f64> = skewed.iter().copied().map(log).collect();
    let expected = standardised(&logs, &[log(100.0), log(-100.0)]);
    assert_close("skewed", &column(1)?, &expected, 1e-5, 1e-6);
    let filled: Vec<f64> = holes
        .iter()
        .map(|&v| if v.is_finite() { v } else { median })
        .collect();
    let expected = standardised(&filled, &[5.5, median]);
    assert_close("holes", &column(2)?, &expected, 1e-5, 1e-6);
    assert_close("constant", &column(3)?, &[0.0, 0.0], 0.0, 0.0);
    assert_close("is_missing", &column(4)?, &[0.0, 1.0], 0.0, 0.0);

    // As asked for, whatever the skewness; and no further than asked for.
    let options = json!({"log_transform": "none", "log_columns": ["plain"], "clip_features": 1});
    let batch = encode(table(&seen, 40, None)?, table(&seen, 40, None)?, &options)?;
    let clipped = |v: f64| v.clamp(-1.0, 1.0);
    let logs: Vec<f64> = plain.iter().copied().map(log).collect();
    let expected: Vec<f64> = standardised(&logs, &logs)
        .into_iter()
        .map(clipped)
        .collect();
    let actual = values(&batch.numeric.narrow(1, 0, 1)?)?;
    assert_close("asked for", &actual, &expected, 1e-5, 1e-6);
    let expected: Vec<f64> = standardised(&skewed, &skewed)
        .into_iter()
        .map(clipped)
        .collect();
    let actual = values(&batch.numeric.narrow(1, 1, 1)?)?;
    assert_close("as it is", &actual, &expected, 1e-5, 1e-6);
    Ok(())
}

#[test]
fn categories_are_numbered_by_frequency() -> TestResult {
    let words = |list: &[&str]| {
        let list = list
            .iter()
            .map(|word| (!word.is_empty()).then(|| (*word).to_owned()));
        ColumnData::Categorical(list.collect())
    };
    let column = |list: &[&str]| vec![("c", ColumnKind::Categorical, "text", words(list))];
    let mut list = vec!["often"; 9];
    list.extend(["sometimes"; 6]);
    list.extend(["rare"; 4]);
    list.extend([""; 20]);
    let shown = ["often", "sometimes", "rare", "never", ""];
    for (options, expected) in [
        (json!({}), [1.0, 2.0, 0.0, 0.0, 0.0]),
        (json!({"min_count": 4}), [1.0, 2.0, 3.0, 0.0, 0.0]),
        (json!({"max_categories": 1}), [1.0, 0.0, 0.0, 0.0, 0.0]),
    ] {
        let (seen, shown) = (
            table(&column(&list), 39, None)?,
            table(&column(&shown), 5, None)?,
        );
        let batch = encode(seen, shown, &options)?;
        let ids = values(&batch.categories[0])?;
        assert_eq!(ids, expected, "{options}");
    }
    Ok(())
}

#[test]
fn embeddings_are_as_wide_as_documented() -> TestResult {
    // min(50, round(1.6 n^0.56))
    for (cardinality, width) in [(2, 2), (10, 6), (100, 21), (1000, 50), (100_000, 50)] {
        let shape = InputShape {
            cardinalities: vec![cardinality],
            ..InputShape::default()
        };
        let mut params = Params::new(1, DType::F32, Device::Cpu);
        let linear = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
        assert_eq!(linear.width(), width, "{cardinality}");
    }
    Ok(())
}

#[test]
fn times_become_age_month_weekday_and_hour() -> TestResult {
    // 2024-02-29 18:30, a Thursday; 1999-12-31 00:00, a Friday. Cut-offs 2024-03-10 and 2000-01-10.
    let days = vec![19_782.0 + 18.5 / 24.0, 10_956.0, f32::NAN];
    let column = |sql| {
        vec![(
            "seen",
            ColumnKind::Timestamp,
            sql,
            ColumnData::Numeric(days.clone()),
        )]
    };
    let as_of = [19_792.0, 10_966.0, 19_792.0];
    for (sql, parts) in [("timestamp", 3), ("date", 2)] {
        let (seen, shown) = (
            table(&column(sql), 3, Some(&as_of))?,
            table(&column(sql), 3, Some(&as_of))?,
        );
        let batch = encode(seen, shown, &json!({"log_transform": "none"}))?;
        // Ages 9.23 and 10 days, and their median where the time is not known, with its flag.
        let ages = [10.0 - 18.5 / 24.0, 10.0, 10.0 - 9.25 / 24.0];
        let actual = values(&batch.numeric.narrow(1, 0, 1)?)?;
        // Times of day in single precision are three minutes apart.
        assert_close("age", &actual, &standardised(&ages, &ages), 2e-2, 2e-2);
        assert_eq!(values(&batch.numeric.narrow(1, 1, 1)?)?, [0.0, 0.0, 1.0]);
        assert_eq!(batch.categories.len(), parts);
        let expected = [[2.0, 12.0, 0.0], [4.0, 5.0, 0.0], [19.0, 1.0, 0.0]];
        for (ids, expected) in batch.categories.iter().zip(expected) {
            assert_eq!(values(ids)?, expected);
        }
    }
    Ok(())
}

#[test]
fn sequences_end_with_the_newest_step() -> TestResult {
    let column = |rows: &[Vec<f32>]| {
        let kind = ColumnKind::Sequence { channels: 2 };
        vec![("s", kind, "real[]", ColumnData::Sequence(rows.to_vec()))]
    };
    let nan = f32::NAN;
    let rows = vec![
        vec![1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0],
        vec![5.0, nan],
        vec![],
        vec![nan, nan, 6.0, 60.0],
    ];
    let (seen, shown) = (
        table(&column(&rows), 4, None)?,
        table(&column(&rows), 4, None)?,
    );
    let options = json!({"max_timesteps": 3, "log_transform": "none"});
    let batch = encode(seen, shown, &options)?;
    let sequence = batch.sequence.expect("a sequence");
    assert_eq!(sequence.values.dims(), [4, 3, 2]);
    let mask = values(&sequence.mask)?;
    let expected = [
        [1.0, 1.0, 1.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0],
    ];
    assert_eq!(mask, expected.concat());
    // Each channel by itself; padding and what is missing stay 0, the mean.
    let got = values(&sequence.values)?;
    let at = |row: usize, step: usize, channel: usize| got[(row * 3 + step) * 2 + channel];
    for (row, step, channel) in [(1, 2, 1), (1, 0, 0), (2, 2, 0), (3, 1, 1)] {
        assert_eq!(at(row, step, channel), 0.0, "{row} {step} {channel}");
    }
    // Equal distances stay equal, the order stays, and the oldest step of the first row is gone.
    let first: Vec<f64> = (0..3).map(|step| at(0, step, 0)).collect();
    assert!(first[0] < first[1] && first[1] < first[2], "{first:?}");
    assert_close(
        "steps",
        &[first[2] - first[1]],
        &[first[1] - first[0]],
        1e-4,
        0.0,
    );
    let ratio = (at(3, 2, 0) - at(0, 2, 0)) / (first[2] - first[1]);
    assert_close("6 is two steps above 4", &[ratio], &[2.0], 1e-4, 0.0);
    Ok(())
}
