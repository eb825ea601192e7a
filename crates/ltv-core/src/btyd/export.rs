//! BG/NBD + Gamma-Gamma as an ONNX graph. Computed in float64 inside: the formulas take logarithms of ratios near 1.

use super::Btyd;
use super::bgnbd::Dropout;
use super::quadrature::Nodes;
use crate::onnx::{ElementType, GraphBuilder, Value};

/// Raw inputs inside the graph, float `[batch, 1]` each, in the units of [`super::Customer`].
pub struct CustomerValues {
    pub frequency: Value,
    pub recency: Value,
    pub age: Value,
    pub monetary: Value,
}

/// Adds the graph; returns `ltv` and `purchase_probability`, float `[batch]`.
pub fn export(
    graph: &mut GraphBuilder,
    model: &Btyd,
    inputs: &CustomerValues,
) -> Vec<(&'static str, Value)> {
    let double = |graph: &mut GraphBuilder, value: &Value| graph.cast(value, ElementType::Double);
    let x = double(graph, &inputs.frequency);
    let recency = double(graph, &inputs.recency);
    let age = double(graph, &inputs.age);
    let monetary = double(graph, &inputs.monetary);
    let zero = graph.double(0.0);
    let one = graph.double(1.0);
    let repeat = graph.op("Greater", &[&x, &zero], &[]);

    let alpha = graph.double(model.purchases.alpha);
    let at_cutoff = graph.add(&alpha, &age);
    let r = graph.double(model.purchases.r);
    let shape = graph.add(&r, &x);

    // Where the first purchase counts, everybody could have dropped out at least once.
    let first = model.purchases.dropout.first();
    let alive = {
        let at_last = graph.add(&alpha, &recency);
        let ratio = graph.div(&at_cutoff, &at_last);
        let log_ratio = graph.log(&ratio);
        let silence = graph.mul(&shape, &log_ratio);
        // In BG/NBD the value is not used for x = 0; the floor keeps its logarithm finite.
        let b_minus_1 = graph.double(model.purchases.b + first - 1.0);
        let purchases = graph.add(&b_minus_1, &x);
        let floor = graph.double(1e-300);
        let purchases = graph.op("Max", &[&purchases, &floor], &[]);
        let log_purchases = graph.log(&purchases);
        let log_a = graph.double(model.purchases.a.ln());
        let log_odds_dropped = graph.sub(&log_a, &log_purchases);
        let log_odds_dropped = graph.add(&log_odds_dropped, &silence);
        // Not Sigmoid, whose float64 kernel in ONNX Runtime is an approximation that fails for small probabilities.
        let odds_dropped = graph.exp(&log_odds_dropped);
        let sum = graph.add(&one, &odds_dropped);
        let probability = graph.div(&one, &sum);
        match model.purchases.dropout {
            Dropout::AfterRepeats => graph.select(&repeat, &probability, &one),
            Dropout::AfterEvery => probability,
        }
    };

    let horizon = graph.double(model.horizon);
    let w = graph.div(&horizon, &at_cutoff);
    let expected_alive = {
        let nodes = Nodes::new();
        let row = [1, nodes.p.len()];
        let constant: Vec<f64> = (0..nodes.p.len())
            .map(|k| {
                (model.purchases.a - 1.0) * nodes.log_p[k]
                    + (model.purchases.b + first - 1.0) * nodes.log_1_minus_p[k]
                    + nodes.log_weight[k]
            })
            .collect();
        let constant = graph.doubles(&constant, &row);
        let log_1_minus_p = graph.doubles(&nodes.log_1_minus_p, &row);
        let by_frequency = graph.mul(&x, &log_1_minus_p);
        let logits = graph.add(&constant, &by_frequency);
        let weights = graph.op("Softmax", &[&logits], &[]);
        let p = graph.doubles(&nodes.p, &row);
        let pw = graph.mul(&p, &w);
        let purchased = one_minus_power(graph, &pw, &shape);
        let per_p = graph.div(&purchased, &p);
        let weighted = graph.mul(&weights, &per_p);
        graph.sum(&weighted, 1, true)
    };
    let expected_purchases = graph.mul(&alive, &expected_alive);

    let expected_value = {
        let money = graph.mul(&x, &monetary);
        let money = graph.select(&repeat, &money, &zero);
        let v = graph.double(model.spend.v);
        let p = graph.double(model.spend.p);
        let numerator = graph.add(&v, &money);
        let numerator = graph.mul(&p, &numerator);
        let q_minus_1 = graph.double(model.spend.q - 1.0);
        let denominator = graph.mul(&p, &x);
        let denominator = graph.add(&denominator, &q_minus_1);
        graph.div(&numerator, &denominator)
    };
    let ltv = graph.mul(&expected_purchases, &expected_value);
    let any = one_minus_power(graph, &w, &shape);
    let probability = graph.mul(&alive, &any);
    [("ltv", ltv), ("purchase_probability", probability)]
        .into_iter()
        .map(|(name, value)| {
            let flat = graph.reshape(&value, &[-1]);
            (name, graph.cast(&flat, ElementType::Float))
        })
        .collect()
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
