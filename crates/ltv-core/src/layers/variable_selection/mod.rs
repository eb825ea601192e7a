//! Variable selection: every variable passes its own gated residual network, and a softmax over the variables says
//! how much each of them counts for this row.

mod fused;

use super::gated_residual::{GatedResidual, GroupedGatedResidual};
use super::softmax::{export_softmax, softmax};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::operation::apply3;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use fused::{Selection, Source};

/// What is selected from.
pub enum Variables<'a> {
    /// `[batch, .., variables, width]`.
    Vectors(&'a Tensor),
    /// `[batch, .., variables]`, data that nothing learns from; times a weight, plus a bias (`[variables, width]` each),
    /// a number is a vector.
    Numbers(&'a Tensor, (&'a Tensor, &'a Tensor)),
}

impl Variables<'_> {
    fn numbers(&self) -> &Tensor {
        match self {
            Self::Vectors(x) | Self::Numbers(x, _) => x,
        }
    }

    /// The dimensions before that of the variables.
    fn outer(&self) -> &[usize] {
        let (dims, inner) = match self {
            Self::Vectors(x) => (x.dims(), 2),
            Self::Numbers(x, _) => (x.dims(), 1),
        };
        &dims[..dims.len() - inner]
    }

    fn vectors(&self) -> Result<Tensor> {
        match self {
            Self::Vectors(x) => Ok((*x).clone()),
            Self::Numbers(x, (weight, bias)) => {
                let column = x.unsqueeze(x.rank())?;
                Ok(column.broadcast_mul(weight)?.broadcast_add(bias)?)
            }
        }
    }
}

/// The variable selection network of the Temporal Fusion Transformer (Lim et al. 2021).
pub struct VariableSelection {
    weights: GatedResidual,
    variables: GroupedGatedResidual,
    count: usize,
    width: usize,
}

impl VariableSelection {
    /// Adds the weights for `count` variables of this width.
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

    /// The selected `[.., width]`; `context` `[batch, n]` is the same for all steps of a row.
    pub fn forward(
        &self,
        variables: &Variables,
        context: Option<&Tensor>,
        mode: &Mode,
    ) -> Result<Tensor> {
        let x = variables.numbers();
        if !dispatch::applies(x) {
            return Ok(self.definition(variables, context, mode)?.0);
        }
        let (source, mut weights) = match variables {
            Variables::Vectors(_) => (Source::Vectors, Vec::new()),
            Variables::Numbers(_, parts) => {
                let parts = [parts.0.flatten_all()?, parts.1.flatten_all()?];
                (Source::Numbers, parts.to_vec())
            }
        };
        weights.extend(self.weights.flat()?);
        weights.extend(self.variables.flat()?);
        let mut shape = variables.outer().to_vec();
        let rows = shape.iter().product::<usize>();
        let op = Selection {
            source,
            weights: self.weights.network(mode),
            variable: self.variables.network(mode),
            count: self.count,
            rows,
            steps: rows / shape[0].max(1),
        };
        let shifts = self.weights.shifts(x, context)?;
        shape.push(self.width);
        Ok(apply3(op, [x, &shifts, &Tensor::cat(&weights, 0)?], shape)?)
    }

    /// By tensor operations: the selected `[.., width]` and the weights `[.., variables]`.
    pub fn definition(
        &self,
        variables: &Variables,
        context: Option<&Tensor>,
        mode: &Mode,
    ) -> Result<(Tensor, Tensor)> {
        let x = variables.vectors()?;
        let outer = variables.outer();
        let rows = outer.iter().product::<usize>();
        let flat = x.flatten_from(outer.len())?;
        let weights = softmax(&self.weights.definition(&flat, context, mode)?)?;
        let by_variable = x
            .reshape((rows, self.count, self.width))?
            .transpose(0, 1)?
            .contiguous()?;
        let grouped = self.variables.definition(&by_variable, mode)?;
        let shares = weights.reshape((rows, self.count))?.t()?.contiguous()?;
        let selected = grouped.broadcast_mul(&shares.unsqueeze(2)?)?.sum(0)?;
        let mut shape = outer.to_vec();
        shape.push(self.width);
        Ok((selected.reshape(shape)?, weights))
    }

    /// [`VariableSelection::forward`] inside a graph, without dropout.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::assert_same::{assert_same, params, wave};

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        // More rows than one block has; one variable, and numbers that need no skip of their own.
        for (batch, steps, count, width) in [(61, 19, 3, 4), (9, 1, 1, 6), (70, 9, 2, 8)] {
            let mut params = params();
            let selection = VariableSelection::new(&mut params, "s", count, width, Some(5), 0.2)?;
            let steering = wave(&[batch, 5], 0.7)?;
            let x = wave(&[batch, steps, count, width], 1.7)?;
            let vectors = Variables::Vectors(&x);
            let run = |variables: &Variables, fast: bool, mode: &Mode| match fast {
                true => selection.forward(variables, Some(&steering), mode),
                false => Ok(selection.definition(variables, Some(&steering), mode)?.0),
            };
            assert_same(&params, &[&x, &steering], |fast, mode| {
                run(&vectors, fast, mode)
            })?;
            let x = wave(&[batch, steps, count], 1.7)?;
            let (weight, bias) = (wave(&[count, width], 0.6)?, wave(&[count, width], 2.2)?);
            let x = x.as_detached_tensor();
            let numbers = Variables::Numbers(&x, (&weight, &bias));
            let inputs = [&weight, &bias, &steering];
            assert_same(&params, &inputs, |fast, mode| run(&numbers, fast, mode))?;
        }
        Ok(())
    }
}
