//! Sequences: what happened step by step, oldest first. A step is a purchase day, or so many days of a regular grid that ends with the
//! day of the moment; empty steps of a grid are zeros.

use super::decimal::to_f32;
use super::log::Entries;
use super::plan::{MAX_STEPS, Moment, Plan, Sequence};
use super::purchases::{Purchases, add};
use crate::error::{Error, ErrorKind, Result};

/// Steps of equal width, one behind the other.
#[derive(Debug, Default)]
pub struct Steps {
    /// All numbers.
    pub numbers: Vec<f32>,
    /// Numbers of a step.
    pub width: usize,
}

/// The last purchase days: amount, days before the moment, and the sums of the other values of the orders.
///
/// # Errors
/// Where values add up to more than can be counted.
pub fn purchases(
    orders: &Entries,
    purchases: &Purchases,
    moment: &Moment,
    most: usize,
) -> Result<Steps> {
    let width = 1 + orders.scales.len().max(1);
    let mut steps = Steps {
        numbers: Vec::new(),
        width,
    };
    let days: Vec<i32> = purchases.days().rev().take(most).collect();
    reserve(&mut steps.numbers, days.len() * width)?;
    let mut entries = orders
        .iter()
        .filter(|(key, _)| key.time <= moment.time)
        .peekable();
    let mut sums = vec![0_i128; orders.scales.len()];
    for day in days.into_iter().rev() {
        sums.fill(0);
        while let Some((key, values)) = entries.next_if(|(key, _)| key.day <= day) {
            if key.day == day {
                for (sum, &value) in sums.iter_mut().zip(values) {
                    *sum = add(*sum, value)?;
                }
            }
        }
        for (number, (&sum, &scale)) in sums.iter().zip(&orders.scales).enumerate() {
            steps.numbers.push(to_f32(sum, scale));
            if number == 0 {
                steps
                    .numbers
                    .push((f64::from(moment.day) - f64::from(day)) as f32);
            }
        }
    }
    Ok(steps)
}

/// What is known of a customer at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The orders.
    pub orders: &'a Entries,
    /// The purchases up to the moment.
    pub bought: &'a Purchases,
    /// The other logs, as in the plan.
    pub events: &'a [Entries],
    /// The moment.
    pub moment: &'a Moment,
}

/// A regular grid: the net amount, the purchases, the sums of the other values of the orders, then for each other log the events and
/// the sums of their values.
///
/// # Errors
/// Where values add up to more than can be counted, or the grid is too large.
pub fn regular(plan: &Plan, sequence: Sequence, days: i32, known: Known) -> Result<Steps> {
    let Known {
        orders,
        bought,
        events,
        moment,
    } = known;
    let extra = sequence.columns;
    let of_events: usize = plan.events.iter().map(|log| 1 + log.values).sum();
    let width = 2 + extra + of_events;
    if sequence.steps.saturating_mul(width) > MAX_STEPS {
        return Err(Error::new(
            ErrorKind::TooLarge,
            "a sequence cannot have so many numbers",
        )
        .detail(format!(
            "It would have {} steps of {width}; the most is {MAX_STEPS} in all.",
            sequence.steps
        )));
    }
    let mut sums = Vec::new();
    reserve(&mut sums, sequence.steps * width)?;
    sums.resize(sequence.steps * width, 0_i128);
    let step_of = |day: i32| {
        let back = (i64::from(moment.day) - i64::from(day)).div_euclid(days.into());
        let back = usize::try_from(back).ok()?;
        sequence.steps.checked_sub(back + 1)
    };
    let mut scales = vec![0_u8; width];
    for (number, &scale) in orders.scales.iter().take(1 + extra).enumerate() {
        scales[if number == 0 { 0 } else { 1 + number }] = scale;
    }
    for (key, values) in orders.iter().filter(|(key, _)| key.time <= moment.time) {
        let Some(step) = step_of(key.day) else {
            continue;
        };
        for (number, &value) in values.iter().take(1 + extra).enumerate() {
            let at = step * width + if number == 0 { 0 } else { 1 + number };
            sums[at] = add(sums[at], value)?;
        }
    }
    for day in bought.days() {
        if let Some(step) = step_of(day) {
            sums[step * width + 1] += 1;
        }
    }
    let mut place = 2 + extra;
    for (log, shape) in events.iter().zip(&plan.events) {
        for (number, &scale) in log.scales.iter().take(shape.values).enumerate() {
            scales[place + 1 + number] = scale;
        }
        for (key, values) in log.iter().filter(|(key, _)| key.time <= moment.time) {
            let Some(step) = step_of(key.day) else {
                continue;
            };
            let at = step * width + place;
            sums[at] = add(sums[at], key.count.into())?;
            for (number, &value) in values.iter().take(shape.values).enumerate() {
                sums[at + 1 + number] = add(sums[at + 1 + number], value)?;
            }
        }
        place += 1 + shape.values;
    }
    let mut numbers = Vec::new();
    reserve(&mut numbers, sums.len())?;
    numbers.extend((sums.iter().enumerate()).map(|(at, &sum)| to_f32(sum, scales[at % width])));
    Ok(Steps { numbers, width })
}

fn reserve<T>(numbers: &mut Vec<T>, count: usize) -> Result<()> {
    numbers.try_reserve_exact(count).map_err(|_| {
        Error::new(ErrorKind::Resources, "out of memory").detail("A sequence did not fit.")
    })
}
