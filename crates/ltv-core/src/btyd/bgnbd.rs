//! BG/NBD: purchases at rate lambda ~ Gamma(r, alpha) while alive; after each repeat purchase the customer drops out
//! with probability p ~ Beta(a, b). MBG/NBD lets customers drop out after the first purchase as well.

use super::Customer;
use super::fit::{log_sum_exp, maximise};
use super::quadrature::mean_purchases;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

/// The parameters of the purchase process, and the model's predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BgNbd {
    /// Shape of the gamma law of purchase rates.
    pub r: f64,
    /// Rate of the gamma law of purchase rates, in units of time.
    pub alpha: f64,
    /// First parameter of the beta law of dropping out.
    pub a: f64,
    /// Second parameter of the beta law of dropping out.
    pub b: f64,
    /// BG/NBD or MBG/NBD.
    #[serde(default)]
    pub dropout: Dropout,
}

/// After which purchases a customer may drop out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropout {
    /// BG/NBD: who bought once is alive for ever.
    #[default]
    AfterRepeats,
    /// MBG/NBD (Batislam, Denizel, Filiztekin 2007): the first purchase counts too.
    AfterEvery,
}

impl Dropout {
    /// How often a customer with x repeat purchases could have dropped out.
    fn occasions(self, x: f64) -> f64 {
        x + self.first()
    }

    pub(super) fn first(self) -> f64 {
        match self {
            Self::AfterRepeats => 0.0,
            Self::AfterEvery => 1.0,
        }
    }
}

impl BgNbd {
    /// Fits BG/NBD by maximum likelihood; an error if too few customers came back.
    pub fn fit(customers: &[Customer]) -> Result<Self> {
        Self::fit_with(customers, Dropout::default())
    }

    /// Fits with dropping out as given; an error if too few customers came back.
    pub fn fit_with(customers: &[Customer], dropout: Dropout) -> Result<Self> {
        check(customers)?;
        let scale = customers.iter().map(|c| c.age).sum::<f64>() / customers.len() as f64;
        let groups = group(customers, scale);
        let rows = customers.len() as f64;
        let log_likelihood = |theta: &[f64]| {
            let model = Self::from_logs(theta, dropout);
            let of_group = |group: &Group| {
                let by_frequency = model.frequency_terms(group.frequency);
                let members = group.histories.iter();
                members
                    .map(|(c, count)| count * (by_frequency + model.history_terms(c)))
                    .sum::<f64>()
            };
            groups.iter().map(of_group).sum::<f64>() / rows
        };
        let fitted = Self::from_logs(&maximise(vec![0.0; 4], log_likelihood)?, dropout);
        Ok(Self {
            alpha: fitted.alpha * scale,
            ..fitted
        })
    }

    fn from_logs(theta: &[f64], dropout: Dropout) -> Self {
        Self {
            r: theta[0].exp(),
            alpha: theta[1].exp(),
            a: theta[2].exp(),
            b: theta[3].exp(),
            dropout,
        }
    }

    /// Of one customer (equation 6 of the paper), every factor kept as a logarithm.
    pub fn log_likelihood(&self, customer: &Customer) -> f64 {
        self.frequency_terms(customer.frequency) + self.history_terms(customer)
    }

    /// The part with the gamma functions, the same for all customers with x repeat purchases.
    fn frequency_terms(&self, x: f64) -> f64 {
        let Self { r, alpha, a, b, .. } = *self;
        let survived = self.dropout.occasions(x);
        ln_gamma(r + x) - ln_gamma(r) + r * alpha.ln() + ln_gamma(a + b) + ln_gamma(b + survived)
            - ln_gamma(b)
            - ln_gamma(a + b + survived)
    }

    fn history_terms(&self, customer: &Customer) -> f64 {
        let x = customer.frequency;
        let alive = -(self.r + x) * (self.alpha + customer.age).ln();
        let occasions = self.dropout.occasions(x);
        if occasions == 0.0 {
            return alive;
        }
        let dropped = self.a.ln()
            - (self.b + occasions - 1.0).ln()
            - (self.r + x) * (self.alpha + customer.recency).ln();
        log_sum_exp(alive, dropped)
    }

