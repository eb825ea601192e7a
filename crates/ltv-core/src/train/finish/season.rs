//! The season of use. A model can be used from the day on that the horizon of its latest cut-off has ended; a cut-off a
//! year before that day, where there is one, shows how much of what the networks expect is spent at that time of the year.

use super::bounded::Bounded;
use super::log_depth::LogDepth;
use crate::data::TrainingTable;
use crate::metrics::Customers;

const YEAR: f32 = 365.25;
/// Days that the cut-offs of a season may lie from the same day of the year: cut-offs are often a month apart.
const NEAR: f32 = 16.0;
/// The label of a longer horizon holds nearly all seasons.
const LONGEST_HORIZON: f32 = 300.0;
/// Paying rows of the season, and of the others, without which it is not looked for.
const FEWEST_PAYERS: usize = 100;
/// Variance of the logarithm of what one year says of the next: they differ by a seventh.
const BETWEEN_YEARS: f64 = 0.02;
/// What is added to it where that cut-off knows no more of the past than a horizon: its customers seem to be younger than they
/// are, and that they buy more than expected is not the season. Of a past twice as long, a quarter.
const SHORT_PAST: f64 = 0.1;
/// No season changes a prediction by more than this.
const FACTORS: (f64, f64) = (0.4, 2.5);

pub struct Season {
    /// For each row of the table.
    is_same: Vec<bool>,
    between_years: f64,
}

impl Season {
    /// `horizon`: in days, the one that ends at `end`.
    pub fn of(
        table: &TrainingTable,
        end: usize,
        horizon: Option<f64>,
        log_depth: Option<&LogDepth>,
    ) -> Option<Self> {
        let (days, horizon) = (table.as_of.as_deref()?, horizon? as f32);
        let latest = table.latest_cut_off(end)?;
        let year_before = latest + horizon - YEAR;
        let is_same: Vec<bool> = days
            .iter()
            .map(|day| (day - year_before).abs() <= NEAR)
            .collect();
        let some = is_same.contains(&true) && is_same.contains(&false);
        let horizons = log_depth.map_or(f64::INFINITY, |log_depth| {
            let same = (0..is_same.len()).filter(|&row| is_same[row]);
            let days = same.map(|row| log_depth.days(row)).fold(0.0, f64::max);
            days / f64::from(horizon)
        });
        (some && horizon <= LONGEST_HORIZON).then_some(Self {
            is_same,
            between_years: BETWEEN_YEARS + SHORT_PAST / horizons.powi(2),
        })
    }

    /// Whether a row is of the time of the year that the model is used at.
    pub fn is_same(&self, row: u32) -> bool {
        self.is_same[row as usize]
    }

