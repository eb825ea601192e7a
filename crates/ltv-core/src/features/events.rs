//! What another log, of visits, sessions or tickets, says at a moment.

use super::decimal::to_f64;
use super::log::Entries;
use super::plan::{Moment, Shape};
use super::purchases::add;
use crate::error::Result;

/// What happened within some days.
#[derive(Clone, Debug, Default)]
struct Tally {
    count: i64,
    days: i64,
    last_day: Option<i32>,
    sums: Vec<i128>,
}

impl Tally {
    fn add(&mut self, day: i32, count: i64, values: &[i128]) -> Result<()> {
        self.count = self.count.saturating_add(count);
        if self.last_day != Some(day) {
            self.last_day = Some(day);
            self.days += 1;
        }
        for (sum, &value) in self.sums.iter_mut().zip(values) {
            *sum = add(*sum, value)?;
        }
        Ok(())
    }

    fn clear(&mut self, values: usize) {
        (self.count, self.days, self.last_day) = (0, 0, None);
        self.sums.clear();
        self.sums.resize(values, 0);
    }

    fn numbers(&self, scales: &[u8], row: &mut Vec<f64>) {
        row.push(self.count as f64);
        row.push(self.days as f64);
        for (number, &sum) in self.sums.iter().enumerate() {
            row.push(to_f64(sum, scales.get(number).copied().unwrap_or(0)));
        }
    }
}

/// Tallies of a log; memory that is used again.
#[derive(Debug, Default)]
pub struct Events {
    /// Of all events, then of each kind: of all days, then of each window.
    tallies: Vec<Tally>,
    /// How many events there were in the window before each window.
    before: Vec<i64>,
}

impl Events {
    /// Adds the features of a log: for all events, then for each kind, how many there were, on how many days, the sums of their values
    /// and the days since the last; the same but the last for each window; for all events also the trend of each window, from -1
    /// (all in the window before) to 1 (all in this one).
    ///
    /// # Errors
    /// Where values add up to more than can be counted.
    pub fn features(
        &mut self,
        log: &Entries,
        shape: Shape,
        moment: &Moment,
        windows: &[i32],
        row: &mut Vec<f64>,
    ) -> Result<()> {
        let width = 1 + windows.len();
        self.tallies
            .resize_with((1 + shape.kinds) * width, Tally::default);
        self.tallies
            .iter_mut()
            .for_each(|tally| tally.clear(shape.values));
        self.before.clear();
        self.before.resize(windows.len(), 0);
        for (key, values) in log.iter().filter(|(key, _)| key.time <= moment.time) {
            let age = i64::from(moment.day) - i64::from(key.day);
            let kind = usize::from(key.kind);
            for group in [Some(0), (1..=shape.kinds).contains(&kind).then_some(kind)] {
                let Some(group) = group else { continue };
                let tallies = &mut self.tallies[group * width..(group + 1) * width];
                tallies[0].add(key.day, key.count, values)?;
                for (tally, &window) in tallies[1..].iter_mut().zip(windows) {
                    if age < i64::from(window) {
                        tally.add(key.day, key.count, values)?;
                    }
                }
            }
            for (before, &window) in self.before.iter_mut().zip(windows) {
                let window = i64::from(window);
                if (window..2 * window).contains(&age) {
                    *before = before.saturating_add(key.count);
                }
            }
        }
        for group in 0..=shape.kinds {
            let tallies = &self.tallies[group * width..(group + 1) * width];
            tallies[0].numbers(&log.scales, row);
            row.push(
                tallies[0]
                    .last_day
                    .map_or(f64::NAN, |day| f64::from(moment.day) - f64::from(day)),
            );
            for (tally, &before) in tallies[1..].iter().zip(&self.before) {
                tally.numbers(&log.scales, row);
                if group == 0 {
                    let (now, before) = (tally.count as f64, before as f64);
                    let all = now + before;
                    row.push(if all > 0.0 { (now - before) / all } else { 0.0 });
                }
            }
        }
        Ok(())
    }
}
