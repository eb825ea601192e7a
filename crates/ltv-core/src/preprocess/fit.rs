//! Learning the preprocessing from the training rows.

use super::statistics::{describe_categories, describe_values, range, sum};
use super::{
    AS_OF, Channel, DatePart, DatePartColumn, MatrixColumn, Preprocessing, SequenceScaling,
    signed_log,
};
use crate::data::{CategoryColumn, SequenceColumn, TrainingTable};
use crate::error::{Error, Result};
use crate::recipe::Options;
use crate::schema::{ColumnKind, FeatureColumn};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use serde_json::Value;

/// Skewness above which a column gets the signed logarithm.
const SKEWED: f64 = 2.0;
/// Standard deviations where the options do not say.
const CLIP: f64 = 10.0;
/// A standard deviation below this share of the mean is rounding noise: the column is constant.
const NOISE: f64 = 1e-6;

pub(super) fn fit(
    table: &TrainingTable,
    rows: &[u32],
    options: &Options,
) -> Result<(Preprocessing, Vec<Value>)> {
    check_columns(table, options)?;
    let has_dates = table
        .inputs()
        .iter()
        .any(|input| input.kind == ColumnKind::Timestamp);
    let has_as_of = has_dates && table.as_of.is_some();
    let mut fitted = Preprocessing {
        inputs: table.inputs().to_vec(),
        columns: Vec::with_capacity(table.width),
        reference_date: reference_date(table, rows),
        has_as_of,
        vocabularies: Vec::new(),
        date_parts: Vec::new(),
        sequence: None,
        clip: options.clip_features.unwrap_or(CLIP) as f32,
        embedding_size: options.embedding_size,
    };
    let mut described = Vec::with_capacity(table.inputs().len());
    let mut numeric = fit_numeric(table, rows, options).into_iter();
    for input in table.inputs() {
        let log = Transform::of(input, options);
        match input.kind {
            ColumnKind::Numeric | ColumnKind::Vector { .. } => {
                for _ in 0..input.kind.matrix_width() {
                    numeric
                        .next()
                        .into_iter()
                        .for_each(|(column, description)| {
                            described.push(description);
                            fitted.columns.push(column);
                        });
                }
            }
            ColumnKind::Timestamp => {
                let column = fitted.columns.len();
                let values = read(table, rows, &[column]).remove(0);
                let missing = rows.len() - values.len();
                described.push(describe_values(&input.name, "timestamp", &values, missing));
                let mut ages: Vec<f32> = rows
                    .iter()
                    .map(|&row| row as usize)
                    .map(|row| {
                        fitted.cut_off(table, row) - table.matrix[row * table.width + column]
                    })
                    .filter(|age| age.is_finite())
                    .collect();
                fitted.columns.push(MatrixColumn {
                    is_date: true,
                    ..fit_column(&mut ages, missing, log, options)
                });
                let mut parts = vec![DatePart::Month, DatePart::Weekday];
                if input.has_time_of_day() {
                    parts.push(DatePart::Hour);
                }
                let parts = parts
                    .into_iter()
                    .map(|part| DatePartColumn { column, part });
                fitted.date_parts.extend(parts);
            }
            ColumnKind::Categorical => {
                let column = &table.categories[fitted.vocabularies.len()];
                let (vocabulary, description) = fit_categories(input, column, rows, options);
                fitted.vocabularies.push(vocabulary);
                described.push(description);
            }
            ColumnKind::Sequence { .. } => {
                if let Some(sequence) = &table.sequence {
                    let lengths: Vec<f32> = rows
                        .iter()
                        .map(|&row| (sequence.row(row as usize).len() / sequence.channels()) as f32)
                        .filter(|&steps| steps > 0.0)
                        .collect();
                    let missing = rows.len() - lengths.len();
                    described.push(describe_values(&input.name, "sequence", &lengths, missing));
                    fitted.sequence = Some(fit_sequence(sequence, rows, log, options));
                }
            }
        }
    }
    if has_as_of {
        fitted
            .inputs
            .push(FeatureColumn::new(AS_OF, ColumnKind::Timestamp, "date"));
    }
    Ok((fitted, described))
}

/// Columns that are looked at by all threads together: a pass over the rows is a pass over memory, whatever it takes along, but
/// each takes memory of its own meanwhile.
const AT_ONCE: usize = 8;

