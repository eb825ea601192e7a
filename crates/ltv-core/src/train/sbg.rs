//! Objective `sbg`: customers under contract, who pay each period until they do not renew.

use super::fit::network::Predictions;
use super::law::{self, rows_of};
use super::purchase_features::{export_known, latest};
use super::{Control, Phase, Progress, TrainedModel};
use crate::btyd::{Contracts, Sbg, flat};
use crate::data::{Split, TrainingTable};
use crate::error::{Error, Result};
use crate::onnx::{Attribute, ElementType, GraphBuilder, Value};
use crate::recipe::Recipe;
use crate::schema::FeatureColumn;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

const PERIODS: &str = "periods";
const CHURNED: &str = "churned";
const VALUE: &str = "value_per_period";
const NAMES: [&str; 3] = [PERIODS, CHURNED, VALUE];

/// More renewals than these tell nothing new.
const MOST_PERIODS: u32 = 1200;
/// Larger amounts are taken for this, so that no input overflows.
const MOST_VALUE: f32 = 1e12;

/// The features in the raw matrix, in the order of [`NAMES`].
struct Columns {
    inputs: Vec<FeatureColumn>,
    position: [usize; 3],
}

/// A customer as the law sees them.
struct Contract {
    periods: f64,
    /// From 0, still there, to 1, gone.
    churned: f64,
    value: f64,
}

impl Columns {
    fn find(table: &TrainingTable) -> Result<Self> {
        let mut inputs = Vec::new();
        let mut position = [0; 3];
        for (name, position) in NAMES.into_iter().zip(&mut position) {
            let Some((input, place)) = table.numeric(name) else {
                return Err(Error::invalid(format!(
                    "objective \"sbg\" needs a numeric feature \"{name}\""
                ))
                .detail(format!(
                    "It reads {PERIODS}, how often a customer has renewed, {CHURNED}, 1 where the contract was not renewed after that and 0 where it runs, and {VALUE}, what is paid for each period."
                ))
                .hint("Give the columns in a query, for example churned::int AS churned."));
            };
            inputs.push(input.clone());
            *position = place;
        }
        Ok(Self { inputs, position })
    }

    /// The same cleaning as in the graph: what is missing counts as 0.
    fn contract(&self, table: &TrainingTable, row: u32) -> Contract {
        let start = row as usize * table.width;
        let at = |index: usize, most: f32| {
            let value = table.matrix[start + self.position[index]];
            match value.is_finite() {
                true => f64::from(value.clamp(0.0, most)),
                false => 0.0,
            }
        };
        Contract {
            periods: at(0, MOST_PERIODS as f32),
            churned: at(1, 1.0),
            value: at(2, MOST_VALUE),
        }
    }
}

/// What the law says of whole numbers of renewals, as one table for Rust and graph.
struct Expected {
    /// Renewals in the horizon and the probability of the next one, for 0, 1, 2 ... renewals so far.
    rows: Vec<[f64; 2]>,
}

impl Expected {
    fn new(model: &Sbg, ahead: f64) -> Self {
        let row = |periods: u32| {
            let periods = f64::from(periods);
            [
                model.expected_renewals(periods, ahead),
                model.renewal(periods),
            ]
        };
        Self {
            rows: (0..=MOST_PERIODS + 1).map(row).collect(),
        }
    }

    /// Straight between whole numbers.
    fn at(&self, periods: f64) -> [f64; 2] {
        let whole = periods.floor();
        let [low, high] = [0, 1].map(|next| self.rows[whole as usize + next]);
        [0, 1].map(|index| low[index] + (high[index] - low[index]) * (periods - whole))
    }
}

