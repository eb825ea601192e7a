//! Self-attention over the steps of a sequence, `[batch, steps, width]`; padding steps are never looked at.

mod fused;
mod mask;

use super::activation::Activation;
use super::dense::Dense;
use super::softmax::{export_softmax, softmax};
use crate::error::{Error, Result};
use crate::kernels::dispatch;
use crate::kernels::matrix::matmul;
use crate::kernels::operation::{apply1, apply3};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use fused::{AllSteps, NewestStep};
use mask::{export_penalty, penalty};

fn check_heads(width: usize, heads: usize) -> Result<usize> {
    if !width.is_multiple_of(heads) || heads == 0 {
        return Err(Error::invalid(format!(
            "a width of {width} cannot be divided among {heads} attention heads"
        ))
        .hint("Make the width a multiple of the number of heads."));
    }
    Ok(width / heads)
}

/// Multi-head attention as in "Attention Is All You Need".
pub struct SelfAttention {
    /// Queries, keys and values in one product.
    input: Dense,
    output: Dense,
    heads: usize,
    head_width: usize,
}

impl SelfAttention {
    /// Adds the weights; an error if the heads do not divide the width.
    pub fn new(params: &mut Params, name: &str, width: usize, heads: usize) -> Result<Self> {
        let head_width = check_heads(width, heads)?;
        let glorot = Init::Glorot;
        Ok(Self {
            input: Dense::new(params, &format!("{name}.input"), width, 3 * width, glorot)?,
            output: Dense::new(params, &format!("{name}.output"), width, width, glorot)?,
            heads,
            head_width,
        })
    }

    fn scale(&self) -> f64 {
        1.0 / (self.head_width as f64).sqrt()
    }

    /// `x` `[batch, steps, width]`, `mask` `[batch, steps]` -> `[batch, steps, width]`.
    pub fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let projected = self.input.forward(x, Activation::Identity)?;
        let mixed = if dispatch::applies(x) {
            self.mix(&projected, mask)?
        } else {
            self.definition(&projected, mask)?
        };
        self.output.forward(&mixed, Activation::Identity)
    }

    fn mix(&self, projected: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, steps, all) = projected.dims3()?;
        let op = AllSteps {
            heads: self.heads,
            steps,
            width: all / 3,
            mask: mask.contiguous()?,
        };
        Ok(apply1(op, [projected], (batch, steps, all / 3))?)
    }

    /// What the heads mix, from the queries, keys and values of all steps.
    fn definition(&self, projected: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, steps, width) = projected.dims3()?;
        // [3, batch, heads, steps, head width]
        let split = projected
            .reshape((batch, steps, 3, self.heads, self.head_width))?
            .permute((2, 0, 3, 1, 4))?
            .contiguous()?;
        let (queries, keys, values) = (split.get(0)?, split.get(1)?, split.get(2)?);
        let scores = matmul(&queries, &keys.transpose(2, 3)?.contiguous()?)?;
        let scores = scores
            .affine(self.scale(), 0.0)?
            .broadcast_add(&penalty(mask)?)?;
        let mixed = matmul(&softmax(&scores)?, &values)?;
        Ok(mixed
            .transpose(1, 2)?
            .contiguous()?
            .reshape((batch, steps, width / 3))?)
    }

    /// [`SelfAttention::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value, mask: &Value) -> Result<Value> {
        let (heads, head_width) = (self.heads as i64, self.head_width as i64);
        let projected = self.input.export(graph, x, 3)?;
        // The two zeros keep batch and steps as they are.
        let split = graph.reshape(&projected, &[0, 0, 3, heads, head_width]);
        let split = graph.transpose(&split, &[2, 0, 3, 1, 4]);
        let mut part = |index: i64| {
            let index = graph.ints(&[index], &[]);
            graph.op("Gather", &[&split, &index], &[])
        };
        let (queries, keys, values) = (part(0), part(1), part(2));
        let keys = graph.transpose(&keys, &[0, 1, 3, 2]);
        let scores = graph.matmul(&queries, &keys);
        let scale = graph.float(self.scale() as f32);
        let scores = graph.mul(&scores, &scale);
        let penalty = export_penalty(graph, mask);
        let scores = graph.add(&scores, &penalty);
        let weights = export_softmax(graph, &scores);
        let mixed = graph.matmul(&weights, &values);
        let mixed = graph.transpose(&mixed, &[0, 2, 1, 3]);
        let mixed = graph.reshape(&mixed, &[0, 0, heads * head_width]);
        self.output.export(graph, &mixed, 3)
    }
}

/// The interpretable attention of the Temporal Fusion Transformer: heads have their own queries and keys but share
/// the values, so that the mean of their weights says what was looked at. Only the newest step asks.
pub struct LastStepAttention {
    queries: Dense,
    keys: Dense,
    values: Dense,
    output: Dense,
    heads: usize,
    head_width: usize,
}

