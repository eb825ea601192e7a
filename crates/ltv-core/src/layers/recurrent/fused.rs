//! A whole sequence of LSTM or GRU steps as one operation, forward and back, inputs' weights included. It equals the step
//! by step definition in `recurrent`.
//!
//! Blocks of rows go through all their steps while they are in the cache. Inside a block everything is time-major, so
//! that a step is a matrix without gaps.

use super::cell::Cell;
use super::steps::{gru_step, gru_step_back, lstm_step, lstm_step_back};
use super::weights::{ByWeights, Layout, Weights};
use crate::kernels::blocks::{add_rows, chunks_of, total};
use crate::kernels::matrix::{Matrix, product, product_spaced};
use crate::kernels::operation::{Given, Operation};
use crate::kernels::real::Real;
use crate::kernels::storage::Numbers;
use crate::kernels::threads::each;
use candle_core::{Result, Tensor};

/// Rows of a block.
const ROWS: usize = 64;

/// `x` `[batch, steps, inputs]`, start `[2, batch, hidden]` (h, c) or nothing `[0]`, weights in one vector (inputs'
/// `[gates * hidden, inputs]` and bias, state's `[gates * hidden, hidden]` and the GRU's bias) ->
/// `[batch, steps, hidden]`, or `[batch, hidden]` after the newest step.
pub struct Steps {
    pub layout: Layout,
    pub steps: usize,
    pub newest_only: bool,
    /// `[batch, steps]`.
    pub mask: Tensor,
}

/// Of one block, time-major.
pub struct Trace<T> {
    /// The gates after their functions. LSTM `[steps, rows, i f g o]`; GRU `[steps, rows, n r z m]`, where m is what the
    /// state gave n before the reset. The way back puts their gradients in the same place.
    gates: Vec<T>,
    /// LSTM `[steps, rows, inputs + hidden]`: each step's input beside the state before it. GRU: the inputs alone.
    entered: Vec<T>,
    /// Before the first step and after each one: the LSTM's cells, the GRU's states.
    carried: Vec<T>,
}

/// What a block has of its own.
struct Block<'a, T> {
    x: &'a [T],
    mask: &'a [T],
    start: Option<[&'a [T]; 2]>,
}

impl<T: Real> Block<'_, T> {
    /// The first step of each row that is no padding.
    fn begins(&self, steps: usize) -> Vec<usize> {
        let first = |mask: &[T]| mask.iter().position(|&kept| kept > T::zero());
        let rows = self.mask.chunks_exact(steps);
        rows.map(|mask| first(mask).unwrap_or(steps)).collect()
    }
}

impl Steps {
    /// The block's `x` by step, each row followed by room for `more` numbers.
    fn by_step<T: Real>(&self, x: &[T], steps: usize, more: usize) -> Vec<T> {
        let inputs = self.layout.inputs;
        let rows = x.len() / (steps * inputs);
        let width = inputs + more;
        let mut entered = vec![T::zero(); steps * rows * width];
        for (row, x) in x.chunks_exact(steps * inputs).enumerate() {
            for (step, x) in x.chunks_exact(inputs).enumerate() {
                entered[(step * rows + row) * width..][..inputs].copy_from_slice(x);
            }
        }
        entered
    }

    /// Where a row's state after a step goes in the result.
    fn place(&self, row: usize, step: usize, steps: usize) -> Option<usize> {
        match self.newest_only {
            true => (step + 1 == steps).then_some(row * self.layout.hidden),
            false => Some((row * steps + step) * self.layout.hidden),
        }
    }