pub fn train(
    table: &TrainingTable,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let started = Instant::now();
    let columns = Columns::find(table)?;
    let period = recipe.options.period;
    let horizon = recipe.window("objective \"sbg\"", "how long customers stay", 365)?;
    control.progress(Progress::of(Phase::Training));
    let model = Sbg::fit(&contracts(table, &columns))?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }
    let expected = Expected::new(&model, horizon / period);
    let judged = law::judge(table, recipe, control, &columns.inputs, |rows| {
        predict(&expected, table, &columns, rows)
    })?;
    control.progress(Progress::of(Phase::Exporting));
    let (onnx, schema) = law::assemble(&columns.inputs, &[], |graph, raw| {
        export(graph, &expected, raw)
    });
    Ok(TrainedModel {
        onnx,
        schema,
        statistics: json!({
            "features": judged.features,
            "parameters": {"alpha": model.alpha, "beta": model.beta, "period": period, "horizon": horizon},
            "spread": judged.spread,
        }),
        metrics: judged.metrics,
        history: json!({"epochs": []}),
        weights: Vec::new(),
        n_rows: table.rows(),
        seconds: started.elapsed().as_secs_f64(),
        chosen: None,
    })
}

/// Customers by history; of several cut-offs the latest, so that each counts once.
fn contracts(table: &TrainingTable, columns: &Columns) -> Vec<Contracts> {
    let mut groups: BTreeMap<(u32, bool), f64> = BTreeMap::new();
    for row in latest(table, rows_of(table, Split::Train)) {
        let contract = columns.contract(table, row);
        let history = (contract.periods.round() as u32, contract.churned >= 0.5);
        *groups.entry(history).or_default() += 1.0;
    }
    let groups = groups.into_iter();
    groups
        .map(|((periods, churned), customers)| Contracts {
            periods,
            churned,
            customers,
        })
        .collect()
}

fn predict(
    expected: &Expected,
    table: &TrainingTable,
    columns: &Columns,
    rows: &[u32],
) -> Predictions {
    let (mut ltv, mut probability) = (Vec::new(), Vec::new());
    for &row in rows {
        let contract = columns.contract(table, row);
        let [renewals, next] = expected.at(contract.periods);
        let there = 1.0 - contract.churned;
        ltv.push((there * contract.value * renewals) as f32);
        probability.push((there * next) as f32);
    }
    Predictions {
        columns: vec![("ltv", ltv), ("purchase_probability", probability)],
    }
}

/// [`predict`] inside a graph.
fn export(
    graph: &mut GraphBuilder,
    expected: &Expected,
    raw: &Value,
) -> Vec<(&'static str, Value)> {
    let known = export_known(graph, raw);
    let known = graph.relu(&known);
    let limits = graph.floats(&[MOST_PERIODS as f32, 1.0, MOST_VALUE], &[1, NAMES.len()]);
    let known = graph.op("Min", &[&known, &limits], &[]);
    let known = graph.cast(&known, ElementType::Double);
    let [periods, churned, value] = [0, 1, 2].map(|index| graph.column(&known, index));
    let whole = graph.op("Floor", &[&periods], &[]);
    let between = graph.sub(&periods, &whole);
    let place = graph.cast(&whole, ElementType::Int64);
    let one = graph.double(1.0);
    let there = graph.sub(&one, &churned);
    let mut at = |column: usize| {
        let of = |next: usize| -> Vec<f64> {
            let rows = &expected.rows[next..];
            rows.iter().map(|row| row[column]).collect()
        };
        let [low, high] = [0, 1].map(|next| {
            let values = of(next);
            let table = graph.doubles(&values, &[values.len()]);
            graph.op("Gather", &[&table, &place], &[("axis", Attribute::Int(0))])
        });
        let rise = graph.sub(&high, &low);
        let part = graph.mul(&rise, &between);
        let expected = graph.add(&low, &part);
        graph.mul(&there, &expected)
    };
    let (renewals, probability) = (at(0), at(1));
    let ltv = graph.mul(&renewals, &value);
    [("ltv", ltv), ("purchase_probability", probability)]
        .into_iter()
        .map(|(name, value)| (name, flat(graph, &value)))
        .collect()
}
