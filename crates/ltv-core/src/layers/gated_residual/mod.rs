//! The Gated Residual Network of the Temporal Fusion Transformer:
//! `norm(skip(a) + GLU(W_1 elu(W_2 a + W_3 context + b_2) + b_1))`, where `GLU` is a dense layer of twice the width
//! whose first half gates the second.

pub(super) mod block;
mod fused;

use super::activation::Activation;
use super::dense::Dense;
use super::dropout::{Dropout, dropout};
use super::layer_norm::{LayerNorm, export_layer_norm, normalise};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::functions::sigmoid;
use crate::kernels::matrix::matmul;
use crate::kernels::operation::apply3;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use block::{Gate, Network};
use candle_core::{D, Tensor, Var};
use fused::{ResidualOperation, SkipOperation};

/// Splits the last axis in half and gates the second half by the first.
fn gate(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? / 2;
    let gate = sigmoid(&x.narrow(D::Minus1, 0, width)?)?;
    Ok((gate * x.narrow(D::Minus1, width, width)?)?)
}

fn export_gate(graph: &mut GraphBuilder, x: &Value, width: usize) -> Value {
    let width = width as i64;
    let gate = graph.slice(x, -1, 0, width);
    let gate = graph.sigmoid(&gate);
    let value = graph.slice(x, -1, width, 2 * width);
    graph.mul(&gate, &value)
}

fn flattened(dense: &Dense) -> Result<Vec<Tensor>> {
    Ok(vec![dense.weight().flatten_all()?, dense.bias().clone()])
}

/// `norm(skip + GLU(x))`: lets a model switch a part of itself off.
pub struct GatedSkip {
    gate: Dense,
    norm: LayerNorm,
    width: usize,
}

impl GatedSkip {
    /// Adds the weights for `x` of `inputs` and a skip of `width` numbers.
    pub fn new(params: &mut Params, name: &str, inputs: usize, width: usize) -> Result<Self> {
        Ok(Self {
            gate: Dense::new(
                params,
                &format!("{name}.gate"),
                inputs,
                2 * width,
                Init::Glorot,
            )?,
            norm: LayerNorm::new(params, &format!("{name}.norm"), width)?,
            width,
        })
    }

    /// `x` `[.., inputs]`, `skip` `[.., width]` -> `[.., width]`.
    pub fn forward(&self, x: &Tensor, skip: &Tensor) -> Result<Tensor> {
        if !dispatch::applies(x) {
            return self.definition(x, skip);
        }
        let op = SkipOperation {
            gate: Gate {
                inputs: x.dim(D::Minus1)?,
                width: self.width,
            },
        };
        let theta = Tensor::cat(&self.flat()?, 0)?;
        Ok(apply3(op, [x, skip, &theta], skip.shape())?)
    }

    /// The weights in the order of [`Gate`].
    fn flat(&self) -> Result<Vec<Tensor>> {
        let (weight, bias) = self.norm.weights();
        let mut flat = flattened(&self.gate)?;
        flat.extend([weight.clone(), bias.clone()]);
        Ok(flat)
    }

    fn definition(&self, x: &Tensor, skip: &Tensor) -> Result<Tensor> {
        let gated = gate(&self.gate.forward(x, Activation::Identity)?)?;
        self.norm.forward(&(gated + skip)?)
    }

    /// `rank` is the number of dimensions of `x`.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        skip: &Value,
        rank: usize,
    ) -> Result<Value> {
        let gated = self.gate.export(graph, x, rank)?;
        let gated = export_gate(graph, &gated, self.width);
        let sum = graph.add(&gated, skip);
        self.norm.export(graph, &sum)
    }
}

/// One gated residual network (Lim et al. 2021).
pub struct GatedResidual {
    inner: Dense,
    context: Option<Dense>,
    outer: Dense,
    /// Where input and output differ in width.
    skip: Option<Dense>,
    gated: GatedSkip,
    dropout: f64,
}

impl GatedResidual {
    /// `context` is the width of the context, if there is one.
    pub fn new(
        params: &mut Params,
        name: &str,
        inputs: usize,
        outputs: usize,
        context: Option<usize>,
        dropout: f64,
    ) -> Result<Self> {
        let mut dense = |part: &str, inputs: usize| {
            Dense::new(
                params,
                &format!("{name}.{part}"),
                inputs,
                outputs,
                Init::Glorot,
            )
        };
        let inner = dense("inner", inputs)?;
        let context = context.map(|width| dense("context", width)).transpose()?;
        let outer = dense("outer", outputs)?;
        let skip = (inputs != outputs)
            .then(|| dense("skip", inputs))
            .transpose()?;
        Ok(Self {
            inner,
            context,
            outer,
            skip,
            gated: GatedSkip::new(params, name, outputs, outputs)?,
            dropout,
        })
    }

