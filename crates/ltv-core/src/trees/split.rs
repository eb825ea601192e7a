//! The best split of one feature in one leaf.

use super::Settings;
use super::bins::Bins;
use super::category;
use super::histogram::{Cells, Sums};
use super::tree::Test;

/// What the value of a leaf may be where features have a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub low: f64,
    pub high: f64,
}

impl Bounds {
    pub const NONE: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };
}

/// What a leaf and its children have to keep to.
pub struct Rule<'a> {
    pub settings: &'a Settings,
    pub total: Sums,
    pub rows: usize,
    pub bounds: Bounds,
}

#[derive(Clone, Debug)]
pub struct Split {
    pub feature: usize,
    pub test: Test,
    pub gain: f64,
    pub left: Sums,
    pub right: Sums,
    pub left_value: f64,
    pub right_value: f64,
}

impl Rule<'_> {
    /// Rows for each unit of Hessian: rows in a bin are estimated from its sum.
    pub fn rows_per_hessian(&self) -> f64 {
        self.rows as f64 / self.total[1]
    }

    /// Whether both children have enough rows and Hessian.
    pub fn allows(&self, left_rows: f64, left: Sums) -> bool {
        let (hessian, rows) = (
            self.settings.min_hessian_in_leaf,
            self.settings.min_data_in_leaf as f64,
        );
        let right_rows = self.rows as f64 - left_rows;
        (left_rows >= rows)
            & (right_rows >= rows)
            & (left[1] >= hessian)
            & (self.total[1] - left[1] >= hessian)
    }

    /// The value of a leaf with these sums, learning rate not included.
    pub fn value(&self, [gradient, hessian]: Sums, l2: f64) -> f64 {
        let value = -gradient / (hessian + l2);
        match value.is_finite() {
            true => value.clamp(self.bounds.low, self.bounds.high),
            false => 0.0,
        }
    }

    /// Twice what a leaf of this value takes off the loss.
    pub fn worth([gradient, hessian]: Sums, value: f64, l2: f64) -> f64 {
        -(2.0 * gradient * value + (hessian + l2) * value * value)
    }

    /// What the leaf is worth as it is.
    pub fn worth_whole(&self) -> f64 {
        let [gradient, hessian] = self.total;
        gradient * gradient / (hessian + self.settings.l2)
    }

    pub fn rest(&self, left: Sums) -> Sums {
        [self.total[0] - left[0], self.total[1] - left[1]]
    }

    /// A split that gains something, with the values of its children.
    pub fn split(
        &self,
        feature: usize,
        test: Test,
        left: Sums,
        worth: f64,
        l2: f64,
    ) -> Option<Split> {
        let gain = worth - self.worth_whole();
        if !(gain > 1e-12 && gain.is_finite()) {
            return None;
        }
        let right = self.rest(left);
        Some(Split {
            feature,
            test,
            gain,
            left,
            right,
            left_value: self.value(left, l2),
            right_value: self.value(right, l2),
        })
    }
}

/// The best split of a feature.
pub fn best(feature: usize, cells: &Cells, bins: &Bins, rule: &Rule) -> Option<Split> {
    match bins {
        Bins::Numbers(borders) => best_number(feature, cells, borders.len() + 1, rule),
        Bins::Categories(most) => category::best(feature, cells, usize::from(*most), rule),
    }
}

/// Sums over the bins up to each one.
struct Prefix {
    gradients: [f64; 256],
    hessians: [f64; 256],
    rows: [f64; 256],
}

/// The whole number of rows that a sum of Hessians stands for.
pub fn whole(rows: f64) -> f64 {
    f64::from((rows + 0.5) as i32)
}

/// A number of bins that go to the left, and what that is worth.
type Found = (usize, f64);

