//! Training rows that stay in a file: block after block is read, standardised and trained on.

use crate::data::{SpilledRows, TrainingTable};
use crate::error::Result;
use crate::preprocess::{Encoded, Preprocessing};

pub struct Spilled<'a> {
    pub rows: &'a SpilledRows,
    preprocessing: &'a Preprocessing,
    /// Per categorical column the id of each code.
    ids: Vec<Vec<u32>>,
    empty: TrainingTable,
}

impl<'a> Spilled<'a> {
    /// `table` has the dictionaries that the codes in the file belong to.
    pub fn new(
        rows: &'a SpilledRows,
        table: &TrainingTable,
        preprocessing: &'a Preprocessing,
    ) -> Result<Self> {
        Ok(Self {
            rows,
            preprocessing,
            ids: preprocessing.ids(table),
            empty: table.like()?,
        })
    }

    pub fn block(&self, block: u32) -> Result<Encoded> {
        let mut table = self.empty.clone();
        self.rows.read(block, &mut table)?;
        self.preprocessing.encode_block(table, &self.ids)
    }
}