/// The numeric columns of the matrix in order, with their descriptions.
fn fit_numeric(
    table: &TrainingTable,
    rows: &[u32],
    options: &Options,
) -> Vec<(MatrixColumn, Value)> {
    let mut columns = Vec::with_capacity(table.width);
    let mut named = Vec::with_capacity(table.width);
    let mut column = 0;
    for input in table.inputs() {
        let transform = Transform::of(input, options);
        for element in 1..=input.kind.matrix_width() {
            let name = match input.kind {
                ColumnKind::Vector { .. } => format!("{}[{element}]", input.name),
                _ => input.name.clone(),
            };
            if input.kind != ColumnKind::Timestamp {
                columns.push(column);
                named.push((name, transform));
            }
            column += 1;
        }
    }
    let block = (AT_ONCE / rayon::current_num_threads()).max(1);
    columns
        .par_chunks(block)
        .zip(named.par_chunks(block))
        .flat_map_iter(|(columns, named)| {
            let values = read(table, rows, columns).into_iter();
            values.zip(named).map(|(mut values, (name, transform))| {
                let missing = rows.len() - values.len();
                let description = describe_values(name, "numeric", &values, missing);
                (
                    fit_column(&mut values, missing, *transform, options),
                    description,
                )
            })
        })
        .collect()
}

/// The values that are there, of each of some columns of the matrix.
fn read(table: &TrainingTable, rows: &[u32], columns: &[usize]) -> Vec<Vec<f32>> {
    let mut read = vec![vec![0.0; rows.len()]; columns.len()];
    let mut counts = vec![0; columns.len()];
    for &row in rows {
        let values = &table.matrix[row as usize * table.width..];
        for ((into, count), &column) in read.iter_mut().zip(&mut counts).zip(columns) {
            // Without a branch, which columns with some missing values would mislead: what is not there is written over.
            let value: f32 = values[column];
            into[*count] = value;
            *count += usize::from(value.is_finite());
        }
    }
    for (into, count) in read.iter_mut().zip(counts) {
        into.truncate(count);
    }
    read
}

impl Preprocessing {
    /// The day up to which the features of a row were known.
    pub(super) fn cut_off(&self, table: &TrainingTable, row: usize) -> f32 {
        match &table.as_of {
            Some(days) if self.has_as_of && days[row].is_finite() => days[row],
            _ => self.reference_date,
        }
    }
}

fn check_columns(table: &TrainingTable, options: &Options) -> Result<()> {
    let inputs = table.inputs();
    for name in options.log_columns.iter().chain(&options.categorical) {
        if !inputs.iter().any(|input| &input.name == name) {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(Error::invalid(format!(
                "option names column \"{name}\", which is no feature"
            ))
            .detail(format!("The features are {}.", names.join(", ")))
            .hint("Correct \"log_columns\" or \"categorical\" in the options."));
        }
    }
    if table.as_of.is_some() && inputs.iter().any(|input| input.name == AS_OF) {
        return Err(Error::internal("the cut-off column was given as a feature"));
    }
    Ok(())
}

/// The latest cut-off, else the latest timestamp seen, rounded up to a whole day.
fn reference_date(table: &TrainingTable, rows: &[u32]) -> f32 {
    let latest = |values: &mut dyn Iterator<Item = f32>| {
        values
            .filter(|days| days.is_finite())
            .fold(f32::NEG_INFINITY, f32::max)
    };
    if let Some(days) = &table.as_of {
        let day = latest(&mut rows.iter().map(|&row| days[row as usize]));
        if day.is_finite() {
            return day;
        }
    }
    let mut day = f32::NEG_INFINITY;
    let mut column = 0;
    for input in table.inputs() {
        if input.kind == ColumnKind::Timestamp {
            day = day.max(latest(
                &mut rows
                    .iter()
                    .map(|&row| table.matrix[row as usize * table.width + column]),
            ));
        }
        column += input.kind.matrix_width();
    }
    if day.is_finite() { day.ceil() } else { 0.0 }
}

#[derive(Clone, Copy)]
enum Transform {
    WhereSkewed,
    Log,
    Identity,
}

impl Transform {
    fn of(input: &FeatureColumn, options: &Options) -> Self {
        if options.log_columns.contains(&input.name) {
            return Self::Log;
        }
        match options.log_transform.as_str() {
            "all" => Self::Log,
            "none" => Self::Identity,
            _ => Self::WhereSkewed,
        }
    }

