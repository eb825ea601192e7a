//! Rows in an order of their own, so that a model does not depend on how they happened to arrive.

use super::{SequenceColumn, TrainingTable};

impl TrainingTable {
    /// Sorts the rows by `keys`, one per row. Rows of equal keys are ordered by cut-off and target, then stay as they
    /// came.
    pub fn sort_by_key(&mut self, keys: &[u64]) {
        // A key and the number of its row as one integer are sorted several times as fast as rows that are looked up.
        let mut order: Vec<u128> = (0u32..)
            .zip(keys.iter().take(self.rows))
            .map(|(row, &key)| u128::from(key) << 64 | u128::from(row))
            .collect();
        order.sort_unstable();
        for same in order.chunk_by_mut(|a, b| a >> 64 == b >> 64) {
            same.sort_by_key(|&entry| {
                let row = entry as u32 as usize;
                let as_of = self.as_of.as_ref().map_or(0, |days| days[row].to_bits());
                (as_of, self.target[row].to_bits())
            });
        }
        let order: Vec<u32> = order.into_iter().map(|entry| entry as u32).collect();
        if order.len() < self.rows || order.is_sorted() {
            return;
        }
        permute(&mut self.matrix, self.width, &order);
        permute(&mut self.target, 1, &order);
        permute(&mut self.split, 1, &order);
        permute(&mut self.groups, 1, &order);
        if let Some(days) = &mut self.as_of {
            permute(days, 1, &order);
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.permute(&order);
        }
        for column in &mut self.categories {
            permute(column.codes_mut(), 1, &order);
        }
        if let Some(sequence) = &mut self.sequence {
            let mut sorted = SequenceColumn::new(sequence.channels());
            for &row in &order {
                sorted.push(sequence.row(row as usize));
            }
            *sequence = sorted;
        }
    }
}

impl TrainingTable {
    /// A copy of some rows, in their order.
    pub fn subset(&self, rows: &[u32]) -> Self {
        let sequence = self.sequence.as_ref().map(|all| {
            let mut some = SequenceColumn::new(all.channels());
            for &row in rows {
                some.push(all.row(row as usize));
            }
            some
        });
        Self {
            inputs: self.inputs.clone(),
            rows: rows.len(),
            width: self.width,
            matrix: pick(&self.matrix, self.width, rows),
            categories: self
                .categories
                .iter()
                .map(|column| column.pick(rows))
                .collect(),
            dictionary_bytes: self.dictionary_bytes,
            dictionary_limit: self.dictionary_limit,
            sequence,
            target: pick(&self.target, 1, rows),
            split: pick(&self.split, 1, rows),
            as_of: self.as_of.as_ref().map(|days| pick(days, 1, rows)),
            groups: pick(&self.groups, 1, rows),
            horizons: self.horizons.as_ref().map(|all| all.pick(rows)),
        }
    }
}

/// Some rows of a matrix, in their order.
pub(super) fn pick<T: Copy>(values: &[T], width: usize, rows: &[u32]) -> Vec<T> {
    let mut picked = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let start = row as usize * width;
        picked.extend_from_slice(&values[start..start + width]);
    }
    picked
}

/// Only the rows that stay, in place.
pub(super) fn keep<T: Copy>(values: &mut Vec<T>, width: usize, stays: &[bool]) {
    let mut end = 0;
    for row in (0..stays.len()).filter(|&row| stays[row]) {
        values.copy_within(row * width..(row + 1) * width, end);
        end += width;
    }
    values.truncate(end);
}

/// Row `i` becomes what row `order[i]` was. In place, because the matrix may be most of what memory there is.
pub(super) fn permute<T: Copy>(values: &mut [T], width: usize, order: &[u32]) {
    if width == 0 {
        return;
    }
    let mut done = vec![false; order.len()];
    let mut first = Vec::with_capacity(width);
    for start in 0..order.len() {
        if done[start] {
            continue;
        }
        first.clear();
        first.extend_from_slice(&values[start * width..(start + 1) * width]);
        let mut row = start;
        loop {
            done[row] = true;
            let source = order[row] as usize;
            if source == start {
                values[row * width..(row + 1) * width].copy_from_slice(&first);
                break;
            }
            values.copy_within(source * width..(source + 1) * width, row * width);
            row = source;
        }
    }
}
