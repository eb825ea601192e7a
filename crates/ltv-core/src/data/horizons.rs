//! What customers spent up to the end of each of several horizons, as the increments that one model of all of them learns.

use super::order::{keep, permute, pick};

/// What each row spent from the end of one horizon to the end of the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Horizons {
    /// Ends of the horizons in days after the cut-off, ascending.
    days: Vec<f32>,
    /// Row after row, one number for each horizon; NaN where its time has not come.
    spent: Vec<f32>,
}

impl Horizons {
    /// Without rows. `days`: the ends of the horizons, ascending, two at least.
    pub fn new(days: Vec<f32>) -> Self {
        Self {
            days,
            spent: Vec::new(),
        }
    }

    /// The ends of the horizons in days.
    pub fn days(&self) -> &[f32] {
        &self.days
    }

    /// How many horizons there are.
    pub fn count(&self) -> usize {
        self.days.len()
    }

    /// The increments of a row, NaN where the time of one has not come.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.spent[row * self.count()..(row + 1) * self.count()]
    }

    /// The increments of one interval, row by row.
    pub fn interval(&self, index: usize) -> impl Iterator<Item = f32> + '_ {
        self.spent.iter().skip(index).step_by(self.count()).copied()
    }

    /// Appends a row by what was spent up to the end of each horizon. Refunds can make a longer horizon worth less than a shorter one:
    /// what was given back later was never spent, so that the increments are not negative and add up to the longest one.
    pub fn push(&mut self, labels: &[f32]) {
        let start = self.spent.len();
        self.spent.resize(start + self.count(), f32::NAN);
        let known = labels.iter().take_while(|label| !label.is_nan()).count();
        let known = known.min(self.count());
        let mut after = f32::INFINITY;
        let kept: Vec<f32> = labels[..known]
            .iter()
            .rev()
            .map(|label| {
                after = after.min(*label);
                after
            })
            .collect();
        let mut before = 0.0;
        for (into, label) in self.spent[start..].iter_mut().zip(kept.iter().rev()) {
            *into = (label - before).max(0.0);
            before = label.max(before);
        }
    }

    /// Appends increments as they are.
    pub(super) fn push_increments(&mut self, increments: impl Iterator<Item = f32>) {
        self.spent.extend(increments.take(self.days.len()));
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.spent.truncate(rows * self.days.len());
    }

    pub(super) fn forget_rows(&mut self) {
        self.spent = Vec::new();
    }

    pub(super) fn permute(&mut self, order: &[u32]) {
        permute(&mut self.spent, self.days.len(), order);
    }

    pub(super) fn pick(&self, rows: &[u32]) -> Self {
        Self {
            days: self.days.clone(),
            spent: pick(&self.spent, self.days.len(), rows),
        }
    }

    pub(super) fn keep(&mut self, stays: &[bool]) {
        keep(&mut self.spent, self.days.len(), stays);
    }

    pub(super) fn reverse(&mut self) {
        let (width, rows) = (self.days.len(), self.spent.len() / self.days.len().max(1));
        let order: Vec<u32> = (0..rows as u32).rev().collect();
        permute(&mut self.spent, width, &order);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.spent.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_add_up_to_the_longest_horizon() {
        let mut horizons = Horizons::new(vec![30.0, 90.0, 365.0]);
        horizons.push(&[10.0, 10.0, 25.0]);
        horizons.push(&[10.0, 4.0, 25.0]);
        horizons.push(&[10.0, 30.0, 5.0]);
        horizons.push(&[0.0, 7.0, f32::NAN]);
        horizons.push(&[f32::NAN, 7.0, 9.0]);
        assert_eq!(horizons.row(0), [10.0, 0.0, 15.0]);
        assert_eq!(horizons.row(1), [4.0, 0.0, 21.0]);
        assert_eq!(horizons.row(2), [5.0, 0.0, 0.0]);
        assert_eq!(horizons.row(3)[..2], [0.0, 7.0]);
        assert!(horizons.row(3)[2].is_nan());
        assert!(horizons.row(4).iter().all(|spent| spent.is_nan()));
        let second: Vec<f32> = horizons.interval(1).take(4).collect();
        assert_eq!(second, [0.0, 0.0, 0.0, 7.0]);
    }
}
