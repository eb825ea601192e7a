//! Variable selection: every variable passes its own gated residual network, and a softmax over the variables says
//! how much each of them counts for this row.

use super::gated_residual::{GatedResidual, GroupedGatedResidual};
use super::softmax::{export_softmax, softmax};
use crate::batch::Mode;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;

pub struct VariableSelection {
    weights: GatedResidual,
    variables: GroupedGatedResidual,
    count: usize,
    width: usize,
}

impl VariableSelection {
    pub fn new(
        params: &mut Params,
        name: &str,
        count: usize,
        width: usize,
        context: Option<usize>,
        dropout: f64,
    ) -> Result<Self> {
        Ok(Self {
            weights: GatedResidual::new(
                params,
                &format!("{name}.weights"),
                count * width,
                count,
                context,
                dropout,
            )?,
            variables: GroupedGatedResidual::new(
                params,
                &format!("{name}.variables"),
                count,
                width,
                dropout,
            )?,
            count,
            width,
        })
    }

    /// `x` `[rows, variables, width]`, `context` `[rows, n]` -> the selected `[rows, width]` and the weights
    /// `[rows, variables]`.
    pub fn forward(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        mode: &Mode,
    ) -> Result<(Tensor, Tensor)> {
        let weights = softmax(&self.weights.forward(&x.flatten_from(1)?, context, mode)?)?;
        let grouped = self
            .variables
            .forward(&x.transpose(0, 1)?.contiguous()?, mode)?;
        let shares = weights.t()?.contiguous()?.unsqueeze(2)?;
        Ok((grouped.broadcast_mul(&shares)?.sum(0)?, weights))
    }

    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        context: Option<&Value>,
    ) -> Result<Value> {
        let flat = graph.reshape(x, &[-1, (self.count * self.width) as i64]);
        let weights = self.weights.export(graph, &flat, context, 2)?;
        let weights = export_softmax(graph, &weights);
        let grouped = graph.transpose(x, &[1, 0, 2]);
        let grouped = self.variables.export(graph, &grouped)?;
        let shares = graph.transpose(&weights, &[1, 0]);
        let axis = graph.ints(&[2], &[1]);
        let shares = graph.op("Unsqueeze", &[&shares, &axis], &[]);
        let weighted = graph.mul(&grouped, &shares);
        Ok(graph.sum(&weighted, 0, false))
    }
}
