//! A sequence column: the steps of all rows one after the other.

/// A column of sequences of different lengths, all numbers one after the other.
#[derive(Clone, Debug)]
pub struct SequenceColumn {
    channels: usize,
    /// Where each row ends in `values`.
    ends: Vec<usize>,
    values: Vec<f32>,
}

impl SequenceColumn {
    /// An empty column of sequences with so many numbers per step.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            ends: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Numbers per step.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Adds the sequence of the next row, step after step.
    pub fn push(&mut self, values: &[f32]) {
        self.values.extend_from_slice(values);
        self.ends.push(self.values.len());
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.values.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// The steps of one row, oldest first.
    pub fn row(&self, row: usize) -> &[f32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.values[start..self.ends[row]]
    }

    /// Steps of the longest row.
    pub fn longest(&self) -> usize {
        (0..self.ends.len())
            .map(|row| self.row(row).len() / self.channels)
            .max()
            .unwrap_or(0)
    }

    /// All numbers.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.values.capacity() * 4 + self.ends.capacity() * 8
    }
}
