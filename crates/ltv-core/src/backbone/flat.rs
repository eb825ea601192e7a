//! Backbones over the flat input alone: `linear` and `mlp`.

use super::Backbone;
use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::layers::flat_input::FlatInput;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;

/// The identity: with it every head is linear in the features.
pub struct Linear {
    input: FlatInput,
}

impl Linear {
    /// Adds the weights; an error where there are no columns.
    pub fn new(params: &mut Params, shape: &InputShape) -> Result<Self> {
        let input = FlatInput::new(params, shape)?.require_columns()?;
        Ok(Self { input })
    }
}

impl Backbone for Linear {
    fn width(&self) -> usize {
        self.input.width()
    }

    fn forward(&self, batch: &Batch, _mode: &Mode) -> Result<Tensor> {
        self.input.forward(batch)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        self.input.export(graph, inputs)
    }
}

/// The multilayer perceptron of LTV with TensorFlow.
pub struct MlpBackbone {
    input: FlatInput,
    mlp: Mlp,
}

impl MlpBackbone {
    /// Adds the weights; an error where there are no columns.
    pub fn new(params: &mut Params, shape: &InputShape, config: &MlpConfig) -> Result<Self> {
        let input = FlatInput::new(params, shape)?.require_columns()?;
        let mlp = Mlp::new(params, "mlp", input.width(), config)?;
        Ok(Self { input, mlp })
    }
}

impl Backbone for MlpBackbone {
    fn width(&self) -> usize {
        self.mlp.width()
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        self.mlp.forward(&self.input.forward(batch)?, mode)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let input = self.input.export(graph, inputs)?;
        self.mlp.export(graph, &input)
    }
}
