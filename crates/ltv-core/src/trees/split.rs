//! The best split of one feature in one leaf.

use super::bins::Bins;
use super::category;
use super::histogram::{Cells, Sums};
use super::rule::{Bounds, Rule, Split, whole};
use super::tree::Test;

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
