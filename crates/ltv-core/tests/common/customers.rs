//! Customers with columns of every kind, as training rows and as inputs of a stored graph.
#![allow(dead_code)]

use super::common::{TestResult, environment};
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::onnx::Specialised;
use ltv_core::params::standard_normal;
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{TrainedModel, predict};
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

pub struct Customers {
    pub inputs: Vec<FeatureColumn>,
    pub columns: Vec<ColumnData>,
    pub target: Vec<f64>,
    pub split: Vec<Split>,
    pub as_of: Option<Vec<f32>>,
}

/// Which columns the customers have.
#[derive(Clone, Copy, Default)]
pub struct Kinds {
    pub numeric: bool,
    pub category: bool,
    pub timestamp: bool,
    pub vector: bool,
    pub sequence: bool,
    pub as_of: bool,
}

pub const FLAT: Kinds = Kinds {
    numeric: true,
    category: true,
    timestamp: true,
    vector: true,
    sequence: false,
    as_of: true,
};

impl Customers {
    /// Spend depends on every column, so that a model has something to learn. One value in ten is missing.
    pub fn random(rows: usize, kinds: Kinds, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut inputs = Vec::new();
        let mut columns = Vec::new();
        let mut signal = vec![0.0; rows];
        if kinds.numeric {
            for name in ["recency", "monetary", "constant", "unknown"] {
                let values = (0..rows)
                    .map(|row| {
                        let normal = standard_normal(&mut rng);
                        signal[row] += normal / 2.0;
                        match name {
                            "constant" => 3.0,
                            "unknown" => f32::NAN,
                            "monetary" => (normal * 2.0).exp() as f32,
                            _ if rng.random_bool(0.1) => f32::NAN,
                            _ => normal as f32 * 100.0 + 250.0,
                        }
                    })
                    .collect();
                inputs.push(FeatureColumn::new(
                    name,
                    ColumnKind::Numeric,
                    "double precision",
                ));
                columns.push(ColumnData::Numeric(values));
            }
        }
        if kinds.category {
            let values = (0..rows)
                .map(|row| {
                    let country = rng.random_range(0..6_u32);
                    signal[row] += f64::from(country) / 4.0;
                    (country > 0).then(|| format!("country {country}"))
                })
                .collect();
            inputs.push(FeatureColumn::new(
                "country",
                ColumnKind::Categorical,
                "text",
            ));
            columns.push(ColumnData::Categorical(values));
        }
        if kinds.timestamp {
            for (name, sql_type) in [
                ("first_order", "date"),
                ("last_seen", "timestamp without time zone"),
            ] {
                let values = (0..rows)
                    .map(|row| {
                        let age = rng.random_range(0.0..900.0_f32);
                        signal[row] -= f64::from(age) / 900.0;
                        match sql_type {
                            _ if rng.random_bool(0.1) => f32::NAN,
                            "date" => (19_000.0 - age).floor(),
                            _ => 19_000.0 - age,
                        }
                    })
                    .collect();
                inputs.push(FeatureColumn::new(name, ColumnKind::Timestamp, sql_type));
                columns.push(ColumnData::Numeric(values));
            }
        }
        if kinds.vector {
            let values = (0..rows * 3)
                .map(|element| {
                    let normal = standard_normal(&mut rng);
                    signal[element / 3] += normal / 3.0;
                    if rng.random_bool(0.05) {
                        f32::NAN
                    } else {
                        normal as f32
                    }
                })
                .collect();
            inputs.push(FeatureColumn::new(
                "parts",
                ColumnKind::Vector { len: 3 },
                "real[]",
            ));
            columns.push(ColumnData::Vector(values));
        }
        if kinds.sequence {
            let values = (0..rows)
                .map(|row| {
                    let steps = rng.random_range(0..9_usize);
                    let mut values = Vec::new();
                    for step in 0..steps {
                        let spend = standard_normal(&mut rng).exp();
                        signal[row] += spend / 4.0 * (step + 1) as f64 / steps as f64;
                        values.push(spend as f32);
                        values.push(if rng.random_bool(0.1) {
                            f32::NAN
                        } else {
                            step as f32
                        });
                    }
                    values
                })
                .collect();
            inputs.push(FeatureColumn::new(
                "spend",
                ColumnKind::Sequence { channels: 2 },
                "real[]",
            ));
            columns.push(ColumnData::Sequence(values));
        }
        let target = signal
            .iter()
            .map(|&z| {
                let pays = rng.random_bool(1.0 / (1.0 + (-z).exp()));
                let spend = (2.0 + z / 2.0 + standard_normal(&mut rng) / 2.0).exp();
                if pays { spend } else { 0.0 }
            })
            .collect();
        let split = (0..rows)
            .map(|row| {
                if row % 5 == 0 {
                    Split::Validation
                } else {
                    Split::Train
                }
            })
            .collect();
        let as_of = kinds
            .as_of
            .then(|| (0..rows).map(|row| 19_001.0 + (row % 3) as f32).collect());
        Self {
            inputs,
            columns,
            target,
            split,
            as_of,
        }
    }

