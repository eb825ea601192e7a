//! BG/NBD + Gamma-Gamma as an ONNX graph. Computed in float64 inside: the formulas take logarithms of ratios near 1.
//!
//! A graph spends its time on the number of its operators where it has few customers. So customers lie along the last axis, what
//! is known of them along the first, and what is alike is done for all of it at once.

use super::bgnbd::{BgNbd, Dropout};
use super::surface::{LEAST_DISTANCE, Nodes, Surface};
use super::{Btyd, GammaGamma};
use crate::onnx::{Attribute, ElementType, GraphBuilder, Value};

/// Customers inside the graph, double `[1, batch]` each, in the units of [`super::Customer`].
pub struct CustomerValues {
    /// Repeat purchases, a million at most.
    pub frequency: Value,
    /// From the first to the last purchase.
    pub recency: Value,
    /// From the first purchase to the cut-off.
    pub age: Value,
    /// Mean value of the repeat purchases.
    pub monetary: Value,
}

/// A matrix turned round, float `[columns, batch]` from `[batch, columns]`. As a product: ONNX Runtime's optimiser would move a
/// transposition behind the cut into rows, and do it for each of them.
pub fn turned(graph: &mut GraphBuilder, matrix: &Value, columns: usize) -> Value {
    let cells = columns * columns;
    let unit: Vec<f32> = (0..cells)
        .map(|cell| f32::from(u8::from(cell % (columns + 1) == 0)))
        .collect();
    let unit = graph.floats(&unit, &[columns, columns]);
    let transposed = [("transB", Attribute::Int(1))];
    graph.op("Gemm", &[&unit, matrix], &transposed)
}

/// The rows of [`turned`], double `[1, batch]` each.
pub fn rows(graph: &mut GraphBuilder, turned: &Value, rows: usize) -> Vec<Value> {
    let matrix = graph.cast(turned, ElementType::Double);
    graph.split(&matrix, 0, rows)
}

/// One float for each customer, `[batch]`.
pub fn flat(graph: &mut GraphBuilder, value: &Value) -> Value {
    let flat = graph.cast(value, ElementType::Float);
    graph.reshape(&flat, &[-1])
}

/// Adds the graph; returns `ltv` and `purchase_probability`, float `[batch]`.
pub fn export(
    graph: &mut GraphBuilder,
    model: &Btyd,
    inputs: &CustomerValues,
) -> Vec<(&'static str, Value)> {
    let history = History::new(graph, &model.purchases, model.horizon, inputs, None);
    let ltv = history.spent(graph, &model.spend, inputs);
    let alpha = graph.double(model.purchases.alpha);
    let at_cutoff = graph.add(&alpha, &inputs.age);
    let horizon = graph.double(model.horizon);
    let window = graph.div(&horizon, &at_cutoff);
    let any = one_minus_power(graph, &window, &history.shape);
    let probability = graph.div(&any, &history.one_over_alive);
    [("ltv", ltv), ("purchase_probability", probability)]
        .into_iter()
        .map(|(name, value)| (name, flat(graph, &value)))
        .collect()
}

/// [`Btyd::expected_value`] up to the end of another horizon, float `[batch]`.
pub fn export_until(
    graph: &mut GraphBuilder,
    model: &Btyd,
    horizon: f64,
    inputs: &CustomerValues,
) -> Value {
    let history = History::new(graph, &model.purchases, horizon, inputs, None);
    let value = history.spent(graph, &model.spend, inputs);
    flat(graph, &value)
}

/// What a purchase is worth to a customer, relative to what it is worth on average, to a power.
pub struct Worth<'a> {
    /// Of all purchases, the first one too.
    pub spend: &'a GammaGamma,
    /// The power.
    pub spread: f64,
}

/// [`BgNbd::expected_purchases`] times the worth of each, double `[1, batch]`. The mean value of `inputs` is that of all purchases.
pub fn export_value(
    graph: &mut GraphBuilder,
    model: &BgNbd,
    horizon: f64,
    worth: &Worth,
    inputs: &CustomerValues,
) -> Value {
    let history = History::new(graph, model, horizon, inputs, Some(worth));
    graph.div(&history.while_alive, &history.one_over_alive)
}

