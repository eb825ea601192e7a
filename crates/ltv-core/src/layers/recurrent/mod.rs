//! LSTM and GRU layers, as PyTorch and ONNX define them. Values are `[batch, steps, n]`, the mask `[batch, steps]`.
//! Sequences are right-aligned; a padding step (mask 0) writes nothing into the memory, and before the first real step a
//! given start waits unchanged.

mod cell;
mod fused;
mod steps;
mod weights;

pub use cell::Cell;

use super::activation::Activation;
use super::dense::Dense;
use crate::error::{Error, Result};
use crate::kernels::functions::sigmoid;
use crate::kernels::operation::apply3;
use crate::kernels::{dispatch, matrix};
use crate::onnx::{Attribute, ElementType, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Shape, Tensor, Var};

/// One LSTM or GRU layer.
pub struct Recurrent {
    cell: Cell,
    /// Input weights `[gates * hidden, inputs]` and bias.
    input: Dense,
    /// State weights `[gates * hidden, hidden]`.
    state: Var,
    /// GRU's bias inside the reset product; the LSTM has none apart from the input's.
    state_bias: Option<Var>,
    hidden: usize,
}

/// Where a sequence starts: `h` and, for the LSTM, `c`; `[batch, hidden]` each.
pub struct State<T> {
    /// The state.
    pub h: T,
    /// The LSTM's cells.
    pub c: Option<T>,
}

impl Recurrent {
    /// Adds the weights of a layer from `inputs` to `hidden` numbers per step.
    pub fn new(
        params: &mut Params,
        name: &str,
        cell: Cell,
        inputs: usize,
        hidden: usize,
    ) -> Result<Self> {
        let init = Init::Uniform(1.0 / (hidden as f64).sqrt());
        let rows = cell.gates() * hidden;
        let input = Dense::new(params, &format!("{name}.input"), inputs, rows, init)?;
        let state = params.weight(&format!("{name}.state.weight"), &[rows, hidden], init)?;
        let state_bias = match cell {
            Cell::Lstm => {
                // Remember by default: the usual start of the forget gate.
                let mut bias = vec![0.0; rows];
                bias[hidden..2 * hidden].fill(1.0);
                input.set_bias(&bias)?;
                None
            }
            Cell::Gru => {
                let name = format!("{name}.state.bias");
                Some(params.weight(&name, &[rows], Init::Constant(0.0))?)
            }
        };
        Ok(Self {
            cell,
            input,
            state,
            state_bias,
            hidden,
        })
    }

    /// The width of the state.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The states after each step, `[batch, steps, hidden]`. Without `start` from zero.
    pub fn forward(
        &self,
        x: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        if self.has_fused(x, start) {
            return self.fused(x, mask, start, false);
        }
        Ok(Tensor::stack(&self.definition(x, mask, start)?, 1)?)
    }

    /// The state after the newest step, `[batch, hidden]`, from zero.
    pub fn newest(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        if self.has_fused(x, None) {
            return self.fused(x, mask, None, true);
        }
        let states = self.definition(x, mask, None)?;
        let newest = states.last().cloned();
        newest.ok_or_else(|| Error::internal("a sequence without steps"))
    }

    fn has_fused(&self, x: &Tensor, start: Option<&State<Tensor>>) -> bool {
        let some = x.elem_count() > 0;
        some && dispatch::applies(x) && (self.cell == Cell::Lstm || start.is_none())
    }

    fn fused(
        &self,
        x: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
        newest_only: bool,
    ) -> Result<Tensor> {
        let mut weights = vec![
            self.input.weight().flatten_all()?,
            self.input.bias().clone(),
            self.state.flatten_all()?,
        ];
        weights.extend(self.state_bias.iter().map(|bias| bias.as_tensor().clone()));
        let start = match start {
            Some(State { h, c: Some(c) }) => Tensor::stack(&[h, c], 0)?,
            Some(State { h, c: None }) => Tensor::stack(&[h, &h.zeros_like()?], 0)?,
            None => Tensor::zeros(0, x.dtype(), x.device())?,
        };
        let (batch, steps, inputs) = x.dims3()?;
        let op = fused::Steps {
            layout: weights::Layout {
                cell: self.cell,
                inputs,
                hidden: self.hidden,
            },
            steps,
            newest_only,
            mask: mask.contiguous()?,
        };
        let shape = match newest_only {
            true => Shape::from((batch, self.hidden)),
            false => Shape::from((batch, steps, self.hidden)),
        };
        Ok(apply3(op, [x, &start, &Tensor::cat(&weights, 0)?], shape)?)
    }

