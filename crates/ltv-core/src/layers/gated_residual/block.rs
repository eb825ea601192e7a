//! Gated residual networks and gated skips on the plain numbers of a block of rows, forward and back; weights come as one
//! vector.

use crate::kernels::blocks::{self, add_rows};
use crate::kernels::matrix::{Matrix, product, product_spaced};
use crate::kernels::real::Real;
use crate::kernels::vectorised::vectorised;
use crate::layers::dropout::Dropout;
use crate::layers::layer_norm::EPSILON;

/// Rows of a block: what they leave behind stays in the cache.
pub const ROWS: usize = 512;

/// Rows of a block in which every group of `steps` rows is whole.
pub fn whole_groups(steps: usize) -> usize {
    ROWS.div_ceil(steps.max(1)) * steps.max(1)
}

/// Cuts the first `count` numbers off a vector of weights.
pub fn take<'a, T>(theta: &mut &'a [T], count: usize) -> &'a [T] {
    let (taken, rest) = theta.split_at(count);
    *theta = rest;
    taken
}

pub fn take_mut<'a, T>(theta: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (taken, rest) = std::mem::take(theta).split_at_mut(count);
    *theta = rest;
    taken
}

/// Rows of numbers that begin `stride` numbers apart.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
}

impl<'a, T> Rows<'a, T> {
    fn matrix(&self) -> Matrix<'a, T> {
        Matrix::rows(self.data, self.stride)
    }
}

vectorised! {
/// `norm(skip + sigmoid(g) v)` for each row: `gates` hold the products of g and v, and then sigmoid(g) and v; `normal` the
/// skip, and then what the norm makes of the sum before its own weights.
fn gate_and_normalise<T: Real>(
    gates: &mut [T], bias: &[T], normal: &mut [T], scales: &mut [T], norm: (&[T], &[T]), out: &mut [T],
) {
    let width = norm.0.len();
    let count = T::from_f64(width as f64);
    let (bias_g, bias_v) = bias.split_at(width);
    let rows = gates.chunks_exact_mut(2 * width).zip(normal.chunks_exact_mut(width));
    for (((gates, sum), scale), out) in rows.zip(scales).zip(out.chunks_exact_mut(width)) {
        let (g, v) = gates.split_at_mut(width);
        for (g, bias) in g.iter_mut().zip(bias_g) {
            *g = T::sigmoid(*g + *bias);
        }
        for (v, bias) in v.iter_mut().zip(bias_v) {
            *v += *bias;
        }
        for ((sum, g), v) in sum.iter_mut().zip(g.iter()).zip(v.iter()) {
            *sum += *g * *v;
        }
        let mean = blocks::sum(width, |k| sum[k]) / count;
        let square = |k: usize| (sum[k] - mean) * (sum[k] - mean);
        let variance = blocks::sum(width, square) / count;
        *scale = T::one() / T::root(variance + T::from_f64(EPSILON));
        let norms = norm.0.iter().zip(norm.1);
        for ((sum, out), (weight, bias)) in sum.iter_mut().zip(out).zip(norms) {
            *sum = (*sum - mean) * *scale;
            *out = *sum * *weight + *bias;
        }
    }
}
}

vectorised! {
/// Back through [`gate_and_normalise`]: `gates` become the gradients of the products, `gradient` that of the skip.
fn gate_and_normalise_back<T: Real>(
    gates: &mut [T], normal: &[T], scales: &[T], weight: &[T], gradient: &mut [T], by_bias: &mut [T],
    by_norm: (&mut [T], &mut [T]),
) {
    let width = weight.len();
    let one = T::one();
    let count = T::from_f64(width as f64);
    let (by_weight, by_shift) = by_norm;
    let (by_bias_g, by_bias_v) = by_bias.split_at_mut(width);
    let rows = gates.chunks_exact_mut(2 * width).zip(normal.chunks_exact(width));
    for (((gates, normal), &scale), by_sum) in
        rows.zip(scales).zip(gradient.chunks_exact_mut(width))
    {
        for ((by_weight, by_shift), (by_sum, normal)) in by_weight
            .iter_mut()
            .zip(by_shift.iter_mut())
            .zip(by_sum.iter().zip(normal))
        {
            *by_weight += *by_sum * *normal;
            *by_shift += *by_sum;
        }
        for (by_sum, weight) in by_sum.iter_mut().zip(weight) {
            *by_sum *= *weight;
        }
        let shift = blocks::sum(width, |k| by_sum[k]) / count;
        let tilt = blocks::sum(width, |k| by_sum[k] * normal[k]) / count;
        let (g, v) = gates.split_at_mut(width);
        for ((by_sum, normal), (g, v)) in by_sum.iter_mut().zip(normal).zip(g.iter_mut().zip(v.iter_mut())) {
            *by_sum = scale * (*by_sum - shift - *normal * tilt);
            let by_v = *by_sum * *g;
            *g = by_v * *v * (one - *g);
            *v = by_v;
        }
        for (sum, value) in by_bias_g.iter_mut().zip(g.iter()) {
            *sum += *value;
        }
        for (sum, value) in by_bias_v.iter_mut().zip(v.iter()) {
            *sum += *value;
        }
    }
}
}

