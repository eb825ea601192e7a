//! Which customers are learned from where there are more rows than a training is to have.

use super::order::keep;
use super::{SequenceColumn, TrainingTable};
use serde_json::{Value, json};

/// A hash of 64 bits ends in so many zeros at most, so that each customer has one of one more lots.
const LOTS: usize = u64::BITS as usize + 1;

/// A share of the customers, halved each time that their rows pass a limit. Which ones stay depends on their lots alone, and
/// when it is halved in the end on how many rows each lot has: so on the rows, and not on the order in which they come.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Rows that may stay.
    most: u64,
    halvings: u8,
    kept: u64,
    /// Rows so far by lot.
    rows: [u64; LOTS],
}

impl Sample {
    /// Of `most` rows; 0: of all there are.
    pub fn new(most: usize) -> Self {
        Self {
            most: if most == 0 { u64::MAX } else { most as u64 },
            halvings: 0,
            kept: 0,
            rows: [0; LOTS],
        }
    }

    /// How many halvings a customer stays through, by a hash of who it is. Rows in a file are ordered by the high bits of
    /// the same hash, the parts for validation and for folds come from others.
    pub fn lot(key: u64) -> u8 {
        spread(key).trailing_zeros() as u8
    }

    /// Counts a row, and says whether it stays. It may be the one that halves the share.
    pub fn take(&mut self, lot: u8) -> bool {
        self.rows[usize::from(lot)] += 1;
        if !self.keeps(lot) {
            return false;
        }
        self.kept += 1;
        while self.kept > self.most && usize::from(self.halvings) + 1 < LOTS {
            self.kept -= self.rows[usize::from(self.halvings)];
            self.halvings += 1;
        }
        self.keeps(lot)
    }

    /// Whether customers of this lot stay.
    pub fn keeps(&self, lot: u8) -> bool {
        lot >= self.halvings
    }

    /// How often the share was halved.
    pub fn halvings(&self) -> u8 {
        self.halvings
    }

    /// Rows that stay.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Rows that came.
    pub fn read(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// What a version says of it; `None` where all rows stay.
    pub fn to_json(&self) -> Option<Value> {
        let share = 0.5_f64.powi(self.halvings.into());
        (self.halvings > 0).then(|| json!({"share": share, "rows_read": self.read()}))
    }

    /// The same in words.
    pub fn remark(&self) -> Option<String> {
        let (one_in, kept, read) = (1_u128 << self.halvings, self.kept, self.read());
        (self.halvings > 0).then(|| {
            format!("one customer in {one_in} was learned from, {kept} of {read} rows, because the option \"max_rows\" is {}", self.most)
        })
    }
}

/// The finaliser of MurmurHash3: neighbouring keys end up anywhere.
pub fn spread(key: u64) -> u64 {
    let key = (key ^ (key >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let key = (key ^ (key >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    key ^ (key >> 33)
}

impl TrainingTable {
    /// Forgets the rows whose lots do not stay, in place, not their memory: as many others are likely to come.
    pub fn keep(&mut self, sample: &Sample, lots: &[u8]) {
        let stays: Vec<bool> = lots.iter().map(|&lot| sample.keeps(lot)).collect();
        keep(&mut self.matrix, self.width, &stays);
        keep(&mut self.target, 1, &stays);
        keep(&mut self.split, 1, &stays);
        keep(&mut self.groups, 1, &stays);
        if let Some(days) = &mut self.as_of {
            keep(days, 1, &stays);
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.keep(&stays);
        }
        for column in &mut self.categories {
            column.keep(&stays);
        }
        if let Some(sequence) = &mut self.sequence {
            let mut some = SequenceColumn::new(sequence.channels());
            for row in (0..self.rows).filter(|&row| stays[row]) {
                some.push(sequence.row(row));
            }
            *sequence = some;
        }
        self.rows = stays.iter().filter(|stays| **stays).count();
    }
}
