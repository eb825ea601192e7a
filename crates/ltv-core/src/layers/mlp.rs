//! Hidden layers: Dense, batch normalisation if asked for, ReLU, dropout.

use super::batch_norm::BatchNorm;
use super::dense::{Activation, Dense};
use super::dropout::{Dropout, dropout};
use crate::batch::Mode;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    pub hidden: Vec<usize>,
    pub dropout: f64,
    pub batch_norm: bool,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64, 32],
            dropout: 0.3,
            batch_norm: false,
        }
    }
}

pub struct Mlp {
    layers: Vec<(Dense, Option<BatchNorm>)>,
    dropout: f64,
    width: usize,
}

impl Mlp {
    pub fn new(params: &mut Params, name: &str, inputs: usize, config: &MlpConfig) -> Result<Self> {
        let mut layers = Vec::with_capacity(config.hidden.len());
        let mut width = inputs;
        for (index, &units) in config.hidden.iter().enumerate() {
            let name = format!("{name}.{index}");
            let dense = Dense::new(params, &name, width, units, Init::He)?;
            let norm = config
                .batch_norm
                .then(|| BatchNorm::new(params, &format!("{name}.norm"), units))
                .transpose()?;
            layers.push((dense, norm));
            width = units;
        }
        Ok(Self {
            layers,
            dropout: config.dropout,
            width,
        })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// `[batch, inputs]` -> `[batch, width]`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (dense, norm) in &self.layers {
            x = match norm {
                None => {
                    let activation = match Dropout::draw(self.dropout, mode) {
                        Some(draw) => Activation::ReluDropout(draw),
                        None => Activation::Relu,
                    };
                    dense.forward(&x, activation)?
                }
                Some(norm) => {
                    let normalised =
                        norm.forward(&dense.forward(&x, Activation::Identity)?, mode)?;
                    dropout(&normalised.relu()?, self.dropout, mode)?
                }
            };
        }
        Ok(x)
    }

    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let mut x = x.clone();
        for (dense, norm) in &self.layers {
            x = dense.export(graph, &x, 2)?;
            if let Some(norm) = norm {
                x = norm.export(graph, &x)?;
            }
            x = graph.relu(&x);
        }
        Ok(x)
    }
}
