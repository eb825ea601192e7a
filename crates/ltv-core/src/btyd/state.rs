//! The state of a customer: still alive or not, how many orders to expect, how likely none is, and when the next is due.
//!
//! All of it is what MBG/NBD says of three numbers of a history, so it costs no inference.

use super::{BgNbd, Customer};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;

/// Larger numbers of purchases and days are taken for this, as they are where a model is fitted.
const MOST: f32 = 1e6;

/// The features that tell the history of a customer, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryFeatures {
    /// Purchases after the first.
    pub frequency: String,
    /// Days from the last purchase to the cut-off.
    pub recency: String,
    /// Days from the first purchase to the cut-off.
    pub t: String,
}

impl HistoryFeatures {
    /// In the order in which [`history`] takes their values.
    pub fn names(&self) -> [&str; 3] {
        [&self.frequency, &self.recency, &self.t]
    }
}

/// MBG/NBD as it was fitted to the customers of a training, and where it finds what it reads. Times are days.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct State {
    purchases: BgNbd,
    features: HistoryFeatures,
    #[serde(skip_serializing_if = "Option::is_none")]
    horizon: Option<f64>,
}

/// What is in a document, before it is known to be sound.
#[derive(Deserialize)]
struct Stored {
    purchases: BgNbd,
    features: HistoryFeatures,
    #[serde(default)]
    horizon: Option<f64>,
}

impl TryFrom<Stored> for State {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        Self::new(stored.purchases, stored.features, stored.horizon)
    }
}

/// What is known of a customer at the cut-off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CustomerState {
    /// P(the customer will order again, some day).
    pub p_alive: f64,
    /// Expected orders in so many days.
    pub expected_orders: f64,
    /// P(no order in so many days), be it that the customer is lost or merely takes longer.
    pub churn_probability: f64,
    /// Days within which a customer who is alive orders with probability 1/2; infinite where that is beyond all numbers.
    pub next_order_days: f64,
}

impl State {
    /// An error unless all parameters are finite and positive, and so is the horizon (in days) if there is one.
    pub fn new(purchases: BgNbd, features: HistoryFeatures, horizon: Option<f64>) -> Result<Self> {
        let BgNbd { r, alpha, a, b, .. } = purchases;
        let is_sound = |number: f64| number.is_finite() && number > 0.0;
        let mut numbers = [r, alpha, a, b].into_iter().chain(horizon);
        if numbers.all(is_sound) {
            Ok(Self {
                purchases,
                features,
                horizon,
            })
        } else {
            Err(Error::data("the parameters of MBG/NBD are no parameters")
                .detail("All must be finite and greater than 0."))
        }
    }

    /// Where it finds what it reads.
    pub fn features(&self) -> &HistoryFeatures {
        &self.features
    }

    /// How far the model looks ahead, in days, if it is known.
    pub fn horizon(&self) -> Option<f64> {
        self.horizon
    }

    /// Of a customer, `days` ahead (finite, not negative).
    pub fn of(&self, customer: &Customer, days: f64) -> CustomerState {
        let BgNbd { r, alpha, .. } = self.purchases;
        CustomerState {
            p_alive: self.purchases.probability_alive(customer),
            expected_orders: self.purchases.expected_purchases(customer, days),
            churn_probability: self.churn_probability(customer, days),
            next_order_days: (alpha + customer.age) * (LN_2 / (r + customer.frequency)).exp_m1(),
        }
    }

    /// P(no order in `days`), which must be finite and not negative.
    pub fn churn_probability(&self, customer: &Customer, days: f64) -> f64 {
        1.0 - self.purchases.purchase_probability(customer, days)
    }
}

/// The history that the values of [`HistoryFeatures`] tell; `None` where they do not: before the first purchase, or where
/// one of them is missing (of a customer with one purchase the recency may be). Values out of order are put in order, as
/// they are where a model is fitted.
pub fn history([frequency, recency, t]: [f32; 3]) -> Option<Customer> {
    let known = |value: f32| value.is_finite().then(|| f64::from(value.clamp(0.0, MOST)));
    let (frequency, age) = (known(frequency)?, known(t)?);
    let recency = match frequency > 0.0 {
        true => (age - known(recency)?).max(0.0),
        false => 0.0,
    };
    Some(Customer {
        frequency,
        recency,
        age,
        monetary: 0.0,
    })
}
