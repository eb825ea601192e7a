//! Descriptions of features and predictions at training time, kept with the version for the drift checks.

use serde_json::{Map, Value, json};

/// Categories listed one by one; the others are counted together.
const LISTED_CATEGORIES: usize = 200;
/// Quantiles come from a sample of this many values, taken at equal distances.
const QUANTILE_SAMPLE: usize = 20_000;

/// A numeric feature or the predictions. `values` are the finite ones; their order does not matter.
///
/// `histogram`: a value belongs to the bin whose number is the count of `edges` not above it, so there is one more
/// share than edges. All shares but `missing` are of the values that are there.
pub fn describe_values(name: &str, kind: &str, values: &[f32], missing: usize) -> Value {
    let rows = values.len() + missing;
    let mut object = Map::new();
    object.insert("name".into(), json!(name));
    object.insert("kind".into(), json!(kind));
    object.insert("n".into(), json!(rows));
    object.insert("missing".into(), json!(share(missing, rows)));
    if values.is_empty() {
        return Value::Object(object);
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / count;
    let (min, max) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
    let quantiles = quantiles(values, 21);
    let mut edges: Vec<f64> = quantiles[2..20].iter().step_by(2).copied().collect();
    edges.dedup();
    let mut counts = vec![0_usize; edges.len() + 1];
    for &value in values {
        counts[edges.partition_point(|edge| *edge <= f64::from(value))] += 1;
    }
    let shares: Vec<f64> = counts.iter().map(|&n| share(n, values.len())).collect();
    object.insert("mean".into(), json!(mean));
    object.insert("std".into(), json!(variance.sqrt()));
    object.insert("min".into(), json!(min));
    object.insert("max".into(), json!(max));
    object.insert("quantiles".into(), json!(quantiles));
    object.insert(
        "histogram".into(),
        json!({"edges": edges, "shares": shares}),
    );
    Value::Object(object)
}

/// A categorical feature from the counts of its values, most frequent first.
pub(super) fn describe_categories(name: &str, counts: &[(&str, usize)], missing: usize) -> Value {
    let present: usize = counts.iter().map(|(_, count)| count).sum();
    let listed: Map<String, Value> = counts
        .iter()
        .take(LISTED_CATEGORIES)
        .map(|(value, count)| ((*value).to_owned(), json!(share(*count, present))))
        .collect();
    let other: usize = counts.iter().skip(LISTED_CATEGORIES).map(|(_, n)| n).sum();
    json!({
        "name": name,
        "kind": "categorical",
        "n": present + missing,
        "missing": share(missing, present + missing),
        "categories": listed,
        "other": share(other, present),
    })
}

/// `count` quantiles from the minimum to the maximum, of an evenly spaced sample where there are many values.
fn quantiles(values: &[f32], count: usize) -> Vec<f64> {
    let step = values.len().div_ceil(QUANTILE_SAMPLE);
    let mut sample: Vec<f32> = values.iter().step_by(step).copied().collect();
    sample.sort_unstable_by(f32::total_cmp);
    let last = (sample.len() - 1) as f64;
    (0..count)
        .map(|i| {
            let position = last * i as f64 / (count - 1) as f64;
            let below = sample[position.floor() as usize];
            let above = sample[position.ceil() as usize];
            f64::from(below) + (f64::from(above) - f64::from(below)) * position.fract()
        })
        .collect()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
