//! Objective `bgnbd`: no network, but the same rows in and the same kind of version out.

use super::finish::report;
use super::fit::network::Predictions;
use super::purchase_features::{Columns, clean, horizon, training_customers};
use super::{Control, Phase, Progress, TrainedModel, state};
use crate::btyd::{self, BgNbd, Btyd, Customer, GammaGamma};
use crate::data::{Split, TrainingTable};
use crate::error::{Error, Result};
use crate::metrics::{Customers, TotalRatio};
use crate::onnx::{Attribute, Axis, BATCH, ElementType, GraphBuilder, NUMERIC, Value};
use crate::preprocess::{Preprocessing, describe_values};
use crate::recipe::Recipe;
use crate::schema::Schema;
use serde_json::json;
use std::time::Instant;

/// More customers than this tell nothing new about seven parameters.
const MOST_FITTED: usize = 200_000;
/// As many are enough to see what it is worth.
const FITTED_TO_JUDGE: usize = 20_000;

pub fn train(
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
    let (onnx, mut schema) = assemble(&model, &columns)?;
    let train = rows_of(table, Split::Train);
    schema.state = state::fit(table, &train, None, Some(horizon));
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
pub fn values(fit: &TrainingTable, judged: &TrainingTable, recipe: &Recipe) -> Result<Vec<f32>> {
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

fn rows_of(table: &TrainingTable, split: Split) -> Vec<u32> {
    (0..table.rows() as u32)
        .filter(|&row| table.split[row as usize] == split)
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
        &[("axis", Attribute::Int(1))],
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
