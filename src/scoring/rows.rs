//! The rows of a batch on their way into tensors.

use super::graph::{Cell, Graph, TensorKind};
use super::memory::{self, MemoryError, reserve};
use ltv_core::data::customer_hash;
use sha2::{Digest, Sha256};
use std::ffi::CString;
use std::ops::Range;

/// The inputs of the rows pushed so far, one column per input tensor of the graph.
pub struct Rows {
    pub columns: Vec<Column>,
    pub count: usize,
}

pub enum Column {
    Float {
        width: usize,
        data: Vec<f32>,
    },
    Category {
        data: Vec<i64>,
    },
    Text {
        data: Vec<CString>,
    },
    Sequence {
        channels: usize,
        /// All rows one after the other.
        data: Vec<f32>,
        /// Where each row ends in `data`.
        ends: Vec<usize>,
        /// Right-aligned, padded with NaN.
        packed: Vec<f32>,
    },
}

impl Column {
    /// Room is made as rows come.
    pub fn new(kind: TensorKind) -> Self {
        match kind {
            TensorKind::Float { width } => Self::Float {
                width,
                data: Vec::new(),
            },
            TensorKind::Category => Self::Category { data: Vec::new() },
            TensorKind::Text => Self::Text { data: Vec::new() },
            TensorKind::Sequence { channels } => Self::Sequence {
                channels,
                data: Vec::new(),
                ends: Vec::new(),
                packed: Vec::new(),
            },
        }
    }

    /// Hashes the value of the last row; all NaNs are equal, and so are both zeros.
    fn hash_last(&self, hash: &mut Sha256) {
        let mut floats = |values: &[f32]| {
            for value in values {
                let bits = match value.is_nan() {
                    true => u32::MAX,
                    false => (value + 0.0).to_bits(),
                };
                hash.update(bits.to_be_bytes());
            }
        };
        match self {
            Self::Float { width, data } => floats(&data[data.len() - *width..]),
            Self::Sequence { data, ends, .. } => {
                let start = ends.len().checked_sub(2).map_or(0, |i| ends[i]);
                floats(&data[start..]);
            }
            Self::Category { data } => {
                hash.update(data.last().copied().unwrap_or_default().to_be_bytes());
            }
            Self::Text { data } => {
                hash.update(data.last().map_or(&[][..], |text| text.as_bytes_with_nul()));
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Float { width, data } => data.truncate(rows * *width),
            Self::Category { data } => data.truncate(rows),
            Self::Text { data } => data.truncate(rows),
            Self::Sequence { data, ends, .. } => {
                ends.truncate(rows);
                data.truncate(ends.last().copied().unwrap_or(0));
            }
        }
    }
}

impl Rows {
    /// Starts a row in which everything is missing. It counts once [`Rows::finish`] is called.
    pub fn start(&mut self, graph: &Graph) -> Result<(), MemoryError> {
        for column in &mut self.columns {
            match column {
                Column::Float { width, data } => {
                    memory::resize(data, data.len().saturating_add(*width), f32::NAN)?;
                }
                Column::Category { data } => {
                    reserve(data, 1)?;
                    data.push(0);
                }
                Column::Text { data } => {
                    reserve(data, 1)?;
                    data.push(CString::default());
                }
                Column::Sequence { data, ends, .. } => {
                    reserve(ends, 1)?;
                    ends.push(data.len());
                }
            }
        }
        for slot in &graph.slots {
            if let (Cell::Category(vocabulary), Column::Category { data }) =
                (&slot.cell, &mut self.columns[slot.tensor])
                && let Some(last) = data.last_mut()
            {
                *last = vocabulary.missing;
            }
        }
        Ok(())
    }

    pub fn finish(&mut self) {
        self.count += 1;
    }

    /// Appends a row to the only tensor, if that is of floats, `width` of them: `fill` appends so many, or nothing.
    /// Whether it did.
    #[inline]
    pub fn append_floats(
        &mut self,
        width: usize,
        fill: impl FnOnce(&mut Vec<f32>) -> bool,
    ) -> bool {
        let [Column::Float { width: own, data }] = &mut self.columns[..] else {
            return false;
        };
        // Half a row may be left of one that failed; and room is made elsewhere, where that may fail.
        if *own != width
            || data.len() != self.count * width
            || data.capacity() - data.len() < width
            || !fill(data)
        {
            return false;
        }
        self.count += 1;
        true
    }