/// `values`: bins of values; the next one is that of missing ones.
fn best_number(feature: usize, cells: &Cells, values: usize, rule: &Rule) -> Option<Split> {
    let l2 = rule.settings.l2;
    let missing = cells[values & 255];
    let mut prefix = Prefix {
        gradients: [0.0; 256],
        hessians: [0.0; 256],
        rows: [0.0; 256],
    };
    let rows_per_hessian = rule.rows_per_hessian();
    let (mut sum, mut rows) = ([0.0; 2], 0.0);
    for (bin, cell) in cells[..values].iter().enumerate() {
        sum = [sum[0] + cell[0], sum[1] + cell[1]];
        rows += whole(cell[1] * rows_per_hessian);
        prefix.rows[bin] = rows;
        prefix.gradients[bin] = sum[0];
        prefix.hessians[bin] = sum[1];
    }
    let has_missing = missing != [0.0; 2];
    let direction = rule.settings.direction(feature);
    let scan = |extra: Sums, bins: usize, last: bool| -> Found {
        let extra = (extra, whole(extra[1] * rows_per_hessian));
        if direction == 0 && rule.bounds == Bounds::NONE {
            scan(&prefix, bins, extra, rule, last)
        } else {
            scan_bounded(&prefix, bins, extra, rule, direction)
        }
    };
    // Missing values on the left, where at least one bin of values stays on the right.
    let left = scan(missing, values - 1, true);
    let (mut best, mut to_left) = (left, true);
    if has_missing {
        // Missing values on the right, perhaps alone.
        let right = scan([0.0; 2], values, false);
        if right.1 > best.1 {
            (best, to_left) = (right, false);
        }
    }
    let (bin, worth) = best;
    if worth == f64::NEG_INFINITY {
        return None;
    }
    let mut sums = [prefix.gradients[bin], prefix.hessians[bin]];
    if !has_missing {
        // Nobody here misses a value: whoever does later goes with the many.
        to_left = 2.0 * sums[1] >= rule.total[1];
    } else if to_left {
        sums = [sums[0] + missing[0], sums[1] + missing[1]];
    }
    let test = Test::Number {
        bin: bin as u8,
        missing: to_left,
    };
    rule.split(feature, test, sums, worth, l2)
}

/// The best of the first `bins` places for a border; of equal ones the last or the first. `extra`: sums and rows of whoever else is on the
/// left.
fn scan(prefix: &Prefix, bins: usize, extra: (Sums, f64), rule: &Rule, last: bool) -> Found {
    let l2 = rule.settings.l2;
    let [gradient, hessian] = rule.total;
    let mut worths = [f64::NEG_INFINITY; 256];
    let sums = prefix.gradients[..bins]
        .iter()
        .zip(&prefix.hessians[..bins]);
    for ((worth, (left, weight)), rows) in worths.iter_mut().zip(sums).zip(&prefix.rows[..bins]) {
        let (left, weight) = (left + extra.0[0], weight + extra.0[1]);
        let (right, rest) = (gradient - left, hessian - weight);
        let both = left * left / (weight + l2) + right * right / (rest + l2);
        let is_allowed = rule.allows(rows + extra.1, [left, weight]);
        *worth = if is_allowed { both } else { f64::NEG_INFINITY };
    }
    let mut best = (0, f64::NEG_INFINITY);
    for (bin, &worth) in worths[..bins].iter().enumerate() {
        if worth > best.1 || (last && worth == best.1) {
            best = (bin, worth);
        }
    }
    best
}

/// The same where values are bounded, or have to rise (1) or fall (-1) with the feature.
fn scan_bounded(
    prefix: &Prefix,
    bins: usize,
    extra: (Sums, f64),
    rule: &Rule,
    direction: i8,
) -> Found {
    let l2 = rule.settings.l2;
    let mut best = (0, f64::NEG_INFINITY);
    for bin in 0..bins {
        let left = [
            prefix.gradients[bin] + extra.0[0],
            prefix.hessians[bin] + extra.0[1],
        ];
        let right = rule.rest(left);
        if !rule.allows(prefix.rows[bin] + extra.1, left) {
            continue;
        }
        let (low, high) = (rule.value(left, l2), rule.value(right, l2));
        if f64::from(direction) * (high - low) < 0.0 {
            continue;
        }
        let worth = Rule::worth(left, low, l2) + Rule::worth(right, high, l2);
        if worth > best.1 {
            best = (bin, worth);
        }
    }
    best
}
