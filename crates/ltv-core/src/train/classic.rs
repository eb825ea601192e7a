//! Objective `bgnbd`: no network, but the same rows in and the same kind of version out.

use super::network::Predictions;
use super::{Control, Phase, Progress, TrainedModel, report};
use crate::btyd::{self, BgNbd, Btyd, Customer, CustomerValues, GammaGamma};
use crate::data::{Split, TrainingTable};
use crate::error::{Error, Result};
use crate::metrics::{Customers, TotalRatio};
use crate::onnx::{Axis, BATCH, ElementType, GraphBuilder, NUMERIC, Value};
use crate::preprocess::{Preprocessing, describe_values};
use crate::recipe::Recipe;
use crate::schema::{FeatureColumn, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Instant;

/// More customers than this tell nothing new about seven parameters.
const MOST_FITTED: usize = 200_000;
/// As many are enough to see what it is worth.
const FITTED_TO_JUDGE: usize = 20_000;

/// The features it reads, by the names that `ltv_create_features` gives them. The last is optional: with it the mean
/// value of the repeat purchases is known exactly, without it that of all purchases stands in.
const REQUIRED: [&str; 4] = ["frequency", "recency", "t", "monetary_mean"];
const OPTIONAL: &str = "first_amount";

/// Larger values are taken for these, so that no input overflows: purchases, days, days, money, money.
const LIMITS: [f32; 5] = [1e6, 1e6, 1e6, 1e12, 1e12];

pub(super) fn train(
    table: &TrainingTable,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let started = Instant::now();
    let columns = Columns::find(table)?;
    let horizon = horizon(recipe)?;
    let (_, mut features) =
        Preprocessing::fit(table, &rows_of(table, Split::Train), &recipe.options)?;
    features.retain(|feature| {
        columns
            .inputs
            .iter()
            .any(|input| feature["name"] == input.name.as_str())
    });

    control.progress(Progress::of(Phase::Training));
    let train = rows_of(table, Split::Train);
    let customers = training_customers(table, &columns, train, MOST_FITTED);
    let purchases = BgNbd::fit(&customers)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }
    let model = Btyd {
        purchases,
        spend: GammaGamma::fit(&customers)?,
        horizon,
    };

    control.progress(Progress::of(Phase::Validating));
    let held_out = rows_of(table, Split::Validation);
    let evaluated_on = if held_out.is_empty() {
        "training"
    } else {
        "validation"
    };
    let judged = if held_out.is_empty() {
        rows_of(table, Split::Train)
    } else {
        held_out
    };
    let predictions = predict(&model, table, &columns, &judged);
    features.push(describe_values("ltv", "prediction", predictions.value(), 0));
    let actual: Vec<f64> = judged
        .iter()
        .map(|&row| f64::from(table.target()[row as usize]))
        .collect();
    let customers: Vec<u32> = judged
        .iter()
        .map(|&row| table.groups[row as usize])
        .collect();
    let mut metrics = report::evaluate(&actual, &predictions, &customers, None, 0.0)?;
    metrics.insert("evaluated_on".into(), json!(evaluated_on));

    if evaluated_on != "training" {
        let value: Vec<f64> = predictions.value().iter().map(|&v| v.into()).collect();
        let ratio = TotalRatio::of(&value, &actual, &Customers::of(&customers));
        if let Some(remark) = report::remark_on_total(ratio, None) {
            control.notice(&remark);
        }
    }

    control.progress(Progress::of(Phase::Exporting));
    let (onnx, schema) = assemble(&model, &columns)?;
    Ok(TrainedModel {
        onnx,
        schema,
        statistics: json!({"features": features, "parameters": model}),
        metrics: metrics.into(),
        history: json!({"epochs": []}),
        weights: Vec::new(),
        n_rows: table.rows(),
        seconds: started.elapsed().as_secs_f64(),
        chosen: None,
    })
}

