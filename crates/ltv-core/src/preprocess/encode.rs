//! Applying the preprocessing to the training data: the raw matrix becomes the standardised one in place.

use super::{Preprocessing, signed_log};
use crate::batch::{Batch, SequenceBatch};
use crate::data::{Horizons, SequenceColumn, Split, TrainingTable};
use crate::error::Result;
use candle_core::{Device, Tensor};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Preprocessed rows, ready to be gathered into batches.
pub struct Encoded {
    /// How many rows.
    pub rows: usize,
    width: usize,
    numeric: Vec<f32>,
    /// `is_missing` inputs, row after row.
    indicators: Vec<u8>,
    indicator_width: usize,
    categories: Vec<Ids>,
    sequence: Option<EncodedSequence>,
    /// The target of each row, in money.
    pub target: Vec<f32>,
    /// Training or validation.
    pub split: Vec<Split>,
    /// A hash of each row's customer.
    pub groups: Vec<u32>,
    /// What was spent from horizon to horizon, where that is learned.
    pub horizons: Option<Horizons>,
}

enum Ids {
    Narrow(Vec<u8>),
    Wide(Vec<u32>),
}

struct EncodedSequence {
    steps: usize,
    channels: Vec<super::Channel>,
    clip: f32,
    raw: SequenceColumn,
}

/// Features and target of some rows.
pub struct EncodedRows {
    /// The inputs of the network.
    pub batch: Batch,
    /// `[rows]`, in money; where several horizons are learned `[rows, 1 + horizons]`: the target, then the increments, NaN where the time of one has
    /// not come.
    pub target: Tensor,
}

/// Per categorical column the id of each code of the table's dictionary.
pub(super) fn ids(fitted: &Preprocessing, table: &TrainingTable) -> Vec<Vec<u32>> {
    let columns = table.categories.iter().zip(&fitted.vocabularies);
    columns
        .map(|(column, vocabulary)| {
            let ids: std::collections::HashMap<&str, u32> = vocabulary
                .iter()
                .zip(1..)
                .map(|(value, id)| (value.as_str(), id))
                .collect();
            let values = column.values();
            let known = values.map(|value| ids.get(value).copied().unwrap_or(0));
            std::iter::once(0).chain(known).collect()
        })
        .collect()
}

pub(super) fn encode(
    fitted: &Preprocessing,
    mut table: TrainingTable,
    ids: &[Vec<u32>],
) -> Result<Encoded> {
    let width = table.width;
    let rows = table.rows;
    let mut categories = Vec::new();
    for (column, ids) in std::mem::take(&mut table.categories).into_iter().zip(ids) {
        let mut codes = column.into_codes();
        for code in &mut codes {
            *code = ids.get(*code as usize).copied().unwrap_or(0);
        }
        categories.push(Ids::Wide(codes));
    }
    for date in &fitted.date_parts {
        let ids = (0..rows)
            .map(|row| date.part.of(table.matrix[row * width + date.column]))
            .collect();
        categories.push(Ids::Narrow(ids));
    }
    let indicator_columns = fitted.indicator_columns();
    let mut matrix = std::mem::take(&mut table.matrix);
    matrix.shrink_to_fit();
    let indicators = standardise(fitted, &table, &mut matrix, &indicator_columns);
    let sequence = table
        .sequence
        .take()
        .zip(fitted.sequence.as_ref())
        .map(|(raw, scaling)| EncodedSequence {
            steps: scaling.steps,
            channels: scaling.channels.clone(),
            clip: fitted.clip,
            raw,
        });
    Ok(Encoded {
        rows,
        width,
        numeric: matrix,
        indicators,
        indicator_width: indicator_columns.len(),
        categories,
        sequence,
        target: table.target,
        split: table.split,
        groups: table.groups,
        horizons: table.horizons,
    })
}

/// Rows that one thread works on at a time.
const PART: usize = 4096;

/// Works on the raw matrix in place and returns the `is_missing` inputs.
fn standardise(
    fitted: &Preprocessing,
    table: &TrainingTable,
    matrix: &mut [f32],
    indicator_columns: &[usize],
) -> Vec<u8> {
    let width = table.width;
    let logs: Vec<usize> = (0..width).filter(|&c| fitted.columns[c].log).collect();
    let dates: Vec<usize> = (0..width).filter(|&c| fitted.columns[c].is_date).collect();
    let mut indicators = vec![0_u8; table.rows * indicator_columns.len()];
    let row = |row: usize, values: &mut [f32], missing: &mut [u8]| {
        if !dates.is_empty() {
            let cut_off = fitted.cut_off(table, row);
            for &column in &dates {
                values[column] = cut_off - values[column];
            }
        }
        for (missing, &column) in missing.iter_mut().zip(indicator_columns) {
            *missing = u8::from(!values[column].is_finite());
        }
        for (value, column) in values.iter_mut().zip(&fitted.columns) {
            if !value.is_finite() {
                *value = column.median;
            }
        }
        for &column in &logs {
            values[column] = signed_log(values[column]);
        }
        for (value, column) in values.iter_mut().zip(&fitted.columns) {
            *value = ((*value - column.mean) * column.scale).clamp(column.low, column.high);
        }
    };
    let flags = indicator_columns.len();
    if width == 0 {
        return indicators;
    }
    // Without any flag there is nothing to chunk, so that parts are numbered and look theirs up.
    let flag_parts: Vec<&mut [u8]> = match flags {
        0 => (0..table.rows.div_ceil(PART))
            .map(|_| <&mut [u8]>::default())
            .collect(),
        _ => indicators.chunks_mut(PART * flags).collect(),
    };
    matrix
        .par_chunks_mut(PART * width)
        .zip(flag_parts)
        .enumerate()
        .for_each(|(part, (values, missing))| {
            for (index, values) in values.chunks_exact_mut(width).enumerate() {
                let missing = match flags {
                    0 => &mut missing[..],
                    _ => &mut missing[index * flags..(index + 1) * flags],
                };
                row(part * PART + index, values, missing);
            }
        });
    indicators
}

