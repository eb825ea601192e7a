//! Rows that do not fit into memory: records of one size in a file, read back in blocks.

use super::{Horizons, SequenceColumn, Split, TrainingTable};
use crate::error::{Error, ErrorKind, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Key, target, cut-off, group, lot and split.
const HEAD: usize = 8 + 4 + 4 + 4 + 4;

/// How a row of a table lies in a file: the head, the matrix, the codes of the categories, the sequence with its
/// length. In the byte order of the machine; the file does not outlive the job.
#[derive(Clone, Debug)]
pub struct RecordFormat {
    width: usize,
    categories: usize,
    channels: usize,
    /// Floats kept of a sequence at most, the newest ones.
    longest: usize,
    /// Horizons, where there are several.
    horizons: usize,
}

impl RecordFormat {
    /// For rows like those of `table`; no more than `steps` of a sequence are ever looked at.
    pub fn of(table: &TrainingTable, steps: usize) -> Self {
        let channels = table.sequence.as_ref().map_or(0, SequenceColumn::channels);
        Self {
            width: table.width,
            categories: table.categories.len(),
            channels,
            longest: channels * steps,
            horizons: table.horizons.as_ref().map_or(0, Horizons::count),
        }
    }

    /// Of one record.
    pub fn bytes(&self) -> usize {
        let sequence = if self.channels > 0 {
            1 + self.longest
        } else {
            0
        };
        (HEAD + 4 * (self.horizons + self.width + self.categories + sequence)).next_multiple_of(8)
    }

    /// Appends row `row` of `table`; records are sorted by `key`, and stay in a sample or not by `lot`.
    pub fn write(
        &self,
        table: &TrainingTable,
        row: usize,
        (key, lot): (u64, u8),
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        let as_of = table.as_of.as_ref().map_or(f32::NAN, |days| days[row]);
        out.extend(key.to_ne_bytes());
        out.extend(table.target[row].to_ne_bytes());
        out.extend(as_of.to_ne_bytes());
        out.extend(table.groups[row].to_ne_bytes());
        let is_validation = u32::from(table.split[row] == Split::Validation);
        out.extend((u32::from(lot) << 1 | is_validation).to_ne_bytes());
        let spent = table.horizons.as_ref().map_or(&[][..], |all| all.row(row));
        for value in spent
            .iter()
            .chain(&table.matrix[row * self.width..(row + 1) * self.width])
        {
            out.extend(value.to_ne_bytes());
        }
        for column in &table.categories {
            out.extend(column.codes()[row].to_ne_bytes());
        }
        if let Some(sequence) = &table.sequence {
            let values = sequence.row(row);
            let newest = &values[values.len().saturating_sub(self.longest)..];
            out.extend((newest.len() as u32).to_ne_bytes());
            for value in newest {
                out.extend(value.to_ne_bytes());
            }
        }
        out.resize(start + self.bytes(), 0);
    }

    /// What records are ordered by: the key, then cut-off and target, as [`TrainingTable::sort_by_key`] does.
    pub fn order(&self, record: &[u8]) -> (u64, u32, u32) {
        let [low, high, target, as_of] = [0, 1, 2, 3].map(|place| u64::from(word(record, place)));
        let key = if cfg!(target_endian = "little") {
            high << 32 | low
        } else {
            low << 32 | high
        };
        (key, as_of as u32, target as u32)
    }

    /// Whether the row of this record is one of the validation rows.
    pub fn is_validation(&self, record: &[u8]) -> bool {
        word(record, 5) & 1 != 0
    }

    /// The lot that the row of this record was written with.
    pub fn lot(&self, record: &[u8]) -> u8 {
        (word(record, 5) >> 1) as u8
    }

    /// Appends the record to a table of the same columns.
    pub fn append(&self, record: &[u8], table: &mut TrainingTable) {
        let float = |place: usize| f32::from_bits(word(record, place));
        table.target.push(float(2));
        if let Some(days) = &mut table.as_of {
            days.push(float(3));
        }
        table.groups.push(word(record, 4));
        table.split.push(match self.is_validation(record) {
            true => Split::Validation,
            false => Split::Train,
        });
        let mut place = HEAD / 4;
        if let Some(horizons) = &mut table.horizons {
            horizons.push_increments((place..place + self.horizons).map(float));
        }
        place += self.horizons;
        table.matrix.extend((place..place + self.width).map(float));
        place += self.width;
        for column in &mut table.categories {
            column.push_code(word(record, place));
            place += 1;
        }
        if let Some(sequence) = &mut table.sequence {
            let count = (word(record, place) as usize).min(self.longest);
            let values: Vec<f32> = (place + 1..place + 1 + count).map(float).collect();
            sequence.push(&values);
        }
        table.rows += 1;
    }
}

/// The 32 bits at `place`; records are never shorter than their format.
fn word(record: &[u8], place: usize) -> u32 {
    let bytes = record.get(4 * place..4 * place + 4);
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_ne_bytes)
}

