//! Rows of bins: eight features side by side, so that a row of them is read at once.

use super::bins::Bins;
use crate::error::{Error, ErrorKind, Result};

/// Features side by side.
pub(super) const SIDE: usize = 8;

/// The bins of each row, and what they mean.
#[derive(Clone, Debug)]
pub struct Binned {
    rows: usize,
    features: Vec<Bins>,
    groups: Vec<Vec<[u8; SIDE]>>,
}

impl Binned {
    /// Rows without a feature yet.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            features: Vec::new(),
            groups: Vec::new(),
        }
    }

    /// Adds a feature with the value of each row: NaN where it is missing, of a category its id.
    pub fn push(&mut self, bins: Bins, values: impl Iterator<Item = f32>) -> Result<()> {
        let place = self.features.len() % SIDE;
        if place == 0 {
            let mut group = Vec::new();
            group.try_reserve_exact(self.rows).map_err(|_| {
                Error::new(ErrorKind::Resources, "out of memory")
                    .detail(format!("The bins of {} rows do not fit.", self.rows))
                    .hint("Train on fewer rows or columns.")
            })?;
            group.resize(self.rows, [0; SIDE]);
            self.groups.push(group);
        }
        if let Some(group) = self.groups.last_mut() {
            let mut count = 0;
            for (row, value) in group.iter_mut().zip(values) {
                row[place] = bins.bin(value);
                count += 1;
            }
            if count != self.rows {
                return Err(Error::internal("a feature has the wrong number of rows"));
            }
        }
        self.features.push(bins);
        Ok(())
    }

    /// Adds the rows of another table of the same features.
    pub fn extend(&mut self, other: &Self) {
        self.rows += other.rows;
        for (group, more) in self.groups.iter_mut().zip(&other.groups) {
            group.extend_from_slice(more);
        }
    }

    /// Some rows, in this order.
    pub fn subset(&self, rows: &[u32]) -> Self {
        let pick = |group: &Vec<[u8; SIDE]>| rows.iter().map(|&row| group[row as usize]).collect();
        Self {
            rows: rows.len(),
            features: self.features.clone(),
            groups: self.groups.iter().map(pick).collect(),
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What the bins of each feature mean.
    pub fn features(&self) -> &[Bins] {
        &self.features
    }

    /// The bin of a row's feature.
    #[inline]
    pub fn bin(&self, feature: usize, row: usize) -> u8 {
        self.groups[feature / SIDE][row][feature % SIDE]
    }

    /// The bins of a feature by row.
    #[inline]
    pub(super) fn column(&self, feature: usize) -> impl Fn(u32) -> u8 {
        let (group, place) = (self.groups[feature / SIDE].as_slice(), feature % SIDE);
        move |row| group[row as usize][place]
    }

    /// Features of group `group`, and their bins row by row.
    pub(super) fn group(&self, group: usize) -> (std::ops::Range<usize>, &[[u8; SIDE]]) {
        let from = group * SIDE;
        let to = self.features.len().min(from + SIDE);
        (from..to, &self.groups[group])
    }

    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Bytes held.
    pub fn memory_bytes(&self) -> usize {
        self.groups.len() * self.rows * SIDE
    }
}