    /// From 0 to 1, by what is in the last row.
    pub fn last_position(&self) -> f64 {
        let mut hash = Sha256::new_with_prefix(b"traffic by features:");
        for column in &self.columns {
            column.hash_last(&mut hash);
        }
        customer_hash::of_hash(hash)
    }

    /// Takes back a row that was started.
    pub fn discard(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.count);
        }
    }

    /// The floats of the started row in a float tensor.
    pub fn floats(&mut self, tensor: usize) -> &mut [f32] {
        match &mut self.columns[tensor] {
            Column::Float { width, data } => {
                let start = data.len() - *width;
                &mut data[start..]
            }
            _ => &mut [],
        }
    }

    /// A float of a whole row in a float tensor.
    pub fn float(&self, tensor: usize, row: usize, offset: usize) -> f32 {
        match &self.columns[tensor] {
            Column::Float { width, data } => data[row * width + offset],
            _ => f32::NAN,
        }
    }

    pub fn set_category(&mut self, tensor: usize, id: i64) {
        if let Column::Category { data } = &mut self.columns[tensor]
            && let Some(last) = data.last_mut()
        {
            *last = id;
        }
    }

    pub fn set_text(&mut self, tensor: usize, text: &[u8]) -> Result<(), MemoryError> {
        if let Column::Text { data } = &mut self.columns[tensor]
            && let Some(last) = data.last_mut()
        {
            let text = String::from_utf8_lossy(text);
            let mut copy = Vec::new();
            reserve(&mut copy, text.len().saturating_add(1))?;
            copy.extend_from_slice(text.as_bytes());
            // PostgreSQL's text holds no NUL.
            *last = CString::new(copy).unwrap_or_default();
        }
        Ok(())
    }

    /// The steps of the started row, oldest first: `count` floats, a whole number of steps, that `fill` writes.
    pub fn set_sequence(
        &mut self,
        tensor: usize,
        count: usize,
        fill: impl FnOnce(&mut [f32]),
    ) -> Result<(), MemoryError> {
        if let Column::Sequence { data, ends, .. } = &mut self.columns[tensor] {
            let start = data.len();
            memory::resize(data, start.saturating_add(count), f32::NAN)?;
            fill(&mut data[start..]);
            if let Some(end) = ends.last_mut() {
                *end = data.len();
            }
        }
        Ok(())
    }

    /// The end of the rows from `first` on that one inference takes: all of them, unless a long sequence would have
    /// the others filled up to its length.
    pub fn chunk(&self, first: usize) -> usize {
        self.columns
            .iter()
            .map(|column| match column {
                Column::Sequence { channels, ends, .. } => {
                    let mut longest = *channels;
                    let mut last = first;
                    while let Some(row) = lengths(ends, last..last + 1).next() {
                        longest = longest.max(row);
                        let padded = (last + 1 - first).saturating_mul(longest);
                        if last > first && padded > MOST_PADDED {
                            break;
                        }
                        last += 1;
                    }
                    last
                }
                _ => self.count,
            })
            .min()
            .unwrap_or(self.count)
    }
}

/// Floats of one inference's sequences, filled up to the longest, unless one row alone has more.
const MOST_PADDED: usize = 4 << 20;

/// How many floats each of some rows has; nothing beyond the last.
fn lengths(ends: &[usize], rows: Range<usize>) -> impl Iterator<Item = usize> {
    let mut start = match rows.start {
        0 => 0,
        row => ends.get(row - 1).copied().unwrap_or(0),
    };
    ends.get(rows)
        .unwrap_or(&[])
        .iter()
        .map(move |&end| end - std::mem::replace(&mut start, end))
}

/// Lays rows of a sequence out as `[batch, steps, channels]`, right-aligned, padded with NaN on the left.
pub fn pack_sequence(column: &mut Column, rows: Range<usize>) -> Result<(), MemoryError> {
    let Column::Sequence {
        channels,
        data,
        ends,
        packed,
    } = column
    else {
        return Ok(());
    };
    let longest = lengths(ends, rows.clone())
        .max()
        .unwrap_or(0)
        .max(*channels);
    packed.clear();
    memory::resize(packed, rows.len().saturating_mul(longest), f32::NAN)?;
    let mut start = match rows.start {
        0 => 0,
        row => ends[row - 1],
    };
    for (row, &end) in ends[rows].iter().enumerate() {
        let right = (row + 1) * longest;
        packed[right - (end - start)..right].copy_from_slice(&data[start..end]);
        start = end;
    }
    Ok(())
}