impl LastStepAttention {
    /// Adds the weights; an error if the heads do not divide the width.
    pub fn new(params: &mut Params, name: &str, width: usize, heads: usize) -> Result<Self> {
        let head_width = check_heads(width, heads)?;
        let mut dense = |part: &str, inputs: usize, outputs: usize| {
            Dense::new(
                params,
                &format!("{name}.{part}"),
                inputs,
                outputs,
                Init::Glorot,
            )
        };
        Ok(Self {
            queries: dense("queries", width, width)?,
            keys: dense("keys", width, width)?,
            values: dense("values", width, head_width)?,
            output: dense("output", head_width, width)?,
            heads,
            head_width,
        })
    }

    fn scale(&self) -> f64 {
        1.0 / (self.head_width as f64).sqrt()
    }

    /// `x` `[batch, steps, width]` -> `[batch, width]`.
    pub fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let steps = x.dim(1)?;
        let last = x.narrow(1, steps - 1, 1)?.contiguous()?;
        let queries = self
            .queries
            .forward(&last.squeeze(1)?, Activation::Identity)?;
        let mixed = if dispatch::applies(x) {
            self.mix(x, &queries, mask)?
        } else {
            self.definition(x, &queries, mask)?
        };
        self.output.forward(&mixed, Activation::Identity)
    }

    fn mix(&self, x: &Tensor, queries: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, steps, width) = x.dims3()?;
        let op = NewestStep {
            heads: self.heads,
            steps,
            mask: mask.contiguous()?,
        };
        // The shares add up to 1, so the mean of the values is the value of the mean.
        let mean = apply3(op, [x, queries, self.keys.weight()], (batch, width))?;
        self.values.forward(&mean, Activation::Identity)
    }

    /// The mean of the values by what the heads look at.
    fn definition(&self, x: &Tensor, queries: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (batch, steps, _) = x.dims3()?;
        let queries = queries.reshape((batch, self.heads, 1, self.head_width))?;
        let keys = self
            .keys
            .forward(x, Activation::Identity)?
            .reshape((batch, steps, self.heads, self.head_width))?
            .permute((0, 2, 3, 1))?
            .contiguous()?;
        // [batch, heads, 1, steps], then the mean over heads [batch, 1, steps].
        let scores = matmul(&queries, &keys)?.affine(self.scale(), 0.0)?;
        // The penalty swallows the scores of padding; times 0, so that no gradient pretends otherwise.
        let scores = scores.broadcast_mul(&mask.unsqueeze(1)?.unsqueeze(1)?)?;
        let weights = softmax(&scores.broadcast_add(&penalty(mask)?)?)?.mean(1)?;
        let values = self.values.forward(x, Activation::Identity)?;
        Ok(matmul(&weights, &values)?.squeeze(1)?)
    }

    /// [`LastStepAttention::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value, mask: &Value) -> Result<Value> {
        let (heads, head_width) = (self.heads as i64, self.head_width as i64);
        let last = graph.slice(x, 1, -1, i64::MAX);
        let queries = self.queries.export(graph, &last, 3)?;
        let queries = graph.reshape(&queries, &[0, heads, 1, head_width]);
        let keys = self.keys.export(graph, x, 3)?;
        let keys = graph.reshape(&keys, &[0, 0, heads, head_width]);
        let keys = graph.transpose(&keys, &[0, 2, 3, 1]);
        let scores = graph.matmul(&queries, &keys);
        let scale = graph.float(self.scale() as f32);
        let scores = graph.mul(&scores, &scale);
        let penalty = export_penalty(graph, mask);
        let scores = graph.add(&scores, &penalty);
        let weights = export_softmax(graph, &scores);
        let weights = graph.mean(&weights, 1, false);
        let values = self.values.export(graph, x, 3)?;
        let mixed = graph.matmul(&weights, &values);
        let axis = graph.ints(&[1], &[1]);
        let mixed = graph.op("Squeeze", &[&mixed, &axis], &[]);
        self.output.export(graph, &mixed, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::assert_same::{assert_same, mask, params, wave};

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        // More rows than one block has.
        let (batch, steps, width) = (70, 5, 6);
        let mask = mask(batch, steps)?;
        for heads in [1, 2, 3] {
            let mut params = params();
            let layer = SelfAttention::new(&mut params, "a", width, heads)?;
            let projected = wave(&[batch, steps, 3 * width], 1.7)?;
            assert_same(&params, &[&projected], |fast, _| match fast {
                true => layer.mix(&projected, &mask),
                false => layer.definition(&projected, &mask),
            })?;
        }
        for heads in [1, 2, 3] {
            let mut params = params();
            let layer = LastStepAttention::new(&mut params, "a", width, heads)?;
            let x = wave(&[batch, steps, width], 1.7)?;
            let queries = wave(&[batch, width], 0.7)?;
            assert_same(&params, &[&x, &queries], |fast, _| match fast {
                true => layer.mix(&x, &queries, &mask),
                false => layer.definition(&x, &queries, &mask),
            })?;
        }
        Ok(())
    }
}
