//! Buy-till-you-die: BG/NBD for how often a customer buys again, Gamma-Gamma for how much, fitted by maximum
//! likelihood. The baseline that marketers know; not a neural network, but stored and scored like one.
//!
//! Sources: Fader, Hardie, Lee, "Counting Your Customers the Easy Way" (2005); Fader, Hardie, "The Gamma-Gamma
//! Model of Monetary Value" (2013). MBG/NBD: Batislam, Denizel, Filiztekin, "Empirical validation and comparison of
//! models for customer base analysis" (2007).

mod bgnbd;
mod export;
mod fit;
mod gamma_gamma;
mod quadrature;
mod sbg;
mod state;
mod surface;

pub use bgnbd::{BgNbd, Dropout};
pub use export::{CustomerValues, Worth, export, export_until, export_value, flat, rows, turned};
pub use gamma_gamma::GammaGamma;
pub use sbg::{Contracts, Sbg};
pub use state::{CustomerState, HistoryFeatures, State, history};

use serde::{Deserialize, Serialize};

/// What the models see of one customer. Times are in any unit, the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Customer {
    /// Repeat purchases x (the first purchase is not counted).
    pub frequency: f64,
    /// Time t_x from the first to the last purchase, 0 <= t_x <= T.
    pub recency: f64,
    /// Time T from the first purchase to the cut-off.
    pub age: f64,
    /// Mean value of the repeat purchases; not used where frequency is 0.
    pub monetary: f64,
}

/// BG/NBD + Gamma-Gamma: everything needed to score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Btyd {
    /// How often customers buy.
    pub purchases: BgNbd,
    /// How much they spend each time.
    pub spend: GammaGamma,
    /// Length of the prediction window, in the customers' unit of time.
    pub horizon: f64,
}

impl Btyd {
    /// Expected spend in the horizon.
    pub fn expected_value(&self, customer: &Customer) -> f64 {
        self.expected_until(customer, self.horizon)
    }

    /// Expected spend up to the end of another horizon.
    pub fn expected_until(&self, customer: &Customer, horizon: f64) -> f64 {
        self.purchases.expected_purchases(customer, horizon)
            * self
                .spend
                .expected_value(customer.frequency, customer.monetary)
    }
}
