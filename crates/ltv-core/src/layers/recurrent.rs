//! LSTM and GRU layers, as PyTorch and ONNX define them. Everything is time-major: values `[steps, batch, n]`, mask
//! `[steps, batch]`. Sequences are right-aligned; a padding step (mask 0) writes nothing into the memory.
//!
//! The product of all steps' inputs with the weights of all gates is one matrix product; per step only the product
//! with the previous state remains.

use super::activation::Activation;
use super::dense::Dense;
use super::functions::sigmoid;
use super::{kernel, recurrent_fused};
use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cell {
    Lstm,
    Gru,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }

    /// Our gates (PyTorch's order: LSTM i f g o, GRU r z n) in ONNX's order (i o f g, z r n).
    fn onnx_order(self) -> &'static [usize] {
        match self {
            Self::Lstm => &[0, 3, 1, 2],
            Self::Gru => &[1, 0, 2],
        }
    }
}

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
    pub h: T,
    pub c: Option<T>,
}

impl Recurrent {
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

    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// The states after each step, `[steps, batch, hidden]`. Without `start` from zero.
    pub fn forward(
        &self,
        x: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        let projected = self.input.forward(x, Activation::Identity)?;
        if kernel::applies(&projected) {
            match (self.cell, &self.state_bias, start) {
                (Cell::Lstm, ..) => return self.fused_lstm(&projected, mask, start),
                (Cell::Gru, Some(bias), None) => return self.fused_gru(&projected, mask, bias),
                _ => {}
            }
        }
        self.definition(&projected, mask, start)
    }

    /// Step by step, from the projected inputs of all steps.
    fn definition(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        match self.cell {
            Cell::Lstm => self.lstm(projected, mask, start),
            Cell::Gru => self.gru(projected, mask, start),
        }
    }

    fn fused_lstm(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        let batch = projected.dim(1)?;
        let (dtype, device) = (projected.dtype(), projected.device());
        let zero = Tensor::zeros((batch, self.hidden), dtype, device)?;
        let h = start.map_or(&zero, |start| &start.h);
        let c = start.and_then(|start| start.c.as_ref()).unwrap_or(&zero);
        let op = recurrent_fused::Lstm {
            hidden: self.hidden,
            mask: mask.contiguous()?,
            kept: Mutex::default(),
        };
        let start = Tensor::stack(&[h, c], 0)?;
        Ok(projected.apply_op3(&self.state, &start, op)?)
    }

    fn fused_gru(&self, projected: &Tensor, mask: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let op = recurrent_fused::Gru {
            hidden: self.hidden,
            mask: mask.contiguous()?,
            kept: Mutex::default(),
        };
        Ok(projected.apply_op3(&self.state, bias, op)?)
    }

    fn lstm(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        let (steps, batch, _) = projected.dims3()?;
        let zero = Tensor::zeros((batch, self.hidden), projected.dtype(), projected.device())?;
        let mut h = start.map_or_else(|| zero.clone(), |start| start.h.clone());
        let mut c = start
            .and_then(|start| start.c.clone())
            .unwrap_or_else(|| zero.clone());
        let weight = self.state.t()?;
        let mut states = Vec::with_capacity(steps);
        for step in 0..steps {
            let gates = (projected.get(step)? + kernel::matmul(&h, &weight)?)?;
            let gate = |index: usize| gates.narrow(1, index * self.hidden, self.hidden);
            let kept = mask.get(step)?.unsqueeze(1)?;
            let write = sigmoid(&gate(0)?)?.broadcast_mul(&kept)?;
            let forget = sigmoid(&gate(1)?)?.broadcast_mul(&kept)?;
            let forget = forget.broadcast_add(&kept.affine(-1.0, 1.0)?)?;
            c = ((forget * c)? + (write * gate(2)?.tanh()?)?)?;
            h = (sigmoid(&gate(3)?)? * c.tanh()?)?;
            states.push(h.clone());
        }
        Ok(Tensor::stack(&states, 0)?)
    }