    /// `x` `[batch, .., inputs]`; `context` `[batch, width]` is the same for all steps of a row.
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, mode: &Mode) -> Result<Tensor> {
        if !dispatch::applies(x) {
            return self.definition(x, context, mode);
        }
        let op = ResidualOperation {
            network: self.network(mode),
            steps: x.elem_count() / (x.dim(0)? * x.dim(D::Minus1)?).max(1),
        };
        let shifts = self.shifts(x, context)?;
        let theta = Tensor::cat(&self.flat()?, 0)?;
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = self.inner.outputs();
        }
        Ok(apply3(op, [x, &shifts, &theta], shape)?)
    }

    /// What one operation knows of it, with the draw for its dropout.
    pub(super) fn network(&self, mode: &Mode) -> Network {
        Network {
            inputs: self.inner.weight().dims()[1],
            width: self.inner.outputs(),
            dropout: Dropout::draw(self.dropout, mode),
        }
    }

    /// What the context adds to the inner layer, `[batch, width]`; without one no numbers.
    pub(super) fn shifts(&self, x: &Tensor, context: Option<&Tensor>) -> Result<Tensor> {
        match (&self.context, context) {
            (Some(dense), Some(context)) => dense.forward(context, Activation::Identity),
            _ => Ok(Tensor::zeros(0, x.dtype(), x.device())?),
        }
    }

    /// The weights in the order of [`Network`].
    pub(super) fn flat(&self) -> Result<Vec<Tensor>> {
        let mut flat = flattened(&self.inner)?;
        flat.extend(flattened(&self.outer)?);
        if let Some(skip) = &self.skip {
            flat.extend(flattened(skip)?);
        }
        flat.extend(self.gated.flat()?);
        Ok(flat)
    }

    pub(super) fn definition(
        &self,
        x: &Tensor,
        context: Option<&Tensor>,
        mode: &Mode,
    ) -> Result<Tensor> {
        let mut inner = self.inner.forward(x, Activation::Identity)?;
        if let (Some(_), Some(_)) = (&self.context, context) {
            let mut shift = self.shifts(x, context)?;
            if inner.rank() == 3 {
                shift = shift.unsqueeze(1)?;
            }
            inner = inner.broadcast_add(&shift)?;
        }
        let outer = self.outer.forward(&inner.elu(1.0)?, Activation::Identity)?;
        let outer = dropout(&outer, self.dropout, mode)?;
        match &self.skip {
            Some(skip) => self
                .gated
                .definition(&outer, &skip.forward(x, Activation::Identity)?),
            None => self.gated.definition(&outer, x),
        }
    }

    /// [`GatedResidual::forward`] inside a graph, without dropout.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        x: &Value,
        context: Option<&Value>,
        rank: usize,
    ) -> Result<Value> {
        let mut inner = self.inner.export(graph, x, rank)?;
        if let (Some(dense), Some(context)) = (&self.context, context) {
            let mut shift = dense.export(graph, context, 2)?;
            if rank == 3 {
                let axis = graph.ints(&[1], &[1]);
                shift = graph.op("Unsqueeze", &[&shift, &axis], &[]);
            }
            inner = graph.add(&inner, &shift);
        }
        let inner = graph.op("Elu", &[&inner], &[]);
        let outer = self.outer.export(graph, &inner, rank)?;
        let skip = match &self.skip {
            Some(skip) => skip.export(graph, x, rank)?,
            None => x.clone(),
        };
        self.gated.export(graph, &outer, &skip, rank)
    }
}

/// One gated residual network per variable, all of the same width, computed together: `[variables, rows, width]`.
pub struct GroupedGatedResidual {
    /// `[variables, width, width]` and `[variables, 1, width]`; the gate's are twice as wide.
    layers: [(Var, Var); 3],
    norm: (Var, Var),
    width: usize,
    dropout: f64,
}

impl GroupedGatedResidual {
    /// Adds the weights of one network per variable, all of this width.
    pub fn new(
        params: &mut Params,
        name: &str,
        variables: usize,
        width: usize,
        dropout: f64,
    ) -> Result<Self> {
        let mut layer = |part: &str, outputs: usize| -> Result<(Var, Var)> {
            let weight = params.weight(
                &format!("{name}.{part}.weight"),
                &[variables, width, outputs],
                Init::Glorot,
            )?;
            let bias = params.weight(
                &format!("{name}.{part}.bias"),
                &[variables, 1, outputs],
                Init::Constant(0.0),
            )?;
            Ok((weight, bias))
        };
        let layers = [
            layer("inner", width)?,
            layer("outer", width)?,
            layer("gate", 2 * width)?,
        ];
        let mut constant = |part: &str, value: f64| {
            let shape = [variables, 1, width];
            params.weight(
                &format!("{name}.norm.{part}"),
                &shape,
                Init::Constant(value),
            )
        };
        Ok(Self {
            layers,
            norm: (constant("weight", 1.0)?, constant("bias", 0.0)?),
            width,
            dropout,
        })
    }

