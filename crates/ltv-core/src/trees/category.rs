//! The best division of categories in two: ordered by what a leaf of their own would be worth, the best cut is the best of all divisions
//! (Fisher 1958). Few rows are no evidence, so that a category without enough of them stays on the right, with unseen ones.

use super::histogram::{Cells, Sums};
use super::rule::{Rule, Split, whole};
use super::tree::Test;

/// Up to so many bins each category is tried alone.
const ALONE: usize = 4;
/// Rows that a category needs to be moved, and what is added to its Hessian for the order.
const SMOOTH: f64 = 10.0;
/// What is added to the sum of the Hessians of the two groups.
const L2: f64 = 10.0;
/// Categories on the left at most.
const MOST_LEFT: usize = 32;
/// Rows from one place of the cut to the next, and rows on the right.
const ROWS_PER_CUT: f64 = 100.0;

pub fn best(feature: usize, cells: &Cells, most: usize, rule: &Rule) -> Option<Split> {
    match most < ALONE {
        true => alone(feature, cells, most, rule),
        false => ordered(feature, cells, most, rule),
    }
}

fn alone(feature: usize, cells: &Cells, most: usize, rule: &Rule) -> Option<Split> {
    let l2 = rule.settings.l2;
    let mut best: Option<(usize, f64)> = None;
    for (id, &left) in cells.iter().enumerate().skip(1).take(most) {
        if !rule.allows(whole(left[1] * rule.rows_per_hessian()), left) {
            continue;
        }
        let worth = worth(rule, left, l2);
        if best.is_none_or(|(_, found)| worth > found) {
            best = Some((id, worth));
        }
    }
    let (id, worth) = best?;
    rule.split(
        feature,
        Test::Category(vec![id as u8]),
        cells[id],
        worth,
        l2,
    )
}

fn ordered(feature: usize, cells: &Cells, most: usize, rule: &Rule) -> Option<Split> {
    let (l2, least) = (rule.settings.l2 + L2, rule.settings.min_hessian_in_leaf);
    let least_rows = rule.settings.min_data_in_leaf as f64;
    let rows = |id: usize| whole(cells[id][1] * rule.rows_per_hessian());
    let mut ids: Vec<usize> = (1..=most).filter(|&id| rows(id) >= SMOOTH).collect();
    let order = |id: usize| cells[id][0] / (cells[id][1] + SMOOTH);
    ids.sort_by(|&a, &b| order(a).total_cmp(&order(b)));
    let most_left = MOST_LEFT.min(ids.len().div_ceil(2));
    let mut best: Option<(Vec<u8>, Sums, f64)> = None;
    for from_the_end in [false, true] {
        if from_the_end {
            ids.reverse();
        }
        let (mut left, mut left_rows, mut since) = ([0.0; 2], 0.0, 0.0);
        for (count, &id) in ids.iter().enumerate().take(most_left) {
            left = [left[0] + cells[id][0], left[1] + cells[id][1]];
            left_rows += rows(id);
            since += rows(id);
            let right = rule.rest(left);
            if left_rows < least_rows || left[1] < least {
                continue;
            }
            let right_rows = rule.rows as f64 - left_rows;
            if right_rows < least_rows.max(ROWS_PER_CUT) || right[1] < least {
                break;
            }
            if since < ROWS_PER_CUT {
                continue;
            }
            since = 0.0;
            let worth = worth(rule, left, l2);
            if best.as_ref().is_none_or(|(_, _, found)| worth > *found) {
                let mut group: Vec<u8> = ids[..=count].iter().map(|&id| id as u8).collect();
                group.sort_unstable();
                best = Some((group, left, worth));
            }
        }
    }
    let (group, left, worth) = best?;
    rule.split(feature, Test::Category(group), left, worth, l2)
}

fn worth(rule: &Rule, left: Sums, l2: f64) -> f64 {
    let right = rule.rest(left);
    Rule::worth(left, rule.value(left, l2), l2) + Rule::worth(right, rule.value(right, l2), l2)
}