    fn lstm<T: Real>(
        &self,
        block: &Block<T>,
        steps: usize,
        weights: &Weights<T>,
        out: &mut [T],
    ) -> Trace<T> {
        let (inputs, hidden, wide) = (self.layout.inputs, self.layout.hidden, self.layout.wide());
        let rows = block.mask.len() / steps;
        let width = inputs + hidden;
        let mut entered = self.by_step(block.x, steps, hidden);
        let mut gates = vec![T::zero(); steps * rows * wide];
        let mut carried = vec![T::zero(); (steps + 1) * rows * hidden];
        if let Some([h, c]) = block.start {
            carried[..rows * hidden].copy_from_slice(c);
            for (entered, h) in entered.chunks_exact_mut(width).zip(h.chunks_exact(hidden)) {
                entered[inputs..].copy_from_slice(h);
            }
        }
        let begins = block.begins(steps);
        let mut state = vec![T::zero(); hidden];
        for step in 0..steps {
            let (entered, next) = entered[step * rows * width..].split_at_mut(rows * width);
            let gates = &mut gates[step * rows * wide..][..rows * wide];
            product(
                gates,
                (rows, wide, width),
                Matrix::rows(entered, width),
                Matrix::rows(&weights.each_step, wide),
                false,
            );
            let (before, after) = carried[step * rows * hidden..].split_at_mut(rows * hidden);
            for row in 0..rows {
                let before = &before[row * hidden..][..hidden];
                let after = &mut after[row * hidden..][..hidden];
                let gates = &mut gates[row * wide..][..wide];
                if step < begins[row] {
                    after.copy_from_slice(before);
                    gates.fill(T::zero());
                    if let Some(next) = next.get_mut(row * width + inputs..(row + 1) * width) {
                        next.copy_from_slice(&entered[row * width + inputs..][..hidden]);
                    }
                    continue;
                }
                let kept = block.mask[row * steps + step];
                lstm_step(gates, &weights.bias, kept, before, after, &mut state);
                if let Some(next) = next.get_mut(row * width + inputs..(row + 1) * width) {
                    next.copy_from_slice(&state);
                }
                if let Some(place) = self.place(row, step, steps) {
                    out[place..][..hidden].copy_from_slice(&state);
                }
            }
        }
        Trace {
            gates,
            entered,
            carried,
        }
    }

    /// The gradients of the weights, of `x` if wanted, and of the start.
    fn lstm_back<T: Real>(
        &self,
        block: &Block<T>,
        steps: usize,
        weights: &Weights<T>,
        trace: Trace<T>,
        gradient: &[T],
        by_x: Option<&mut [T]>,
    ) -> (ByWeights<T>, [Vec<T>; 2]) {
        let (inputs, hidden, wide) = (self.layout.inputs, self.layout.hidden, self.layout.wide());
        let rows = block.mask.len() / steps;
        let width = inputs + hidden;
        let Trace {
            mut gates,
            entered,
            carried,
        } = trace;
        let begins = block.begins(steps);
        let nothing = vec![T::zero(); hidden];
        let mut by_h = vec![T::zero(); rows * hidden];
        let mut by_c = vec![T::zero(); rows * hidden];
        for step in (0..steps).rev() {
            let gates = &mut gates[step * rows * wide..][..rows * wide];
            let (before, after) = carried[step * rows * hidden..].split_at(rows * hidden);
            for row in 0..rows {
                if step < begins[row] {
                    continue;
                }
                let at = row * hidden..(row + 1) * hidden;
                let place = self.place(row, step, steps);
                lstm_step_back(
                    &mut gates[row * wide..][..wide],
                    block.mask[row * steps + step],
                    &before[at.clone()],
                    &after[at.clone()],
                    place.map_or(&nothing, |place| &gradient[place..][..hidden]),
                    &mut by_h[at.clone()],
                    &mut by_c[at],
                );
            }
            product(
                &mut by_h,
                (rows, hidden, wide),
                Matrix::rows(gates, wide),
                Matrix::rows(&weights.input[inputs..], width),
                true,
            );
        }
        let mut by = ByWeights {
            input: vec![T::zero(); wide * width],
            state: Vec::new(),
            bias: vec![T::zero(); wide],
        };
        product(
            &mut by.input,
            (width, wide, steps * rows),
            Matrix::rows(&entered, width).transposed(),
            Matrix::rows(&gates, wide),
            false,
        );
        add_rows(&gates, wide, &mut by.bias);
        if let Some(by_x) = by_x {
            self.by_input(
                by_x,
                steps,
                &gates,
                Matrix::rows(&weights.input, width),
                wide,
            );
        }
        (by, [by_h, by_c])
    }