vectorised! {
/// `elu(x + bias)`, where each row also gets the shift of its group of `steps` rows; `first` is the number of the first row.
fn shift_and_elu<T: Real>(x: &mut [T], bias: &[T], shifts: &[T], first: usize, steps: usize) {
    let width = bias.len();
    for (row, x) in x.chunks_exact_mut(width).enumerate() {
        if !shifts.is_empty() {
            let shift = &shifts[(first + row) / steps * width..][..width];
            for (x, shift) in x.iter_mut().zip(shift) {
                *x += *shift;
            }
        }
        for (x, bias) in x.iter_mut().zip(bias) {
            let sum = *x + *bias;
            let below = T::exp(sum) - T::one();
            *x = if sum > T::zero() { sum } else { below };
        }
    }
}
}

vectorised! {
/// Back through [`shift_and_elu`], from its results.
fn shift_and_elu_back<T: Real>(
    by: &mut [T], elu: &[T], by_bias: &mut [T], by_shifts: &mut [T], first: usize, steps: usize,
) {
    let width = by_bias.len();
    for (row, (by, elu)) in by.chunks_exact_mut(width).zip(elu.chunks_exact(width)).enumerate() {
        for ((by, elu), sum) in by.iter_mut().zip(elu).zip(by_bias.iter_mut()) {
            let slope = if *elu > T::zero() { T::one() } else { *elu + T::one() };
            *by *= slope;
            *sum += *by;
        }
        if !by_shifts.is_empty() {
            let by_shift = &mut by_shifts[((first + row) / steps - first / steps) * width..][..width];
            for (sum, by) in by_shift.iter_mut().zip(by.iter()) {
                *sum += *by;
            }
        }
    }
}
}

vectorised! {
fn add_bias<T: Real>(x: &mut [T], bias: &[T]) {
    for x in x.chunks_exact_mut(bias.len()) {
        for (x, bias) in x.iter_mut().zip(bias) {
            *x += *bias;
        }
    }
}
}

/// `norm(skip + GLU(x))` on a block of rows. Weights: the gate's `[2 width, inputs]` and bias, the norm's two vectors.
#[derive(Clone, Copy)]
pub struct Gate {
    pub inputs: usize,
    pub width: usize,
}

pub struct GateTrace<T> {
    gates: Vec<T>,
    normal: Vec<T>,
    scales: Vec<T>,
}

impl Gate {
    pub fn weights(&self) -> usize {
        2 * self.width * (self.inputs + 1) + 2 * self.width
    }

    /// `skip` holds one row per row of `x`.
    pub fn forward<T: Real>(
        &self,
        x: Rows<T>,
        skip: Vec<T>,
        mut theta: &[T],
        out: &mut [T],
    ) -> GateTrace<T> {
        let Self { inputs, width } = *self;
        let rows = skip.len() / width;
        let weight = take(&mut theta, 2 * width * inputs);
        let bias = take(&mut theta, 2 * width);
        let norm = theta.split_at(width);
        let mut trace = GateTrace {
            gates: vec![T::zero(); rows * 2 * width],
            normal: skip,
            scales: vec![T::zero(); rows],
        };
        product(
            &mut trace.gates,
            (rows, 2 * width, inputs),
            x.matrix(),
            Matrix::rows(weight, inputs).transposed(),
            false,
        );
        let GateTrace {
            gates,
            normal,
            scales,
        } = &mut trace;
        gate_and_normalise(gates, bias, normal, scales, norm, out);
        trace
    }

