//! Which features are wanted, and when customers are looked at. Written by SQL as JSON, in the order in which the features come out.

use super::log::MAX_VALUES;
use crate::error::{Error, Result};
use serde::Deserialize;

/// More numbers than a row of features may have.
pub const MAX_NUMBERS: usize = 1600;
/// More numbers than a sequence may have.
pub const MAX_STEPS: usize = 100_000;

/// What is asked of each customer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Times are microseconds, and not days, since 2000-01-01.
    pub instants: bool,
    /// The moments at which all customers are looked at, in their order.
    #[serde(default)]
    pub looks: Vec<Moment>,
    /// Or the ages, in days after the start of each, at which they are.
    #[serde(default)]
    pub ages: Vec<i32>,
    /// How far the labels look ahead of an age; moments have that with them.
    #[serde(default)]
    pub horizons: Vec<Horizon>,
    /// Days of the windows.
    pub windows: Vec<i32>,
    /// Customers who have bought nothing have rows, too.
    #[serde(default)]
    pub everyone: bool,
    /// Returns are features.
    #[serde(default)]
    pub returns: bool,
    /// When a customer starts.
    #[serde(default)]
    pub start: Start,
    /// The other logs.
    #[serde(default)]
    pub events: Vec<Shape>,
    /// The sequence, if there is one.
    #[serde(default)]
    pub sequence: Option<Sequence>,
}

/// A moment at which customers are looked at.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Moment {
    /// The last instant, or day, that is seen.
    pub time: i64,
    /// The day of it, since 2000-01-01.
    pub day: i32,
    /// The ends of the horizons, in the unit of times.
    pub until: Vec<i64>,
}

/// Whole months and days.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Horizon {
    /// Added first; the day of the month is kept where that month has it.
    pub months: i32,
    /// Added then.
    pub days: i32,
}

/// From when on a customer is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// It is not known.
    #[default]
    Unknown,
    /// It comes with the customer.
    Given,
    /// The first purchase.
    FirstPurchase,
}

/// What is in another log.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How many kinds of events have features of their own; kind 0 is of all others.
    pub kinds: usize,
    /// How many values an event has.
    pub values: usize,
}

/// The shape of a sequence.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// The most steps that it has, and on a grid their number.
    pub steps: usize,
    /// How many values orders have beside the amount.
    #[serde(default)]
    pub columns: usize,
    /// Days of a step of a regular grid; one step per purchase day otherwise.
    #[serde(default)]
    pub grid: Option<i32>,
}

impl Plan {
    /// Reads a plan.
    ///
    /// # Errors
    /// Where it is none, or wants more than [`MAX_NUMBERS`] numbers.
    pub fn from_json(text: &str) -> Result<Self> {
        let plan: Self = serde_json::from_str(text).map_err(|error| {
            damaged().detail(format!("It is not as pg_ltv writes it: {error}."))
        })?;
        let days = |days: &[i32], least| days.iter().all(|&n| (least..=36_500).contains(&n));
        let lists = plan
            .windows
            .len()
            .max(plan.ages.len())
            .max(plan.events.len());
        let is_sane = days(&plan.windows, 1)
            && days(&plan.ages, 0)
            && lists <= MAX_NUMBERS
            && plan.horizons.len() <= MAX_NUMBERS
            && (plan.horizons.iter())
                .all(|h| (0..=1200).contains(&h.months) && (0..=36_600).contains(&h.days))
            && (plan.looks.iter()).all(|look| look.until.len() == plan.looks[0].until.len())
            && plan.labels() <= MAX_NUMBERS
            && (plan.events.iter()).all(|log| log.kinds <= MAX_NUMBERS && log.values <= MAX_VALUES)
            && plan.ages.is_empty() != plan.looks.is_empty()
            && (plan.ages.is_empty() || !plan.instants && plan.start != Start::Unknown)
            && plan.sequence.is_none_or(|sequence| {
                (1..=10_000).contains(&sequence.steps)
                    && sequence.columns < MAX_VALUES
                    && sequence
                        .grid
                        .is_none_or(|days| (1..=36_500).contains(&days))
            });
        if !is_sane {
            return Err(damaged().detail("What it asks for is out of range."));
        }
        let numbers = plan.numbers();
        if numbers > MAX_NUMBERS {
            return Err(Error::new(
                crate::error::ErrorKind::TooLarge,
                "a relation of features cannot have so many columns",
            )
            .detail(format!(
                "It would have {numbers}; the most is {MAX_NUMBERS}."
            ))
            .hint("Give fewer windows, kinds of events or value columns."));
        }
        Ok(plan)
    }

