//! Gamma-Gamma: a customer's purchases are worth Gamma(p, nu) each, nu ~ Gamma(q, v) over customers.

use super::Customer;
use super::fit::maximise;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

/// The parameters of the spend per purchase, and the model's predictions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GammaGamma {
    /// Shape of the values of one customer's purchases.
    pub p: f64,
    /// Shape of the rates over customers; above 1.
    pub q: f64,
    /// In the currency of the purchases.
    pub v: f64,
}

impl GammaGamma {
    /// From the customers with at least one repeat purchase of positive value.
    pub fn fit(customers: &[Customer]) -> Result<Self> {
        Self::maximise(customers, vec![1.0, 1.0, 1.0], Self::from_logs)
    }

    /// The same, with the population's expected value `p v / (q - 1)` at the mean of the customers' values. Where
    /// amounts have a heavier tail than the model knows, free parameters let that expectation go to infinity.
    pub fn fit_to_mean(customers: &[Customer]) -> Result<Self> {
        // The values are in units of their mean.
        Self::maximise(customers, vec![1.0, 1.0], |theta| {
            let (p, q_minus_1) = (theta[0].exp(), theta[1].exp());
            Self {
                p,
                q: 1.0 + q_minus_1,
                v: q_minus_1 / p,
            }
        })
    }

    fn maximise(
        customers: &[Customer],
        start: Vec<f64>,
        from_logs: impl Fn(&[f64]) -> Self,
    ) -> Result<Self> {
        let payers: Vec<(f64, f64)> = customers
            .iter()
            .filter(|c| c.frequency > 0.0 && c.monetary > 0.0 && c.monetary.is_finite())
            .map(|c| (c.frequency, c.monetary))
            .collect();
        if payers.len() < 2 {
            return Err(Error::data("fewer than two customers bought a second time")
                .detail("Gamma-Gamma learns the value of a purchase from customers with repeat purchases."));
        }
        let count = payers.len() as f64;
        let scale = payers.iter().map(|(_, m)| m).sum::<f64>() / count;
        let log_likelihood = |theta: &[f64]| {
            let model = from_logs(theta);
            payers
                .iter()
                .map(|&(x, m)| model.log_likelihood(x, m / scale))
                .sum::<f64>()
                / count
        };
        let fitted = from_logs(&maximise(start, log_likelihood)?);
        Ok(Self {
            v: fitted.v * scale,
            ..fitted
        })
    }

    /// q > 1, since the mean purchase value of the population is infinite otherwise.
    fn from_logs(theta: &[f64]) -> Self {
        Self {
            p: theta[0].exp(),
            q: 1.0 + theta[1].exp(),
            v: theta[2].exp(),
        }
    }

    /// Of `x` repeat purchases with mean value `m`.
    pub fn log_likelihood(&self, x: f64, m: f64) -> f64 {
        let Self { p, q, v } = *self;
        ln_gamma(p * x + q) - ln_gamma(p * x) - ln_gamma(q)
            + q * v.ln()
            + (p * x - 1.0) * m.ln()
            + p * x * x.ln()
            - (p * x + q) * (x * m + v).ln()
    }

    /// Expected value of a customer's purchase, given x repeat purchases with mean value m.
    pub fn expected_value(&self, x: f64, m: f64) -> f64 {
        let spent = if x > 0.0 { x * m } else { 0.0 };
        self.p * (self.v + spent) / (self.p * x + self.q - 1.0)
    }
}