    /// Histories as BG/NBD reads them, at two cut-offs.
    pub fn buyers(rows: usize, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let names = ["frequency", "recency", "t", "monetary_mean", "first_amount"];
        let mut columns = vec![Vec::with_capacity(rows); names.len()];
        let mut target = Vec::with_capacity(rows);
        for _ in 0..rows {
            let age = rng.random_range(30.0..300.0_f64);
            let rate = 0.02 * (standard_normal(&mut rng) / 2.0).exp();
            let spend = 30.0 * (standard_normal(&mut rng) / 2.0).exp();
            let lifetime = age.min(-200.0 * (1.0 - rng.random::<f64>()).ln());
            let mut last = 0.0;
            let mut frequency = 0.0;
            loop {
                let next = last - (1.0 - rng.random::<f64>()).ln() / rate;
                if next > lifetime {
                    break;
                }
                last = next;
                frequency += 1.0;
            }
            let first = spend * rng.random_range(0.5..1.5);
            let mean = (first + spend * frequency) / (frequency + 1.0);
            let values = [frequency, age - last, age, mean, first];
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value as f32);
            }
            let alive = lifetime >= age && rng.random_bool(0.7);
            target.push(if alive {
                (spend * rate * 90.0 * rng.random_range(0.0..2.0)).max(0.0)
            } else {
                0.0
            });
        }
        Self {
            inputs: names
                .map(|name| FeatureColumn::new(name, ColumnKind::Numeric, "double precision"))
                .to_vec(),
            columns: columns.into_iter().map(ColumnData::Numeric).collect(),
            target,
            split: (0..rows)
                .map(|row| {
                    if row % 5 == 0 {
                        Split::Validation
                    } else {
                        Split::Train
                    }
                })
                .collect(),
            as_of: Some(
                (0..rows)
                    .map(|row| 19_000.0 + (row % 2 * 30) as f32)
                    .collect(),
            ),
        }
    }

    /// Strange values in every column: missing, infinite, huge, tiny, never seen.
    pub fn extreme(&self) -> Self {
        let strange = [
            0.0,
            -0.0,
            1.0,
            -1e-30,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            1e10,
            -1e10,
            -700_000.5,
            3_000_000.0,
            16_777_217.0,
        ];
        let rows = strange.len() * 4;
        let value = |row: usize, column: usize| strange[(row * (column + 1) + row / 15) % 15];
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| match column {
                ColumnData::Numeric(_) => {
                    ColumnData::Numeric((0..rows).map(|row| value(row, index)).collect())
                }
                ColumnData::Categorical(_) => ColumnData::Categorical(
                    (0..rows)
                        .map(|row| {
                            ["", "country 1", "Atlantis", " ", "country 10", "ЯΩ"]
                                .get(row % 7)
                                .map(|text| (*text).to_owned())
                        })
                        .collect(),
                ),
                ColumnData::Vector(_) => {
                    ColumnData::Vector((0..rows * 3).map(|i| value(i / 3, i % 3)).collect())
                }
                ColumnData::Sequence(_) => ColumnData::Sequence(
                    (0..rows)
                        .map(|row| (0..row % 20 * 2).map(|i| value(row, i)).collect())
                        .collect(),
                ),
            })
            .collect();
        Self {
            inputs: self.inputs.clone(),
            columns,
            target: vec![0.0; rows],
            split: vec![Split::Train; rows],
            as_of: self
                .as_of
                .is_some()
                .then(|| (0..rows).map(|row| value(row, 2)).collect()),
        }
    }

    pub fn rows(&self) -> usize {
        self.target.len()
    }

    pub fn table(&self) -> TrainingTable {
        TrainingTable::from_columns(
            self.inputs.clone(),
            &self.columns,
            &self.target,
            &self.split,
            self.as_of.as_deref(),
        )
        .expect("the columns fit together")
    }

    /// The inputs of a stored graph by name, as the scorer feeds them.
    pub fn raw_inputs(&self) -> TestResult<HashMap<String, SessionInputValue<'static>>> {
        environment();
        let rows = self.rows();
        let mut values: HashMap<String, SessionInputValue<'static>> = HashMap::new();
        for (input, column) in self.inputs.iter().zip(&self.columns) {
            let value: SessionInputValue<'static> = match (column, input.kind) {
                (ColumnData::Numeric(data), _) => {
                    Tensor::from_array(([rows, 1], data.clone()))?.into()
                }
                (ColumnData::Categorical(data), _) => {
                    let words: Vec<String> = data
                        .iter()
                        .map(|word| word.clone().unwrap_or_default())
                        .collect();
                    Tensor::from_string_array(([rows, 1], words.as_slice()))?.into()
                }
                (ColumnData::Vector(data), _) => {
                    Tensor::from_array(([rows, data.len() / rows], data.clone()))?.into()
                }
                (ColumnData::Sequence(data), ColumnKind::Sequence { channels }) => {
                    let steps = data
                        .iter()
                        .map(|row| row.len() / channels)
                        .max()
                        .unwrap_or(0);
                    let mut padded = Vec::with_capacity(rows * steps * channels);
                    for row in data {
                        padded.extend(std::iter::repeat_n(f32::NAN, steps * channels - row.len()));
                        padded.extend(row);
                    }
                    Tensor::from_array(([rows, steps, channels], padded))?.into()
                }
                _ => return Err("a column of the wrong kind".into()),
            };
            values.insert(input.name.clone(), value);
        }
        if let Some(days) = &self.as_of {
            values.insert(
                "as_of".to_owned(),
                Tensor::from_array(([rows, 1], days.clone()))?.into(),
            );
        }
        Ok(values)
    }
}

