//! The flat input of a backbone: numeric columns, then the embedding of each categorical column.

use super::embedding::{Embedding, embedding_width};
use crate::batch::GraphInputs;
use crate::batch::{Batch, InputShape};
use crate::error::{Error, Result};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;

/// Numeric columns and embeddings side by side.
pub struct FlatInput {
    numeric: usize,
    embeddings: Vec<Embedding>,
    width: usize,
}

impl FlatInput {
    /// Adds the embeddings.
    pub fn new(params: &mut Params, shape: &InputShape) -> Result<Self> {
        let mut width = shape.numeric;
        let mut embeddings = Vec::with_capacity(shape.cardinalities.len());
        for (index, &cardinality) in shape.cardinalities.iter().enumerate() {
            let columns = shape
                .embedding_size
                .unwrap_or_else(|| embedding_width(cardinality));
            width += columns;
            embeddings.push(Embedding::new(
                params,
                &format!("embedding.{index}"),
                cardinality,
                columns,
                Init::Uniform(0.05),
            )?);
        }
        Ok(Self {
            numeric: shape.numeric,
            embeddings,
            width,
        })
    }

    /// Columns in all.
    pub fn width(&self) -> usize {
        self.width
    }

    /// An error where there is nothing to learn from.
    pub fn require_columns(self) -> Result<Self> {
        if self.width == 0 {
            return Err(Error::data("there is no feature to train on")
                .hint("Give the relation at least one feature column that is not constant."));
        }
        Ok(self)
    }

    /// The parts that exist, in order; `[batch, width of the part]` each.
    fn parts(&self, batch: &Batch) -> Result<Vec<Tensor>> {
        let mut parts = Vec::with_capacity(self.embeddings.len() + 1);
        if self.numeric > 0 {
            parts.push(batch.numeric.clone());
        }
        for (embedding, ids) in self.embeddings.iter().zip(&batch.categories) {
            parts.push(embedding.forward(ids)?);
        }
        Ok(parts)
    }

    /// `[batch, width]`, from `extra` (if any) followed by the flat columns.
    pub fn forward_after(&self, extra: Option<Tensor>, batch: &Batch) -> Result<Tensor> {
        let mut parts: Vec<Tensor> = extra.into_iter().collect();
        parts.extend(self.parts(batch)?);
        match parts.as_slice() {
            [only] => Ok(only.clone()),
            _ => Ok(Tensor::cat(&parts, 1)?),
        }
    }

    /// `[batch, width]`.
    pub fn forward(&self, batch: &Batch) -> Result<Tensor> {
        self.forward_after(None, batch)
    }

    /// [`FlatInput::forward_after`] inside a graph.
    pub fn export_after(
        &self,
        graph: &mut GraphBuilder,
        extra: Option<&Value>,
        inputs: &GraphInputs,
    ) -> Result<Value> {
        let mut parts: Vec<Value> = extra.into_iter().cloned().collect();
        if self.numeric > 0 {
            parts.push(inputs.numeric.clone());
        }
        for (embedding, ids) in self.embeddings.iter().zip(&inputs.categories) {
            parts.push(embedding.export(graph, ids)?);
        }
        let parts: Vec<&Value> = parts.iter().collect();
        Ok(graph.concat(&parts, 1))
    }

    /// [`FlatInput::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        self.export_after(graph, None, inputs)
    }
}
