//! The weights of a recurrent layer, from the one vector that holds them to what its products need, and their gradients
//! back.

use super::cell::Cell;
use crate::kernels::real::Real;

/// The weights as the products need them.
pub struct Weights<T> {
    /// LSTM: of inputs and state side by side, `[4 hidden, inputs + hidden]`. GRU: of the inputs, its gates in the order
    /// n r z.
    pub input: Vec<T>,
    /// GRU: of the state, its gates in the order r z n.
    pub state: Vec<T>,
    /// What each step multiplies by, LSTM `input` and GRU `state`, transposed: products need no copy of it then.
    pub each_step: Vec<T>,
    pub bias: Vec<T>,
}

/// The gradients of the weights; matrices transposed, which lets products copy the smaller of their operands.
pub struct ByWeights<T> {
    pub input: Vec<T>,
    pub state: Vec<T>,
    pub bias: Vec<T>,
}

/// `x` `[rows, columns]` as `[columns, rows]`.
fn transposed<T: Copy>(x: &[T], columns: usize) -> Vec<T> {
    let column = |column| x[column..].iter().step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// Copies the gates `order` of a matrix or vector of gates.
fn reordered<T: Copy>(gates: &[T], size: usize, order: &[usize]) -> Vec<T> {
    let parts = order.iter().map(|gate| &gates[gate * size..][..size]);
    parts.flatten().copied().collect()
}

/// The layer whose weights the vector holds.
#[derive(Clone, Copy)]
pub struct Layout {
    pub cell: Cell,
    pub inputs: usize,
    pub hidden: usize,
}

impl Layout {
    /// Numbers per row and step that the gates take.
    pub fn wide(self) -> usize {
        4 * self.hidden
    }

    /// The vector taken apart.
    pub fn weights<T: Real>(self, theta: &[T]) -> Weights<T> {
        let (inputs, hidden) = (self.inputs, self.hidden);
        let rows = self.cell.gates() * hidden;
        let (input, rest) = theta.split_at(rows * inputs);
        let (bias, rest) = rest.split_at(rows);
        let (state, state_bias) = rest.split_at(rows * hidden);
        match self.cell {
            Cell::Lstm => {
                let mut joined = Vec::with_capacity(rows * (inputs + hidden));
                for (input, state) in input.chunks(inputs).zip(state.chunks(hidden)) {
                    joined.extend_from_slice(input);
                    joined.extend_from_slice(state);
                }
                Weights {
                    each_step: transposed(&joined, inputs + hidden),
                    input: joined,
                    state: Vec::new(),
                    bias: bias.to_vec(),
                }
            }
            Cell::Gru => {
                let mut biases = reordered(bias, hidden, &[2, 0, 1]);
                let state_sums = biases[hidden..].iter_mut().zip(state_bias);
                state_sums.for_each(|(sum, bias)| *sum += *bias);
                biases.extend_from_slice(&state_bias[2 * hidden..]);
                Weights {
                    input: reordered(input, hidden * inputs, &[2, 0, 1]),
                    state: state.to_vec(),
                    each_step: transposed(state, hidden),
                    bias: biases,
                }
            }
        }
    }

    /// The gradients in the order of the vector.
    pub fn theta<T: Real>(self, by: ByWeights<T>) -> Vec<T> {
        let (inputs, hidden) = (self.inputs, self.hidden);
        let ByWeights { input, state, bias } = by;
        match self.cell {
            Cell::Lstm => {
                let (input, state) = input.split_at(inputs * self.wide());
                let mut theta = transposed(input, self.wide());
                theta.extend(bias);
                theta.extend(transposed(state, self.wide()));
                theta
            }
            Cell::Gru => {
                let input = transposed(&input, 3 * hidden);
                let mut theta = reordered(&input, hidden * inputs, &[1, 2, 0]);
                theta.extend(reordered(&bias, hidden, &[1, 2, 0]));
                theta.extend(transposed(&state, 3 * hidden));
                theta.extend_from_slice(&bias[hidden..]);
                theta
            }
        }
    }
}
