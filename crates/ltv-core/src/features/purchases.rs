//! What the orders of a customer say at a moment. A purchase is a day whose orders and returns add up to more than nothing.

use super::decimal::{power_of_ten, quotient, to_f64};
use super::log::Entries;
use super::plan::{Moment, civil};
use crate::error::{Error, Result};

/// A purchase.
#[derive(Clone, Copy, Debug)]
struct Purchase {
    day: i32,
    net: i128,
}

/// Purchases, returns and labels at a moment; memory that is used again.
#[derive(Debug, Default)]
pub struct Purchases {
    bought: Vec<Purchase>,
    total: i128,
    return_days: usize,
    returned: i128,
    spent: Vec<i128>,
    scale: u8,
}

impl Purchases {
    /// How many purchases there are.
    pub fn count(&self) -> usize {
        self.bought.len()
    }

    /// Walks along the orders, whose first value is the amount.
    ///
    /// # Errors
    /// Where amounts add up to more than can be counted.
    pub fn look(&mut self, orders: &Entries, moment: &Moment) -> Result<()> {
        self.bought.clear();
        self.spent.clear();
        self.spent.resize(moment.until.len(), 0);
        (self.total, self.return_days, self.returned) = (0, 0, 0);
        self.scale = orders.scales.first().copied().unwrap_or(0);
        let mut today: Option<Purchase> = None;
        for (key, values) in orders.iter() {
            let amount = values.first().copied().unwrap_or(0);
            if key.time > moment.time {
                for (spent, &until) in self.spent.iter_mut().zip(&moment.until) {
                    if key.time <= until {
                        *spent = add(*spent, amount)?;
                    }
                }
                continue;
            }
            match &mut today {
                Some(day) if day.day == key.day => day.net = add(day.net, amount)?,
                _ => {
                    self.close(today)?;
                    today = Some(Purchase {
                        day: key.day,
                        net: amount,
                    });
                }
            }
        }
        self.close(today)
    }

    fn close(&mut self, day: Option<Purchase>) -> Result<()> {
        let Some(day) = day else { return Ok(()) };
        if day.net > 0 {
            self.total = add(self.total, day.net)?;
            self.bought.push(day);
        } else if day.net < 0 {
            self.return_days += 1;
            self.returned = add(self.returned, -day.net)?;
        }
        Ok(())
    }

    /// The features, in the order of a relation of features.
    pub fn features(&self, moment: &Moment, windows: &[i32], everyone: bool, row: &mut Vec<f64>) {
        let n = self.bought.len();
        let number = |mantissa| to_f64(mantissa, self.scale);
        let days_since = |day: i32| f64::from(moment.day) - f64::from(day);
        let of = |purchase: Option<&Purchase>, f: &dyn Fn(&Purchase) -> f64| {
            purchase.map_or(f64::NAN, f)
        };
        let (first, last) = (self.bought.first(), self.bought.last());
        if everyone {
            row.push(n as f64);
        }
        row.push(of(last, &|p| days_since(p.day)));
        row.push(n.saturating_sub(1) as f64);
        row.push(of(first, &|p| days_since(p.day)));
        row.push(of(first, &|_| quotient(self.total, self.scale, n as i64)));
        let largest = self.bought.iter().max_by_key(|p| p.net);
        row.push(of(largest, &|p| number(p.net)));
        row.push(of(first, &|_| self.deviation()));
        row.push(of(last, &|p| number(p.net)));
        for &window in windows {
            let since = moment.day.saturating_sub(window);
            let recent = self.bought.iter().rev().take_while(|p| p.day > since);
            let (count, sum) = recent.fold((0, 0_i128), |(count, sum), p| (count + 1, sum + p.net));
            row.push(f64::from(count));
            row.push(number(sum));
        }
        row.push(match (first, last) {
            (Some(first), Some(last)) if n > 1 => {
                (f64::from(last.day) - f64::from(first.day)) / (n - 1) as f64
            }
            _ => -1.0,
        });
        row.push(of(first, &|p| f64::from(civil(p.day).1)));
        row.push(of(first, &|p| number(p.net)));
    }

    /// The days of returns, and what came back on them.
    pub fn returns(&self, row: &mut Vec<f64>) {
        row.push(self.return_days as f64);
        row.push(to_f64(self.returned, self.scale));
    }

    /// What was spent within each horizon; missing where it ends after the log does.
    pub fn labels(&self, moment: &Moment, log_end: Option<i64>, row: &mut Vec<f64>) {
        for (&spent, &until) in self.spent.iter().zip(&moment.until) {
            let is_over = log_end.is_some_and(|end| until <= end);
            row.push(if is_over {
                to_f64(spent.max(0), self.scale)
            } else {
                f64::NAN
            });
        }
    }

    /// Of the sample; from sums that are exact where they fit, which does not depend on anything but the amounts.
    fn deviation(&self) -> f64 {
        let n = self.bought.len() as i128;
        if n < 2 {
            return 0.0;
        }
        let exact = || {
            let mut squares = 0_i128;
            for purchase in &self.bought {
                squares = squares.checked_add(purchase.net.checked_mul(purchase.net)?)?;
            }
            let spread = n
                .checked_mul(squares)?
                .checked_sub(self.total.checked_mul(self.total)?)?;
            let variance = to_f64(spread, 0) / (n * (n - 1)) as i64 as f64;
            Some(variance.sqrt() / to_f64(power_of_ten(self.scale.into())?, 0))
        };
        exact().unwrap_or_else(|| {
            let mean = quotient(self.total, self.scale, n as i64);
            let square = |p: &Purchase| (to_f64(p.net, self.scale) - mean).powi(2);
            (self.bought.iter().map(square).sum::<f64>() / (n - 1) as f64).sqrt()
        })
    }

    /// Days of the purchases, oldest first.
    pub fn days(&self) -> impl DoubleEndedIterator<Item = i32> {
        self.bought.iter().map(|p| p.day)
    }
}

/// # Errors
/// Where the sum does not fit.
pub fn add(a: i128, b: i128) -> Result<i128> {
    a.checked_add(b).ok_or_else(|| {
        Error::data("the amounts of a customer add up to more than can be counted")
            .detail("A sum may have 20 digits before the decimal point.")
            .hint("Leave amounts that cannot be out, for example with WHERE in a query.")
    })
}
