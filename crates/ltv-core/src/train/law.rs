//! What objectives without a network have in common: a law of a few numbers, judged and stored like any version.

use super::finish::report;
use super::finish::spread::{Spread, Surprise};
use super::fit::network::Predictions;
use super::version::graph::public;
use super::{Control, Phase, Progress};
use crate::data::{Split, TrainingTable};
use crate::error::Result;
use crate::metrics::{Customers, TotalRatio};
use crate::onnx::{Attribute, Axis, BATCH, ElementType, GraphBuilder, NUMERIC, Value};
use crate::preprocess::{Preprocessing, describe_values};
use crate::recipe::Recipe;
use crate::schema::{FeatureColumn, Schema};
use serde_json::json;

pub fn rows_of(table: &TrainingTable, split: Split) -> Vec<u32> {
    (0..table.rows() as u32)
        .filter(|&row| table.split[row as usize] == split)
        .collect()
}

/// What the rows held out say, or those trained on where there are none.
pub struct Judged {
    /// Distributions of the inputs and of the predictions.
    pub features: Vec<serde_json::Value>,
    pub metrics: serde_json::Value,
    pub spread: Option<Spread>,
}

/// `predict` gives the predictions of rows.
pub fn judge(
    table: &TrainingTable,
    recipe: &Recipe,
    control: &dyn Control,
    inputs: &[FeatureColumn],
    predict: impl Fn(&[u32]) -> Predictions,
) -> Result<Judged> {
    control.progress(Progress::of(Phase::Validating));
    let train = rows_of(table, Split::Train);
    let (_, mut features) = Preprocessing::fit(table, &train, &recipe.options)?;
    features.retain(|feature| {
        inputs
            .iter()
            .any(|input| feature["name"] == input.name.as_str())
    });
    let held_out = rows_of(table, Split::Validation);
    let known = |rows: &[u32]| -> Vec<u32> {
        let is_known = |row: &&u32| !table.target()[**row as usize].is_nan();
        rows.iter().filter(is_known).copied().collect()
    };
    let (all, evaluated_on) = match known(&held_out).is_empty() {
        true => (train, "training"),
        false => (held_out, "validation"),
    };
    let judged = known(&all);
    let predictions = predict(&judged);
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
    if let Some(horizons) = table.horizons() {
        let of_all = report::by_horizon(horizons, &all, &predict(&all))?;
        metrics.insert("horizons".into(), of_all);
    }
    let mut spread = None;
    if evaluated_on != "training" {
        let value: Vec<f64> = predictions.value().iter().map(|&v| v.into()).collect();
        let ratio = TotalRatio::of(&value, &actual, &Customers::of(&customers));
        if let Some(remark) = report::remark_on_total(ratio, None) {
            control.notice(&remark);
        }
        let day = |row: u32| {
            table
                .as_of
                .as_ref()
                .map_or(0, |days| days[row as usize] as i32)
        };
        let rows = judged.iter().enumerate().map(|(place, &row)| Surprise {
            value: value[place],
            spent: actual[place],
            customer: customers[place],
            day: day(row),
        });
        spread = Spread::fit(rows.collect());
    }
    Ok(Judged {
        features,
        metrics: metrics.into(),
        spread,
    })
}

/// The graph of a law, finished: the inputs side by side, and what `export` makes of them. `days`: the ends of several horizons.
pub fn assemble(
    inputs: &[FeatureColumn],
    days: &[f32],
    export: impl FnOnce(&mut GraphBuilder, &Value) -> Vec<(&'static str, Value)>,
) -> (Vec<u8>, Schema) {
    let mut graph = GraphBuilder::new();
    let values: Vec<Value> = inputs
        .iter()
        .map(|input| graph.input(&input.name, ElementType::Float, &[BATCH, Axis::Fixed(1)]))
        .collect();
    let values: Vec<&Value> = values.iter().collect();
    let raw = graph.named_op(
        "Concat",
        "",
        &values,
        NUMERIC,
        &[("axis", Attribute::Int(1))],
    );
    let outputs = export(&mut graph, &raw);
    let mut names = Vec::with_capacity(outputs.len());
    for (name, value) in &outputs {
        let name = public(name, days);
        graph.output(&name, value, ElementType::Float, &[BATCH]);
        names.push(name);
    }
    let mut schema = Schema::new(inputs.to_vec(), names, None);
    schema.horizons = days.to_vec();
    let onnx = graph.finish(&[("pg_ltv.schema", schema.to_json().to_string())]);
    (onnx, schema)
}
