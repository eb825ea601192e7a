//! Variable selection as one operation, forward and back; equal to the definition in `variable_selection`.

use crate::kernels::blocks::{self, chunks_of, softmax, softmax_back, total};
use crate::kernels::operation::{Given, Operation};
use crate::kernels::real::Real;
use crate::kernels::threads::each;
use crate::kernels::vectorised::vectorised;
use crate::layers::gated_residual::block::{
    By, Network, Rows, Shifts, Trace, take, take_mut, whole_groups,
};
use candle_core::Result;

/// Where the variables' vectors come from.
#[derive(Clone, Copy, PartialEq)]
pub enum Source {
    /// They are `x` itself, `[rows, variables, width]`.
    Vectors,
    /// `x` `[rows, variables]` are numbers; times a weight, plus a bias (`[variables, width]` each) they are vectors.
    Numbers,
}

/// `x` as [`Source`] says, shifts of the weights' network `[batch, variables]` or none `[0]`, weights in one vector (the
/// source's, those of the weights' network, each layer of the variables' networks for all variables) -> `[rows, width]`.
pub struct Selection {
    pub source: Source,
    pub weights: Network,
    pub variable: Network,
    pub count: usize,
    /// Rows of `x`, and how many of them share a shift.
    pub rows: usize,
    pub steps: usize,
}

pub struct BlockTrace<T> {
    /// Where they are not `x` itself.
    vectors: Vec<T>,
    weights: Trace<T>,
    shares: Vec<T>,
    /// Of each variable what its network put out.
    variables: Vec<(Trace<T>, Vec<T>)>,
}

vectorised! {
/// Adds each row times its share.
fn add_shares<T: Real>(out: &mut [T], x: &[T], shares: &[T], count: usize, width: usize) {
    let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((out, x), shares) in rows.zip(shares.chunks(count)) {
        let share = shares[0];
        for (out, x) in out.iter_mut().zip(x) {
            *out += *x * share;
        }
    }
}
}

vectorised! {
/// Of each row of a variable the gradient of its share; `x` becomes the gradient of what the network put out.
fn add_shares_back<T: Real>(
    gradient: &[T], x: &mut [T], shares: &[T], by_shares: &mut [T], count: usize, width: usize,
) {
    let rows = gradient.chunks_exact(width).zip(x.chunks_exact_mut(width));
    for ((gradient, x), (shares, by_shares)) in rows.zip(shares.chunks(count).zip(by_shares.chunks_mut(count))) {
        by_shares[0] = blocks::sum(width, |k| gradient[k] * x[k]);
        let share = shares[0];
        for (x, gradient) in x.iter_mut().zip(gradient) {
            *x = *gradient * share;
        }
    }
}
}

vectorised! {
/// `[rows, variables, width]` from numbers.
fn spread<T: Real>(numbers: &[T], weight: &[T], bias: &[T], vectors: &mut [T], width: usize) {
    let count = weight.len() / width;
    for (row, vectors) in numbers.chunks_exact(count).zip(vectors.chunks_exact_mut(weight.len())) {
        let variables = weight.chunks_exact(width).zip(bias.chunks_exact(width));
        for ((number, vector), (weight, bias)) in row.iter().zip(vectors.chunks_exact_mut(width)).zip(variables) {
            for ((x, weight), bias) in vector.iter_mut().zip(weight).zip(bias) {
                *x = *number * *weight + *bias;
            }
        }
    }
}
}

vectorised! {
fn spread_back<T: Real>(numbers: &[T], by_vectors: &[T], by_weight: &mut [T], by_bias: &mut [T], width: usize) {
    let count = by_weight.len() / width;
    for (row, by_vectors) in numbers.chunks_exact(count).zip(by_vectors.chunks_exact(by_weight.len())) {
        let variables = by_weight.chunks_exact_mut(width).zip(by_bias.chunks_exact_mut(width));
        for ((number, by), (by_weight, by_bias)) in row.iter().zip(by_vectors.chunks_exact(width)).zip(variables) {
            for ((by_weight, by_bias), by) in by_weight.iter_mut().zip(by_bias).zip(by) {
                *by_weight += *number * *by;
                *by_bias += *by;
            }
        }
    }
}
}

vectorised! {
/// Scores become shares.
fn share_out<T: Real>(x: &mut [T], count: usize) {
    x.chunks_exact_mut(count).for_each(softmax);
}
}

vectorised! {
fn share_out_back<T: Real>(shares: &[T], by: &mut [T], count: usize) {
    for (by, shares) in by.chunks_exact_mut(count).zip(shares.chunks_exact(count)) {
        softmax_back(shares, by, T::one());
    }
}
}