    /// Adds to the gradient of the weights; `gradient` becomes that of the skip, and `by_x` is overwritten.
    pub fn backward<T: Real>(
        &self,
        x: Rows<T>,
        theta: &[T],
        trace: GateTrace<T>,
        gradient: &mut [T],
        mut by_theta: &mut [T],
        by_x: &mut [T],
    ) {
        let Self { inputs, width } = *self;
        let GateTrace {
            mut gates,
            normal,
            scales,
        } = trace;
        let rows = scales.len();
        let (weight, rest) = theta.split_at(2 * width * inputs);
        let norm = &rest[2 * width..3 * width];
        let by_weight = take_mut(&mut by_theta, 2 * width * inputs);
        let by_bias = take_mut(&mut by_theta, 2 * width);
        let by_norm = by_theta.split_at_mut(width);
        gate_and_normalise_back(
            &mut gates, &normal, &scales, norm, gradient, by_bias, by_norm,
        );
        let by_gates = Matrix::rows(&gates, 2 * width);
        let sizes = (2 * width, inputs, rows);
        product(by_weight, sizes, by_gates.transposed(), x.matrix(), true);
        let weight = Matrix::rows(weight, inputs);
        let sizes = (rows, inputs, 2 * width);
        product(by_x, sizes, by_gates, weight, false);
    }
}

/// A gated residual network on a block of rows. Weights: of the inner and the outer layer, of the skip if it has its own
/// (matrix `[width, inputs]`, then bias, each), then the gate's.
#[derive(Clone, Copy)]
pub struct Network {
    pub inputs: usize,
    pub width: usize,
    pub dropout: Option<Dropout>,
}

pub struct Trace<T> {
    hidden: Vec<T>,
    outer: Vec<T>,
    gate: GateTrace<T>,
}

/// What is added to the inner layer: nothing, or one row for each `steps` rows.
#[derive(Clone, Copy)]
pub struct Shifts<'a, T> {
    pub data: &'a [T],
    pub steps: usize,
}

/// Where the gradients of a block go.
pub struct By<'a, T> {
    pub theta: &'a mut [T],
    /// Where it is wanted, and how far apart its rows begin.
    pub x: Option<(&'a mut [T], usize)>,
    /// Those that belong to the block.
    pub shifts: &'a mut [T],
    pub steps: usize,
}

impl Network {
    fn gate(&self) -> Gate {
        Gate {
            inputs: self.width,
            width: self.width,
        }
    }

    fn has_skip(&self) -> bool {
        self.inputs != self.width
    }

    pub fn weights(&self) -> usize {
        let Self { inputs, width, .. } = *self;
        let of_inputs = if self.has_skip() { 2 } else { 1 };
        of_inputs * (inputs + 1) * width + (width + 1) * width + self.gate().weights()
    }

    /// `first` is the number of the block's first row, `drawn` that of its first number for dropout.
    pub fn forward<T: Real>(
        &self,
        x: Rows<T>,
        shifts: Shifts<T>,
        (first, drawn): (usize, usize),
        mut theta: &[T],
        out: &mut [T],
    ) -> Trace<T> {
        let Self { inputs, width, .. } = *self;
        let rows = out.len() / width;
        let mut dense = |x: Rows<T>, inputs: usize| {
            let weight = take(&mut theta, width * inputs);
            let mut out = vec![T::zero(); rows * width];
            let weight = Matrix::rows(weight, inputs).transposed();
            product(&mut out, (rows, width, inputs), x.matrix(), weight, false);
            (out, take(&mut theta, width))
        };
        let (mut hidden, bias) = dense(x, inputs);
        shift_and_elu(&mut hidden, bias, shifts.data, first, shifts.steps);
        let of_hidden = Rows {
            data: &hidden,
            stride: width,
        };
        let (mut outer, bias) = dense(of_hidden, width);
        add_bias(&mut outer, bias);
        self.drop_out(&mut outer, drawn);
        let skip = if self.has_skip() {
            let (mut skip, bias) = dense(x, inputs);
            add_bias(&mut skip, bias);
            skip
        } else {
            let mut skip = Vec::with_capacity(rows * width);
            let rows = x.data.chunks(x.stride).take(rows);
            rows.for_each(|row| skip.extend_from_slice(&row[..width]));
            skip
        };
        let of_outer = Rows {
            data: &outer,
            stride: width,
        };
        let gate = self.gate().forward(of_outer, skip, theta, out);
        Trace {
            hidden,
            outer,
            gate,
        }
    }

