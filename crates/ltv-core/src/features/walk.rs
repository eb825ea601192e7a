//! The walk along the logs of one customer: one row of features for each moment at which the customer is looked at.

use super::events::Events;
use super::grid::{self, Known, Steps};
use super::log::Entries;
use super::plan::{Moment, Plan, Start};
use super::purchases::Purchases;
use crate::error::{Error, Result};

/// What is known of a customer, as it was collected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Customer<'a> {
    /// The log of the orders; `None` without any.
    pub orders: Option<&'a [u8]>,
    /// The day of the start, since 2000-01-01.
    pub start: Option<i32>,
    /// Where the logs end, in the unit of times.
    pub log_end: Option<i64>,
}

/// A plan with the customer that it is at.
#[derive(Debug)]
pub struct Walker {
    plan: Plan,
    orders: Entries,
    events: Vec<Entries>,
    start: Option<i32>,
    log_end: Option<i64>,
    next: usize,
    moment: Moment,
    purchases: Purchases,
    tallies: Events,
    row: Vec<f64>,
}

impl Walker {
    /// A walker that is at no customer yet.
    pub fn new(plan: Plan) -> Self {
        let mut events = Vec::new();
        events.resize_with(plan.events.len(), Entries::default);
        Self {
            plan,
            orders: Entries::default(),
            events,
            start: None,
            log_end: None,
            next: 0,
            moment: Moment::default(),
            purchases: Purchases::default(),
            tallies: Events::default(),
            row: Vec::new(),
        }
    }

    /// Goes to a customer, with the other logs in the order of the plan.
    ///
    /// # Errors
    /// Where a log is damaged or its entries are not those of the plan.
    pub fn begin<'a>(
        &mut self,
        customer: Customer,
        events: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<()> {
        self.orders.clear();
        self.events.iter_mut().for_each(Entries::clear);
        if let Some(orders) = customer.orders {
            self.orders.read(orders)?;
        }
        for (number, log) in events.enumerate() {
            let (Some(log), Some(entries)) = (log, self.events.get_mut(number)) else {
                continue;
            };
            entries.read(log)?;
            if entries.scales.len() != self.plan.events[number].values {
                return Err(Error::data(
                    "the logs of a customer are not those of the plan",
                ));
            }
        }
        self.stand(customer.start, customer.log_end)
    }

    /// Goes to a customer of whom nothing but the orders is known, which `read` puts into the entries. What it returns is returned.
    ///
    /// # Errors
    /// Where amounts add up to more than can be counted.
    pub fn begin_with<T>(
        &mut self,
        log_end: Option<i64>,
        read: impl FnOnce(&mut Entries) -> T,
    ) -> Result<T> {
        self.events.iter_mut().for_each(Entries::clear);
        let result = read(&mut self.orders);
        self.stand(None, log_end)?;
        Ok(result)
    }

    /// Before the first moment of the customer whose logs have been read.
    fn stand(&mut self, start: Option<i32>, log_end: Option<i64>) -> Result<()> {
        self.next = 0;
        self.log_end = log_end;
        self.start = match self.plan.start {
            Start::Unknown => None,
            Start::Given => start,
            Start::FirstPurchase => self.first_purchase()?,
        };
        Ok(())
    }

    fn first_purchase(&mut self) -> Result<Option<i32>> {
        let end = Moment {
            time: i64::MAX,
            day: i32::MAX,
            until: Vec::new(),
        };
        self.purchases.look(&self.orders, &end)?;
        Ok(self.purchases.days().next())
    }

    /// The next row of features: the number of the moment from 1, or for ages the day, and then the numbers of the plan. What is missing
    /// is NaN.
    ///
    /// # Errors
    /// Where amounts add up to more than can be counted.
    pub fn next_row(&mut self) -> Result<Option<&[f64]>> {
        while self.go_on() {
            self.purchases.look(&self.orders, &self.moment)?;
            if self.purchases.count() == 0 && !self.plan.everyone {
                continue;
            }
            let is_age = !self.plan.ages.is_empty();
            self.row.clear();
            self.row.push(if is_age {
                self.moment.day.into()
            } else {
                self.next as f64
            });
            if self.plan.start != Start::Unknown {
                let since = |start| f64::from(self.moment.day) - f64::from(start);
                self.row.push(self.start.map_or(f64::NAN, since));
            }
            let (windows, everyone) = (&self.plan.windows, self.plan.everyone);
            (self.purchases).features(&self.moment, windows, everyone, &mut self.row);
            if self.plan.returns {
                self.purchases.returns(&mut self.row);
            }
            for (log, &shape) in self.events.iter().zip(&self.plan.events) {
                (self.tallies).features(log, shape, &self.moment, windows, &mut self.row)?;
            }
            self.purchases
                .labels(&self.moment, self.log_end, &mut self.row);
            return Ok(Some(&self.row));
        }
        Ok(None)
    }

    /// Goes to the next moment at which the customer is there to be looked at.
    fn go_on(&mut self) -> bool {
        loop {
            let is_there = if self.plan.ages.is_empty() {
                let Some(look) = self.plan.looks.get(self.next) else {
                    return false;
                };
                (self.moment.time, self.moment.day) = (look.time, look.day);
                self.moment.until.clone_from(&look.until);
                self.start.is_none_or(|start| start <= look.day)
            } else {
                let Some(&age) = self.plan.ages.get(self.next) else {
                    return false;
                };
                self.go_to_age(age)
            };
            self.next += 1;
            if is_there {
                return true;
            }
        }
    }

    /// Whether the customer has reached it.
    fn go_to_age(&mut self, age: i32) -> bool {
        let day = self.start.and_then(|start| start.checked_add(age));
        let (Some(day), Some(end)) = (day, self.log_end) else {
            return false;
        };
        self.moment.day = day;
        self.moment.time = day.into();
        self.moment.until.clear();
        self.moment
            .until
            .extend(self.plan.horizons.iter().map(|horizon| horizon.after(day)));
        i64::from(day) <= end
    }

    /// Whether the plan has a sequence.
    pub fn has_sequence(&self) -> bool {
        self.plan.sequence.is_some()
    }

    /// The sequence at a moment, which is named as [`next_row`](Self::next_row) names it. `None` where there is nothing to tell.
    ///
    /// # Errors
    /// Where values add up to more than can be counted, or the sequence is too large.
    pub fn sequence(&mut self, moment: f64) -> Result<Option<Steps>> {
        let Some(sequence) = self.plan.sequence else {
            return Ok(None);
        };
        if self.plan.ages.is_empty() {
            let look = (moment as usize).checked_sub(1);
            let Some(look) = look.and_then(|look| self.plan.looks.get(look)) else {
                return Ok(None);
            };
            (self.moment.time, self.moment.day) = (look.time, look.day);
        } else {
            self.moment.day = moment as i32;
            self.moment.time = self.moment.day.into();
        }
        self.moment.until.clear();
        self.purchases.look(&self.orders, &self.moment)?;
        let steps = match sequence.grid {
            None => grid::purchases(&self.orders, &self.purchases, &self.moment, sequence.steps)?,
            Some(days) => {
                let known = Known {
                    orders: &self.orders,
                    bought: &self.purchases,
                    events: &self.events,
                    moment: &self.moment,
                };
                grid::regular(&self.plan, sequence, days, known)?
            }
        };
        Ok((!steps.numbers.is_empty()).then_some(steps))
    }
}
