//! The rows of one job, as its networks are fed with them.

use super::Rows;
use super::batches::Batches;
use super::file::Spilled;
use super::folds::{self, Fold};
use crate::preprocess::Encoded;
use crate::train::device::Hardware;

/// What all networks of one job take their batches from.
pub struct Feed<'a> {
    /// All rows, or those that are kept in memory although the others are not.
    pub data: &'a Encoded,
    /// The same rows, where they are gathered from.
    pub rows: Rows<'a>,
    /// On a device whose memory the rows in `data` do not fit into: rows that are sent there together.
    pub rows_per_block: Option<usize>,
    /// Bytes that a block of rows may take on a device.
    pub block_room: usize,
    /// The training rows that stay in a file.
    pub spilled: Option<Spilled<'a>>,
    /// Per network of the ensemble.
    pub folds: Vec<Fold>,
    pub hardware: &'a Hardware,
    pub batch_size: usize,
    /// Rows of an epoch, of a block those that there are if these are fewer.
    pub epoch_rows: usize,
    /// Whether each batch gets its share of the paying customers.
    pub stratified: bool,
    pub seed: u64,
}

impl Feed<'_> {
    /// Batches of `rows`, whose targets are at these places of `target`.
    pub fn batches(&self, rows: &[u32], target: &[f32]) -> Batches {
        Batches::new(rows, target, self.batch_size, self.stratified)
    }

    /// The rows of a block of the file that network `member` is trained on.
    pub fn training_rows(&self, block: &Encoded, member: usize) -> Vec<u32> {
        folds::training_rows(block, member, self.folds.len(), self.seed)
    }

    /// The target of a row in memory.
    pub fn target(&self, row: u32) -> f64 {
        f64::from(self.data.target[row as usize])
    }
}
