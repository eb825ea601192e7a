//! A gated residual network and a gated skip as one operation each; equal to the definitions in `gated_residual`.

use super::blocks::{self, Kept, each, meets_candle, total};
use super::gated_residual_block::{
    By, Gate, GateTrace, Network, ROWS, Rows, Shifts, Trace, whole_groups,
};
use super::kernel::{self, Real};
use candle_core::{Result, Shape, Tensor};
use parking_lot::Mutex;

/// `x` `[.., inputs]`, skip `[.., width]`, weights -> `[.., width]`.
pub struct SkipOperation {
    pub gate: Gate,
    pub kept: Mutex<Kept<GateTrace<f32>, GateTrace<f64>>>,
}

impl SkipOperation {
    fn shape(&self, dims: &[usize]) -> Shape {
        with_last(dims, self.gate.width)
    }

    fn forward<T: Real>(
        &self,
        x: &[T],
        skip: &[T],
        theta: &[T],
    ) -> Result<(Vec<T>, Vec<GateTrace<T>>)> {
        let Gate { inputs, width } = self.gate;
        let mut out = vec![T::zero(); skip.len()];
        let blocks = x
            .chunks(ROWS * inputs)
            .zip(skip.chunks(ROWS * width))
            .zip(out.chunks_mut(ROWS * width));
        let traces = each(blocks.collect(), |((x, skip), out)| {
            let x = Rows {
                data: x,
                stride: inputs,
            };
            self.gate.forward(x, skip.to_vec(), theta, out)
        });
        Ok((out, traces))
    }

    fn backward<T: Real>(
        &self,
        [x, _, theta, gradient]: [&[T]; 4],
        traces: Vec<GateTrace<T>>,
        _with_x: bool,
    ) -> Result<[Vec<T>; 3]> {
        let Gate { inputs, width } = self.gate;
        let mut by_skip = gradient.to_vec();
        let mut by_x = vec![T::zero(); x.len()];
        let blocks = x
            .chunks(ROWS * inputs)
            .zip(by_skip.chunks_mut(ROWS * width))
            .zip(by_x.chunks_mut(ROWS * inputs))
            .zip(traces);
        let by_theta = each(blocks.collect(), |(((x, gradient), by_x), trace)| {
            let x = Rows {
                data: x,
                stride: inputs,
            };
            let mut by_theta = vec![T::zero(); theta.len()];
            self.gate
                .backward(x, theta, trace, gradient, &mut by_theta, by_x);
            by_theta
        });
        Ok([by_x, by_skip, total(by_theta)])
    }
}

meets_candle!(SkipOperation, "gated skip");

/// `x` `[.., inputs]`, shifts `[batch, width]` or none `[0]`, weights -> `[.., width]`.
pub struct ResidualOperation {
    pub network: Network,
    /// Rows of `x` for each row of the shifts.
    pub steps: usize,
    pub kept: Mutex<Kept<Trace<f32>, Trace<f64>>>,
}

impl ResidualOperation {
    fn shape(&self, dims: &[usize]) -> Shape {
        with_last(dims, self.network.width)
    }

    fn forward<T: Real>(
        &self,
        x: &[T],
        shifts: &[T],
        theta: &[T],
    ) -> Result<(Vec<T>, Vec<Trace<T>>)> {
        let Network { inputs, width, .. } = self.network;
        let shifts = Shifts {
            data: shifts,
            steps: self.steps,
        };
        let mut out = vec![T::zero(); x.len() / inputs * width];
        let blocks = x
            .chunks(self.rows() * inputs)
            .zip(out.chunks_mut(self.rows() * width))
            .enumerate();
        let traces = each(blocks.collect(), |(index, (x, out))| {
            let x = Rows {
                data: x,
                stride: inputs,
            };
            let first = index * self.rows();
            let numbers = (first, first * width);
            self.network.forward(x, shifts, numbers, theta, out)
        });
        Ok((out, traces))
    }

    /// Of a block: whole groups of steps, so that no two blocks add to one shift.
    fn rows(&self) -> usize {
        whole_groups(self.steps)
    }

    fn backward<T: Real>(
        &self,
        [x, shifts, theta, gradient]: [&[T]; 4],
        traces: Vec<Trace<T>>,
        with_x: bool,
    ) -> Result<[Vec<T>; 3]> {
        let Network { inputs, width, .. } = self.network;
        let rows = self.rows();
        let mut by_x = vec![T::zero(); if with_x { x.len() } else { 0 }];
        let mut by_x_parts = by_x.chunks_mut(rows * inputs);
        let mut by_shifts = vec![T::zero(); shifts.len()];
        let mut by_shift_parts = by_shifts.chunks_mut(rows / self.steps * width);
        let blocks = x
            .chunks(rows * inputs)
            .zip(gradient.chunks(rows * width))
            .zip(traces)
            .enumerate()
            .map(|block| (block, by_x_parts.next(), by_shift_parts.next()));
        let by_theta = each(
            blocks.collect(),
            |((index, ((x, gradient), trace)), by_x, by_shifts)| {
                let x = Rows {
                    data: x,
                    stride: inputs,
                };
                let first = index * rows;
                let mut by_theta = vec![T::zero(); theta.len()];
                let by = By {
                    theta: &mut by_theta,
                    x: by_x.map(|by_x| (by_x, inputs)),
                    shifts: by_shifts.unwrap_or_default(),
                    steps: self.steps,
                };
                let numbers = (first, first * width);
                let mut gradient = gradient.to_vec();
                self.network
                    .backward(x, theta, trace, numbers, &mut gradient, by);
                by_theta
            },
        );
        Ok([by_x, by_shifts, total(by_theta)])
    }
}

meets_candle!(ResidualOperation, "gated residual network");

fn with_last(dims: &[usize], last: usize) -> Shape {
    let mut dims = dims.to_vec();
    if let Some(dim) = dims.last_mut() {
        *dim = last;
    }
    Shape::from(dims)
}
