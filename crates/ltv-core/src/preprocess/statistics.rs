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
    let mean = sum(values, |value| value) / count;
    let variance = sum(values, |value| (value - mean).powi(2)) / count;
    let (min, max) = range(values);
    let quantiles = quantiles(values, 21);
    let mut edges: Vec<f64> = quantiles[2..20].iter().step_by(2).copied().collect();
    edges.dedup();
    let mut above = vec![values.len()];
    above.extend(not_below(values, &edges));
    above.push(0);
    let counts = above.windows(2).map(|pair| pair[0] - pair[1]);
    let shares: Vec<f64> = counts.map(|n| share(n, values.len())).collect();
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

/// Additions that do not wait for each other.
const LANES: usize = 8;

/// The sum of a function of all values, in an order of its own.
pub(super) fn sum(values: &[f32], of: impl Fn(f64) -> f64) -> f64 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += of(f64::from(value));
        }
    }
    for (sum, &value) in sums.iter_mut().zip(rest) {
        *sum += of(f64::from(value));
    }
    sums.iter().sum()
}

/// The smallest and the largest value.
pub(super) fn range(values: &[f32]) -> (f32, f32) {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut low = [f32::INFINITY; LANES];
    let mut high = [f32::NEG_INFINITY; LANES];
    // Comparisons, because `f32::min` cannot be done for several values at once.
    let mut take = |lane: usize, value: f32| {
        low[lane] = if value < low[lane] { value } else { low[lane] };
        high[lane] = if value > high[lane] {
            value
        } else {
            high[lane]
        };
    };
    for chunk in chunks {
        for (lane, &value) in chunk.iter().enumerate() {
            take(lane, value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        take(lane, value);
    }
    (
        low.into_iter().fold(f32::INFINITY, f32::min),
        high.into_iter().fold(f32::NEG_INFINITY, f32::max),
    )
}

/// Per edge how many values are not below it.
fn not_below(values: &[f32], edges: &[f64]) -> Vec<usize> {
    /// Values that stay in the fastest cache while they are compared with one edge after the other.
    const AT_ONCE: usize = 4096;
    // The least single that is not below the edge divides singles as the edge does.
    let edges: Vec<f32> = edges
        .iter()
        .map(|&edge| {
            let nearest = edge as f32;
            if f64::from(nearest) < edge {
                nearest.next_up()
            } else {
                nearest
            }
        })
        .collect();
    let mut counts = vec![0; edges.len()];
    for values in values.chunks(AT_ONCE) {
        for (count, &edge) in counts.iter_mut().zip(&edges) {
            let reached = values.iter().map(|&value| u32::from(value >= edge));
            *count += reached.sum::<u32>() as usize;
        }
    }
    counts
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn several_at_once_is_one_after_the_other(values in prop::collection::vec(-1e6_f32..1e6, 0..200)) {
            let plain: f64 = values.iter().map(|&value| f64::from(value)).sum();
            let size: f64 = values.iter().map(|&value| f64::from(value.abs())).sum();
            prop_assert!((sum(&values, |value| value) - plain).abs() <= 1e-13 * size);
            let (low, high) = (f32::INFINITY, f32::NEG_INFINITY);
            let plain = values.iter().fold((low, high), |(low, high), &value| (low.min(value), high.max(value)));
            prop_assert_eq!(range(&values), plain);
        }

        #[test]
        fn an_edge_divides_singles_as_it_divides_doubles(
            values in prop::collection::vec(prop_oneof![-3.0_f32..3.0, Just(0.0), Just(1.0), Just(0.1)], 0..100),
            edges in prop::collection::vec(prop_oneof![-3.0_f64..3.0, Just(0.0), Just(1.0), Just(0.1)], 0..9),
        ) {
            let plain: Vec<usize> = edges
                .iter()
                .map(|&edge| values.iter().filter(|&&value| f64::from(value) >= edge).count())
                .collect();
            prop_assert_eq!(not_below(&values, &edges), plain);
        }
    }
}
