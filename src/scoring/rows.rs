//! The rows of a batch on their way into tensors.

use super::graph::{Cell, Graph, TensorKind};
use super::position;
use sha2::{Digest, Sha256};
use std::ffi::CString;

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
    pub fn new(kind: TensorKind, capacity: usize) -> Self {
        match kind {
            TensorKind::Float { width } => Self::Float {
                width,
                data: Vec::with_capacity(width * capacity),
            },
            TensorKind::Category => Self::Category {
                data: Vec::with_capacity(capacity),
            },
            TensorKind::Text => Self::Text {
                data: Vec::with_capacity(capacity),
            },
            TensorKind::Sequence { channels } => Self::Sequence {
                channels,
                data: Vec::new(),
                ends: Vec::with_capacity(capacity),
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
    pub fn start(&mut self, graph: &Graph) {
        for column in &mut self.columns {
            match column {
                Column::Float { width, data } => data.resize(data.len() + *width, f32::NAN),
                Column::Category { data } => data.push(0),
                Column::Text { data } => data.push(CString::default()),
                Column::Sequence { data, ends, .. } => ends.push(data.len()),
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
        // Half a row may be left of one that failed.
        if *own != width || data.len() != self.count * width || !fill(data) {
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
        position::of_hash(hash)
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

    pub fn set_category(&mut self, tensor: usize, id: i64) {
        if let Column::Category { data } = &mut self.columns[tensor]
            && let Some(last) = data.last_mut()
        {
            *last = id;
        }
    }

    pub fn set_text(&mut self, tensor: usize, text: &[u8]) {
        if let Column::Text { data } = &mut self.columns[tensor]
            && let Some(last) = data.last_mut()
        {
            // PostgreSQL's text holds no NUL.
            *last = CString::new(text).unwrap_or_default();
        }
    }

    /// The steps of the started row, oldest first: `count` floats, a whole number of steps, that `fill` writes.
    pub fn set_sequence(&mut self, tensor: usize, count: usize, fill: impl FnOnce(&mut [f32])) {
        if let Column::Sequence { data, ends, .. } = &mut self.columns[tensor] {
            let start = data.len();
            data.resize(start + count, f32::NAN);
            fill(&mut data[start..]);
            if let Some(end) = ends.last_mut() {
                *end = data.len();
            }
        }
    }
}

/// Lays the rows of a sequence out as `[batch, steps, channels]`, right-aligned, padded with NaN on the left.
pub fn pack_sequence(column: &mut Column, count: usize) {
    let Column::Sequence {
        channels,
        data,
        ends,
        packed,
    } = column
    else {
        return;
    };
    let mut start = 0;
    let longest = ends
        .iter()
        .map(|&end| end - std::mem::replace(&mut start, end))
        .max()
        .unwrap_or(0)
        .max(*channels);
    packed.clear();
    packed.resize(count * longest, f32::NAN);
    start = 0;
    for (row, &end) in ends.iter().enumerate() {
        let right = (row + 1) * longest;
        packed[right - (end - start)..right].copy_from_slice(&data[start..end]);
        start = end;
    }
}