    /// The gradient of `x` from those of the first `depth` gates.
    fn by_input<T: Real>(
        &self,
        by_x: &mut [T],
        steps: usize,
        by_gates: &[T],
        weights: Matrix<T>,
        depth: usize,
    ) {
        let (inputs, wide) = (self.layout.inputs, self.layout.wide());
        let rows = by_x.len() / (steps * inputs);
        let mut by_step = vec![T::zero(); by_x.len()];
        product(
            &mut by_step,
            (steps * rows, inputs, depth),
            Matrix::rows(by_gates, wide),
            weights,
            false,
        );
        for (row, by_x) in by_x.chunks_exact_mut(steps * inputs).enumerate() {
            for (step, by_x) in by_x.chunks_exact_mut(inputs).enumerate() {
                by_x.copy_from_slice(&by_step[(step * rows + row) * inputs..][..inputs]);
            }
        }
    }

    fn gru<T: Real>(
        &self,
        block: &Block<T>,
        steps: usize,
        weights: &Weights<T>,
        out: &mut [T],
    ) -> Trace<T> {
        let (inputs, hidden, wide) = (self.layout.inputs, self.layout.hidden, self.layout.wide());
        let rows = block.mask.len() / steps;
        let entered = self.by_step(block.x, steps, 0);
        let mut gates = vec![T::zero(); steps * rows * wide];
        let mut carried = vec![T::zero(); (steps + 1) * rows * hidden];
        product_spaced(
            &mut gates,
            wide,
            (steps * rows, 3 * hidden, inputs),
            Matrix::rows(&entered, inputs),
            Matrix::rows(&weights.input, inputs).transposed(),
            false,
        );
        for step in 0..steps {
            let gates = &mut gates[step * rows * wide..][..rows * wide];
            let (before, after) = carried[step * rows * hidden..].split_at_mut(rows * hidden);
            product_spaced(
                &mut gates[hidden..],
                wide,
                (rows, 3 * hidden, hidden),
                Matrix::rows(before, hidden),
                Matrix::rows(&weights.each_step, 3 * hidden),
                true,
            );
            for row in 0..rows {
                let kept = block.mask[row * steps + step];
                let at = row * hidden..(row + 1) * hidden;
                let state = &mut after[at.clone()];
                let gates = &mut gates[row * wide..][..wide];
                gru_step(gates, &weights.bias, kept, &before[at], state);
                if let Some(place) = self.place(row, step, steps) {
                    out[place..][..hidden].copy_from_slice(state);
                }
            }
        }
        Trace {
            gates,
            entered,
            carried,
        }
    }

    fn gru_back<T: Real>(
        &self,
        block: &Block<T>,
        steps: usize,
        weights: &Weights<T>,
        trace: Trace<T>,
        gradient: &[T],
        by_x: Option<&mut [T]>,
    ) -> ByWeights<T> {
        let (inputs, hidden, wide) = (self.layout.inputs, self.layout.hidden, self.layout.wide());
        let rows = block.mask.len() / steps;
        let Trace {
            mut gates,
            entered,
            carried,
        } = trace;
        let nothing = vec![T::zero(); hidden];
        let mut by_h = vec![T::zero(); rows * hidden];
        for step in (0..steps).rev() {
            let gates = &mut gates[step * rows * wide..][..rows * wide];
            let before = &carried[step * rows * hidden..][..rows * hidden];
            for row in 0..rows {
                let at = row * hidden..(row + 1) * hidden;
                let place = self.place(row, step, steps);
                gru_step_back(
                    &mut gates[row * wide..][..wide],
                    block.mask[row * steps + step],
                    &before[at.clone()],
                    place.map_or(&nothing, |place| &gradient[place..][..hidden]),
                    &mut by_h[at],
                );
            }
            product(
                &mut by_h,
                (rows, hidden, 3 * hidden),
                Matrix::rows(&gates[hidden..], wide),
                Matrix::rows(&weights.state, hidden),
                true,
            );
        }
        let mut by = ByWeights {
            input: vec![T::zero(); 3 * hidden * inputs],
            state: vec![T::zero(); 3 * hidden * hidden],
            bias: vec![T::zero(); wide],
        };
        product(
            &mut by.input,
            (inputs, 3 * hidden, steps * rows),
            Matrix::rows(&entered, inputs).transposed(),
            Matrix::rows(&gates, wide),
            false,
        );
        product(
            &mut by.state,
            (hidden, 3 * hidden, steps * rows),
            Matrix::rows(&carried, hidden).transposed(),
            Matrix::rows(&gates[hidden..], wide),
            false,
        );
        add_rows(&gates, wide, &mut by.bias);
        if let Some(by_x) = by_x {
            let weights = Matrix::rows(&weights.input, inputs);
            self.by_input(by_x, steps, &gates, weights, 3 * hidden);
        }
        by
    }