    /// The logarithm of what the predictions of all seasons are to be multiplied with. `rows` are of the table, of `customers`;
    /// `predicted` has the right total over all of them. Nobody's surprise counts for more than [`Bounded`] allows.
    pub fn correction(
        &self,
        rows: &[u32],
        customers: &[u32],
        predicted: &[f64],
        actual: &[f64],
    ) -> f64 {
        let mut payers = [0, 0];
        let mut same = Vec::new();
        for (index, (&row, y)) in rows.iter().zip(actual).enumerate() {
            let is_same = self.is_same[row as usize];
            payers[usize::from(is_same)] += usize::from(*y > 0.0);
            if is_same {
                same.push(index);
            }
        }
        if payers.into_iter().any(|payers| payers < FEWEST_PAYERS) {
            return 0.0;
        }
        let pick = |values: &[f64]| -> Vec<f64> { same.iter().map(|&row| values[row]).collect() };
        let customers: Vec<u32> = same.iter().map(|&row| customers[row]).collect();
        let customers = Customers::of(&customers);
        let bounded = Bounded::new(&pick(predicted), &pick(actual), &customers);
        let pairs = || bounded.predicted.iter().zip(&bounded.actual);
        let expected: f64 = bounded.predicted.iter().sum();
        let spent: f64 = bounded.actual.iter().sum();
        let squares: f64 = pairs().map(|(value, y)| (y - value).powi(2)).sum();
        if expected <= 0.0 {
            return 0.0;
        }
        let found = (spent / expected).clamp(FACTORS.0, FACTORS.1).ln();
        // Shrunk by what could as well be chance, the variance of a ratio of sums, and by how years differ.
        let variance = squares / expected.powi(2) + self.between_years;
        found * found * found / (found * found + variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::error::Result;
    use crate::schema::{ColumnKind, FeatureColumn};

    const CUSTOMERS: usize = 2000;

    /// Cut-offs on the days given, and for each the customers' expected 10 and, of every fourth one, 40 times the season.
    /// The oldest were first seen `past` days before.
    fn rows(
        days: &[f32],
        past: f64,
        season: impl Fn(f32) -> f64,
    ) -> Result<(TrainingTable, Vec<f64>)> {
        let inputs = vec![FeatureColumn::new("t", ColumnKind::Numeric, "real")];
        let mut table = TrainingTable::new(inputs, true)?;
        let mut actual = Vec::new();
        for &day in days {
            for customer in 0..CUSTOMERS {
                let pays = if customer % 4 == 0 { 40.0 } else { 0.0 };
                let mut row = table.row();
                row.number(Some(past))?;
                actual.push(pays * season(day));
                row.finish(pays, Split::Train, Some(day))?;
            }
        }
        Ok((table, actual))
    }

    fn correction(days: &[f32], horizon: f64, season: impl Fn(f32) -> f64) -> Result<Option<f64>> {
        let (table, actual) = rows(days, 1000.0, season)?;
        let order: Vec<u32> = (0..actual.len() as u32).collect();
        let predicted = vec![10.0; actual.len()];
        let found = Season::of(&table, 0, Some(horizon), None);
        Ok(found.map(|season| season.correction(&order, &order, &predicted, &actual)))
    }

    /// Half a year ahead of day 365: the model is used from day 548 on, a year after day 183.
    #[test]
    fn what_was_spent_a_year_before_is_expected_again() -> Result<()> {
        let high = |day: f32| if day < 200.0 { 1.5 } else { 0.9 };
        let found = correction(&[183.0, 274.0, 365.0], 183.0, high)?;
        assert!(
            found.is_some_and(|log| log < 1.5f64.ln() && log > 1.35f64.ln()),
            "{found:?}"
        );
        Ok(())
    }

    /// The same year before, known from as long a past as the horizon, and from one ten times as long.
    #[test]
    fn a_cut_off_with_a_short_past_says_less_of_the_season() -> Result<()> {
        let high = |day: f32| if day < 200.0 { 1.5 } else { 0.9 };
        let found = |past: f64| -> Result<f64> {
            let (table, actual) = rows(&[183.0, 274.0, 365.0], past, high)?;
            let order: Vec<u32> = (0..actual.len() as u32).collect();
            let log_depth = LogDepth::of(&table);
            let season = Season::of(&table, 0, Some(183.0), log_depth.as_ref());
            let predicted = vec![10.0; actual.len()];
            Ok(season.map_or(0.0, |season| {
                season.correction(&order, &order, &predicted, &actual)
            }))
        };
        let (short, long) = (found(183.0)?, found(1830.0)?);
        assert!(short > 0.0 && short < 0.7 * long, "{short} {long}");
        let unknown = correction(&[183.0, 274.0, 365.0], 183.0, high)?;
        assert!(unknown.is_some_and(|log| log > long && log < 1.05 * long));
        Ok(())
    }

    #[test]
    fn no_season_no_correction() -> Result<()> {
        let found = correction(&[183.0, 274.0, 365.0], 183.0, |_| 1.0)?;
        assert_eq!(found, Some(0.0));
        let slight = correction(&[183.0, 274.0, 365.0], 183.0, |day| {
            if day < 200.0 { 1.01 } else { 1.0 }
        })?;
        assert!(
            slight.is_some_and(|log| log > 0.0 && log < 0.002),
            "{slight:?}"
        );
        Ok(())
    }

    /// Of two thousand customers who spend nothing out of season one spends as much as all others in it.
    #[test]
    fn one_customer_is_no_season() -> Result<()> {
        let (table, mut actual) = rows(&[183.0, 274.0, 365.0], 1000.0, |_| 1.0)?;
        let order: Vec<u32> = (0..actual.len() as u32).collect();
        let predicted = vec![10.0; actual.len()];
        actual[1] = CUSTOMERS as f64 * 10.0;
        let season = Season::of(&table, 0, Some(183.0), None);
        let found = season.map(|season| season.correction(&order, &order, &predicted, &actual));
        assert!(
            found.is_some_and(|log| log > 0.0 && log < 1.2f64.ln()),
            "{found:?}"
        );
        Ok(())
    }

    #[test]
    fn a_log_that_does_not_reach_back_a_year_shows_no_season() -> Result<()> {
        assert_eq!(correction(&[183.0, 274.0, 365.0], 90.0, |_| 2.0)?, None);
        assert_eq!(correction(&[365.0], 183.0, |_| 2.0)?, None);
        assert_eq!(correction(&[183.0, 365.0], 365.0, |_| 2.0)?, None);
        Ok(())
    }
}
