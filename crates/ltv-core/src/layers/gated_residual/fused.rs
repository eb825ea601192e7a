//! A gated residual network and a gated skip as one operation each; equal to the definitions in `gated_residual`.

use super::block::{By, Gate, GateTrace, Network, ROWS, Rows, Shifts, Trace, whole_groups};
use crate::kernels::blocks::{chunks_of, total};
use crate::kernels::operation::{Given, Operation};
use crate::kernels::real::Real;
use crate::kernels::threads::each;
use candle_core::Result;

/// `x` `[.., inputs]`, skip `[.., width]`, weights -> `[.., width]`.
pub struct SkipOperation {
    pub gate: Gate,
}

impl Operation<3> for SkipOperation {
    const NAME: &'static str = "gated skip";
    type Kept<T: Real> = Vec<GateTrace<T>>;

    fn forward<T: Real>(&self, [x, skip, theta]: [&[T]; 3]) -> Result<(Vec<T>, Vec<GateTrace<T>>)> {
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
        given: Given<T, Vec<GateTrace<T>>, 3>,
    ) -> Result<[Option<Vec<T>>; 3]> {
        let [x, _, theta] = given.inputs;
        let Gate { inputs, width } = self.gate;
        let mut by_skip = given.gradient.to_vec();
        let mut by_x = vec![T::zero(); x.len()];
        let blocks = x
            .chunks(ROWS * inputs)
            .zip(by_skip.chunks_mut(ROWS * width))
            .zip(by_x.chunks_mut(ROWS * inputs))
            .zip(given.kept);
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
        Ok([Some(by_x), Some(by_skip), total(by_theta)])
    }
}

/// `x` `[.., inputs]`, shifts `[batch, width]` or none `[0]`, weights -> `[.., width]`.
pub struct ResidualOperation {
    pub network: Network,
    /// Rows of `x` for each row of the shifts.
    pub steps: usize,
}

impl ResidualOperation {
    /// Of a block: whole groups of steps, so that no two blocks add to one shift.
    fn rows(&self) -> usize {
        whole_groups(self.steps)
    }
}

impl Operation<3> for ResidualOperation {
    const NAME: &'static str = "gated residual network";
    type Kept<T: Real> = Vec<Trace<T>>;

    fn forward<T: Real>(&self, [x, shifts, theta]: [&[T]; 3]) -> Result<(Vec<T>, Vec<Trace<T>>)> {
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

    fn backward<T: Real>(&self, given: Given<T, Vec<Trace<T>>, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [x, shifts, theta] = given.inputs;
        let [with_x, with_shifts, _] = given.wanted;
        let Network { inputs, width, .. } = self.network;
        let rows = self.rows();
        let mut by_x = with_x.then(|| vec![T::zero(); x.len()]);
        let mut by_x_parts = chunks_of(&mut by_x, rows * inputs);
        let mut by_shifts = vec![T::zero(); shifts.len()];
        let mut by_shift_parts = by_shifts.chunks_mut(rows / self.steps * width);
        let blocks = x
            .chunks(rows * inputs)
            .zip(given.gradient.chunks(rows * width))
            .zip(given.kept)
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
        Ok([by_x, with_shifts.then_some(by_shifts), total(by_theta)])
    }
}
