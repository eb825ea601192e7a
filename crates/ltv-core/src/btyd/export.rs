//! BG/NBD + Gamma-Gamma as an ONNX graph. Computed in float64 inside: the formulas take logarithms of ratios near 1.

use super::bgnbd::{BgNbd, Dropout};
use super::surface::{LEAST_DISTANCE, MOST_PURCHASES, Nodes, Surface};
use super::{Btyd, GammaGamma};
use crate::onnx::{ElementType, GraphBuilder, Value};

/// Raw inputs inside the graph, float `[batch, 1]` each, in the units of [`super::Customer`].
pub struct CustomerValues {
    /// Repeat purchases.
    pub frequency: Value,
    /// From the first to the last purchase.
    pub recency: Value,
    /// From the first purchase to the cut-off.
    pub age: Value,
    /// Mean value of the repeat purchases.
    pub monetary: Value,
}

/// Adds the graph; returns `ltv` and `purchase_probability`, float `[batch]`.
pub fn export(
    graph: &mut GraphBuilder,
    model: &Btyd,
    inputs: &CustomerValues,
) -> Vec<(&'static str, Value)> {
    let history = History::new(graph, &model.purchases, model.horizon, inputs);
    let purchases = history.purchases(graph, &model.purchases, model.horizon);
    let mean = double(graph, &inputs.monetary);
    let spend = export_spend(graph, &model.spend, &history.x, &mean);
    let ltv = graph.mul(&purchases, &spend);
    let any = one_minus_power(graph, &history.w, &history.shape);
    let probability = graph.mul(&history.alive, &any);
    [("ltv", ltv), ("purchase_probability", probability)]
        .into_iter()
        .map(|(name, value)| (name, flat(graph, &value)))
        .collect()
}

/// [`BgNbd::expected_purchases`], double `[batch, 1]`.
pub fn export_purchases(
    graph: &mut GraphBuilder,
    model: &BgNbd,
    horizon: f64,
    inputs: &CustomerValues,
) -> Value {
    History::new(graph, model, horizon, inputs).purchases(graph, model, horizon)
}

/// [`GammaGamma::expected_value`] of so many purchases with that mean, double `[batch, 1]` each.
pub fn export_spend(
    graph: &mut GraphBuilder,
    model: &GammaGamma,
    count: &Value,
    mean: &Value,
) -> Value {
    let zero = graph.double(0.0);
    let any = graph.op("Greater", &[count, &zero], &[]);
    let money = graph.mul(count, mean);
    let money = graph.select(&any, &money, &zero);
    let v = graph.double(model.v);
    let p = graph.double(model.p);
    let numerator = graph.add(&v, &money);
    let numerator = graph.mul(&p, &numerator);
    let q_minus_1 = graph.double(model.q - 1.0);
    let denominator = graph.mul(&p, count);
    let denominator = graph.add(&denominator, &q_minus_1);
    graph.div(&numerator, &denominator)
}

/// One float for each customer.
pub fn flat(graph: &mut GraphBuilder, value: &Value) -> Value {
    let flat = graph.reshape(value, &[-1]);
    graph.cast(&flat, ElementType::Float)
}

/// `value` in float64.
pub fn double(graph: &mut GraphBuilder, value: &Value) -> Value {
    graph.cast(value, ElementType::Double)
}

/// What the outputs have in common, double `[batch, 1]` each.
struct History {
    x: Value,
    /// r + x.
    shape: Value,
    w: Value,
    /// P(alive).
    alive: Value,
}

impl History {
    fn new(graph: &mut GraphBuilder, model: &BgNbd, horizon: f64, inputs: &CustomerValues) -> Self {
        let x = double(graph, &inputs.frequency);
        let recency = double(graph, &inputs.recency);
        let age = double(graph, &inputs.age);
        let one = graph.double(1.0);
        let alpha = graph.double(model.alpha);
        let at_cutoff = graph.add(&alpha, &age);
        let r = graph.double(model.r);
        let shape = graph.add(&r, &x);

        // Where the first purchase counts, everybody could have dropped out at least once.
        let first = model.dropout.first();
        let alive = {
            let at_last = graph.add(&alpha, &recency);
            let ratio = graph.div(&at_cutoff, &at_last);
            let log_ratio = graph.log(&ratio);
            let silence = graph.mul(&shape, &log_ratio);
            // In BG/NBD the value is not used for x = 0; the floor keeps its logarithm finite.
            let b_minus_1 = graph.double(model.b + first - 1.0);
            let purchases = graph.add(&b_minus_1, &x);
            let floor = graph.double(1e-300);
            let purchases = graph.op("Max", &[&purchases, &floor], &[]);
            let log_purchases = graph.log(&purchases);
            let log_a = graph.double(model.a.ln());
            let log_odds_dropped = graph.sub(&log_a, &log_purchases);
            let log_odds_dropped = graph.add(&log_odds_dropped, &silence);
            // Not Sigmoid, whose float64 kernel in ONNX Runtime is an approximation that fails for small probabilities.
            let odds_dropped = graph.exp(&log_odds_dropped);
            let sum = graph.add(&one, &odds_dropped);
            let probability = graph.div(&one, &sum);
            match model.dropout {
                Dropout::AfterRepeats => {
                    let zero = graph.double(0.0);
                    let repeat = graph.op("Greater", &[&x, &zero], &[]);
                    graph.select(&repeat, &probability, &one)
                }
                Dropout::AfterEvery => probability,
            }
        };

        let horizon = graph.double(horizon);
        let w = graph.div(&horizon, &at_cutoff);
        Self { x, shape, w, alive }
    }