    fn applies(self, values: &[f32]) -> bool {
        match self {
            Self::Log => true,
            Self::Identity => false,
            Self::WhereSkewed => skewness(values) > SKEWED,
        }
    }
}

/// From the values that are there; reorders and transforms them.
fn fit_column(
    values: &mut [f32],
    missing: usize,
    transform: Transform,
    options: &Options,
) -> MatrixColumn {
    let median = median(values);
    let log = transform.applies(values);
    let mut fill = median;
    if log {
        values
            .iter_mut()
            .for_each(|value| *value = signed_log(*value));
        fill = signed_log(median);
    }
    let (mean, scale) = standardisation(values, fill, missing);
    let clip = options.clip_features.unwrap_or(CLIP) as f32;
    let margin = options.range_margin as f32;
    // Standardising keeps the order, so that the range of the values has the range of the standardised ones.
    let (low, high) = match values.is_empty() {
        true => (0.0, 0.0),
        false => range(values),
    };
    let standardised = |value: f32| (value - mean) * scale;
    let (low, high) = (standardised(low).min(0.0), standardised(high).max(0.0));
    MatrixColumn {
        is_date: false,
        median,
        log,
        mean,
        scale,
        low: (low - margin).max(-clip),
        high: (high + margin).min(clip),
        indicator: missing > 0 && !values.is_empty(),
    }
}

/// Mean and reciprocal standard deviation of `values` together with `missing` times `fill`.
fn standardisation(values: &[f32], fill: f32, missing: usize) -> (f32, f32) {
    let rows = (values.len() + missing) as f64;
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let fill = f64::from(fill);
    let mean = (sum(values, |value| value) + fill * missing as f64) / rows;
    let squares = sum(values, |value| (value - mean).powi(2));
    let std = ((squares + (fill - mean).powi(2) * missing as f64) / rows).sqrt();
    let scale = 1.0 / std;
    if std <= NOISE * mean.abs() || !(scale as f32).is_normal() {
        return (0.0, 0.0);
    }
    (mean as f32, scale as f32)
}

fn median(values: &mut [f32]) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f32::total_cmp);
    if !even {
        return upper;
    }
    let lower = below.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    lower / 2.0 + upper / 2.0
}

fn skewness(values: &[f32]) -> f64 {
    let rows = values.len() as f64;
    let mean = sum(values, |value| value) / rows;
    let second = sum(values, |value| (value - mean).powi(2));
    let third = sum(values, |value| (value - mean).powi(3));
    let std = (second / rows).sqrt();
    if std > NOISE * mean.abs() {
        third / rows / std.powi(3)
    } else {
        0.0
    }
}

fn fit_categories(
    input: &FeatureColumn,
    column: &CategoryColumn,
    rows: &[u32],
    options: &Options,
) -> (Vec<String>, Value) {
    let mut counts = vec![0_u32; column.values().len() + 1];
    for &row in rows {
        counts[column.codes()[row as usize] as usize] += 1;
    }
    let missing = counts[0] as usize;
    let mut frequent: Vec<(&str, usize)> = column
        .values()
        .zip(counts[1..].iter().map(|&count| count as usize))
        .filter(|(_, count)| *count > 0)
        .collect();
    frequent.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let vocabulary = frequent
        .iter()
        .take_while(|(_, count)| *count >= options.min_count)
        .take(options.max_categories)
        .map(|(value, _)| (*value).to_owned())
        .collect();
    let description = describe_categories(&input.name, &frequent, missing);
    (vocabulary, description)
}

fn fit_sequence(
    sequence: &SequenceColumn,
    rows: &[u32],
    transform: Transform,
    options: &Options,
) -> SequenceScaling {
    let channels = sequence.channels();
    let steps = options.max_timesteps.min(sequence.longest()).max(1);
    let scaling = (0..channels).map(|channel| {
        let mut values: Vec<f32> = rows
            .iter()
            .flat_map(|&row| {
                let values = sequence.row(row as usize);
                let seen = values.len().min(steps * channels);
                values[values.len() - seen..]
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .copied()
            })
            .filter(|value| value.is_finite())
            .collect();
        let log = transform.applies(&values);
        if log {
            values
                .iter_mut()
                .for_each(|value| *value = signed_log(*value));
        }
        let (mean, scale) = standardisation(&values, 0.0, 0);
        Channel { log, mean, scale }
    });
    SequenceScaling {
        steps,
        channels: scaling.collect(),
    }
}
