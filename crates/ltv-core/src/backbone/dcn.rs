//! `dcn`: cross layers beside a deep part (Deep & Cross Network, versions 1 and 2).

use super::Backbone;
use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::layers::cross::{Cross, CrossKind};
use crate::layers::flat_input::FlatInput;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Settings of backbone `dcn` (Wang et al. 2017, 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DcnConfig {
    /// How many cross layers follow each other.
    pub cross_layers: usize,
    /// The form of their weights.
    pub kind: CrossKind,
    /// Without hidden layers only the cross layers remain.
    pub deep: MlpConfig,
}

impl Default for DcnConfig {
    fn default() -> Self {
        Self {
            cross_layers: 3,
            kind: CrossKind::V2,
            deep: MlpConfig::default(),
        }
    }
}

/// `h` = last cross layer, deep part.
pub struct Dcn {
    input: FlatInput,
    cross: Vec<Cross>,
    deep: Option<Mlp>,
}

impl Dcn {
    /// Adds the weights; an error where there are no columns.
    pub fn new(params: &mut Params, shape: &InputShape, config: &DcnConfig) -> Result<Self> {
        let input = FlatInput::new(params, shape)?.require_columns()?;
        let width = input.width();
        let cross = (0..config.cross_layers)
            .map(|index| Cross::new(params, &format!("cross.{index}"), width, config.kind))
            .collect::<Result<_>>()?;
        let deep = if config.deep.hidden.is_empty() {
            None
        } else {
            Some(Mlp::new(params, "deep", width, &config.deep)?)
        };
        Ok(Self { input, cross, deep })
    }
}

impl Backbone for Dcn {
    fn width(&self) -> usize {
        self.input.width() + self.deep.as_ref().map_or(0, Mlp::width)
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let x_0 = self.input.forward(batch)?;
        let mut x = x_0.clone();
        for cross in &self.cross {
            x = cross.forward(&x_0, &x)?;
        }
        match &self.deep {
            Some(deep) => Ok(Tensor::cat(&[x, deep.forward(&x_0, mode)?], 1)?),
            None => Ok(x),
        }
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let x_0 = self.input.export(graph, inputs)?;
        let mut x = x_0.clone();
        for cross in &self.cross {
            x = cross.export(graph, &x_0, &x)?;
        }
        match &self.deep {
            Some(deep) => {
                let deep = deep.export(graph, &x_0)?;
                Ok(graph.concat(&[&x, &deep], 1))
            }
            None => Ok(x),
        }
    }
}
