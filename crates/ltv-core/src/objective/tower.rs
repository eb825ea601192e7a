//! The small network that a head gives each of its outputs.

use super::head;
use crate::batch::Mode;
use crate::error::Result;
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;

/// Hidden layers and a last dense layer.
pub struct Tower {
    hidden: Mlp,
    output: Dense,
}

impl Tower {
    /// `start` is what the outputs are before training, see [`head`].
    pub fn new(
        params: &mut Params,
        name: &str,
        width: usize,
        hidden: &[usize],
        start: &[f64],
    ) -> Result<Self> {
        let config = MlpConfig {
            hidden: hidden.to_vec(),
            dropout: 0.0,
            batch_norm: false,
        };
        let hidden = Mlp::new(params, name, width, &config)?;
        let output = head(params, &format!("{name}.output"), hidden.width(), start)?;
        Ok(Self { hidden, output })
    }

    /// `[batch, outputs]`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let hidden = self.hidden.forward(x, mode)?;
        self.output.forward(&hidden, Activation::Identity)
    }

    /// [`Tower::forward`] inside a graph.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let hidden = self.hidden.export(graph, x)?;
        self.output.export(graph, &hidden, 2)
    }
}