/// What BG/NBD fitted on one table expects of the customers of another.
pub(super) fn values(
    fit: &TrainingTable,
    judged: &TrainingTable,
    recipe: &Recipe,
) -> Result<Vec<f32>> {
    let columns = Columns::find(fit)?;
    let all = (0..fit.rows() as u32).collect();
    let customers = training_customers(fit, &columns, all, FITTED_TO_JUDGE);
    let model = Btyd {
        purchases: BgNbd::fit(&customers)?,
        spend: GammaGamma::fit(&customers)?,
        horizon: horizon(recipe)?,
    };
    let rows: Vec<u32> = (0..judged.rows() as u32).collect();
    Ok(predict(&model, judged, &columns, &rows).value().to_vec())
}

pub(super) fn horizon(recipe: &Recipe) -> Result<f64> {
    recipe.options.horizon.ok_or_else(|| {
        Error::invalid("BG/NBD needs the option \"horizon\"")
            .detail("It learns how often customers buy, not how long the prediction window is.")
            .hint("Give its length in days, for example options => '{\"horizon\": 90}'; a relation made by ltv_create_features brings it along.")
    })
}

/// Where the features lie in the raw matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Columns {
    inputs: Vec<FeatureColumn>,
    position: Vec<usize>,
}

impl Columns {
    pub fn find(table: &TrainingTable) -> Result<Self> {
        Self::named(table, &[OPTIONAL])
    }

    /// Without the first amount: the mean value is that of all purchases.
    pub fn of_all_purchases(table: &TrainingTable) -> Result<Self> {
        Self::named(table, &[])
    }

    fn named(table: &TrainingTable, optional: &[&str]) -> Result<Self> {
        let mut found = Self {
            inputs: Vec::new(),
            position: Vec::new(),
        };
        for &name in REQUIRED.iter().chain(optional) {
            match table.numeric(name) {
                Some((input, position)) => {
                    found.inputs.push(input.clone());
                    found.position.push(position);
                }
                None if optional.contains(&name) => {}
                None => {
                    return Err(Error::invalid(format!(
                        "objective \"bgnbd\" needs a numeric feature \"{name}\""
                    ))
                    .detail(format!(
                        "It reads the features {} and, where there is one, {OPTIONAL}.",
                        REQUIRED.join(", ")
                    ))
                    .hint("ltv_create_features makes all of them."));
                }
            }
        }
        Ok(found)
    }

    /// The same cleaning as in the graph: what is missing counts as 0, times lie in order.
    pub fn customer(&self, table: &TrainingTable, row: u32) -> Customer {
        let start = row as usize * table.width;
        let at = |index: usize| {
            let value = self
                .position
                .get(index)
                .map_or(f32::NAN, |&column| table.matrix[start + column]);
            if value.is_finite() {
                f64::from(value.clamp(0.0, LIMITS[index]))
            } else {
                0.0
            }
        };
        let (frequency, age, mean) = (at(0), at(2), at(3));
        let recency = if frequency > 0.0 {
            (age - at(1)).max(0.0)
        } else {
            0.0
        };
        let monetary = if self.position.len() > REQUIRED.len() && frequency > 0.0 {
            ((mean * (frequency + 1.0) - at(4)) / frequency).max(0.0)
        } else {
            mean
        };
        Customer {
            frequency,
            recency,
            age,
            monetary,
        }
    }
}

/// [`Columns::customer`] inside a graph whose raw matrix holds other columns as well.
pub(super) fn customers(
    graph: &mut GraphBuilder,
    columns: &Columns,
    raw: &Value,
) -> CustomerValues {
    let positions: Vec<i64> = columns.position.iter().map(|&p| p as i64).collect();
    let index = graph.ints(&positions, &[positions.len()]);
    let axis = [("axis", crate::onnx::Attribute::Int(1))];
    let raw = graph.op("Gather", &[raw, &index], &axis);
    clean(graph, &raw, positions.len())
}

fn rows_of(table: &TrainingTable, split: Split) -> Vec<u32> {
    (0..table.rows() as u32)
        .filter(|&row| table.split[row as usize] == split)
        .collect()
}

