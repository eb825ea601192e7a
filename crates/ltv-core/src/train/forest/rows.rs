//! Rows as trees take them: bins.

use crate::data::{SpilledRows, Split, TrainingTable};
use crate::error::{Error, Result};
use crate::preprocess::{Preprocessing, RawKind};
use crate::train::control::Control;
use crate::train::rows::folds;
use crate::trees::{Binned, Bins, Part};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Rows of a table in bins, and what is known of them besides.
pub struct TreeRows {
    pub data: Binned,
    pub spent: Vec<f32>,
    /// In each interval between the ends of several horizons.
    pub intervals: Vec<Vec<f32>>,
    pub groups: Vec<u32>,
    pub split: Vec<Split>,
}

/// The bins of each raw column, from the rows that something may be fitted to.
pub fn bins(fitted: &Preprocessing, table: &TrainingTable, rows: &[u32], most: usize) -> Vec<Bins> {
    let ids = fitted.ids(table);
    let columns = fitted.raw_columns();
    (0..columns.len())
        .into_par_iter()
        .map(|column| match columns[column].kind {
            RawKind::Category(count) => Bins::of_categories(count),
            RawKind::Number | RawKind::Age => {
                let all: Vec<f32> = fitted.raw_values(table, &ids, column).collect();
                let values: Vec<f32> = rows.iter().map(|&row| all[row as usize]).collect();
                Bins::of_numbers(&values, most)
            }
        })
        .collect()
}

/// Memory that a row takes besides its bins while trees are grown on it: labels, scores, gradients, and its number in several orders.
const PER_ROW: usize = 72;

impl TreeRows {
    pub fn of(fitted: &Preprocessing, table: &TrainingTable, features: &[Bins]) -> Result<Self> {
        Self::with_ids(fitted, table, &fitted.ids(table), features)
    }

    fn with_ids(
        fitted: &Preprocessing,
        table: &TrainingTable,
        ids: &[Vec<u32>],
        features: &[Bins],
    ) -> Result<Self> {
        let mut data = Binned::new(table.rows());
        for (column, bins) in features.iter().enumerate() {
            data.push(bins.clone(), fitted.raw_values(table, ids, column))?;
        }
        Ok(Self {
            data,
            spent: table.target.clone(),
            intervals: match table.horizons() {
                Some(all) => (0..all.count())
                    .map(|index| all.interval(index).collect())
                    .collect(),
                None => Vec::new(),
            },
            groups: table.groups.clone(),
            split: table.split.clone(),
        })
    }

    /// The rows of a file; where not all of them fit, those of as many customers as do.
    pub fn of_file(
        file: &SpilledRows,
        fitted: &Preprocessing,
        table: &TrainingTable,
        features: &[Bins],
        room: &Room,
        control: &dyn Control,
    ) -> Result<Self> {
        let share = room.share(file.rows() as usize, features.len(), control);
        let ids = fitted.ids(table);
        let mut all: Option<Self> = None;
        for block in 0..file.blocks() {
            if control.is_cancelled() {
                return Err(Error::cancelled());
            }
            let mut part = table.like()?;
            file.read(block, &mut part)?;
            let kept: Vec<u32> = (0..part.rows() as u32)
                .filter(|&row| room.holds(part.groups[row as usize], share))
                .collect();
            if kept.len() < part.rows() {
                part = part.subset(&kept);
            }
            let part = Self::with_ids(fitted, &part, &ids, features)?;
            match &mut all {
                None => all = Some(part),
                Some(all) => all.extend(part),
            }
        }
        all.ok_or_else(|| Error::internal("the file has no rows"))
    }

    /// The spend that a part is of, row by row.
    pub fn spent_of(&self, part: &Part) -> &[f32] {
        let interval = part.interval.checked_sub(1);
        let spent = interval.and_then(|index| self.intervals.get(index));
        spent.unwrap_or(&self.spent)
    }

    fn extend(&mut self, other: Self) {
        self.data.extend(&other.data);
        self.spent.extend(other.spent);
        for (own, other) in self.intervals.iter_mut().zip(other.intervals) {
            own.extend(other);
        }
        self.groups.extend(other.groups);
        self.split.extend(other.split);
    }
}

/// Customers are drawn by another hash than folds are dealt by.
const SAMPLE_SEED: u64 = 0x7265_6573;

/// The memory that rows may take, and who is drawn where it does not suffice.
pub struct Room {
    pub bytes: Option<usize>,
    /// Trainings at the same time.
    pub at_once: usize,
    pub seed: u64,
}

impl Room {
    /// The share of the customers whose rows fit.
    pub fn share(&self, rows: usize, columns: usize, control: &dyn Control) -> f64 {
        let width = columns.next_multiple_of(8);
        let per_row = width + 9 + self.at_once.max(1) * (width + PER_ROW);
        let room = self.bytes.map_or(usize::MAX, |bytes| bytes / per_row);
        let share = (room as f64 / rows.max(1) as f64).min(1.0);
        if share < 1.0 {
            control.notice(&format!(
                "trees are grown on {:.0} % of the customers, because the bins of all rows do not fit into ltv.training_memory",
                100.0 * share
            ));
        }
        share
    }

    /// Whether the customer is among those.
    pub fn holds(&self, group: u32, share: f64) -> bool {
        folds::fraction(group, self.seed ^ SAMPLE_SEED) < share
    }
}
