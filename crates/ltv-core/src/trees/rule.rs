//! What splits have to keep to, and what they are worth.

use super::Settings;
use super::histogram::Sums;
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

    /// Rows on the left at least.
    pub fn least_rows(&self) -> f64 {
        self.settings.min_data_in_leaf as f64
    }

    /// Rows on the left at most, so that enough are on the right.
    pub fn most_rows(&self) -> f64 {
        self.rows as f64 - self.least_rows()
    }

    /// Whether both children have enough rows and Hessian.
    pub fn allows(&self, left_rows: f64, left: Sums) -> bool {
        let hessian = self.settings.min_hessian_in_leaf;
        (left_rows >= self.least_rows())
            & (left_rows <= self.most_rows())
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

/// The whole number of rows that a sum of Hessians stands for: from 2^52 on a double has no fraction.
#[inline(always)]
pub fn whole(rows: f64) -> f64 {
    const WHOLE: f64 = (1u64 << 52) as f64;
    (rows + WHOLE) - WHOLE
}