    /// The blocks that the rows fall into.
    fn blocks<'a, T: Real>(
        &self,
        x: &'a [T],
        mask: &'a [T],
        start: &'a [T],
        steps: usize,
    ) -> Vec<Block<'a, T>> {
        let start = start.split_at(start.len() / 2);
        let state = ROWS * self.layout.hidden;
        let masks = mask.chunks(ROWS * steps);
        let xs = x.chunks(ROWS * steps * self.layout.inputs);
        masks
            .zip(xs)
            .enumerate()
            .map(|(index, (mask, x))| {
                let of = |part: &'a [T]| {
                    part.get(index * state..)
                        .map(|rest| &rest[..state.min(rest.len())])
                };
                Block {
                    x,
                    mask,
                    start: of(start.0)
                        .zip(of(start.1))
                        .filter(|(h, _)| !h.is_empty())
                        .map(|(h, c)| [h, c]),
                }
            })
            .collect()
    }

    /// Numbers of a row in the result.
    fn per_row(&self) -> usize {
        self.layout.hidden * if self.newest_only { 1 } else { self.steps }
    }
}

impl Operation<3> for Steps {
    const NAME: &'static str = "recurrent layer";
    type Kept<T: Real> = Vec<Trace<T>>;

    fn forward<T: Real>(&self, [x, start, theta]: [&[T]; 3]) -> Result<(Vec<T>, Vec<Trace<T>>)> {
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let (steps, per_row) = (self.steps, self.per_row());
        let weights = self.layout.weights(theta);
        let mut out = vec![T::zero(); mask.len() / steps * per_row];
        let blocks = self.blocks(x, mask, start, steps);
        let work = blocks.into_iter().zip(out.chunks_mut(ROWS * per_row));
        let traces = each(work.collect(), |(block, out)| match self.layout.cell {
            Cell::Lstm => self.lstm(&block, steps, &weights, out),
            Cell::Gru => self.gru(&block, steps, &weights, out),
        });
        Ok((out, traces))
    }

    fn backward<T: Real>(&self, given: Given<T, Vec<Trace<T>>, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [x, start, theta] = given.inputs;
        let [with_x, with_start, _] = given.wanted;
        let mask = Numbers::of(&self.mask);
        let steps = self.steps;
        let weights = self.layout.weights(theta);
        let blocks = self.blocks(x, mask.get()?, start, steps);
        let mut by_x = with_x.then(|| vec![T::zero(); x.len()]);
        let mut by_x_parts = chunks_of(&mut by_x, ROWS * steps * self.layout.inputs);
        let work = blocks
            .into_iter()
            .zip(given.kept)
            .zip(given.gradient.chunks(ROWS * self.per_row()))
            .map(|work| (work, by_x_parts.next()));
        let parts = each(
            work.collect(),
            |(((block, trace), gradient), by_x)| match self.layout.cell {
                Cell::Lstm => self.lstm_back(&block, steps, &weights, trace, gradient, by_x),
                Cell::Gru => {
                    let by = self.gru_back(&block, steps, &weights, trace, gradient, by_x);
                    (by, [Vec::new(), Vec::new()])
                }
            },
        );
        let mut by_start = [Vec::new(), Vec::new()];
        let mut by_theta = Vec::with_capacity(parts.len());
        for (weights, start) in parts {
            by_theta.push(self.layout.theta(weights));
            for (all, part) in by_start.iter_mut().zip(start) {
                all.extend(part);
            }
        }
        let by_start = with_start.then(|| by_start.concat());
        Ok([by_x, by_start, total(by_theta)])
    }
}