/// [`GammaGamma::expected_value`] of so many purchases with that mean, double `[1, batch]` each.
fn export_spend(
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

/// Sums of rows, each with its factors and a constant, double `[sums, batch]` from `[rows, batch]`.
struct Sums {
    factors: Vec<f64>,
    constants: Vec<f64>,
}

impl Sums {
    fn new() -> Self {
        Self {
            factors: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn with<const ROWS: usize>(mut self, factors: [f64; ROWS], constant: f64) -> Self {
        self.factors.extend(factors);
        self.constants.push(constant);
        self
    }

    fn export(&self, graph: &mut GraphBuilder, rows: &Value) -> Value {
        let sums = self.constants.len();
        let width = self.factors.len() / sums.max(1);
        let factors = graph.doubles(&self.factors, &[sums, width]);
        let constants = graph.doubles(&self.constants, &[sums, 1]);
        graph.affine(&factors, rows, &constants)
    }
}

/// The logarithms that everything is made of, by what they are of.
#[derive(Clone, Copy)]
enum Of {
    /// alpha + T.
    Cutoff,
    /// alpha + t_x.
    Last,
    /// b - 1 + how often the customer could have dropped out.
    Kept,
    Near,
    Far,
    /// (alpha + T) (1 + scale w).
    Window,
    /// r + x.
    Shape,
    /// v + the money of all purchases.
    Money,
    /// p (x + 1) + q - 1.
    Count,
}

const LOGARITHMS: usize = 9;

/// A sum of logarithms.
fn of(terms: &[(Of, f64)]) -> [f64; LOGARITHMS] {
    let mut factors = [0.0; LOGARITHMS];
    for &(of, factor) in terms {
        factors[of as usize] += factor;
    }
    factors
}

/// What the outputs have in common, double `[1, batch]` each.
struct History {
    /// r + x.
    shape: Value,
    /// What is expected of the customer if alive: purchases, or their value where a worth is given.
    while_alive: Value,
    /// 1 / P(alive).
    one_over_alive: Value,
}

impl History {
    fn new(
        graph: &mut GraphBuilder,
        model: &BgNbd,
        horizon: f64,
        inputs: &CustomerValues,
        worth: Option<&Worth>,
    ) -> Self {
        let surface = Surface::new(model, horizon);
        let x = &inputs.frequency;
        let one = graph.double(1.0);
        let zero = graph.double(0.0);
        let money = match worth {
            Some(_) => {
                let purchases = graph.add(x, &one);
                graph.mul(&purchases, &inputs.monetary)
            }
            None => x.clone(),
        };
        let known = graph.concat(&[x, &inputs.age, &inputs.recency, &money], 0);
        let logarithms = Self::logarithms(graph, model, horizon, &surface, worth, &known);
        let share = interpolate(graph, &surface, &logarithms);

        let (factors, constant) = Self::most(horizon, worth);
        let silence = of(&[(Of::Cutoff, 1.0), (Of::Last, -1.0)]);
        let sums = Sums::new()
            .with(factors, constant)
            .with(of(&[(Of::Kept, -1.0)]), model.a.ln())
            .with(silence, 0.0);
        let sums = sums.export(graph, &logarithms);
        let sums = graph.split(&sums, 0, 3);
        let logarithm = graph.add(&sums[0], &share);
        let while_alive = graph.exp(&logarithm);

        let r = graph.double(model.r);
        let shape = graph.add(x, &r);
        let log_odds_dropped = graph.mul(&shape, &sums[2]);
        let log_odds_dropped = graph.add(&log_odds_dropped, &sums[1]);
        // Not Sigmoid, whose float64 kernel in ONNX Runtime is an approximation that fails for small probabilities.
        let odds_dropped = graph.exp(&log_odds_dropped);
        let mut one_over_alive = graph.add(&one, &odds_dropped);
        if model.dropout == Dropout::AfterRepeats {
            let repeat = graph.op("Greater", &[x, &zero], &[]);
            one_over_alive = graph.select(&repeat, &one_over_alive, &one);
        }
        Self {
            shape,
            while_alive,
            one_over_alive,
        }
    }

    /// What the customer will have spent, where no worth was given.
    fn spent(
        &self,
        graph: &mut GraphBuilder,
        spend: &GammaGamma,
        inputs: &CustomerValues,
    ) -> Value {
        let spend = export_spend(graph, spend, &inputs.frequency, &inputs.monetary);
        let purchases = graph.div(&self.while_alive, &self.one_over_alive);
        graph.mul(&purchases, &spend)
    }

    /// Double `[LOGARITHMS, batch]`, in the order of [`Of`], from x, T, t_x and money.
    fn logarithms(
        graph: &mut GraphBuilder,
        model: &BgNbd,
        horizon: f64,
        surface: &Surface,
        worth: Option<&Worth>,
        known: &Value,
    ) -> Value {
        let (count, money) = match worth {
            Some(Worth { spend, .. }) => (
                ([spend.p, 0.0, 0.0, 0.0], spend.p + spend.q - 1.0),
                ([0.0, 0.0, 0.0, 1.0], spend.v),
            ),
            None => (([0.0; 4], 1.0), ([0.0; 4], 1.0)),
        };
        let x = [1.0, 0.0, 0.0, 0.0];
        let age = [0.0, 1.0, 0.0, 0.0];
        let alpha = model.alpha;
        // Where the first purchase counts, everybody could have dropped out at least once.
        let first = model.dropout.first();
        let arguments = Sums::new()
            .with(age, alpha)
            .with([0.0, 0.0, 1.0, 0.0], alpha)
            .with(x, model.b + first - 1.0)
            .with(x, surface.near)
            .with(x, surface.far)
            .with(age, alpha + surface.scale * horizon)
            .with(x, model.r)
            .with(money.0, money.1)
            .with(count.0, count.1);
        let mut arguments = arguments.export(graph, known);
        if model.dropout == Dropout::AfterRepeats {
            // Of a customer without repeat purchases, where it is not used, it may be negative.
            let floor = graph.double(1e-300);
            arguments = graph.op("Max", &[&arguments, &floor], &[]);
        }
        graph.log(&arguments)
    }

    /// The logarithm of (r + x) w, the most purchases that could be expected, times their worth.
    fn most(horizon: f64, worth: Option<&Worth>) -> ([f64; LOGARITHMS], f64) {
        let mut terms = vec![(Of::Shape, 1.0), (Of::Cutoff, -1.0)];
        let mut constant = horizon.ln();
        if let Some(Worth { spend, spread }) = worth {
            terms.extend([(Of::Money, *spread), (Of::Count, -spread)]);
            let usual = spend.expected_value(0.0, 0.0);
            constant += spread * spend.p.ln() + (1.0 - spread) * usual.ln();
        }
        (of(&terms), constant)
    }
}

/// The surface at each customer's place, `[1, batch]`: a mean of its values, weighted along both axes.
fn interpolate(graph: &mut GraphBuilder, surface: &Surface, logarithms: &Value) -> Value {
    let (purchases, window) = (&surface.purchases, &surface.window);
    let by_purchases = of(&[(Of::Near, 1.0), (Of::Far, -1.0)]);
    let by_window = of(&[(Of::Window, 1.0), (Of::Cutoff, -1.0)]);
    let places = |nodes: &Nodes, factors| {
        let at = nodes.at.clone();
        at.into_iter().map(move |at| (factors, -at))
    };
    let distances = places(purchases, by_purchases)
        .chain(places(window, by_window))
        .fold(Sums::new(), |sums, (factors, at)| sums.with(factors, at));
    let distances = distances.export(graph, logarithms);
    let least = graph.double(LEAST_DISTANCE);
    let distances = graph.add(&distances, &least);
    let weights: Vec<f64> = purchases
        .weights
        .iter()
        .chain(&window.weights)
        .copied()
        .collect();
    let weights = graph.doubles(&weights, &[weights.len(), 1]);
    let parts = graph.div(&weights, &distances);
    let (rows, columns) = (purchases.at.len(), window.at.len());
    let parts = graph.split_into(&parts, 0, &[rows, columns]);

    // Of the values, and of ones: the second sum is what the first is divided by.
    let values = (0..columns)
        .flat_map(|column| surface.values.iter().skip(column).step_by(columns).copied());
    let ones = std::iter::repeat_n(1.0, rows * columns);
    let values: Vec<f64> = values.chain(ones).collect();
    let values = graph.doubles(&values, &[2, columns, rows]);
    let along = graph.matmul(&values, &parts[0]);
    let weighted = graph.mul(&along, &parts[1]);
    let sums = graph.sum(&weighted, 1, false);
    let sums = graph.split(&sums, 0, 2);
    graph.div(&sums[0], &sums[1])
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