    /// P(the customer has not dropped out by T).
    pub fn probability_alive(&self, customer: &Customer) -> f64 {
        let x = customer.frequency;
        let occasions = self.dropout.occasions(x);
        if occasions == 0.0 {
            return 1.0;
        }
        let log_odds_dropped = self.a.ln() - (self.b + occasions - 1.0).ln()
            + (self.r + x) * ((self.alpha + customer.age) / (self.alpha + customer.recency)).ln();
        1.0 / (1.0 + log_odds_dropped.exp())
    }

    /// Expected number of purchases in (T, T + horizon].
    ///
    /// Equation 10 of the paper has a hypergeometric function that loses all digits to cancellation where dropout
    /// is near certain or impossible. The same number is `P(alive) * E[(1 - (1 + p w)^-(r+x)) / p]` with
    /// `w = horizon / (alpha + T)` and p ~ Beta(a, b + x) (MBG/NBD: b + x + 1): a sum of positive terms.
    pub fn expected_purchases(&self, customer: &Customer, horizon: f64) -> f64 {
        let if_alive = self.purchases_if_alive(customer.frequency, customer.age, horizon);
        self.probability_alive(customer) * if_alive
    }

    /// The same of customers who have not dropped out, with x repeat purchases and first seen so long ago.
    pub fn purchases_if_alive(&self, x: f64, age: f64, horizon: f64) -> f64 {
        let w = horizon / (self.alpha + age);
        let b = self.b + self.dropout.occasions(x);
        mean_purchases(self.a, b, self.r + x, w)
    }

    /// P(at least one purchase in (T, T + horizon]).
    pub fn purchase_probability(&self, customer: &Customer, horizon: f64) -> f64 {
        let w = horizon / (self.alpha + customer.age);
        self.probability_alive(customer) * -(-(self.r + customer.frequency) * w.ln_1p()).exp_m1()
    }
}

/// Customers with the same number of repeat purchases; equal histories (everybody who bought once on the same day)
/// are kept once, with their number.
struct Group {
    frequency: f64,
    histories: Vec<(Customer, f64)>,
}

fn group(customers: &[Customer], scale: f64) -> Vec<Group> {
    let mut sorted: Vec<Customer> = customers
        .iter()
        .map(|c| Customer {
            recency: c.recency / scale,
            age: c.age / scale,
            monetary: 0.0,
            ..*c
        })
        .collect();
    sorted.sort_by(|a, b| {
        let by_frequency = a.frequency.total_cmp(&b.frequency);
        by_frequency
            .then(a.recency.total_cmp(&b.recency))
            .then(a.age.total_cmp(&b.age))
    });
    let mut groups: Vec<Group> = Vec::new();
    for customer in sorted {
        match groups.last_mut() {
            Some(group) if group.frequency == customer.frequency => {
                match group.histories.last_mut() {
                    Some((last, count)) if *last == customer => *count += 1.0,
                    _ => group.histories.push((customer, 1.0)),
                }
            }
            _ => groups.push(Group {
                frequency: customer.frequency,
                histories: vec![(customer, 1.0)],
            }),
        }
    }
    groups
}

fn check(customers: &[Customer]) -> Result<()> {
    let valid = |c: &Customer| {
        c.frequency >= 0.0
            && c.frequency.is_finite()
            && c.recency >= 0.0
            && c.recency <= c.age
            && c.age.is_finite()
    };
    if let Some(row) = customers.iter().position(|c| !valid(c)) {
        let c = customers[row];
        return Err(Error::data(format!(
            "customer {} has an impossible purchase history",
            row + 1
        ))
        .detail(format!(
            "Frequency is {}, time from first to last purchase {}, age {}.",
            c.frequency, c.recency, c.age
        ))
        .hint("BG/NBD needs frequency >= 0 and 0 <= time of the last purchase <= T."));
    }
    if !customers.iter().any(|c| c.frequency > 0.0) {
        return Err(Error::data("no customer bought a second time")
            .detail(
                "BG/NBD learns from repeat purchases; with none its parameters are not determined.",
            )
            .hint("Use a later cut-off, or another objective."));
    }
    Ok(())
}