    fn gru(
        &self,
        projected: &Tensor,
        mask: &Tensor,
        start: Option<&State<Tensor>>,
    ) -> Result<Tensor> {
        let (steps, batch, _) = projected.dims3()?;
        let mut h = match start {
            Some(start) => start.h.clone(),
            None => Tensor::zeros((batch, self.hidden), projected.dtype(), projected.device())?,
        };
        let weight = self.state.t()?;
        let mut states = Vec::with_capacity(steps);
        for step in 0..steps {
            let inputs = projected.get(step)?;
            let mut memory = kernel::matmul(&h, &weight)?;
            if let Some(bias) = &self.state_bias {
                memory = memory.broadcast_add(bias)?;
            }
            let part = |x: &Tensor, index: usize| x.narrow(1, index * self.hidden, self.hidden);
            let reset = sigmoid(&(part(&inputs, 0)? + part(&memory, 0)?)?)?;
            let update = sigmoid(&(part(&inputs, 1)? + part(&memory, 1)?)?)?;
            let new = (part(&inputs, 2)? + (reset * part(&memory, 2)?)?)?.tanh()?;
            let kept = mask.get(step)?.unsqueeze(1)?;
            let change = update.affine(-1.0, 1.0)?.broadcast_mul(&kept)?;
            h = (&h + (change * (new - &h)?)?)?;
            states.push(h.clone());
        }
        Ok(Tensor::stack(&states, 0)?)
    }

    /// The native operator; `x` and `mask` as in [`Recurrent::forward`]. Padding enters as one more input channel that
    /// closes the input gate and opens the forget gate (GRU: opens the update gate).
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        mask: &Value,
        start: Option<&State<Value>>,
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
        let h = direction(start.map(|start| &start.h));
        let c = direction(start.and_then(|start| start.c.as_ref()));
        let hidden = ("hidden_size", Attribute::Int(self.hidden as i64));
        let states = match self.cell {
            Cell::Lstm => {
                let inputs = [&x, &weight, &state, &bias, &absent, &h, &c];
                graph.op("LSTM", &inputs, &[hidden])
            }
            Cell::Gru => {
                let inputs = [&x, &weight, &state, &bias, &absent, &h];
                let after_product = ("linear_before_reset", Attribute::Int(1));
                graph.op("GRU", &inputs, &[hidden, after_product])
            }
        };
        // [steps, directions, batch, hidden]
        let axis = graph.ints(&[1], &[1]);
        Ok(graph.op("Squeeze", &[&states, &axis], &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn random(dims: &[usize], k: f64) -> Result<Var> {
        let count = dims.iter().product();
        let values: Vec<f64> = (0..count).map(|i| (i as f64 * k + 0.3).sin()).collect();
        Ok(Var::from_vec(values, dims, &Device::Cpu)?)
    }

    #[test]
    fn one_operation_equals_step_by_step() -> Result<()> {
        let (steps, batch, inputs, hidden) = (5, 4, 3, 6);
        for cell in [Cell::Lstm, Cell::Gru] {
            let mut params = Params::new(1, DType::F64, Device::Cpu);
            let layer = Recurrent::new(&mut params, "l", cell, inputs, hidden)?;
            if let Some(bias) = &layer.state_bias {
                bias.set(random(&[3 * hidden], 0.9)?.as_tensor())?;
            }
            let x = random(&[steps, batch, inputs], 1.7)?;
            let mix = random(&[steps, batch, hidden], 2.9)?;
            // Padding in front, in the middle, everywhere and nowhere.
            let mask: Vec<f64> = (0..steps * batch)
                .map(|i| match (i / batch, i % batch) {
                    (step, 0) => f64::from(step > 2),
                    (step, 1) => f64::from(step != 2),
                    (_, row) => f64::from(row == 2),
                })
                .collect();
            let mask = Tensor::from_vec(mask, (steps, batch), &Device::Cpu)?;
            let start = (
                random(&[batch, hidden], 0.6)?,
                random(&[batch, hidden], 1.1)?,
            );
            let state = State {
                h: start.0.as_tensor().clone(),
                c: Some(start.1.as_tensor().clone()),
            };
            let state = (cell == Cell::Lstm).then_some(&state);
            let run = |fast: bool| -> Result<Vec<Vec<f64>>> {
                let states = if fast {
                    layer.forward(&x, &mask, state)?
                } else {
                    let projected = layer.input.forward(&x, Activation::Identity)?;
                    layer.definition(&projected, &mask, state)?
                };
                let gradients = (&states * mix.as_tensor())?.sum_all()?.backward()?;
                let mut numbers = vec![states.flatten_all()?.to_vec1()?];
                let weights = params.weights().iter().map(|(_, var)| var);
                for var in weights.chain([&x, &start.0, &start.1]) {
                    if let Some(gradient) = gradients.get(var) {
                        numbers.push(gradient.flatten_all()?.to_vec1()?);
                    }
                }
                Ok(numbers)
            };
            let (fast, plain) = (run(true)?, run(false)?);
            assert_eq!(fast.len(), plain.len());
            for (fast, plain) in fast.iter().zip(&plain) {
                for (a, b) in fast.iter().zip(plain) {
                    assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{cell:?}: {a} {b}");
                }
            }
        }
        Ok(())
    }
}