/// Of the latest cut-off only, where there are several: each customer once, and the youngest knowledge.
pub(super) fn training_customers(
    table: &TrainingTable,
    columns: &Columns,
    mut rows: Vec<u32>,
    most: usize,
) -> Vec<Customer> {
    if let Some(days) = &table.as_of {
        let latest = days.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        rows.retain(|&row| days[row as usize] == latest);
    }
    let step = rows.len().div_ceil(most).max(1);
    rows.iter()
        .step_by(step)
        .map(|&row| columns.customer(table, row))
        .collect()
}

fn predict(model: &Btyd, table: &TrainingTable, columns: &Columns, rows: &[u32]) -> Predictions {
    let customers: Vec<Customer> = rows
        .iter()
        .map(|&row| columns.customer(table, row))
        .collect();
    let column = |of: &dyn Fn(&Customer) -> f64| {
        customers.iter().map(|c| of(c) as f32).collect::<Vec<f32>>()
    };
    Predictions {
        columns: vec![
            ("ltv", column(&|c| model.expected_value(c))),
            (
                "purchase_probability",
                column(&|c| model.purchases.purchase_probability(c, model.horizon)),
            ),
        ],
    }
}

fn assemble(model: &Btyd, columns: &Columns) -> Result<(Vec<u8>, Schema)> {
    let mut graph = GraphBuilder::new();
    let inputs: Vec<Value> = columns
        .inputs
        .iter()
        .map(|input| graph.input(&input.name, ElementType::Float, &[BATCH, Axis::Fixed(1)]))
        .collect();
    let inputs: Vec<&Value> = inputs.iter().collect();
    let raw = graph.named_op(
        "Concat",
        "",
        &inputs,
        NUMERIC,
        &[("axis", crate::onnx::Attribute::Int(1))],
    );
    let values = clean(&mut graph, &raw, columns.inputs.len());
    let outputs = btyd::export(&mut graph, model, &values);
    for (name, value) in &outputs {
        graph.output(name, value, ElementType::Float, &[BATCH]);
    }
    let names = outputs.iter().map(|(name, _)| (*name).to_owned()).collect();
    let schema = Schema::new(columns.inputs.clone(), names, None);
    let onnx = graph.finish(&[("pg_ltv.schema", schema.to_json().to_string())]);
    Ok((onnx, schema))
}

/// [`Columns::customer`] inside the graph.
fn clean(graph: &mut GraphBuilder, raw: &Value, width: usize) -> CustomerValues {
    let zero = graph.float(0.0);
    let finite = graph.is_finite(raw);
    let known = graph.select(&finite, raw, &zero);
    let known = graph.max(&known, 0.0);
    let limits = graph.floats(&LIMITS[..width], &[1, width]);
    let known = graph.op("Min", &[&known, &limits], &[]);
    let column = |graph: &mut GraphBuilder, index: i64| graph.slice(&known, 1, index, index + 1);
    let frequency = column(graph, 0);
    let silence = column(graph, 1);
    let age = column(graph, 2);
    let mean = column(graph, 3);
    let repeat = graph.op("Greater", &[&frequency, &zero], &[]);
    let since_first = graph.sub(&age, &silence);
    let since_first = graph.max(&since_first, 0.0);
    let recency = graph.select(&repeat, &since_first, &zero);
    let monetary = if width > REQUIRED.len() {
        let first = column(graph, 4);
        let one = graph.float(1.0);
        let purchases = graph.add(&frequency, &one);
        let total = graph.mul(&mean, &purchases);
        let rest = graph.sub(&total, &first);
        let divisor = graph.select(&repeat, &frequency, &one);
        let average = graph.div(&rest, &divisor);
        let average = graph.max(&average, 0.0);
        graph.select(&repeat, &average, &mean)
    } else {
        mean
    };
    CustomerValues {
        frequency,
        recency,
        age,
        monetary,
    }
}
