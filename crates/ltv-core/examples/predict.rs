//! What the stored weights of a version predict, without ONNX and without PostgreSQL: the reference for its scores in SQL.
//!
//! Reads one JSON object from standard input: `weights` (hexadecimal), `inputs` (as in the version's schema) and `rows`
//! (objects by column; times as days since 1970-01-01). Prints one object: each output with a value per row.

use ltv_core::data::{Split, TrainingTable};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::predict;
use serde_json::{Map, Value, json};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let given: Value = serde_json::from_reader(std::io::stdin())?;
    let text = given["weights"].as_str().ok_or("no weights")?;
    let weights = (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16))
        .collect::<Result<Vec<u8>, _>>()?;
    let inputs: Vec<FeatureColumn> = serde_json::from_value(given["inputs"].clone())?;
    let mut table = TrainingTable::new(inputs.clone(), false)?;
    for values in given["rows"].as_array().ok_or("no rows")? {
        let mut row = table.row();
        for input in &inputs {
            match (&values[&input.name], input.kind) {
                (Value::Null, _) => row.null()?,
                (value, ColumnKind::Categorical) => match value {
                    Value::String(word) => row.category(Some(word))?,
                    other => row.category(Some(&other.to_string()))?,
                },
                (value, ColumnKind::Vector { .. }) => row.vector(&numbers(value))?,
                (value, ColumnKind::Sequence { .. }) => row.sequence(&numbers(value))?,
                (value, ColumnKind::Numeric | ColumnKind::Timestamp) => {
                    row.number(number(value))?
                }
            }
        }
        row.finish(0.0, Split::Train, None)?;
    }
    let outputs: Map<String, Value> = predict(&weights, table)?
        .into_iter()
        .map(|(name, values)| (name.to_owned(), json!(values)))
        .collect();
    println!("{}", Value::Object(outputs));
    Ok(())
}

/// JSON has no word for NaN and infinities: PostgreSQL writes them as strings.
fn number(value: &Value) -> Option<f64> {
    value
        .as_f64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// All numbers of an array, however deep, in order; NaN for NULL.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![number(other).map_or(f32::NAN, |number| number as f32)],
    }
}
