//! What a backbone that selects its variables looked at: the shares it gave them, customer by customer.

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kernels::threads;
use crate::preprocess::{Preprocessing, describe_values};
use crate::schema::ColumnKind;
use crate::train::fit::Trainer;
use crate::train::fit::network::Network;
use candle_core::{DType, Tensor};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde_json::{Value, json};

/// Customers, at equal distances, whose shares are described.
const SAMPLE: usize = 10_000;

/// The variables of one kind. Their shares add up to 1 for each customer.
struct Part {
    kind: &'static str,
    names: Vec<String>,
    /// Per variable of the network the place of its name.
    places: Vec<usize>,
}

/// Per feature the distribution of its share, the mean of all networks; NULL if the backbone does not select.
pub fn describe(trainer: &Trainer, networks: &[Network], fitted: &Preprocessing) -> Result<Value> {
    let step = trainer.feed.data.rows.div_ceil(SAMPLE).max(1);
    let rows: Vec<u32> = (0..trainer.feed.data.rows as u32).step_by(step).collect();
    let selects = |network: &Network| -> Result<bool> {
        let any = trainer.feed.rows.gather(&rows[..1.min(rows.len())])?;
        Ok(!network.selection_weights(&any.batch)?.is_empty())
    };
    if !networks.first().map_or(Ok(false), selects)? {
        return Ok(Value::Null);
    }
    let chunks: Vec<Vec<Shares>> = rows
        .par_chunks(trainer.feed.hardware.evaluation_batch())
        .map(|rows| {
            let encoded = trainer.feed.rows.gather(rows)?;
            networks
                .iter()
                .map(|network| threads::alone(|| shares(network, &encoded.batch)))
                .collect::<Result<Vec<_>>>()
        })
        .collect::<Result<_>>()?;
    let mut described = Vec::new();
    for part in [columns(fitted), channels(fitted)] {
        let mut values = vec![Vec::with_capacity(rows.len()); part.names.len()];
        let mut missing = 0;
        for chunk in &chunks {
            let of_networks: Vec<_> = chunk.iter().filter_map(|s| s.get(part.kind)).collect();
            let Some(first) = of_networks.first() else {
                continue;
            };
            for row in 0..first.len() {
                if first[row].is_empty() {
                    missing += 1;
                    continue;
                }
                let mut sums = vec![0.0; part.names.len()];
                for shares in &of_networks {
                    if shares[row].len() != part.places.len() {
                        return Err(Error::internal("the selection weights do not fit"));
                    }
                    for (place, share) in part.places.iter().zip(&shares[row]) {
                        sums[*place] += share / of_networks.len() as f32;
                    }
                }
                for (values, sum) in values.iter_mut().zip(sums) {
                    values.push(sum);
                }
            }
        }
        for (name, values) in part.names.iter().zip(&values) {
            if !values.is_empty() {
                described.push(describe_values(name, part.kind, values, missing));
            }
        }
    }
    Ok(json!(described))
}

/// One network's shares of some rows: per kind, row and variable.
struct Shares(Vec<(&'static str, Vec<Vec<f32>>)>);

impl Shares {
    fn get(&self, kind: &str) -> Option<&Vec<Vec<f32>>> {
        let found = self.0.iter().find(|(other, _)| *other == kind);
        found.map(|(_, rows)| rows)
    }
}

fn shares(network: &Network, batch: &Batch) -> Result<Shares> {
    let mut parts = Vec::new();
    for (kind, weights) in network.selection_weights(batch)? {
        let rows = match &batch.sequence {
            Some(sequence) if weights.rank() == 3 => over_steps(&weights, &sequence.mask)?,
            _ => weights.to_dtype(DType::F32)?.to_vec2()?,
        };
        parts.push((kind, rows));
    }
    Ok(Shares(parts))
}

/// `[batch, steps, channels]`: the mean over each row's steps; nothing where a row has none.
fn over_steps(weights: &Tensor, mask: &Tensor) -> Result<Vec<Vec<f32>>> {
    let weights = weights.to_dtype(DType::F32)?.to_vec3::<f32>()?;
    let mask = mask.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let row = |(steps, mask): (Vec<Vec<f32>>, Vec<f32>)| {
        let count: f32 = mask.iter().sum();
        let mut mean = Vec::new();
        for (step, _) in steps.iter().zip(mask).filter(|(_, mask)| *mask > 0.0) {
            mean.resize(step.len(), 0.0);
            for (mean, weight) in mean.iter_mut().zip(step) {
                *mean += weight / count;
            }
        }
        mean
    };
    Ok(weights.into_iter().zip(mask).map(row).collect())
}

/// The flat features. What a column was split into (its `is_missing` flag, the parts of a date) counts for the column.
fn columns(fitted: &Preprocessing) -> Part {
    let mut names = Vec::new();
    let (mut numbers, mut categories) = (Vec::new(), Vec::new());
    for input in fitted.inputs.iter().take(fitted.features()) {
        for element in 1..=input.kind.matrix_width() {
            numbers.push(names.len());
            names.push(match input.kind {
                ColumnKind::Vector { .. } => format!("{}[{element}]", input.name),
                _ => input.name.clone(),
            });
        }
        if input.kind == ColumnKind::Categorical {
            categories.push(names.len());
            names.push(input.name.clone());
        }
    }
    // In the order of the network's inputs: columns, flags, categories, parts of dates.
    let flags = fitted.indicator_columns();
    let dates = fitted.date_parts.iter().map(|date| date.column);
    let mut places = numbers.clone();
    places.extend(flags.into_iter().map(|column| numbers[column]));
    places.extend(categories);
    places.extend(dates.map(|column| numbers[column]));
    Part {
        kind: "static",
        names,
        places,
    }
}

/// The channels of the sequence column.
fn channels(fitted: &Preprocessing) -> Part {
    let mut names = Vec::new();
    for input in &fitted.inputs {
        if let ColumnKind::Sequence { channels } = input.kind {
            names.extend((1..=channels).map(|channel| format!("{}[{channel}]", input.name)));
        }
    }
    Part {
        kind: "sequence",
        places: (0..names.len()).collect(),
        names,
    }
}
