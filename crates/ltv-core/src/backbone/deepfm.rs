//! `deepfm`: a factorisation machine beside a deep part that shares its embeddings.

use super::Backbone;
use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::layers::fm::FactorizationMachine;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepFmConfig {
    /// Common width of the field embeddings.
    pub size: usize,
    pub deep: MlpConfig,
}

impl Default for DeepFmConfig {
    fn default() -> Self {
        Self {
            size: 8,
            deep: MlpConfig {
                batch_norm: true,
                ..MlpConfig::default()
            },
        }
    }
}

/// `h` = first order, second order per channel, deep part.
pub struct DeepFm {
    fm: FactorizationMachine,
    size: usize,
    numeric: bool,
    deep: Mlp,
}

impl DeepFm {
    pub fn new(params: &mut Params, shape: &InputShape, config: &DeepFmConfig) -> Result<Self> {
        let fm = FactorizationMachine::new(params, "fm", shape, config.size)?;
        let inputs = fm.embedding_width() + shape.numeric;
        let deep = Mlp::new(params, "deep", inputs, &config.deep)?;
        Ok(Self {
            fm,
            size: config.size,
            numeric: shape.numeric > 0,
            deep,
        })
    }
}

impl Backbone for DeepFm {
    fn width(&self) -> usize {
        1 + self.size + self.deep.width()
    }

    fn unit_columns(&self) -> usize {
        1 + self.size
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let fm = self.fm.forward(batch)?;
        let input = if self.numeric {
            Tensor::cat(&[&fm.embeddings, &batch.numeric], 1)?
        } else {
            fm.embeddings
        };
        let deep = self.deep.forward(&input, mode)?;
        Ok(Tensor::cat(&[fm.first, fm.second, deep], 1)?)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let fm = self.fm.export(graph, inputs)?;
        let input = if self.numeric {
            graph.concat(&[&fm.embeddings, &inputs.numeric], 1)
        } else {
            fm.embeddings
        };
        let deep = self.deep.export(graph, &input)?;
        Ok(graph.concat(&[&fm.first, &fm.second, &deep], 1))
    }
}