    /// What one operation knows of each of them, with one draw for the dropout of all.
    pub(super) fn network(&self, mode: &Mode) -> Network {
        Network {
            inputs: self.width,
            width: self.width,
            dropout: Dropout::draw(self.dropout, mode),
        }
    }

    /// Matrix and bias of each layer, then the norm's weights, each of all variables.
    pub(super) fn flat(&self) -> Result<Vec<Tensor>> {
        let layers = self.layers.iter().chain([&self.norm]);
        let parts = layers.flat_map(|(weight, bias)| [weight, bias]);
        parts.map(|part| Ok(part.flatten_all()?)).collect()
    }

    pub(super) fn definition(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let dense = |x: &Tensor, (weight, bias): &(Var, Var)| -> Result<Tensor> {
            Ok(matmul(x, weight)?.broadcast_add(bias)?)
        };
        let [inner, outer, gates] = &self.layers;
        let hidden = dense(x, inner)?.elu(1.0)?;
        let hidden = dropout(&dense(&hidden, outer)?, self.dropout, mode)?;
        let gated = gate(&dense(&hidden, gates)?)?;
        let (weight, bias) = &self.norm;
        Ok(normalise(&(gated + x)?)?
            .broadcast_mul(weight)?
            .broadcast_add(bias)?)
    }

    /// The networks inside a graph, without dropout.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let dense = |graph: &mut GraphBuilder, x: &Value, layer: &(Var, Var)| -> Result<Value> {
            let weight = graph.tensor(&layer.0)?;
            let bias = graph.tensor(&layer.1)?;
            let product = graph.matmul(x, &weight);
            Ok(graph.add(&product, &bias))
        };
        let [inner, outer, gates] = &self.layers;
        let hidden = dense(graph, x, inner)?;
        let hidden = graph.op("Elu", &[&hidden], &[]);
        let hidden = dense(graph, &hidden, outer)?;
        let gated = dense(graph, &hidden, gates)?;
        let gated = export_gate(graph, &gated, self.width);
        let sum = graph.add(&gated, x);
        let one = graph.floats(&vec![1.0; self.width], &[self.width]);
        let zero = graph.floats(&vec![0.0; self.width], &[self.width]);
        let normalised = export_layer_norm(graph, &sum, &one, &zero);
        let weight = graph.tensor(&self.norm.0)?;
        let bias = graph.tensor(&self.norm.1)?;
        let scaled = graph.mul(&normalised, &weight);
        Ok(graph.add(&scaled, &bias))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::assert_same::{assert_same, params, wave};

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        // More rows than one block has, and not a whole number of blocks.
        let (batch, steps) = (61, 19);
        for (inputs, width, context) in [
            (6, 6, Some(4)),
            (6, 6, None),
            (5, 10, Some(3)),
            (8, 2, None),
        ] {
            let mut params = params();
            let network = GatedResidual::new(&mut params, "n", inputs, width, context, 0.2)?;
            let x = wave(&[batch, steps, inputs], 1.7)?;
            let steering = wave(&[batch, context.unwrap_or(1)], 0.7)?;
            let context = context.map(|_| steering.as_tensor());
            assert_same(&params, &[&x, &steering], |fast, mode| match fast {
                true => network.forward(&x, context, mode),
                false => network.definition(&x, context, mode),
            })?;
            let x = wave(&[batch, inputs], 1.1)?;
            assert_same(&params, &[&x, &steering], |fast, mode| match fast {
                true => network.forward(&x, context, mode),
                false => network.definition(&x, context, mode),
            })?;
        }
        Ok(())
    }

    #[test]
    fn a_gated_skip_as_one_operation_equals_the_definition() -> Result<()> {
        for (inputs, width) in [(6, 6), (3, 9)] {
            let mut params = params();
            let skip = GatedSkip::new(&mut params, "s", inputs, width)?;
            let x = wave(&[61, 19, inputs], 1.7)?;
            let past = wave(&[61, 19, width], 0.9)?;
            assert_same(&params, &[&x, &past], |fast, _| match fast {
                true => skip.forward(&x, &past),
                false => skip.definition(&x, &past),
            })?;
        }
        Ok(())
    }
}