    /// Step by step.
    fn definition(
        &self,
        x: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        // The product of all steps' inputs with the weights of all gates is one matrix product.
        let projected = self.input.forward(x, Activation::Identity)?;
        match self.cell {
            Cell::Lstm => self.lstm(&projected, mask, start),
            Cell::Gru => self.gru(&projected, mask, start),
        }
    }

    fn lstm(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let (batch, steps, _) = projected.dims3()?;
        let zero = Tensor::zeros((batch, self.hidden), projected.dtype(), projected.device())?;
        let mut h = start.map_or_else(|| zero.clone(), |start| start.h.clone());
        let mut c = start
            .and_then(|start| start.c.clone())
            .unwrap_or_else(|| zero.clone());
        let weight = self.state.t()?;
        let mut begun = mask.narrow(1, 0, 1)?.zeros_like()?;
        let mut states = Vec::with_capacity(steps);
        for step in 0..steps {
            let gates = projected.narrow(1, step, 1)?.squeeze(1)?;
            let gates = (gates + matrix::matmul(&h, &weight)?)?;
            let gate = |index: usize| gates.narrow(1, index * self.hidden, self.hidden);
            let kept = mask.narrow(1, step, 1)?;
            let write = sigmoid(&gate(0)?)?.broadcast_mul(&kept)?;
            let forget = sigmoid(&gate(1)?)?.broadcast_mul(&kept)?;
            let forget = forget.broadcast_add(&kept.affine(-1.0, 1.0)?)?;
            c = ((forget * c)? + (write * gate(2)?.tanh()?)?)?;
            let state = (sigmoid(&gate(3)?)? * c.tanh()?)?;
            if start.is_none() {
                // From zero nothing comes of padding anyway.
                h = state.clone();
                states.push(state);
                continue;
            }
            begun = begun.maximum(&kept)?;
            let state = state.broadcast_mul(&begun)?;
            h = (h.broadcast_mul(&begun.affine(-1.0, 1.0)?)? + &state)?;
            states.push(state);
        }
        Ok(states)
    }

    fn gru(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let (batch, steps, _) = projected.dims3()?;
        let mut h = match start {
            Some(start) => start.h.clone(),
            None => Tensor::zeros((batch, self.hidden), projected.dtype(), projected.device())?,
        };
        let weight = self.state.t()?;
        let mut states = Vec::with_capacity(steps);
        for step in 0..steps {
            let inputs = projected.narrow(1, step, 1)?.squeeze(1)?;
            let mut memory = matrix::matmul(&h, &weight)?;
            if let Some(bias) = &self.state_bias {
                memory = memory.broadcast_add(bias)?;
            }
            let part = |x: &Tensor, index: usize| x.narrow(1, index * self.hidden, self.hidden);
            let reset = sigmoid(&(part(&inputs, 0)? + part(&memory, 0)?)?)?;
            let update = sigmoid(&(part(&inputs, 1)? + part(&memory, 1)?)?)?;
            let new = (part(&inputs, 2)? + (reset * part(&memory, 2)?)?)?.tanh()?;
            let kept = mask.narrow(1, step, 1)?;
            let change = update.affine(-1.0, 1.0)?.broadcast_mul(&kept)?;
            h = (&h + (change * (new - &h)?)?)?;
            states.push(h.clone());
        }
        Ok(states)
    }

