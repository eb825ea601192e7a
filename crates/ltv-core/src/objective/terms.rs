//! Pieces shared by the losses and heads, in candle and in ONNX.

use crate::error::Result;
use crate::kernels::functions::{sigmoid, softplus};
use crate::onnx::{GraphBuilder, Value};
use candle_core::Tensor;

/// Below this a lognormal is a spike whose density overflows.
pub const SIGMA_FLOOR: f64 = 1e-3;

/// Predictions stop here so that no finite input gives infinity: exp(80) = 5.5e34 fits float32.
pub const EXPONENT_LIMIT: f64 = 80.0;

/// 1 where y > 0, 0 elsewhere, in y's type.
pub fn paying(target: &Tensor) -> Result<Tensor> {
    Ok(target.gt(0.0)?.to_dtype(target.dtype())?)
}

/// ln(y) of paying rows, 0 elsewhere.
pub fn safe_log(target: &Tensor, paying: &Tensor) -> Result<Tensor> {
    let safe = ((target * paying)? + paying.affine(-1.0, 1.0)?)?;
    Ok(safe.log()?)
}

/// Binary cross entropy from the logit, per row.
pub fn bce(logit: &Tensor, label: &Tensor) -> Result<Tensor> {
    Ok((softplus(logit)? - (logit * label)?)?)
}

/// Minus the log density of a lognormal, per row.
pub fn lognormal(log_y: &Tensor, mu: &Tensor, sigma: &Tensor) -> Result<Tensor> {
    let half_log_tau = 0.5 * std::f64::consts::TAU.ln();
    let z = ((log_y - mu)? / sigma)?;
    let density = ((log_y + sigma.log()?)? + z.sqr()?.affine(0.5, half_log_tau)?)?;
    Ok(density)
}

/// `max(softplus(raw), floor)`.
pub fn sigma(raw: &Tensor, floor: f64) -> Result<Tensor> {
    Ok(softplus(raw)?.maximum(floor)?)
}

/// Column `index` of a `[batch, n]` tensor.
pub fn column(x: &Tensor, index: usize) -> Result<Tensor> {
    Ok(x.narrow(1, index, 1)?.squeeze(1)?)
}

/// `p`, then the clamped `mu` and `sigma`, then `p * exp(mu + sigma^2 / 2)`.
pub struct Lognormal {
    /// Probability of a purchase.
    pub probability: Tensor,
    /// Mean of the logarithm of the amount.
    pub mu: Tensor,
    /// Standard deviation of the logarithm of the amount.
    pub sigma: Tensor,
    /// Expected value, in money.
    pub mean: Tensor,
}

impl Lognormal {
    /// From the head's output, `[batch]` each.
    pub fn predict(logit: &Tensor, mu: &Tensor, sigma: &Tensor) -> Result<Self> {
        let probability = sigmoid(logit)?;
        let mu = mu.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT)?;
        let sigma = sigma.minimum(EXPONENT_LIMIT)?;
        let exponent = (&mu + sigma.sqr()?.affine(0.5, 0.0)?)?.minimum(EXPONENT_LIMIT)?;
        let mean = (&probability * exponent.exp()?)?;
        Ok(Self {
            probability,
            mu,
            sigma,
            mean,
        })
    }
}

/// [`Lognormal::predict`] in a graph, from the probability and a sigma of [`EXPONENT_LIMIT`] at most: `(mu, sigma, mean)`.
pub fn export_lognormal(
    graph: &mut GraphBuilder,
    probability: &Value,
    mu: &Value,
    sigma: &Value,
) -> (Value, Value, Value) {
    let limit = EXPONENT_LIMIT as f32;
    let mu = graph.clip(mu, -limit, limit);
    let half = graph.float(0.5);
    let square = graph.mul(sigma, sigma);
    let square = graph.mul(&square, &half);
    let exponent = graph.add(&mu, &square);
    let exponent = export_minimum(graph, &exponent, limit);
    let mean = graph.exp(&exponent);
    let mean = graph.mul(probability, &mean);
    (mu, sigma.clone(), mean)
}

/// [`sigma`] in a graph, up to [`EXPONENT_LIMIT`], where a softplus is its argument.
pub fn export_sigma(graph: &mut GraphBuilder, raw: &Value, floor: f64) -> Value {
    let raw = export_minimum(graph, raw, EXPONENT_LIMIT as f32);
    let exponential = graph.exp(&raw);
    let one = graph.float(1.0);
    let sum = graph.add(&exponential, &one);
    let positive = graph.log(&sum);
    graph.max(&positive, floor as f32)
}

/// `min(x, limit)` inside a graph.
pub fn export_minimum(graph: &mut GraphBuilder, x: &Value, limit: f32) -> Value {
    let limit = graph.float(limit);
    graph.op("Min", &[x, &limit], &[])
}

/// `1 / (1 + exp(-z))`. ONNX Runtime's own Sigmoid is a rational approximation whose relative error is large
/// where the probability is small, and expected values are products with it.
pub fn export_probability(graph: &mut GraphBuilder, logit: &Value) -> Value {
    let negative = graph.op("Neg", &[logit], &[]);
    let odds = graph.exp(&negative);
    let one = graph.float(1.0);
    let sum = graph.add(&odds, &one);
    graph.op("Reciprocal", &[&sum], &[])
}

/// `exp(x) - 1` without cancellation near 0, as `tanh(x / 2) * (exp(x) + 1)`.
pub fn export_expm1(graph: &mut GraphBuilder, x: &Value) -> Value {
    let half = graph.float(0.5);
    let half_x = graph.mul(x, &half);
    let tanh = graph.tanh(&half_x);
    let exponential = graph.exp(x);
    let one = graph.float(1.0);
    let sum = graph.add(&exponential, &one);
    graph.mul(&tanh, &sum)
}

/// Softplus that keeps its relative precision for very negative `x`: with `u = 1 + t`,
/// `log1p(t) = log(u) - ((u - 1) - t) / u`, `t = exp(-|x|)`.
pub fn export_softplus(graph: &mut GraphBuilder, x: &Value) -> Value {
    let positive = graph.relu(x);
    let absolute = graph.op("Abs", &[x], &[]);
    let negative = graph.op("Neg", &[&absolute], &[]);
    let t = graph.exp(&negative);
    let one = graph.float(1.0);
    let u = graph.add(&t, &one);
    let log = graph.log(&u);
    let rounded = graph.sub(&u, &one);
    let lost = graph.sub(&rounded, &t);
    let correction = graph.div(&lost, &u);
    let log1p = graph.sub(&log, &correction);
    graph.add(&positive, &log1p)
}
