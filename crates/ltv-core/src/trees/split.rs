//! The best split of one feature in one leaf.

use super::bins::Bins;
use super::category;
use super::histogram::{Cells, Sums};
use super::rule::{Bounds, Rule, Split, whole};
use super::tree::Test;
use std::ops::Range;

/// What is worked out for one feature after the other.
pub struct Scratch {
    /// Sums over the bins up to each one.
    gradients: [f64; 256],
    hessians: [f64; 256],
    rows: [f64; 256],
    /// What a border after each bin is worth.
    worths: [f64; 256],
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            gradients: [0.0; 256],
            hessians: [0.0; 256],
            rows: [0.0; 256],
            worths: [0.0; 256],
        }
    }

    /// Sums the first `values` bins, up to where too few rows would be on the right. Returns how many bins that are.
    ///
    /// Four bins are summed by themselves and added to what came before, so that an addition need not wait for three others.
    fn sum(&mut self, cells: &Cells, values: usize, rule: &Rule) -> usize {
        let rows_per_hessian = rule.rows_per_hessian();
        let most = rule.most_rows();
        let mut before = [0.0; 3];
        for (block, four) in cells[..values.next_multiple_of(4)]
            .chunks_exact(4)
            .enumerate()
        {
            let mut inside = [0.0; 3];
            for (place, cell) in four.iter().enumerate() {
                inside[0] += cell[0];
                inside[1] += cell[1];
                inside[2] += whole(cell[1] * rows_per_hessian);
                let bin = 4 * block + place;
                self.gradients[bin] = before[0] + inside[0];
                self.hessians[bin] = before[1] + inside[1];
                self.rows[bin] = before[2] + inside[2];
            }
            for (before, inside) in before.iter_mut().zip(inside) {
                *before += inside;
            }
            if before[2] > most {
                return values.min(4 * block + 4);
            }
        }
        values
    }

    /// Of the first `bins` places for a border those that leave enough rows on both sides. `extra`: rows of whoever else is on the left.
    fn range(&self, bins: usize, extra: f64, rule: &Rule) -> Range<usize> {
        let rows = &self.rows[..bins];
        let first = rows.partition_point(|rows| rows + extra < rule.least_rows());
        let end = rows.partition_point(|rows| rows + extra <= rule.most_rows());
        first..end.max(first)
    }
}

/// A number of bins that go to the left, and what that is worth.
type Found = (usize, f64);
const NOTHING: Found = (0, f64::NEG_INFINITY);

/// The best split of a feature.
pub fn best(
    feature: usize,
    cells: &Cells,
    bins: &Bins,
    rule: &Rule,
    scratch: &mut Scratch,
) -> Option<Split> {
    match bins {
        Bins::Numbers(borders) => best_number(feature, cells, borders.len() + 1, rule, scratch),
        Bins::Categories(most) => category::best(feature, cells, usize::from(*most), rule),
    }
}

