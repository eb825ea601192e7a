//! LSTM and GRU layers, as PyTorch and ONNX define them. Everything is time-major: values `[steps, batch, n]`, mask
//! `[steps, batch]`. Sequences are right-aligned; a padding step (mask 0) writes nothing into the memory.
//!
//! The product of all steps' inputs with the weights of all gates is one matrix product; per step only the product
//! with the previous state remains.

use super::dense::{Activation, Dense};
use super::functions::sigmoid;
use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};
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
        Ok(match self.cell {
            Cell::Lstm => self.lstm(&projected, mask, start)?,
            Cell::Gru => self.gru(&projected, mask, start)?,
        })
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
            let gates = (projected.get(step)? + h.matmul(&weight)?)?;
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
            let mut memory = h.matmul(&weight)?;
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
