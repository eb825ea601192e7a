//! What chance does to the ratio of a predicted to a real total.
//!
//! The predictions are what they are; what customers spent could have been more or less. Who pays and how much is a compound Poisson
//! sum: its variance is the sum of the squares of what each customer spent beyond what was expected, and it is as uncertain as a count of
//! `total^2 / variance` customers who all pay the same. The limits are those of such a count, the gamma interval of Fay and Feuer
//! ("Confidence intervals for directly standardized rates", Statistics in Medicine 16, 1997); its upper limit makes room for one customer more like the
//! most surprising one. What a sample cannot show, a customer larger than any that was seen, no interval knows.

use crate::objective::inverse_gamma;
use std::collections::HashMap;

/// Outside either limit lies the truth in so many cases.
const TAIL: f64 = 0.025;

/// Which rows belong to one customer: what one does is one surprise, in however many rows it shows.
#[derive(Clone, Debug)]
pub struct Customers {
    /// Of each row a number below `count`.
    of: Vec<u32>,
    count: usize,
}

impl Customers {
    /// Rows with the same number are of one customer.
    pub fn of(groups: &[u32]) -> Self {
        let mut known: HashMap<u32, u32> = HashMap::new();
        let of = groups.iter().map(|group| {
            let next = known.len() as u32;
            *known.entry(*group).or_insert(next)
        });
        Self {
            of: of.collect(),
            count: known.len(),
        }
    }

    /// Each row is a customer of its own.
    pub fn one_per_row(rows: usize) -> Self {
        Self {
            of: (0..rows as u32).collect(),
            count: rows,
        }
    }

    /// The customer of a row.
    pub fn customer(&self, row: usize) -> usize {
        self.of[row] as usize
    }

    /// The sum of `values` over the rows of each customer.
    pub fn sums(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.count];
        for (customer, value) in self.of.iter().zip(values) {
            sums[*customer as usize] += value;
        }
        sums
    }
}

/// A sum of predictions over the sum of what was spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TotalRatio {
    /// The sum of the predictions over the sum of what was spent.
    pub ratio: f64,
    /// Limits of what the ratio would be if chance had no say in what was spent, at 95 %.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// Customers who paid.
    pub payers: usize,
}

impl TotalRatio {
    /// `None` where nothing was spent.
    pub fn of(prediction: &[f64], actual: &[f64], customers: &Customers) -> Option<Self> {
        let spent = customers.sums(actual.iter().copied());
        let expected = customers.sums(prediction.iter().copied());
        let (total, predicted): (f64, f64) = (spent.iter().sum(), expected.iter().sum());
        if total <= 0.0 {
            return None;
        }
        // Of predictions whose total is right.
        let factor = if predicted > 0.0 {
            total / predicted
        } else {
            0.0
        };
        let surprises = || {
            let pairs = spent.iter().zip(&expected);
            pairs.map(|(spent, expected)| (spent - factor * expected).abs())
        };
        let variance: f64 = surprises().map(|surprise| surprise * surprise).sum();
        let largest = surprises().fold(0.0, f64::max);
        let [low, high] = limits(total, variance, largest);
        Some(Self {
            ratio: predicted / total,
            low: predicted / high,
            high: predicted / low,
            payers: spent.iter().filter(|&&spent| spent > 0.0).count(),
        })
    }

    /// How many times as high as the lower limit the upper one is.
    pub fn width(&self) -> f64 {
        self.high / self.low
    }
}

/// Limits of the expected value of a compound Poisson sum.
fn limits(total: f64, variance: f64, largest: f64) -> [f64; 2] {
    let gamma = |total: f64, variance: f64, tail: f64| {
        let shape = total * (total / variance);
        match shape.is_finite() {
            true => variance / total * inverse_gamma(shape, tail),
            false => total,
        }
    };
    let low = gamma(total, variance, TAIL);
    let high = gamma(total + largest, variance + largest * largest, 1.0 - TAIL);
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(prediction: &[f64], actual: &[f64]) -> Option<TotalRatio> {
        TotalRatio::of(prediction, actual, &Customers::one_per_row(actual.len()))
    }

    /// Of ten customers who pay the same, among very many, the limits are those of a Poisson count of ten (Garwood, 1936).
    #[test]
    fn equal_amounts_are_a_poisson_count() {
        let mut actual = vec![0.0; 100_000];
        actual[..10].fill(7.0);
        let found = of(&vec![70.0 / 100_000.0; 100_000], &actual);
        let near = |value: f64, expected: f64| (value / expected - 1.0).abs() < 1e-3;
        assert!(
            found.is_some_and(|found| near(10.0 / found.high, 4.795)
                && near(10.0 / found.low, 18.390)
                && (found.ratio - 1.0).abs() < 1e-12
                && found.payers == 10),
            "{found:?}"
        );
    }

    #[test]
    fn sums_beyond_all_digits_have_limits_too() {
        for actual in [[1e308, 1.0], [1e200, 1e200], [1e150, 5e-324]] {
            let found = of(&[1.0, 0.5], &actual);
            assert!(found.is_some(), "{actual:?}");
        }
    }

    #[test]
    fn what_was_expected_is_no_surprise() {
        let actual: Vec<f64> = (1..50).map(f64::from).collect();
        let twice: Vec<f64> = actual.iter().map(|y| 2.0 * y).collect();
        let found = of(&twice, &actual);
        assert!(
            found.is_some_and(
                |found| (found.low - 2.0).abs() < 1e-12 && (found.high - 2.0).abs() < 1e-12
            ),
            "{found:?}"
        );
    }

    #[test]
    fn one_customer_in_several_rows_is_one_surprise() {
        let actual = [30.0, 30.0, 30.0, 0.0, 0.0, 0.0];
        let prediction = [15.0; 6];
        let rows = of(&prediction, &actual);
        let customers = Customers::of(&[5, 5, 5, 1, 2, 3]);
        let one = TotalRatio::of(&prediction, &actual, &customers);
        let width = |found: Option<TotalRatio>| found.map_or(0.0, |found| found.width());
        assert!(width(one) > 2.0 * width(rows), "{rows:?} {one:?}");
        assert_eq!(one.map(|found| found.payers), Some(1));
    }

    #[test]
    fn nothing_spent_says_nothing_and_nothing_predicted_is_zero() {
        assert_eq!(of(&[1.0, 2.0], &[0.0, 0.0]), None);
        let found = of(&[0.0, 0.0], &[1.0, 0.0]);
        assert_eq!(
            found.map(|found| (found.ratio, found.low, found.high)),
            Some((0.0, 0.0, 0.0))
        );
    }
}
