//! Held-out rows in which nobody's surprise counts for more than a share of the total.
//!
//! A sum of amounts with a heavy tail is at the mercy of its largest: one customer may be half of it, and need not come again. So what a
//! customer spent beyond what was expected of them counts up to a bound, and so does what was expected beyond what they spent: a winsorised
//! ratio (an M-estimator with Huber's function of the residuals). Whoever is as large as predicted surprises nobody and counts in full.

use crate::metrics::Customers;

/// The share of the total that the surprise of one customer may be. Simulated for 20 to 400 paying customers: of amounts that are lognormal
/// with sigma up to 1.5, or Pareto with 1.5, the error of the logarithm of a total is as small as without a bound or up to a third smaller. With
/// sigma 2 it is smaller from 100 customers on, and up to a sixth larger where there are fewer.
const SHARE: f64 = 0.15;
/// With fewer than `FEW / SHARE` paying customers each has a larger share by right.
const FEW: f64 = 6.0;
const STEPS: usize = 200;

#[derive(Clone, Debug)]
pub struct Bounded {
    /// Of each row; those of customers within the bound as they were.
    pub predicted: Vec<f64>,
    pub actual: Vec<f64>,
    /// Customers who paid.
    pub payers: usize,
    /// Variance of the logarithm of the ratio of what was spent to what was predicted.
    pub variance: f64,
    /// The share of all that was spent which the largest customer holds, if not all of it counts.
    pub largest: Option<f64>,
}

impl Bounded {
    pub fn new(predicted: &[f64], actual: &[f64], customers: &Customers) -> Self {
        let spent = customers.sums(actual.iter().copied());
        let expected = customers.sums(predicted.iter().copied());
        let payers = spent.iter().filter(|&&spent| spent > 0.0).count();
        let share = SHARE.max(FEW / (payers + 1) as f64);
        let (factor, bound) = solve(&spent, &expected, share);
        let kept_spent = |customer: usize| spent[customer].min(factor * expected[customer] + bound);
        let kept_expected =
            |customer: usize| expected[customer].min((spent[customer] + bound) / factor);
        let rows = |values: &[f64], sums: &[f64], kept: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let shrunk = |(row, value): (usize, &f64)| {
                let customer = customers.customer(row);
                let (all, kept) = (sums[customer], kept(customer));
                if kept < all {
                    value * kept / all
                } else {
                    *value
                }
            };
            values.iter().enumerate().map(shrunk).collect()
        };
        let (mut total, mut squares) = (0.0, 0.0);
        for customer in 0..spent.len() {
            total += kept_spent(customer);
            squares += (kept_spent(customer) - factor * kept_expected(customer)).powi(2);
        }
        let largest = (0..spent.len()).max_by(|&a, &b| spent[a].total_cmp(&spent[b]));
        let largest = largest.filter(|&customer| kept_spent(customer) < spent[customer]);
        Self {
            predicted: rows(predicted, &expected, &kept_expected),
            actual: rows(actual, &spent, &kept_spent),
            payers,
            variance: squares / (total * total),
            largest: largest.map(|customer| spent[customer] / spent.iter().sum::<f64>()),
        }
    }
}

/// The factor that brings what was expected to what was spent, and the bound of a surprise, as a sum.
fn solve(spent: &[f64], expected: &[f64], share: f64) -> (f64, f64) {
    let total: f64 = spent.iter().sum();
    let mut factor = total / expected.iter().sum::<f64>();
    let mut bound = f64::INFINITY;
    if !(factor.is_finite() && factor > 0.0) || share >= 1.0 {
        return (factor, bound);
    }
    for _ in 0..STEPS {
        bound = largest_bound(spent, expected, share, factor);
        let pairs = || spent.iter().zip(expected);
        let kept: f64 = pairs()
            .map(|(spent, expected)| spent.min(factor * expected + bound))
            .sum();
        let of: f64 = pairs()
            .map(|(spent, expected)| expected.min((spent + bound) / factor))
            .sum();
        let next = kept / of;
        let step = (next / factor).ln().abs();
        if !next.is_finite() || next <= 0.0 {
            break;
        }
        factor = next;
        if step < 1e-9 {
            break;
        }
    }
    (factor, bound)
}