impl Encoded {
    /// The rows of one part, in order.
    pub fn rows_of(&self, split: Split) -> Vec<u32> {
        (0..self.rows as u32)
            .filter(|&row| self.split[row as usize] == split)
            .collect()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        let categories: usize = self
            .categories
            .iter()
            .map(|ids| match ids {
                Ids::Narrow(ids) => ids.len(),
                Ids::Wide(ids) => ids.len() * 4,
            })
            .sum();
        let sequence = self.sequence.as_ref().map_or(0, |s| s.raw.memory_bytes());
        self.numeric.len() * 4 + self.indicators.len() + categories + sequence + self.rows * 9
    }

    /// Whether there is a sequence column.
    pub fn has_sequence(&self) -> bool {
        self.sequence.is_some()
    }

    /// Bytes of a row once it is gathered: everything as numbers of four bytes, sequences of full length.
    pub fn bytes_per_row(&self) -> usize {
        let sequence = self.sequence.as_ref();
        let sequence = sequence.map_or(0, |s| s.steps * (s.channels.len() + 1));
        4 * (self.width + self.indicator_width + self.categories.len() + sequence + 1)
    }

    /// Gathers rows into tensors.
    pub fn gather(&self, rows: &[u32], device: &Device) -> Result<EncodedRows> {
        let total = self.width + self.indicator_width;
        let mut numeric = Vec::with_capacity(rows.len() * total);
        for &row in rows {
            let row = row as usize;
            numeric.extend_from_slice(&self.numeric[row * self.width..(row + 1) * self.width]);
            let from = row * self.indicator_width;
            numeric.extend(
                self.indicators[from..from + self.indicator_width]
                    .iter()
                    .map(|&flag| f32::from(flag)),
            );
        }
        let mut categories = Vec::with_capacity(self.categories.len());
        for ids in &self.categories {
            let ids: Vec<u32> = match ids {
                Ids::Narrow(ids) => rows.iter().map(|&row| ids[row as usize].into()).collect(),
                Ids::Wide(ids) => rows.iter().map(|&row| ids[row as usize]).collect(),
            };
            categories.push(Tensor::from_vec(ids, rows.len(), device)?);
        }
        let sequence = match &self.sequence {
            Some(sequence) => Some(sequence.gather(rows, device)?),
            None => None,
        };
        Ok(EncodedRows {
            batch: Batch {
                rows: rows.len(),
                numeric: Tensor::from_vec(numeric, (rows.len(), total), device)?,
                categories,
                sequence,
            },
            target: self.gather_target(rows, device)?,
        })
    }
}

impl Encoded {
    fn gather_target(&self, rows: &[u32], device: &Device) -> Result<Tensor> {
        let Some(horizons) = &self.horizons else {
            let target: Vec<f32> = rows.iter().map(|&row| self.target[row as usize]).collect();
            return Ok(Tensor::from_vec(target, rows.len(), device)?);
        };
        let width = 1 + horizons.count();
        let mut targets = Vec::with_capacity(rows.len() * width);
        for &row in rows {
            targets.push(self.target[row as usize]);
            targets.extend_from_slice(horizons.row(row as usize));
        }
        Ok(Tensor::from_vec(targets, (rows.len(), width), device)?)
    }
}

impl EncodedSequence {
    /// The newest steps, right-aligned; a step without any value is padding.
    fn gather(&self, rows: &[u32], device: &Device) -> Result<SequenceBatch> {
        let width = self.channels.len();
        let mut values = vec![0.0_f32; rows.len() * self.steps * width];
        let mut mask = vec![0.0_f32; rows.len() * self.steps];
        for (slot, &row) in rows.iter().enumerate() {
            let raw = self.raw.row(row as usize);
            let seen = (raw.len() / width).min(self.steps);
            let newest = &raw[raw.len() - seen * width..];
            for (index, step) in newest.chunks_exact(width).enumerate() {
                let place = slot * self.steps + self.steps - seen + index;
                for (channel, &value) in step.iter().enumerate() {
                    if value.is_finite() {
                        mask[place] = 1.0;
                        values[place * width + channel] =
                            self.channels[channel].apply(value, self.clip);
                    }
                }
            }
        }
        Ok(SequenceBatch {
            values: Tensor::from_vec(values, (rows.len(), self.steps, width), device)?,
            mask: Tensor::from_vec(mask, (rows.len(), self.steps), device)?,
        })
    }
}

impl super::Channel {
    fn apply(&self, value: f32, clip: f32) -> f32 {
        let value = if self.log { signed_log(value) } else { value };
        ((value - self.mean) * self.scale).clamp(-clip, clip)
    }
}
