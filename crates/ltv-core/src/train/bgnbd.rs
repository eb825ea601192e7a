//! Objective `bgnbd`: no network, but the same rows in and the same kind of version out.

use super::fit::network::Predictions;
use super::law::{self, rows_of};
use super::purchase_features::{Columns, clean, horizon, training_customers};
use super::{Control, Phase, Progress, TrainedModel, state};
use crate::btyd::{self, BgNbd, Btyd, Customer, GammaGamma};
use crate::data::{Split, TrainingTable};
use crate::error::{Error, Result};
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
    let horizon = horizon(recipe)?;
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
        predict(&model, table, &columns, rows)
    })?;

    control.progress(Progress::of(Phase::Exporting));
    let (onnx, mut schema) = law::assemble(&columns.inputs, |graph, raw| {
        let values = clean(graph, raw, columns.inputs.len());
        btyd::export(graph, &model, &values)
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
    Ok(predict(&model, judged, &columns, &rows).value().to_vec())
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
