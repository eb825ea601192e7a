//! The factorisation machine of DeepFM. Field i has a weight w_i and an embedding v_i; a numeric field takes part
//! with its value x_i, a categorical one with x_i = 1 and the weight and embedding of its category.

mod fused;

use super::activation::Activation;
use super::dense::dense;
use super::embedding::Embedding;
use crate::batch::{Batch, GraphInputs, InputShape};
use crate::error::{Error, Result};
use crate::kernels::dispatch;
use crate::kernels::matrix::matmul;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

/// A factorisation machine over numeric and categorical fields (Rendle 2010).
pub struct FactorizationMachine {
    /// Weights `[1, n]` and embeddings `[n, k]` of the numeric fields.
    numeric: Option<(Var, Var)>,
    /// Per categorical field its weights `[cardinality, 1]` and embeddings `[cardinality, k]`.
    categories: Vec<(Embedding, Embedding)>,
    fields: usize,
    size: usize,
}

/// `first` `[batch, 1]`: sum of w_i x_i. `second` `[batch, k]`: per channel, the sum over pairs of products v_i x_i v_j x_j.
pub struct FmOutput<T> {
    /// The first order.
    pub first: T,
    /// The second order.
    pub second: T,
    /// `[batch, categorical fields * k]`: their embeddings, if there are any.
    pub categories: Option<T>,
}

/// Of numbers `[batch, n]` with their embeddings `[n, k]`, and of the embeddings of categories, side by side.
pub(super) fn second_order(
    numbers: Option<(&Tensor, &Tensor)>,
    categories: Option<&Tensor>,
    size: usize,
) -> Result<Tensor> {
    let mut sums = Vec::new();
    let mut squares = Vec::new();
    if let Some((x, embedding)) = numbers {
        sums.push(matmul(x, embedding)?);
        squares.push(matmul(&x.sqr()?, &embedding.sqr()?)?);
    }
    if let Some(vectors) = categories {
        for start in (0..vectors.dim(1)?).step_by(size) {
            let vector = vectors.narrow(1, start, size)?;
            squares.push(vector.sqr()?);
            sums.push(vector);
        }
    }
    Ok((total(sums)?.sqr()? - total(squares)?)?.affine(0.5, 0.0)?)
}

/// A matrix for v_i x_i of the numbers, the embeddings of the categories and x_i of the numbers, as one for x_i of the
/// numbers and the embeddings of the categories: v_i x_i takes k columns, whose sum weighed by v_i is one for x_i.
pub(super) fn folded(matrix: &Tensor, embedding: &Tensor) -> Result<Tensor> {
    let (outputs, inputs) = matrix.dims2()?;
    let (fields, size) = embedding.dims2()?;
    let products = matrix.narrow(1, 0, fields * size)?;
    let products = products.reshape((outputs, fields, size))?;
    let products = products.broadcast_mul(embedding)?.sum(2)?;
    let numbers = (products + matrix.narrow(1, inputs - fields, fields)?)?;
    let categories = inputs - fields - fields * size;
    if categories == 0 {
        return Ok(numbers);
    }
    let categories = matrix.narrow(1, fields * size, categories)?;
    Ok(Tensor::cat(&[numbers, categories], 1)?)
}

impl FactorizationMachine {
    /// Adds a weight and an embedding of `size` numbers for each field and category.
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

    /// Of v_i x_i of all fields.
    pub fn embedding_width(&self) -> usize {
        self.fields * self.size
    }

    /// Of x_i of the numbers and v_i of the categories.
    pub fn folded_width(&self) -> usize {
        let numbers = self.fields - self.categories.len();
        numbers + self.categories.len() * self.size
    }

    /// Both orders, and the embeddings that the deep part shares.
    pub fn forward(&self, batch: &Batch) -> Result<FmOutput<Tensor>> {
        let mut first = Vec::new();
        let mut vectors = Vec::new();
        for ((weight, embedding), ids) in self.categories.iter().zip(&batch.categories) {
            first.push(weight.forward(ids)?);
            vectors.push(embedding.forward(ids)?);
        }
        let categories = match vectors.as_slice() {
            [] => None,
            vectors => Some(Tensor::cat(vectors, 1)?),
        };
        let x = &batch.numeric;
        let numbers = self.numeric.as_ref().map(|(_, vectors)| (x, &**vectors));
        let second = match (numbers, &categories) {
            (Some((x, vectors)), _) if dispatch::applies(x) => {
                fused::second_order(x, vectors, categories.as_ref())?
            }
            _ => second_order(numbers, categories.as_ref(), self.size)?,
        };
        if let Some((weight, _)) = &self.numeric {
            let zero = Tensor::zeros(1, x.dtype(), x.device())?;
            first.push(dense(x, weight, &zero, Activation::Identity)?);
        }
        Ok(FmOutput {
            first: total(first)?,
            second,
            categories,
        })
    }

    /// A matrix `[out, embedding_width + n]` for v_i x_i of all fields and x_i of the n numbers, as one
    /// `[out, folded_width]`: less to multiply with, by k + 1 columns to one of each number.
    pub fn fold(&self, matrix: &Tensor) -> Result<Tensor> {
        match &self.numeric {
            Some((_, embedding)) if dispatch::applies(matrix) => fused::folded(matrix, embedding),
            Some((_, embedding)) => folded(matrix, embedding),
            None => Ok(matrix.clone()),
        }
    }

    /// [`FactorizationMachine::forward`] inside a graph.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        inputs: &GraphInputs,
    ) -> Result<FmOutput<Value>> {
        let mut first = Vec::new();
        let mut sums = Vec::new();
        let mut squares = Vec::new();
        let mut vectors = Vec::new();
        if let Some((weight, embedding)) = &self.numeric {
            let x = &inputs.numeric;
            let weight = graph.tensor(&weight.t()?.contiguous()?)?;
            first.push(graph.matmul(x, &weight));
            let squared = graph.tensor(&embedding.sqr()?)?;
            let embedding = graph.tensor(embedding)?;
            sums.push(graph.matmul(x, &embedding));
            let x_squared = graph.mul(x, x);
            squares.push(graph.matmul(&x_squared, &squared));
        }
        for ((weight, embedding), ids) in self.categories.iter().zip(&inputs.categories) {
            first.push(weight.export(graph, ids)?);
            let vector = embedding.export(graph, ids)?;
            squares.push(graph.mul(&vector, &vector));
            sums.push(vector.clone());
            vectors.push(vector);
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
        let second = graph.mul(&difference, &half);
        let vectors: Vec<&Value> = vectors.iter().collect();
        Ok(FmOutput {
            first,
            second,
            categories: (!vectors.is_empty()).then(|| graph.concat(&vectors, 1)),
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
