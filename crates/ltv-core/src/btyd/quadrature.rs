//! Tanh-sinh nodes for expectations over a Beta distribution whose parameters differ by customer.

use std::sync::LazyLock;

/// Nodes p in (0, 1) of the double exponential rule: `p = 1 / (1 + exp(-pi sinh(u)))`.
///
/// They crowd at both ends, so that Beta densities with a pole at 0 or 1, or with all their mass near 0 (a customer
/// with hundreds of purchases), are all integrated to about 1e-12 by the same few nodes.
pub(super) struct Nodes {
    pub p: Vec<f64>,
    pub log_p: Vec<f64>,
    pub log_1_minus_p: Vec<f64>,
    /// Logarithm of dp/du, up to a constant.
    pub log_weight: Vec<f64>,
}

const STEP: f64 = 1.0 / 16.0;
/// Far enough for a density with its pole at `p^-0.99`.
const REACH: f64 = 7.0;
/// Nodes closer to 0 than double precision can tell are moved here; what is averaged is constant that near 0.
const LOG_SMALLEST: f64 = -600.0;

impl Nodes {
    /// They are the same for everybody.
    pub fn shared() -> &'static Self {
        static NODES: LazyLock<Nodes> = LazyLock::new(Nodes::new);
        &NODES
    }

    pub fn new() -> Self {
        let mut nodes = Self {
            p: vec![],
            log_p: vec![],
            log_1_minus_p: vec![],
            log_weight: vec![],
        };
        let count = (REACH / STEP) as i32;
        for k in -count..=count {
            let u = f64::from(k) * STEP;
            let z = std::f64::consts::PI * u.sinh();
            let log_p = -softplus(-z);
            let log_1_minus_p = -softplus(z);
            nodes.p.push(log_p.max(LOG_SMALLEST).exp());
            nodes.log_p.push(log_p);
            nodes.log_1_minus_p.push(log_1_minus_p);
            nodes.log_weight.push(log_p + log_1_minus_p + u.cosh().ln());
        }
        nodes
    }
}

fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}