/// `values`: bins of values; the next one is that of missing ones.
fn best_number(
    feature: usize,
    cells: &Cells,
    values: usize,
    rule: &Rule,
    scratch: &mut Scratch,
) -> Option<Split> {
    let missing = cells[values & 255];
    let known = scratch.sum(cells, values, rule);
    let has_missing = missing != [0.0; 2];
    let direction = rule.settings.direction(feature);
    let is_free = direction == 0 && rule.bounds == Bounds::NONE;
    let mut scan = |extra: Sums, bins: usize, last: bool| -> Found {
        let rows = whole(extra[1] * rule.rows_per_hessian());
        let range = scratch.range(bins.min(known), rows, rule);
        match is_free {
            true => scan(scratch, range, extra, rule, last),
            false => scan_bounded(scratch, range, extra, rule, direction),
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
    let mut sums = [scratch.gradients[bin], scratch.hessians[bin]];
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
    rule.split(feature, test, sums, worth, rule.settings.l2)
}

/// The best place for a border; of equal ones the last or the first. `extra`: sums of whoever else is on the left.
fn scan(scratch: &mut Scratch, range: Range<usize>, extra: Sums, rule: &Rule, last: bool) -> Found {
    let l2 = rule.settings.l2;
    let least = rule.settings.min_hessian_in_leaf;
    let [gradient, hessian] = rule.total;
    let worths = &mut scratch.worths[range.clone()];
    let sums = scratch.gradients[range.clone()]
        .iter()
        .zip(&scratch.hessians[range.clone()]);
    for (worth, (left, weight)) in worths.iter_mut().zip(sums) {
        let (left, weight) = (left + extra[0], weight + extra[1]);
        let (right, rest) = (gradient - left, hessian - weight);
        let (below, above) = (weight + l2, rest + l2);
        // Both fractions over one denominator: a division takes as long as all the rest.
        let both = (left * left * above + right * right * below) / (below * above);
        let is_allowed = (weight >= least) & (rest >= least);
        *worth = if is_allowed { both } else { f64::NEG_INFINITY };
    }
    let best = highest(worths);
    let is_best = |worth: &f64| *worth == best;
    let place = match last {
        true => worths.iter().rposition(is_best),
        false => worths.iter().position(is_best),
    };
    place.map_or(NOTHING, |place| (range.start + place, best))
}

/// The largest number, by eight lanes side by side.
fn highest(worths: &[f64]) -> f64 {
    let higher = |best: f64, worth: f64| if worth > best { worth } else { best };
    let mut lanes = [f64::NEG_INFINITY; 8];
    let (eights, rest) = worths.as_chunks::<8>();
    for eight in eights {
        for (lane, worth) in lanes.iter_mut().zip(eight) {
            *lane = higher(*lane, *worth);
        }
    }
    lanes
        .into_iter()
        .chain(rest.iter().copied())
        .fold(f64::NEG_INFINITY, higher)
}

/// The same where values are bounded, or have to rise (1) or fall (-1) with the feature.
fn scan_bounded(
    scratch: &Scratch,
    range: Range<usize>,
    extra: Sums,
    rule: &Rule,
    direction: i8,
) -> Found {
    let l2 = rule.settings.l2;
    let least = rule.settings.min_hessian_in_leaf;
    let mut best = NOTHING;
    for bin in range {
        let left = [
            scratch.gradients[bin] + extra[0],
            scratch.hessians[bin] + extra[1],
        ];
        let right = rule.rest(left);
        if left[1] < least || right[1] < least {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::Settings;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Every border and both sides for missing values, one after the other.
    fn plainly(cells: &Cells, values: usize, rule: &Rule) -> Option<f64> {
        let rows_of = |sums: Sums| whole(sums[1] * rule.rows_per_hessian());
        let mut best: Option<f64> = None;
        for missing in [cells[values], [0.0; 2]] {
            let (mut left, mut rows) = (missing, rows_of(missing));
            let last = values - usize::from(missing == cells[values]);
            for cell in &cells[..last] {
                left = [left[0] + cell[0], left[1] + cell[1]];
                rows += rows_of(*cell);
                let right = rule.rest(left);
                let l2 = rule.settings.l2;
                let side = |sums: Sums| Rule::worth(sums, rule.value(sums, l2), l2);
                if rule.allows(rows, left) {
                    let gain = side(left) + side(right) - rule.worth_whole();
                    best = Some(best.map_or(gain, |best| best.max(gain)));
                }
            }
        }
        best.filter(|gain| *gain > 1e-9)
    }

    #[test]
    fn the_best_of_all_borders_is_found() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut scratch = Scratch::new();
        for case in 0..2000 {
            let values = random.random_range(2..=255usize);
            let (empty, missing) = (random.random::<f64>(), random.random_bool(0.5));
            let mut cells: Cells = [[0.0; 2]; 256];
            let (mut rows, mut total) = (0, [0.0; 2]);
            for (bin, cell) in cells.iter_mut().enumerate().take(values + 1) {
                if random.random::<f64>() < empty || (bin == values && !missing) {
                    continue;
                }
                let count = random.random_range(1..20usize);
                let gradient = random.random_range(-1.0..1.0) * count as f64;
                *cell = [gradient, 0.25 * count as f64];
                rows += count;
                total = [total[0] + gradient, total[1] + 0.25 * count as f64];
            }
            let settings = Settings {
                min_data_in_leaf: random.random_range(1..60),
                ..Settings::default()
            };
            let rule = Rule {
                settings: &settings,
                total,
                rows,
                bounds: Bounds::NONE,
            };
            let borders = (0..values - 1).map(|bin| bin as f32).collect();
            let found = best(0, &cells, &Bins::Numbers(borders), &rule, &mut scratch);
            let found = found.map(|split| split.gain).filter(|gain| *gain > 1e-9);
            match (found, plainly(&cells, values, &rule)) {
                (Some(found), Some(plain)) => {
                    assert!((found - plain).abs() < 1e-9 * (1.0 + plain), "{case}");
                }
                (found, plain) => assert_eq!(found, plain, "{case}"),
            }
        }
    }
}
