//! A vector per category; id 0 stands for unseen and NULL.

use crate::error::Result;
use crate::onnx::{Attribute, GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

/// The usual width for a column with `cardinality` ids: `min(50, round(1.6 * cardinality^0.56))`.
pub fn embedding_width(cardinality: usize) -> usize {
    let width = (1.6 * (cardinality as f64).powf(0.56)).round();
    (width as usize).clamp(1, 50)
}

/// A table `[cardinality, width]` of vectors.
pub struct Embedding {
    weight: Var,
}

impl Embedding {
    /// Adds the table.
    pub fn new(
        params: &mut Params,
        name: &str,
        cardinality: usize,
        width: usize,
        init: Init,
    ) -> Result<Self> {
        let weight = params.weight(&format!("{name}.weight"), &[cardinality, width], init)?;
        Ok(Self { weight })
    }

    /// `ids` `[batch]` -> `[batch, width]`.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(self.weight.index_select(ids, 0)?)
    }

    /// [`Embedding::forward`] inside a graph; `ids` int64 `[batch]`.
    pub fn export(&self, graph: &mut GraphBuilder, ids: &Value) -> Result<Value> {
        let weight = graph.tensor(&self.weight)?;
        Ok(graph.op("Gather", &[&weight, ids], &[("axis", Attribute::Int(0))]))
    }
}