    /// The native operator; time-major as that is: `x` `[steps, batch, inputs]`, `mask` `[steps, batch]`. Padding enters as one more input channel that
    /// closes the input gate and opens the forget gate (GRU: opens the update gate). That keeps cells but not the state of
    /// an LSTM; so one that starts from a state is given the sequence backwards, where the padding comes after `steps`
    /// steps at most and is left out.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        mask: &Value,
        start: Option<(&State<Value>, usize)>,
    ) -> Result<Value> {
        const SHUT: f64 = 1e4;
        let one = graph.float(1.0);
        let padding = graph.sub(&one, mask);
        let axis = graph.ints(&[2], &[1]);
        let padding = graph.op("Unsqueeze", &[&padding, &axis], &[]);
        let x = graph.concat(&[x, &padding], 2);

        let order = self.cell.onnx_order();
        let gate_of_padding: &[f64] = match self.cell {
            Cell::Lstm => &[-SHUT, SHUT, 0.0, 0.0],
            Cell::Gru => &[0.0, SHUT, 0.0],
        };
        let column: Vec<f64> = gate_of_padding
            .iter()
            .flat_map(|&value| vec![value; self.hidden])
            .collect();
        let dtype = self.state.dtype();
        let column = Tensor::from_vec(column, (order.len() * self.hidden, 1), self.state.device())?;
        let weight = Tensor::cat(&[self.input.weight(), &column.to_dtype(dtype)?], 1)?;
        let state_bias = match &self.state_bias {
            Some(bias) => bias.as_tensor().clone(),
            None => self.input.bias().zeros_like()?,
        };
        let ordered = |tensor: &Tensor| -> Result<Tensor> {
            let parts = order
                .iter()
                .map(|&gate| tensor.narrow(0, gate * self.hidden, self.hidden))
                .collect::<candle_core::Result<Vec<_>>>()?;
            Ok(Tensor::cat(&parts, 0)?.contiguous()?)
        };
        let bias = Tensor::cat(&[ordered(self.input.bias())?, ordered(&state_bias)?], 0)?;
        let weight = graph.tensor(&ordered(&weight)?.unsqueeze(0)?)?;
        let state = graph.tensor(&ordered(&self.state)?.unsqueeze(0)?)?;
        let bias = graph.tensor(&bias.unsqueeze(0)?)?;

        let absent = GraphBuilder::absent();
        let first = graph.ints(&[0], &[1]);
        let mut direction = |state: Option<&Value>| match state {
            Some(state) => graph.op("Unsqueeze", &[state, &first], &[]),
            None => absent.clone(),
        };
        let h = direction(start.map(|(start, _)| &start.h));
        let c = direction(start.and_then(|(start, _)| start.c.as_ref()));
        let mut attributes = vec![("hidden_size", Attribute::Int(self.hidden as i64))];
        let (mut x, mut lengths) = (x, absent.clone());
        let backwards = start.map(|(_, steps)| {
            let places: Vec<i64> = (0..steps as i64).rev().collect();
            graph.ints(&places, &[steps])
        });
        if let (Some((_, steps)), Some(backwards)) = (start, &backwards) {
            // How many steps back the oldest real one lies, itself included.
            let back: Vec<f32> = (0..steps).map(|step| (steps - step) as f32).collect();
            let back = graph.floats(&back, &[steps, 1]);
            let back = graph.mul(mask, &back);
            let axes = [
                ("axes", Attribute::Ints(vec![0])),
                ("keepdims", Attribute::Int(0)),
            ];
            let longest = graph.op("ReduceMax", &[&back], &axes);
            lengths = graph.cast(&longest, ElementType::Int32);
            x = graph.op("Gather", &[&x, backwards], &[("axis", Attribute::Int(0))]);
            attributes.push(("direction", Attribute::Text("reverse".to_owned())));
        }
        let mut states = match self.cell {
            Cell::Lstm => {
                let inputs = [&x, &weight, &state, &bias, &lengths, &h, &c];
                graph.op("LSTM", &inputs, &attributes)
            }
            Cell::Gru => {
                let inputs = [&x, &weight, &state, &bias, &lengths, &h];
                attributes.push(("linear_before_reset", Attribute::Int(1)));
                graph.op("GRU", &inputs, &attributes)
            }
        };
        if let Some(backwards) = &backwards {
            let inputs = [&states, backwards];
            states = graph.op("Gather", &inputs, &[("axis", Attribute::Int(0))]);
        }
        // [steps, directions, batch, hidden]
        let axis = graph.ints(&[1], &[1]);
        Ok(graph.op("Squeeze", &[&states, &axis], &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::assert_same::{assert_same, mask, params, wave};

    #[test]
    fn one_operation_equals_step_by_step() -> Result<()> {
        // More rows than one block has.
        let (batch, steps, inputs, hidden) = (70, 5, 3, 6);
        for cell in [Cell::Lstm, Cell::Gru] {
            for with_start in [false, cell == Cell::Lstm] {
                let mut params = params();
                let layer = Recurrent::new(&mut params, "l", cell, inputs, hidden)?;
                let x = wave(&[batch, steps, inputs], 1.7)?;
                let mask = mask(batch, steps)?;
                let start = [wave(&[batch, hidden], 0.6)?, wave(&[batch, hidden], 1.1)?];
                let [h, c] = [&start[0], &start[1]].map(|var| var.as_tensor().clone());
                let state = State { h, c: Some(c) };
                let state = with_start.then_some(&state);
                assert_same(&params, &[&x, &start[0], &start[1]], |fast, _| match fast {
                    true => layer.forward(&x, &mask, state),
                    false => Ok(Tensor::stack(&layer.definition(&x, &mask, state)?, 1)?),
                })?;
                if !with_start {
                    assert_same(&params, &[&x], |fast, _| {
                        let newest = |states: Vec<Tensor>| states[steps - 1].clone();
                        match fast {
                            true => layer.newest(&x, &mask),
                            false => Ok(newest(layer.definition(&x, &mask, None)?)),
                        }
                    })?;
                }
            }
        }
        Ok(())
    }
}