/// The inputs of a specialised graph, from the parts it says it is made of.
pub fn specialised_inputs(
    customers: &Customers,
    graph: &Specialised,
) -> TestResult<HashMap<String, SessionInputValue<'static>>> {
    let mut values = customers.raw_inputs()?;
    let rows = customers.rows();
    let column = |input: &str| {
        customers
            .inputs
            .iter()
            .position(|column| column.name == input)
            .map(|index| &customers.columns[index])
    };
    if let Some(last) = graph.numeric.last() {
        let width = last.offset + last.width;
        let mut matrix = vec![0.0; rows * width];
        for part in &graph.numeric {
            let data = match column(&part.input) {
                Some(ColumnData::Numeric(data) | ColumnData::Vector(data)) => data,
                _ => customers.as_of.as_ref().ok_or("no such column")?,
            };
            for row in 0..rows {
                matrix[row * width + part.offset..][..part.width]
                    .copy_from_slice(&data[row * part.width..][..part.width]);
            }
        }
        values.insert(
            "ltv.numeric".to_owned(),
            Tensor::from_array(([rows, width], matrix))?.into(),
        );
    }
    for part in &graph.categories {
        let Some(ColumnData::Categorical(words)) = column(&part.input) else {
            return Err("no such category".into());
        };
        let id = |word: &Option<String>| {
            let word = word.as_deref().unwrap_or_default();
            part.ids
                .iter()
                .find(|(key, _)| key == word)
                .map_or(part.unseen, |(_, id)| *id)
        };
        let ids: Vec<i64> = words.iter().map(id).collect();
        values.insert(
            part.name.clone(),
            Tensor::from_array(([rows, 1], ids))?.into(),
        );
    }
    Ok(values)
}

/// Runs a graph on inputs by name; those it does not have are left out.
pub fn run(
    onnx: &[u8],
    mut values: HashMap<String, SessionInputValue<'static>>,
) -> TestResult<HashMap<String, Vec<f32>>> {
    let mut session = Session::builder(environment())?
        .with_intra_threads(1)
        .map_err(|error| error.to_string())?
        .commit_from_memory(onnx)?;
    let names: Vec<String> = session
        .inputs()
        .iter()
        .map(|input| input.name().to_owned())
        .collect();
    let mut inputs = Vec::new();
    for name in names {
        let value = values.remove(&name).ok_or(format!("no input {name}"))?;
        inputs.push((name, value));
    }
    let outputs = session.run(inputs)?;
    let mut result = HashMap::new();
    for (name, value) in outputs.iter() {
        let (shape, data) = value.try_extract_tensor::<f32>()?;
        assert_eq!(shape.len(), 1, "output {name}");
        result.insert(name.to_owned(), data.to_vec());
    }
    Ok(result)
}

/// The graph on raw values against the network itself.
pub fn assert_parity(model: &TrainedModel, customers: &Customers) -> TestResult {
    let expected = predict(&model.weights, customers.table())?;
    let actual = run(&model.onnx, customers.raw_inputs()?)?;
    for (name, expected) in expected {
        for (row, (e, a)) in expected.iter().zip(&actual[name]).enumerate() {
            assert!(e.is_finite() && a.is_finite(), "{name}[{row}]: {e}, {a}");
            let gap = (e - a).abs();
            // mu is a logarithm: what counts is its absolute error.
            let scale = if name == "mu" { 1.0 } else { 1e-3 };
            assert!(
                gap <= 1e-5 * e.abs().max(scale),
                "{name}[{row}]: {a} instead of {e}"
            );
        }
    }
    Ok(())
}