    fn drop_out<T: Real>(&self, x: &mut [T], drawn: usize) {
        if let Some(draw) = self.dropout {
            let scale = T::from_f64(draw.scale());
            draw.for_each(drawn, x, |value, kept| {
                *value *= if kept { scale } else { T::zero() };
            });
        }
    }

    /// Adds to the gradients of the weights, of `x` and of the shifts; `gradient` is used up.
    pub fn backward<T: Real>(
        &self,
        x: Rows<T>,
        theta: &[T],
        trace: Trace<T>,
        (first, drawn): (usize, usize),
        gradient: &mut [T],
        by: By<T>,
    ) {
        let Self { inputs, width, .. } = *self;
        let rows = gradient.len() / width;
        let Trace {
            hidden,
            outer,
            gate,
        } = trace;
        let By {
            theta: mut by_theta,
            x: by_x,
            shifts: by_shifts,
            steps,
        } = by;
        let mut theta = theta;
        let inner_weight = take(&mut theta, width * inputs);
        take(&mut theta, width);
        let outer_weight = take(&mut theta, width * width);
        take(&mut theta, width);
        let by_inner = take_mut(&mut by_theta, width * inputs);
        let by_inner_bias = take_mut(&mut by_theta, width);
        let by_outer_weight = take_mut(&mut by_theta, width * width);
        let by_outer_bias = take_mut(&mut by_theta, width);
        let skip = self.has_skip().then(|| {
            let weight = take(&mut theta, width * inputs);
            take(&mut theta, width);
            let by_weight = take_mut(&mut by_theta, width * inputs);
            (weight, by_weight, take_mut(&mut by_theta, width))
        });

        let of_outer = Rows {
            data: &outer,
            stride: width,
        };
        let mut by_outer = vec![T::zero(); rows * width];
        self.gate()
            .backward(of_outer, theta, gate, gradient, by_theta, &mut by_outer);
        self.drop_out(&mut by_outer, drawn);
        add_rows(&by_outer, width, by_outer_bias);
        let matrix = Matrix::rows(&by_outer, width);
        let sizes = (width, width, rows);
        product(
            by_outer_weight,
            sizes,
            matrix.transposed(),
            Matrix::rows(&hidden, width),
            true,
        );
        let mut by_hidden = vec![T::zero(); rows * width];
        let weight = Matrix::rows(outer_weight, width);
        product(&mut by_hidden, (rows, width, width), matrix, weight, false);
        shift_and_elu_back(
            &mut by_hidden,
            &hidden,
            by_inner_bias,
            by_shifts,
            first,
            steps,
        );

        let by_inner_sum = Matrix::rows(&by_hidden, width);
        let by_skip = Matrix::rows(&*gradient, width);
        let sizes = (width, inputs, rows);
        product(by_inner, sizes, by_inner_sum.transposed(), x.matrix(), true);
        let skip = skip.map(|(weight, by_weight, by_bias)| {
            product(by_weight, sizes, by_skip.transposed(), x.matrix(), true);
            add_rows(gradient, width, by_bias);
            weight
        });
        if let Some((by_x, stride)) = by_x {
            let sizes = (rows, inputs, width);
            let weight = Matrix::rows(inner_weight, inputs);
            product_spaced(by_x, stride, sizes, by_inner_sum, weight, true);
            match skip {
                Some(weight) => {
                    let weight = Matrix::rows(weight, inputs);
                    product_spaced(by_x, stride, sizes, by_skip, weight, true);
                }
                None => {
                    for (by_x, by) in by_x.chunks_mut(stride).zip(gradient.chunks_exact(width)) {
                        for (by_x, by) in by_x.iter_mut().zip(by) {
                            *by_x += *by;
                        }
                    }
                }
            }
        }
    }
}
