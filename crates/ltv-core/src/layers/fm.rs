//! The factorisation machine of DeepFM. Field i has a weight w_i and an embedding v_i; a numeric field takes part
//! with its value x_i, a categorical one with x_i = 1 and the weight and embedding of its category.

use super::embedding::Embedding;
use super::fm_fused;
use super::kernel::{self, matmul};
use crate::batch::GraphInputs;
use crate::batch::{Batch, InputShape};
use crate::error::{Error, Result};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

pub struct FactorizationMachine {
    /// Weights `[1, n]` and embeddings `[n, k]` of the numeric fields.
    numeric: Option<(Var, Var)>,
    /// Per categorical field its weights `[cardinality, 1]` and embeddings `[cardinality, k]`.
    categories: Vec<(Embedding, Embedding)>,
    fields: usize,
    size: usize,
}

/// `[batch, n]` times `[n, k]`, field by field: `[batch, n * k]`.
pub(super) fn products(x: &Tensor, embedding: &Tensor) -> Result<Tensor> {
    let products = x.unsqueeze(2)?.broadcast_mul(&embedding.unsqueeze(0)?)?;
    Ok(products.flatten_from(1)?)
}

/// `first` `[batch, 1]`: sum of w_i x_i. `second` `[batch, k]`: per channel, the sum over pairs of products.
/// `embeddings` `[batch, fields * k]`: v_i x_i.
pub struct FmOutput<T> {
    pub first: T,
    pub second: T,
    pub embeddings: T,
}

impl FactorizationMachine {
    pub fn new(params: &mut Params, name: &str, shape: &InputShape, size: usize) -> Result<Self> {
        let fields = shape.numeric + shape.cardinalities.len();
        if fields == 0 {
            return Err(Error::data("there is no feature to train on")
                .hint("Give the relation at least one feature column that is not constant."));
        }
        // Second order terms start small beside first order ones.
        let init = Init::Normal(0.05);
        let zero = Init::Constant(0.0);
        let numeric = if shape.numeric > 0 {
            let weight =
                params.weight(&format!("{name}.numeric.first"), &[1, shape.numeric], zero)?;
            let embedding = params.weight(
                &format!("{name}.numeric.second"),
                &[shape.numeric, size],
                init,
            )?;
            Some((weight, embedding))
        } else {
            None
        };
        let mut categories = Vec::with_capacity(shape.cardinalities.len());
        for (index, &cardinality) in shape.cardinalities.iter().enumerate() {
            let name = format!("{name}.category.{index}");
            categories.push((
                Embedding::new(params, &format!("{name}.first"), cardinality, 1, zero)?,
                Embedding::new(params, &format!("{name}.second"), cardinality, size, init)?,
            ));
        }
        Ok(Self {
            numeric,
            categories,
            fields,
            size,
        })
    }

    /// Width of the concatenated embeddings.
    pub fn embedding_width(&self) -> usize {
        self.fields * self.size
    }

    pub fn forward(&self, batch: &Batch) -> Result<FmOutput<Tensor>> {
        let mut first = Vec::new();
        let mut sums = Vec::new();
        let mut squares = Vec::new();
        let mut embeddings = Vec::new();
        if let Some((weight, embedding)) = &self.numeric {
            let x = &batch.numeric;
            first.push(matmul(x, &weight.t()?)?);
            sums.push(matmul(x, embedding)?);
            squares.push(matmul(&x.sqr()?, &embedding.sqr()?)?);
            embeddings.push(match kernel::applies(x) {
                true => fm_fused::products(x, embedding)?,
                false => products(x, embedding)?,
            });
        }
        for ((weight, embedding), ids) in self.categories.iter().zip(&batch.categories) {
            first.push(weight.forward(ids)?);
            let vector = embedding.forward(ids)?;
            squares.push(vector.sqr()?);
            sums.push(vector.clone());
            embeddings.push(vector);
        }
        let (sum, square) = (total(sums)?, total(squares)?);
        Ok(FmOutput {
            first: total(first)?,
            second: (sum.sqr()? - square)?.affine(0.5, 0.0)?,
            embeddings: Tensor::cat(&embeddings, 1)?,
        })
    }

    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        inputs: &GraphInputs,
    ) -> Result<FmOutput<Value>> {
        let mut first = Vec::new();
        let mut sums = Vec::new();
        let mut squares = Vec::new();
        let mut embeddings = Vec::new();
        if let Some((weight, embedding)) = &self.numeric {
            let x = &inputs.numeric;
            let weight = graph.tensor(&weight.t()?.contiguous()?)?;
            first.push(graph.matmul(x, &weight));
            let vectors = graph.tensor(embedding)?;
            sums.push(graph.matmul(x, &vectors));
            let squared = graph.tensor(&embedding.sqr()?)?;
            let x_squared = graph.mul(x, x);
            squares.push(graph.matmul(&x_squared, &squared));
            let fields = embedding.dim(0)?;
            let column = graph.reshape(x, &[-1, fields as i64, 1]);
            let products = graph.mul(&column, &vectors);
            embeddings.push(graph.reshape(&products, &[-1, (fields * self.size) as i64]));
        }
        for ((weight, embedding), ids) in self.categories.iter().zip(&inputs.categories) {
            first.push(weight.export(graph, ids)?);
            let vector = embedding.export(graph, ids)?;
            squares.push(graph.mul(&vector, &vector));
            sums.push(vector.clone());
            embeddings.push(vector);
        }
        let mut total = |values: &[Value]| {
            let mut sum = values.first().cloned();
            for value in values.iter().skip(1) {
                sum = sum.map(|sum| graph.add(&sum, value));
            }
            sum.ok_or_else(|| Error::internal("a factorisation machine has no field"))
        };
        let (first, sum, square) = (total(&first)?, total(&sums)?, total(&squares)?);
        let squared_sum = graph.mul(&sum, &sum);
        let difference = graph.sub(&squared_sum, &square);
        let half = graph.float(0.5);
        let parts: Vec<&Value> = embeddings.iter().collect();
        Ok(FmOutput {
            first,
            second: graph.mul(&difference, &half),
            embeddings: graph.concat(&parts, 1),
        })
    }
}

fn total(tensors: Vec<Tensor>) -> Result<Tensor> {
    let mut tensors = tensors.into_iter();
    let first = tensors
        .next()
        .ok_or_else(|| Error::internal("a factorisation machine has no field"))?;
    tensors.try_fold(first, |sum, tensor| Ok((sum + tensor)?))
}
