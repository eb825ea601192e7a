//! Backbones: `h = backbone(x)`, shape `[batch, width]`.

mod dcn;
mod deepfm;
mod flat;
mod sequence;
mod tft;

pub use crate::layers::cross::CrossKind;
pub use crate::layers::mlp::MlpConfig;
pub use dcn::DcnConfig;
pub use deepfm::DeepFmConfig;
pub use sequence::{RecurrentConfig, TransformerConfig};
pub use tft::TftConfig;

use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// From the preprocessed inputs of a batch to the vector `h` that heads read.
pub trait Backbone: Send + Sync {
    /// The width of `h`.
    fn width(&self) -> usize;

    /// `[batch, width]`.
    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor>;

    /// Writes the same computation, evaluation mode, into `graph`.
    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value>;

    /// How much each input counted, per row, where the backbone knows: `static` `[batch, columns]` (numeric columns,
    /// then categorical ones) and `sequence` `[batch, steps, channels]`.
    fn selection_weights(&self, _batch: &Batch) -> Result<Vec<(&'static str, Tensor)>> {
        Ok(Vec::new())
    }

    /// How many leading columns of `h` enter the logit of objective `purchase` with weight one (see DeepFM).
    fn unit_columns(&self) -> usize {
        0
    }
}

/// Which backbone, with its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneConfig {
    /// The features themselves.
    Linear,
    /// A multilayer perceptron.
    Mlp(MlpConfig),
    /// DeepFM (Guo et al. 2017).
    #[serde(rename = "deepfm")]
    DeepFm(DeepFmConfig),
    /// Deep & Cross Network (Wang et al. 2017, 2021).
    Dcn(DcnConfig),
    /// LSTM layers (Hochreiter and Schmidhuber 1997).
    Lstm(RecurrentConfig),
    /// GRU layers (Cho et al. 2014).
    Gru(RecurrentConfig),
    /// Transformer encoder blocks (Vaswani et al. 2017).
    Transformer(TransformerConfig),
    /// The encoder of the Temporal Fusion Transformer (Lim et al. 2021).
    Tft(TftConfig),
}

/// Makes the backbone and adds its weights; an error where the columns are not what it needs.
pub fn build(
    config: &BackboneConfig,
    shape: &InputShape,
    params: &mut Params,
) -> Result<Box<dyn Backbone>> {
    use crate::layers::recurrent::Cell;
    use sequence::RecurrentBackbone;
    Ok(match config {
        BackboneConfig::Linear => Box::new(flat::Linear::new(params, shape)?),
        BackboneConfig::Mlp(config) => Box::new(flat::MlpBackbone::new(params, shape, config)?),
        BackboneConfig::DeepFm(config) => Box::new(deepfm::DeepFm::new(params, shape, config)?),
        BackboneConfig::Dcn(config) => Box::new(dcn::Dcn::new(params, shape, config)?),
        BackboneConfig::Lstm(config) => {
            Box::new(RecurrentBackbone::new(params, shape, Cell::Lstm, config)?)
        }
        BackboneConfig::Gru(config) => {
            Box::new(RecurrentBackbone::new(params, shape, Cell::Gru, config)?)
        }
        BackboneConfig::Transformer(config) => {
            Box::new(sequence::TransformerBackbone::new(params, shape, config)?)
        }
        BackboneConfig::Tft(config) => Box::new(tft::Tft::new(params, shape, config)?),
    })
}