    /// How many labels a row has.
    pub fn labels(&self) -> usize {
        self.looks
            .first()
            .map_or(self.horizons.len(), |look| look.until.len())
    }

    /// How many numbers a row has.
    pub fn numbers(&self) -> usize {
        let windows = self.windows.len();
        let per_log = |shape: &Shape| {
            let numbers = (3 + shape.values) + windows * (2 + shape.values);
            (1 + shape.kinds).saturating_mul(numbers) + windows
        };
        let events: usize = self
            .events
            .iter()
            .map(per_log)
            .fold(0, usize::saturating_add);
        let fixed = 11 + usize::from(self.start != Start::Unknown) + usize::from(self.everyone);
        (fixed + 2 * windows + 2 * usize::from(self.returns) + self.labels()).saturating_add(events)
    }
}

impl Horizon {
    /// The day that is this far after another one.
    pub fn after(self, day: i32) -> i64 {
        if self.months == 0 {
            return i64::from(day) + i64::from(self.days);
        }
        let (year, month, of_month) = civil(day);
        let months = year * 12 + i64::from(month) - 1 + i64::from(self.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u32 + 1);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day_of(year, month, of_month.min(last)) + i64::from(self.days)
    }
}

/// Days from 0000-03-01 to 2000-01-01.
const EPOCH: i64 = 730_425;

/// Year, month and day of the month of a day since 2000-01-01 (the civil calendar algorithm of Howard Hinnant).
pub fn civil(day: i32) -> (i64, u32, u32) {
    let z = i64::from(day) + EPOCH;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, of_month as u32)
}

/// The reverse.
fn day_of(year: i64, month: u32, of_month: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let from_march = i64::from((month + 9) % 12);
    let of_year = (153 * from_march + 2) / 5 + i64::from(of_month) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - EPOCH
}

fn damaged() -> Error {
    Error::invalid("the plan of the features is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(civil(0), (2000, 1, 1));
        assert_eq!(civil(59), (2000, 2, 29));
        assert_eq!(civil(-1), (1999, 12, 31));
        assert_eq!(civil(8_825), (2024, 2, 29));
        for day in (-40_000..40_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(day_of(year, month, of_month), i64::from(day));
        }
    }

    #[test]
    fn a_month_ends_where_the_next_one_has_no_such_day() {
        let month = Horizon { months: 1, days: 0 };
        assert_eq!(civil(month.after(30) as i32), (2000, 2, 29));
        assert_eq!(civil(month.after(8_796) as i32), (2024, 2, 29));
        let more = Horizon {
            months: 12,
            days: 3,
        };
        assert_eq!(civil(more.after(8_825) as i32), (2025, 3, 3));
    }

    #[test]
    fn plans_that_ask_for_too_much_are_refused() {
        assert!(Plan::from_json("{}").is_err());
        let look =
            r#"{"instants": false, "windows": [7], "looks": [{"time": 1, "day": 1, "until": [2]}]"#;
        assert!(Plan::from_json(&format!("{look}}}")).is_ok());
        let events = r#", "events": [{"kinds": 900, "values": 5}]}"#;
        assert!(Plan::from_json(&format!("{look}{events}")).is_err());
        assert!(Plan::from_json(&format!("{look}, \"ages\": [1]}}")).is_err());
    }
}
