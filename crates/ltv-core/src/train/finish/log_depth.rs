//! How much of its customers' past each cut-off knows. A log begins one day, and customers first seen then were
//! customers before: at an early cut-off old customers look like new ones, and those who are new later, at the time of
//! use, do not behave like them. So the later a cut-off, the more alike its customers are to those of the time of use.

use crate::data::TrainingTable;
use std::collections::HashMap;

/// The feature with the days since the first purchase, by the name that `ltv_create_features` gives it.
const AGE: &str = "t";
/// The weight of a cut-off is this power of its past as a share of the longest.
const POWER: i32 = 6;

pub struct LogDepth {
    /// Days of the oldest customer of each cut-off, for each row of the table.
    days: Vec<f32>,
}

impl LogDepth {
    pub fn of(table: &TrainingTable) -> Option<Self> {
        let cut_offs = table.as_of.as_deref()?;
        let (_, position) = table.numeric(AGE)?;
        let ages = table
            .matrix
            .chunks_exact(table.width)
            .map(|row| row[position]);
        let mut oldest: HashMap<u32, f32> = HashMap::new();
        for (cut_off, age) in cut_offs.iter().zip(ages) {
            let known = oldest.entry(cut_off.to_bits()).or_insert(f32::MIN_POSITIVE);
            // Of a number and NaN the number.
            *known = known.max(age);
        }
        let days = cut_offs.iter().map(|day| oldest[&day.to_bits()]).collect();
        Some(Self { days })
    }

    pub fn days(&self, row: usize) -> f64 {
        self.days[row].into()
    }

    /// What each of these rows counts for where it stands for a customer at the time of use. Those with the longest past count 1.
    pub fn weights(&self, rows: &[u32]) -> Vec<f64> {
        let days = rows.iter().map(|&row| self.days[row as usize]);
        let longest = days.fold(f32::MIN_POSITIVE, f32::max);
        let share = |&row: &u32| f64::from(self.days[row as usize] / longest);
        rows.iter().map(|row| share(row).powi(POWER)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::error::Result;
    use crate::schema::{ColumnKind, FeatureColumn};

    fn table(name: &str, rows: &[(f32, f64)]) -> Result<TrainingTable> {
        let inputs = vec![FeatureColumn::new(name, ColumnKind::Numeric, "real")];
        let mut table = TrainingTable::new(inputs, true)?;
        for &(cut_off, age) in rows {
            let mut row = table.row();
            row.number(Some(age))?;
            row.finish(0.0, Split::Train, Some(cut_off))?;
        }
        Ok(table)
    }

    #[test]
    fn a_cut_off_knows_what_its_oldest_customer_knows() -> Result<()> {
        let table = table(
            AGE,
            &[(9.0, 100.0), (5.0, 50.0), (5.0, f64::NAN), (9.0, 3.0)],
        )?;
        let found = LogDepth::of(&table);
        let found = found.map(|log_depth| (log_depth.days(1), log_depth.weights(&[0, 1, 2, 3])));
        assert_eq!(found, Some((50.0, vec![1.0, 0.015625, 0.015625, 1.0])));
        Ok(())
    }

    #[test]
    fn without_ages_nothing_is_known() -> Result<()> {
        assert!(LogDepth::of(&table("days", &[(9.0, 100.0)])?).is_none());
        assert!(LogDepth::of(&table(AGE, &[(9.0, f64::NAN)])?).is_some());
        Ok(())
    }
}
