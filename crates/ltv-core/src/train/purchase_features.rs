//! The features of purchase histories that BG/NBD and MBG/NBD read, as customers in Rust and as columns of a graph.

use crate::btyd::{self, Customer, CustomerValues};
use crate::data::TrainingTable;
use crate::error::{Error, Result};
use crate::onnx::{GraphBuilder, Value};
use crate::recipe::Recipe;
use crate::schema::FeatureColumn;
use serde::{Deserialize, Serialize};

/// The features it reads, by the names that `ltv_create_features` gives them. The last is optional: with it the mean
/// value of the repeat purchases is known exactly, without it that of all purchases stands in.
const REQUIRED: [&str; 4] = ["frequency", "recency", "t", "monetary_mean"];
/// Of these, how many tell when somebody bought.
const TIMES: usize = 3;
const OPTIONAL: &str = "first_amount";

/// Larger values are taken for these, so that no input overflows: purchases, days, days, money, money.
const LIMITS: [f32; 5] = [1e6, 1e6, 1e6, 1e12, 1e12];

pub fn horizon(recipe: &Recipe) -> Result<f64> {
    recipe.window("BG/NBD", "how often customers buy", 90)
}

/// Where the features lie in the raw matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    pub inputs: Vec<FeatureColumn>,
    position: Vec<usize>,
}

impl Columns {
    pub fn find(table: &TrainingTable) -> Result<Self> {
        Self::named(table, &REQUIRED, &[OPTIONAL])
    }

    /// Without the first amount: the mean value is that of all purchases.
    pub fn of_all_purchases(table: &TrainingTable) -> Result<Self> {
        Self::named(table, &REQUIRED, &[])
    }

    /// When somebody bought, and not for how much.
    pub fn of_times(table: &TrainingTable) -> Result<Self> {
        Self::named(table, &REQUIRED[..TIMES], &[])
    }

    fn named(table: &TrainingTable, required: &[&str], optional: &[&str]) -> Result<Self> {
        let mut found = Self {
            inputs: Vec::new(),
            position: Vec::new(),
        };
        for &name in required.iter().chain(optional) {
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

    /// Whether it is known when the customer bought for the first time, and how often since.
    pub fn has_bought(&self, table: &TrainingTable, row: u32) -> bool {
        let values = &table.matrix[row as usize * table.width..];
        let is_known = |index: usize| {
            let column = self.position.get(index);
            column.is_some_and(|&column| values[column].is_finite())
        };
        is_known(0) && is_known(2)
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

/// A raw matrix inside a graph, with 0 where a value is missing.
pub fn export_known(graph: &mut GraphBuilder, raw: &Value) -> Value {
    graph.in_single(|graph| {
        let finite = graph.is_finite(raw);
        let zero = graph.float(0.0);
        graph.select(&finite, raw, &zero)
    })
}

/// [`Columns::customer`] inside a graph whose raw matrix holds other columns as well.
pub fn customers(graph: &mut GraphBuilder, columns: &Columns, raw: &Value) -> CustomerValues {
    let positions: Vec<i64> = columns.position.iter().map(|&p| p as i64).collect();
    let known = export_known(graph, raw);
    let known = graph.columns(&known, &positions);
    graph.in_single(|graph| in_order(graph, &known, positions.len()))
}

/// Of the latest cut-off only, where there are several: each customer once, and the youngest knowledge.
pub fn training_customers(
    table: &TrainingTable,
    columns: &Columns,
    rows: Vec<u32>,
    most: usize,
) -> Vec<Customer> {
    some_customers(table, columns, &latest(table, rows), most)
}

/// The rows of the latest cut-off.
pub fn latest(table: &TrainingTable, mut rows: Vec<u32>) -> Vec<u32> {
    if let Some(days) = &table.as_of {
        let latest = days.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        rows.retain(|&row| days[row as usize] == latest);
    }
    rows
}

/// Of many rows as many, evenly spread, as there may be.
pub fn some_customers(
    table: &TrainingTable,
    columns: &Columns,
    rows: &[u32],
    most: usize,
) -> Vec<Customer> {
    let step = rows.len().div_ceil(most).max(1);
    rows.iter()
        .step_by(step)
        .map(|&row| columns.customer(table, row))
        .collect()
}

/// [`Columns::customer`] inside a graph whose raw matrix holds nothing else.
pub fn clean(graph: &mut GraphBuilder, raw: &Value, width: usize) -> CustomerValues {
    let known = export_known(graph, raw);
    in_order(graph, &known, width)
}

fn in_order(graph: &mut GraphBuilder, known: &Value, width: usize) -> CustomerValues {
    let known = btyd::turned(graph, known, width);
    let known = graph.relu(&known);
    let limits = graph.floats(&LIMITS[..width], &[width, 1]);
    let known = graph.op("Min", &[&known, &limits], &[]);
    let known = btyd::rows(graph, &known, width);
    let (frequency, silence, age, mean) = (&known[0], &known[1], &known[2], &known[3]);
    let zero = graph.double(0.0);
    let repeat = graph.op("Greater", &[frequency, &zero], &[]);
    let since_first = graph.sub(age, silence);
    let since_first = graph.op("Max", &[&since_first, &zero], &[]);
    let recency = graph.select(&repeat, &since_first, &zero);
    let monetary = match known.get(4) {
        Some(first) => {
            let one = graph.double(1.0);
            let purchases = graph.add(frequency, &one);
            let total = graph.mul(mean, &purchases);
            let rest = graph.sub(&total, first);
            let divisor = graph.select(&repeat, frequency, &one);
            let average = graph.div(&rest, &divisor);
            let average = graph.op("Max", &[&average, &zero], &[]);
            graph.select(&repeat, &average, mean)
        }
        None => mean.clone(),
    };
    CustomerValues {
        frequency: frequency.clone(),
        recency,
        age: age.clone(),
        monetary,
    }
}