/// The largest bound that is no more than `share` of what all customers spent, each counted up to it: Newton's steps from above
/// on a concave function.
fn largest_bound(spent: &[f64], expected: &[f64], share: f64, factor: f64) -> f64 {
    let total: f64 = spent.iter().sum();
    let mut bound = share * total;
    for _ in 0..STEPS {
        let beyond = |(spent, expected): (&f64, &f64)| {
            let surprise = spent - factor * expected;
            (surprise > bound).then_some(surprise)
        };
        let (mut count, mut sum) = (0.0, 0.0);
        for surprise in spent.iter().zip(expected).filter_map(beyond) {
            count += 1.0;
            sum += surprise;
        }
        let next = share * (total - sum) / (1.0 - share * count);
        if next >= bound || next.is_nan() {
            break;
        }
        bound = next.max(0.0);
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounded(predicted: &[f64], actual: &[f64]) -> Bounded {
        Bounded::new(predicted, actual, &Customers::one_per_row(actual.len()))
    }

    /// A thousand customers of whom every tenth pays 10, all predicted 2: twice too much.
    fn shop() -> (Vec<f64>, Vec<f64>) {
        let pays = |customer: usize| {
            if customer.is_multiple_of(10) {
                10.0
            } else {
                0.0
            }
        };
        (vec![2.0; 1000], (0..1000).map(pays).collect())
    }

    #[test]
    fn where_nobody_stands_out_nothing_changes() {
        let (predicted, actual) = shop();
        let found = bounded(&predicted, &actual);
        assert_eq!((&found.predicted, &found.actual), (&predicted, &actual));
        assert_eq!((found.payers, found.largest), (100, None));
        // 100 customers who all pay the same, of 1,000: binomial, 0.9 / 100.
        assert!((found.variance - 0.009).abs() < 1e-12, "{}", found.variance);
    }

    #[test]
    fn a_whale_counts_for_its_share_and_in_all_its_rows() {
        let (mut predicted, mut actual) = shop();
        predicted.extend([2.0, 2.0]);
        actual.extend([800.0, 200.0]);
        let mut groups: Vec<u32> = (0..1001).collect();
        groups.push(1000);
        let found = Bounded::new(&predicted, &actual, &Customers::of(&groups));
        let total: f64 = found.actual.iter().sum();
        let whale = found.actual[1000] + found.actual[1001];
        // What it spends beyond the 2 that the right factor makes of its prediction.
        assert!(
            ((whale - 2.5) / total - SHARE).abs() < 0.01,
            "{whale} of {total}"
        );
        assert!((found.actual[1000] / found.actual[1001] - 4.0).abs() < 1e-9);
        assert_eq!(found.largest, Some(0.5));
        assert_eq!(found.payers, 101);
    }

    #[test]
    fn a_whale_that_was_expected_counts_in_full() {
        let (mut predicted, mut actual) = shop();
        predicted.push(2000.0);
        actual.push(1000.0);
        let found = bounded(&predicted, &actual);
        assert_eq!((found.predicted, found.actual), (predicted, actual));
    }

    #[test]
    fn a_prediction_out_of_all_proportion_counts_for_its_share() {
        let (mut predicted, mut actual) = shop();
        predicted.push(1e15);
        actual.push(0.0);
        let found = bounded(&predicted, &actual);
        let factor = found.actual.iter().sum::<f64>() / found.predicted.iter().sum::<f64>();
        assert!((factor - 0.5 * (1.0 - SHARE)).abs() < 1e-3, "{factor}");
        assert_eq!(found.predicted[..1000], predicted[..1000]);
    }

    #[test]
    fn with_few_who_pay_each_has_a_larger_share_by_right() {
        for payers in [1, 2, 5, 12] {
            let mut actual = vec![0.0; 500];
            actual[..payers].fill(30.0);
            let found = bounded(&[1.0; 500], &actual);
            assert_eq!(found.actual, actual, "{payers}");
        }
    }

    #[test]
    fn nothing_predicted_or_nothing_spent_changes_nothing() {
        for (predicted, actual) in [([0.0, 0.0], [1.0, 0.0]), ([1.0, 2.0], [0.0, 0.0])] {
            let found = bounded(&predicted, &actual);
            assert_eq!(
                (found.predicted.as_slice(), found.actual.as_slice()),
                (&predicted[..], &actual[..])
            );
        }
    }
}
