//! Rows that batches are made of, wherever they lie.

pub mod batches;
pub mod blocks;
pub mod feed;
pub mod file;
pub mod folds;
pub mod prefetch;

use super::device::{Hardware, too_small};
use crate::batch::{Batch, SequenceBatch};
use crate::error::Result;
use crate::preprocess::{Encoded, EncodedRows};
use candle_core::{Device, Tensor};
use file::Spilled;

pub enum Rows<'a> {
    /// In memory: each batch is gathered there, and sent to the device if that is another one.
    Memory(&'a Encoded, &'a Hardware),
    /// The same, for rows that nobody else needs.
    Block(Box<Encoded>, &'a Hardware),
    /// On the device: each batch is gathered there, from numbers of rows.
    Device(Resident),
}

impl Rows<'_> {
    pub fn gather(&self, rows: &[u32]) -> Result<EncodedRows> {
        match self {
            Self::Memory(data, hardware) => data.gather(rows, &hardware.device),
            Self::Block(data, hardware) => data.gather(rows, &hardware.device),
            Self::Device(resident) => resident.gather(rows),
        }
    }
}

/// Rows that lie on a device.
pub struct Resident(EncodedRows);

/// Rows that are copied at once on their way to a device.
const AT_ONCE: usize = 65_536;

impl Resident {
    /// Copies `rows` of `data` to the device, in parts so that no second copy of all of them is made on the way.
    pub fn copy(data: &Encoded, rows: &[u32], device: &Device) -> Result<Self> {
        if rows.len() <= AT_ONCE {
            return Ok(Self(data.gather(rows, device)?));
        }
        let mut parts = rows.chunks(AT_ONCE);
        let first = data.gather(parts.next().unwrap_or_default(), device)?;
        let all = map(&first, |part| {
            let mut shape = part.dims().to_vec();
            shape[0] = rows.len();
            Ok(Tensor::zeros(shape, part.dtype(), device)?)
        })?;
        let mut place = 0;
        let mut next = Some(first);
        while let Some(part) = next {
            for (all, part) in tensors(&all).zip(tensors(&part)) {
                // A tensor without columns has nothing to be copied.
                if part.elem_count() > 0 {
                    all.slice_set(part, 0, place)?;
                }
            }
            place += part.batch.rows;
            next = match parts.next() {
                Some(rows) => Some(data.gather(rows, device)?),
                None => None,
            };
        }
        Ok(Self(EncodedRows {
            batch: Batch {
                rows: rows.len(),
                ..all.batch
            },
            target: all.target,
        }))
    }

    fn gather(&self, rows: &[u32]) -> Result<EncodedRows> {
        let places = Tensor::from_slice(rows, rows.len(), self.0.target.device())?;
        let mut picked = map(&self.0, |all| match all.elem_count() {
            0 => Ok(all.narrow(0, 0, rows.len())?),
            _ => Ok(all.index_select(&places, 0)?),
        })?;
        picked.batch.rows = rows.len();
        Ok(picked)
    }
}

fn tensors(rows: &EncodedRows) -> impl Iterator<Item = &Tensor> {
    let sequence = rows.batch.sequence.iter();
    std::iter::once(&rows.batch.numeric)
        .chain(&rows.batch.categories)
        .chain(sequence.flat_map(|sequence| [&sequence.values, &sequence.mask]))
        .chain(std::iter::once(&rows.target))
}

/// Rows of the same columns, each tensor made of the one in its place.
fn map(rows: &EncodedRows, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<EncodedRows> {
    let sequence = match &rows.batch.sequence {
        Some(sequence) => Some(SequenceBatch {
            values: change(&sequence.values)?,
            mask: change(&sequence.mask)?,
        }),
        None => None,
    };
    let categories = rows.batch.categories.iter().map(&change);
    Ok(EncodedRows {
        batch: Batch {
            rows: rows.batch.rows,
            numeric: change(&rows.batch.numeric)?,
            categories: categories.collect::<Result<_>>()?,
            sequence,
        },
        target: change(&rows.target)?,
    })
}

/// Where the rows of a training lie.
pub struct Arrangement<'a> {
    pub rows: Rows<'a>,
    /// Rows that are sent to the device together, where not all of them fit.
    pub rows_per_block: Option<usize>,
    /// Bytes that a block may take there.
    pub block_room: usize,
}

impl<'a> Arrangement<'a> {
    /// On the CPU in memory. On a GPU there, if they fit beside the `needed` bytes of a training on batches of
    /// `batch_size`.
    pub fn new(
        data: &'a Encoded,
        spilled: Option<&Spilled>,
        hardware: &'a Hardware,
        needed: usize,
        batch_size: usize,
    ) -> Result<Self> {
        let mut arrangement = Self {
            rows: Rows::Memory(data, hardware),
            rows_per_block: None,
            block_room: 0,
        };
        if !hardware.is_gpu() {
            return Ok(arrangement);
        }
        let usable = hardware.usable_memory()?;
        let refuse = |needed| too_small(usable, needed);
        let mut room = usable.checked_sub(needed).ok_or_else(|| refuse(needed))?;
        let per_row = data.bytes_per_row();
        if let Some(spilled) = spilled {
            // Otherwise each batch is gathered in memory.
            let block = spilled.rows.rows_per_block() * per_row;
            if 2 * block <= room {
                arrangement.block_room = block;
                room -= 2 * block;
            }
        }
        if data.rows * per_row <= room {
            let all: Vec<u32> = (0..data.rows as u32).collect();
            arrangement.rows = Rows::Device(Resident::copy(data, &all, &hardware.device)?);
        } else if spilled.is_none() {
            let rows = room / 2 / per_row;
            if rows < batch_size {
                return Err(refuse(needed + 2 * batch_size * per_row));
            }
            arrangement.rows_per_block = Some(rows);
        }
        Ok(arrangement)
    }
}
