//! Objective `bgnbd`: no network, but the same rows in and the same kind of version out. The law knows every day; labels of several horizons only say
//! which of them are put out, and judge them.

use super::fit::network::Predictions;
use super::law::{self, rows_of};
use super::purchase_features::{Columns, clean, horizon, training_customers};
use super::{Control, Phase, Progress, TrainedModel, state};
use crate::btyd::{self, BgNbd, Btyd, Customer, CustomerValues, GammaGamma};
use crate::data::{Horizons, Split, TrainingTable};
use crate::error::{Error, Result};
use crate::objective::horizons::ENDS;
use crate::onnx::{GraphBuilder, Value};
use crate::recipe::Recipe;
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
    let days = table.horizons().map_or(&[][..], Horizons::days);
    let horizon = days
        .last()
        .map_or_else(|| horizon(recipe), |&days| Ok(days.into()))?;
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

    let judged = law::judge(table, recipe, control, &columns.inputs, |rows| {
        predict(&model, table, &columns, rows, shorter(days))
    })?;

    control.progress(Progress::of(Phase::Exporting));
    let (onnx, mut schema) = law::assemble(&columns.inputs, days, |graph, raw| {
        let values = clean(graph, raw, columns.inputs.len());
        export(graph, &model, &values, shorter(days))
    });
    let train = rows_of(table, Split::Train);
    schema.state = state::fit(table, &train, None, Some(horizon));
    Ok(TrainedModel {
        onnx,
        schema,
        statistics: json!({"features": judged.features, "parameters": model, "spread": judged.spread}),
        metrics: judged.metrics,
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
    Ok(predict(&model, judged, &columns, &rows, &[])
        .value()
        .to_vec())
}

/// The horizons whose value is put out beside that of the longest.
fn shorter(days: &[f32]) -> &[f32] {
    days.split_last().map_or(&[], |(_, shorter)| shorter)
}

fn predict(
    model: &Btyd,
    table: &TrainingTable,
    columns: &Columns,
    rows: &[u32],
    shorter: &[f32],
) -> Predictions {
    let customers: Vec<Customer> = rows
        .iter()
        .map(|&row| columns.customer(table, row))
        .collect();
    let column = |of: &dyn Fn(&Customer) -> f64| {
        customers.iter().map(|c| of(c) as f32).collect::<Vec<f32>>()
    };
    let mut all = vec![
        ("ltv", column(&|c| model.expected_value(c))),
        (
            "purchase_probability",
            column(&|c| model.purchases.purchase_probability(c, model.horizon)),
        ),
    ];
    let ends = ENDS.into_iter().zip(shorter);
    all.extend(ends.map(|(name, &days)| {
        let until = column(&|c| model.expected_until(c, days.into()));
        (name, until)
    }));
    Predictions { columns: all }
}

/// The same in a graph. The values by the end of different horizons are approximated one by one: each is raised to the one before.
fn export(
    graph: &mut GraphBuilder,
    model: &Btyd,
    values: &CustomerValues,
    shorter: &[f32],
) -> Vec<(&'static str, Value)> {
    let mut outputs = btyd::export(graph, model, values);
    let mut before: Option<Value> = None;
    for (name, &days) in ENDS.into_iter().zip(shorter) {
        let mut value = btyd::export_until(graph, model, days.into(), values);
        if let Some(before) = &before {
            value = graph.op("Max", &[&value, before], &[]);
        }
        outputs.push((name, value.clone()));
        before = Some(value);
    }
    if let (Some(before), Some((_, longest))) = (&before, outputs.first_mut()) {
        *longest = graph.op("Max", &[&*longest, before], &[]);
    }
    outputs
}