impl Selection {
    fn width(&self) -> usize {
        self.variable.width
    }

    /// Numbers of `x` per row.
    fn entering(&self) -> usize {
        match self.source {
            Source::Vectors => self.count * self.width(),
            Source::Numbers => self.count,
        }
    }

    fn source_weights(&self) -> usize {
        match self.source {
            Source::Vectors => 0,
            Source::Numbers => self.count * self.width(),
        }
    }

    /// For the draws of dropout a variable's rows come after those of the variables before it.
    fn drawn(&self, variable: usize, first: usize) -> (usize, usize) {
        (first, (variable * self.rows + first) * self.width())
    }

    fn forward_block<T: Real>(
        &self,
        x: &[T],
        shifts: Shifts<T>,
        first: usize,
        mut theta: &[T],
        out: &mut [T],
    ) -> BlockTrace<T> {
        let (count, width) = (self.count, self.width());
        let rows = out.len() / width;
        let mut vectors = Vec::new();
        let source = (
            take(&mut theta, self.source_weights()),
            take(&mut theta, self.source_weights()),
        );
        if self.source == Source::Numbers {
            vectors.resize(rows * count * width, T::zero());
            spread(x, source.0, source.1, &mut vectors, width);
        }
        let all = if vectors.is_empty() { x } else { &vectors };
        let flat = Rows {
            data: all,
            stride: count * width,
        };
        let mut shares = vec![T::zero(); rows * count];
        let of_weights = take(&mut theta, self.weights.weights());
        let drawn = (first, first * count);
        let weights = self
            .weights
            .forward(flat, shifts, drawn, of_weights, &mut shares);
        share_out(&mut shares, count);
        let none = Shifts {
            data: &[],
            steps: 1,
        };
        let variables = (0..count)
            .map(|variable| {
                let x = Rows {
                    data: &all[variable * width..],
                    stride: count * width,
                };
                let theta = take(&mut theta, self.variable.weights());
                let mut of_variable = vec![T::zero(); rows * width];
                let drawn = self.drawn(variable, first);
                let trace = self
                    .variable
                    .forward(x, none, drawn, theta, &mut of_variable);
                add_shares(out, &of_variable, &shares[variable..], count, width);
                (trace, of_variable)
            })
            .collect();
        BlockTrace {
            vectors,
            weights,
            shares,
            variables,
        }
    }

    /// The parts of the variables' networks: rows and columns of what each variable has of it.
    fn layers(&self) -> [(usize, usize); 8] {
        let width = self.width();
        let (square, vector) = ((width, width), (1, width));
        let gate = [(width, 2 * width), (1, 2 * width)];
        [
            square, vector, square, vector, gate[0], gate[1], vector, vector,
        ]
    }

    /// The weights with those of each variable's network one after the other, and their matrices `[out, in]`.
    fn by_variable<T: Real>(&self, theta: &[T]) -> Vec<T> {
        let common = 2 * self.source_weights() + self.weights.weights();
        let mut sorted = theta[..common].to_vec();
        for variable in 0..self.count {
            let mut rest = &theta[common..];
            for (rows, columns) in self.layers() {
                let layer = take(&mut rest, self.count * rows * columns);
                let matrix = &layer[variable * rows * columns..][..rows * columns];
                let column = |column| (0..rows).map(move |row| matrix[row * columns + column]);
                sorted.extend((0..columns).flat_map(column));
            }
        }
        sorted
    }

    /// The other way round.
    fn by_layer<T: Real>(&self, sorted: &[T]) -> Vec<T> {
        let common = 2 * self.source_weights() + self.weights.weights();
        let mut theta = sorted.to_vec();
        let mut sorted = &sorted[common..];
        for variable in 0..self.count {
            let mut rest = &mut theta[common..];
            for (rows, columns) in self.layers() {
                let matrix = take(&mut sorted, rows * columns);
                let layer = take_mut(&mut rest, self.count * rows * columns);
                let layer = &mut layer[variable * rows * columns..];
                for (place, value) in matrix.iter().enumerate() {
                    layer[place % rows * columns + place / rows] = *value;
                }
            }
        }
        theta
    }

