//! Moving a table into another memory, as records, without ever holding it twice.

use super::{CategoryColumn, RecordFormat, SequenceColumn, TrainingTable};
use crate::error::Result;
use crate::schema::FeatureColumn;

impl TrainingTable {
    /// Whether each row has a cut-off.
    pub fn has_as_of(&self) -> bool {
        self.as_of.is_some()
    }

    /// Per categorical column its values in the order of their codes.
    pub fn dictionaries(&self) -> impl Iterator<Item = Vec<&str>> {
        self.categories
            .iter()
            .map(|column| column.values().collect())
    }

    /// The format in which no row loses anything.
    pub fn record_format(&self) -> (RecordFormat, usize) {
        let steps = self.sequence.as_ref().map_or(0, SequenceColumn::longest);
        (RecordFormat::of(self, steps), steps)
    }

    /// A table for rows whose codes belong to these dictionaries.
    pub fn with_dictionaries<'a>(
        inputs: Vec<FeatureColumn>,
        with_as_of: bool,
        dictionaries: impl IntoIterator<Item = Vec<&'a str>>,
    ) -> Result<Self> {
        let mut table = Self::new(inputs, with_as_of)?;
        for (column, values) in table.categories.iter_mut().zip(dictionaries) {
            *column = CategoryColumn::default();
            for value in values {
                table.dictionary_bytes += column.push(value, true);
            }
            column.truncate(0);
        }
        Ok(table)
    }

    /// Writes the last `count` rows, last one first, and gives their memory back.
    pub fn give_last(&mut self, count: usize, format: &RecordFormat, out: &mut Vec<u8>) {
        let left = self.rows.saturating_sub(count);
        for row in (left..self.rows).rev() {
            format.write(self, row, (0, 0), out);
        }
        fn cut<T>(values: &mut Vec<T>, left: usize) {
            values.truncate(left);
            values.shrink_to_fit();
        }
        self.rows = left;
        cut(&mut self.matrix, left * self.width);
        cut(&mut self.target, left);
        cut(&mut self.split, left);
        cut(&mut self.groups, left);
        if let Some(days) = &mut self.as_of {
            cut(days, left);
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.truncate(left);
        }
        for column in &mut self.categories {
            column.truncate(left);
        }
        if let Some(sequence) = &mut self.sequence {
            sequence.truncate(left);
        }
    }

    /// Makes room for exactly so many rows.
    pub fn reserve(&mut self, rows: usize) {
        self.matrix.reserve_exact(rows * self.width);
        self.target.reserve_exact(rows);
        self.split.reserve_exact(rows);
        self.groups.reserve_exact(rows);
        if let Some(days) = &mut self.as_of {
            days.reserve_exact(rows);
        }
    }

    /// Puts rows that came last one first into their order.
    pub fn reverse(&mut self) {
        let width = self.width;
        let (mut low, mut high) = (0, self.rows);
        while low + 1 < high {
            high -= 1;
            let (head, tail) = self.matrix.split_at_mut(high * width);
            head[low * width..(low + 1) * width].swap_with_slice(&mut tail[..width]);
            low += 1;
        }
        self.target.reverse();
        self.split.reverse();
        self.groups.reverse();
        if let Some(days) = &mut self.as_of {
            days.reverse();
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.reverse();
        }
        for column in &mut self.categories {
            column.codes_mut().reverse();
        }
        if let Some(sequence) = &mut self.sequence {
            let mut reversed = SequenceColumn::new(sequence.channels());
            for row in (0..self.rows).rev() {
                reversed.push(sequence.row(row));
            }
            *sequence = reversed;
        }
    }
}