impl TrainingTable {
    /// Without rows, and without dictionaries: for rows whose codes belong to the dictionaries of this one.
    pub fn like(&self) -> Result<Self> {
        let days = self.horizons.as_ref().map(|all| all.days().to_vec());
        let table = Self::new(self.inputs.clone(), self.as_of.is_some())?;
        Ok(table.with_horizons(days.unwrap_or_default()))
    }

    /// Forgets the rows and their memory, not the dictionaries.
    pub fn forget_rows(&mut self) {
        self.rows = 0;
        self.matrix = Vec::new();
        self.target = Vec::new();
        self.split = Vec::new();
        self.groups = Vec::new();
        if let Some(days) = &mut self.as_of {
            *days = Vec::new();
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.forget_rows();
        }
        if let Some(sequence) = &mut self.sequence {
            *sequence = SequenceColumn::new(sequence.channels());
        }
        for column in &mut self.categories {
            column.forget_rows();
        }
    }

    /// Bytes that a training on these rows takes, its own lists and copies included: what a row has in the table, and
    /// then the order of the rows, the order they are trained in, and the columns that are being looked at.
    pub fn training_bytes(&self) -> usize {
        self.memory_bytes() + self.rows * (24 + 4 * self.width.min(16))
    }
}

/// Where the records are; any thread may read.
pub trait Records: std::fmt::Debug + Send + Sync {
    /// Fills `bytes` from this offset of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()>;
}

impl Records for File {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
        self.read_exact_at(bytes, offset)
    }
}

/// Rows to train on in a file (those for validation too, if several networks check each other), in an order that has nothing to do with what is in them.
#[derive(Debug)]
pub struct SpilledRows {
    file: Box<dyn Records>,
    format: RecordFormat,
    rows: u64,
    rows_per_block: u64,
}

impl SpilledRows {
    /// Rows in this format that stay where they are.
    pub fn new(
        file: impl Records + 'static,
        format: RecordFormat,
        rows: u64,
        rows_per_block: usize,
    ) -> Self {
        Self {
            file: Box::new(file),
            format,
            rows,
            rows_per_block: rows_per_block.max(1) as u64,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The bytes of the rows.
    pub fn records(&self) -> &dyn Records {
        self.file.as_ref()
    }

    /// Steps of a sequence that are kept.
    pub fn steps(&self) -> usize {
        self.format.longest / self.format.channels.max(1)
    }

    /// Of the largest block.
    pub fn rows_per_block(&self) -> usize {
        self.rows_per_block.min(self.rows) as usize
    }

    /// Blocks of the file.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.rows.div_ceil(self.rows_per_block)).unwrap_or(u32::MAX)
    }

    /// Appends the rows of one block to `table`.
    pub fn read(&self, block: u32, table: &mut TrainingTable) -> Result<()> {
        // A few hundred kilobytes at a time, so that they are still in the cache when they are taken apart.
        const AT_ONCE: u64 = 2048;
        let size = self.format.bytes();
        let mut row = u64::from(block) * self.rows_per_block;
        let end = (row + self.rows_per_block).min(self.rows);
        let mut bytes = vec![0; size * AT_ONCE as usize];
        while row < end {
            let count = AT_ONCE.min(end - row);
            let part = &mut bytes[..size * count as usize];
            self.file
                .read_at(part, row * size as u64)
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Resources,
                        "could not read the training rows back from their temporary file",
                    )
                    .detail(format!("{error}."))
                    .hint("Check the disk that temp_tablespaces is on.")
                })?;
            for record in part.chunks_exact(size) {
                self.format.append(record, table);
            }
            row += count;
        }
        Ok(())
    }
}

/// What a model is trained on.
#[derive(Debug)]
pub struct TrainingData {
    /// All rows; or, if they do not fit, a random part of those in the file, and rows for validation.
    pub table: TrainingTable,
    /// The other training rows, if not all of them fit into memory.
    pub spilled: Option<SpilledRows>,
    /// Of training and validation together.
    pub rows: usize,
}

impl From<TrainingTable> for TrainingData {
    fn from(table: TrainingTable) -> Self {
        Self {
            rows: table.rows,
            table,
            spilled: None,
        }
    }
}