    /// The gradient of the weights.
    fn backward_block<T: Real>(
        &self,
        (x, first): (&[T], usize),
        theta: &[T],
        trace: BlockTrace<T>,
        gradient: &[T],
        by_x: Option<&mut [T]>,
        by_shifts: &mut [T],
    ) -> Vec<T> {
        let (count, width) = (self.count, self.width());
        let rows = gradient.len() / width;
        let BlockTrace {
            vectors,
            weights,
            shares,
            variables,
        } = trace;
        let all = if vectors.is_empty() { x } else { &vectors };
        let mut by_theta = vec![T::zero(); theta.len()];
        let (by_source, by_networks) = by_theta.split_at_mut(2 * self.source_weights());
        let mut networks = &theta[2 * self.source_weights()..];
        let of_weights = take(&mut networks, self.weights.weights());
        let mut by_networks = by_networks;
        let by_weights = take_mut(&mut by_networks, self.weights.weights());

        let mut own = vec![T::zero(); vectors.len()];
        let mut by_vectors = match by_x {
            Some(by_x) => Some(by_x),
            None if self.source == Source::Numbers => Some(&mut own[..]),
            None => None,
        };
        let mut by_shares = vec![T::zero(); rows * count];
        for (variable, (trace, mut of_variable)) in variables.into_iter().enumerate() {
            let x = Rows {
                data: &all[variable * width..],
                stride: count * width,
            };
            add_shares_back(
                gradient,
                &mut of_variable,
                &shares[variable..],
                &mut by_shares[variable..],
                count,
                width,
            );
            let of_networks = take(&mut networks, self.variable.weights());
            let by = By {
                theta: take_mut(&mut by_networks, self.variable.weights()),
                x: by_vectors
                    .as_mut()
                    .map(|by| (&mut by[variable * width..], count * width)),
                shifts: &mut [],
                steps: 1,
            };
            let drawn = self.drawn(variable, first);
            self.variable
                .backward(x, of_networks, trace, drawn, &mut of_variable, by);
        }
        share_out_back(&shares, &mut by_shares, count);
        let flat = Rows {
            data: all,
            stride: count * width,
        };
        let by = By {
            theta: by_weights,
            x: by_vectors.as_mut().map(|by| (&mut by[..], count * width)),
            shifts: by_shifts,
            steps: self.steps,
        };
        let drawn = (first, first * count);
        self.weights
            .backward(flat, of_weights, weights, drawn, &mut by_shares, by);
        if let (Source::Numbers, Some(by_vectors)) = (self.source, by_vectors) {
            let (by_weight, by_bias) = by_source.split_at_mut(self.source_weights());
            spread_back(x, by_vectors, by_weight, by_bias, width);
        }
        by_theta
    }
}

impl Operation<3> for Selection {
    const NAME: &'static str = "variable selection";
    type Kept<T: Real> = Vec<BlockTrace<T>>;

    fn forward<T: Real>(
        &self,
        [x, shifts, theta]: [&[T]; 3],
    ) -> Result<(Vec<T>, Vec<BlockTrace<T>>)> {
        let width = self.width();
        let theta = &self.by_variable(theta);
        let shifts = Shifts {
            data: shifts,
            steps: self.steps,
        };
        let of_block = whole_groups(self.steps);
        let mut out = vec![T::zero(); self.rows * width];
        let blocks = x
            .chunks(of_block * self.entering())
            .zip(out.chunks_mut(of_block * width))
            .enumerate();
        let traces = each(blocks.collect(), |(index, (x, out))| {
            self.forward_block(x, shifts, index * of_block, theta, out)
        });
        Ok((out, traces))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, Vec<BlockTrace<T>>, 3>,
    ) -> Result<[Option<Vec<T>>; 3]> {
        let [x, shifts, theta] = given.inputs;
        let [with_x, with_shifts, _] = given.wanted;
        let of_block = whole_groups(self.steps);
        let theta = &self.by_variable(theta);
        // Numbers are data, which nothing learns from.
        let with_x = with_x && self.source == Source::Vectors;
        let mut by_x = with_x.then(|| vec![T::zero(); x.len()]);
        let mut by_x_parts = chunks_of(&mut by_x, of_block * self.entering());
        let mut by_shifts = vec![T::zero(); shifts.len()];
        let mut by_shift_parts = by_shifts.chunks_mut(of_block / self.steps * self.count);
        let blocks = x
            .chunks(of_block * self.entering())
            .zip(given.gradient.chunks(of_block * self.width()))
            .zip(given.kept)
            .enumerate()
            .map(|block| (block, by_x_parts.next(), by_shift_parts.next()));
        let by_theta = each(
            blocks.collect(),
            |((index, ((x, gradient), trace)), by_x, by_shifts)| {
                let first = index * of_block;
                let by_shifts = by_shifts.unwrap_or_default();
                self.backward_block((x, first), theta, trace, gradient, by_x, by_shifts)
            },
        );
        Ok([
            by_x,
            with_shifts.then_some(by_shifts),
            total(by_theta).map(|by_theta| self.by_layer(&by_theta)),
        ])
    }
}
