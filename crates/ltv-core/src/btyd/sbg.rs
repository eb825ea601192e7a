//! Shifted beta-geometric: a customer under contract does not renew with a probability of their own, theta ~ Beta(alpha, beta), each time the contract ends.
//!
//! Fader, Hardie, "How to Project Customer Retention", Journal of Interactive Marketing 21 (2007). Who has stayed long is more likely to stay: nobody has
//! changed, but those who leave easily have left.

use super::fit::maximise;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

/// The law of the share who leave at the end of a period.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sbg {
    /// First parameter of the beta law of leaving.
    pub alpha: f64,
    /// Second parameter of the beta law of leaving.
    pub beta: f64,
}

/// Customers with the same history.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contracts {
    /// Renewals so far.
    pub periods: u32,
    /// Whether the contract was not renewed after them.
    pub churned: bool,
    /// How many there are.
    pub customers: f64,
}

impl Sbg {
    /// Fits by maximum likelihood; an error where nobody left or nobody stayed, which no two numbers explain.
    pub fn fit(contracts: &[Contracts]) -> Result<Self> {
        let total: f64 = contracts.iter().map(|group| group.customers).sum();
        let sum = |of: &dyn Fn(&Contracts) -> bool| -> f64 {
            let those = contracts.iter().filter(|group| of(group));
            those.map(|group| group.customers).sum()
        };
        let left = sum(&|group| group.churned);
        let renewed = sum(&|group| group.periods > 0);
        if left <= 0.0 || renewed <= 0.0 {
            let what = match left <= 0.0 {
                true => "no contract has ended",
                false => "no contract was ever renewed",
            };
            return Err(Error::data(what)
                .detail("The shifted beta-geometric model learns from who renewed how often and who did not.")
                .hint("The column churned is 1 for customers who did not renew after as many renewals as the column periods says, and 0 for all others."));
        }
        let log_likelihood = |theta: &[f64]| {
            let model = Self::from_logs(theta);
            let of_group = |group: &Contracts| {
                group.customers * model.log_likelihood(group.periods, group.churned)
            };
            contracts.iter().map(of_group).sum::<f64>() / total
        };
        Ok(Self::from_logs(&maximise(vec![0.0; 2], log_likelihood)?))
    }

    fn from_logs(theta: &[f64]) -> Self {
        Self {
            alpha: theta[0].exp(),
            beta: theta[1].exp(),
        }
    }

    /// Of one customer: equations 5 and 6 of the paper.
    pub fn log_likelihood(&self, periods: u32, churned: bool) -> f64 {
        let (alpha, beta, periods) = (self.alpha, self.beta, f64::from(periods));
        let left = f64::from(u8::from(churned));
        ln_beta(alpha + left, beta + periods) - ln_beta(alpha, beta)
    }

    /// Share of all customers who renew at least so often.
    pub fn survival(&self, periods: u32) -> f64 {
        self.log_likelihood(periods, false).exp()
    }

    /// Probability that who has renewed so often renews once more.
    pub fn renewal(&self, periods: f64) -> f64 {
        (self.beta + periods) / (self.alpha + self.beta + periods)
    }

    /// Renewals to expect of who has renewed so often in the next `ahead` periods; of a part of a period that part.
    pub fn expected_renewals(&self, periods: f64, ahead: f64) -> f64 {
        let mut survives = 1.0;
        let mut expected = 0.0;
        let mut next = 0.0;
        while next < ahead {
            survives *= self.renewal(periods + next);
            expected += survives * (ahead - next).min(1.0);
            next += 1.0;
        }
        expected
    }
}