    fn purchases(&self, graph: &mut GraphBuilder, model: &BgNbd, horizon: f64) -> Value {
        let surface = Surface::new(model, horizon);
        let logarithm = interpolate(graph, &surface, &self.x, &self.w);
        let share = graph.exp(&logarithm);
        let most = graph.mul(&self.shape, &self.w);
        let while_alive = graph.mul(&most, &share);
        graph.mul(&self.alive, &while_alive)
    }
}

/// The surface at each customer's place, `[batch, 1]`. Customers lie along the last axis in between, where operators that
/// repeat a column of constants for all of them are fast.
fn interpolate(graph: &mut GraphBuilder, surface: &Surface, x: &Value, w: &Value) -> Value {
    let x = graph.reshape(x, &[1, -1]);
    let w = graph.reshape(w, &[1, -1]);
    let most = graph.double(MOST_PURCHASES);
    let x = graph.op("Min", &[&x, &most], &[]);
    let near = graph.double(surface.near);
    let far = graph.double(surface.far);
    let near = graph.add(&x, &near);
    let far = graph.add(&x, &far);
    let ratio = graph.div(&near, &far);
    let by_x = graph.log(&ratio);
    let one = graph.double(1.0);
    let scale = graph.double(surface.scale);
    let scaled = graph.mul(&w, &scale);
    let scaled = graph.add(&one, &scaled);
    let by_w = graph.log(&scaled);

    let (rows, columns) = (surface.purchases.at.len(), surface.window.at.len());
    let (by_x, total_x) = parts(graph, &surface.purchases, &by_x);
    let (by_w, total_w) = parts(graph, &surface.window, &by_w);
    let values: Vec<f64> = (0..columns)
        .flat_map(|column| surface.values.iter().skip(column).step_by(columns).copied())
        .collect();
    let values = graph.doubles(&values, &[columns, rows]);
    let along_x = graph.op("MatMul", &[&values, &by_x], &[]);
    let weighted = graph.mul(&along_x, &by_w);
    let sum = graph.sum(&weighted, 0, true);
    let total = graph.mul(&total_x, &total_w);
    let mean = graph.div(&sum, &total);
    graph.reshape(&mean, &[-1, 1])
}

/// How much each node counts at `t`, `[nodes, batch]`, and the sum over the nodes.
fn parts(graph: &mut GraphBuilder, nodes: &Nodes, t: &Value) -> (Value, Value) {
    let column = [nodes.at.len(), 1];
    let at = graph.doubles(&nodes.at, &column);
    let least = graph.double(LEAST_DISTANCE);
    let distance = graph.sub(t, &at);
    let distance = graph.add(&distance, &least);
    let weights = graph.doubles(&nodes.weights, &column);
    let parts = graph.div(&weights, &distance);
    let total = graph.sum(&parts, 0, true);
    (parts, total)
}

/// `1 - (1 + u)^-shape` as `2t / (1 + t)` with `t = tanh(shape * ln(1 + u) / 2)`, which keeps its digits near 0.
fn one_minus_power(graph: &mut GraphBuilder, u: &Value, shape: &Value) -> Value {
    let one = graph.double(1.0);
    let half = graph.double(0.5);
    let two = graph.double(2.0);
    let log = log1p(graph, u);
    let power = graph.mul(shape, &log);
    let power = graph.mul(&power, &half);
    let t = graph.tanh(&power);
    let numerator = graph.mul(&two, &t);
    let denominator = graph.add(&one, &t);
    graph.div(&numerator, &denominator)
}

/// ONNX has no log1p: `ln(1 + u) * u / ((1 + u) - 1)`, where rounding of `1 + u` cancels (Kahan), and u itself
/// where `1 + u` rounds to 1.
fn log1p(graph: &mut GraphBuilder, u: &Value) -> Value {
    let one = graph.double(1.0);
    let zero = graph.double(0.0);
    let base = graph.add(&one, u);
    let rounded = graph.sub(&base, &one);
    let log = graph.log(&base);
    let product = graph.mul(&log, u);
    let lost = graph.op("Equal", &[&rounded, &zero], &[]);
    let divisor = graph.select(&lost, &one, &rounded);
    let corrected = graph.div(&product, &divisor);
    graph.select(&lost, u, &corrected)
}
