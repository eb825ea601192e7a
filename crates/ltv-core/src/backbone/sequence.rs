//! Backbones over a sequence column beside the flat input: `lstm`, `gru`, `transformer`.

use super::Backbone;
use crate::batch::{Batch, GraphInputs, InputShape, Mode, SequenceBatch, SequenceShape};
use crate::error::{Error, Result};
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::layers::encoder::{EncoderBlock, time_encoding};
use crate::layers::flat_input::FlatInput;
use crate::layers::layer_norm::LayerNorm;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::layers::recurrent::{Cell, Recurrent};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Settings of backbones `lstm` and `gru`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecurrentConfig {
    /// Widths of the recurrent layers.
    pub sizes: Vec<usize>,
    /// Hidden layers over the last state and the flat input; without any, `h` is the two side by side.
    pub deep: MlpConfig,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self {
            sizes: vec![64, 32],
            deep: MlpConfig::default(),
        }
    }
}

/// Settings of backbone `transformer` (Vaswani et al. 2017).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Width of the vector of each step.
    pub size: usize,
    /// Heads of attention; they divide `size`.
    pub heads: usize,
    /// Encoder blocks.
    pub layers: usize,
    /// Width of the hidden layer in each block.
    pub feed_forward: usize,
    /// Inside the encoder blocks.
    pub dropout: f64,
    /// Hidden layers over the summary and the flat input.
    pub deep: MlpConfig,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            size: 32,
            heads: 4,
            layers: 2,
            feed_forward: 64,
            dropout: 0.1,
            deep: MlpConfig::default(),
        }
    }
}

pub(super) fn require_sequence(shape: &InputShape, name: &str) -> Result<SequenceShape> {
    shape.sequence.ok_or_else(|| {
        Error::invalid(format!("backbone \"{name}\" needs a sequence column"))
            .detail("No feature is a two-dimensional numeric array.")
            .hint(
                "Let ltv_create_features make one with its argument sequence, or use backbone mlp.",
            )
    })
}

pub(super) fn sequence_of(batch: &Batch) -> Result<&SequenceBatch> {
    let missing = || Error::internal("a batch lacks its sequence");
    batch.sequence.as_ref().ok_or_else(missing)
}

pub(super) fn sequence_values(inputs: &GraphInputs) -> Result<(&Value, &Value)> {
    let missing = || Error::internal("a graph lacks its sequence");
    let (values, mask) = inputs.sequence.as_ref().ok_or_else(missing)?;
    Ok((values, mask))
}

/// What all of them do with the summary of the sequence: put it beside the flat input, then hidden layers.
struct Tail {
    input: FlatInput,
    deep: Mlp,
}

impl Tail {
    fn new(
        params: &mut Params,
        shape: &InputShape,
        summary: usize,
        config: &MlpConfig,
    ) -> Result<Self> {
        let input = FlatInput::new(params, shape)?;
        let deep = Mlp::new(params, "deep", summary + input.width(), config)?;
        Ok(Self { input, deep })
    }

    fn forward(&self, summary: Tensor, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let joined = self.input.forward_after(Some(summary), batch)?;
        self.deep.forward(&joined, mode)
    }

    fn export(
        &self,
        graph: &mut GraphBuilder,
        summary: &Value,
        inputs: &GraphInputs,
    ) -> Result<Value> {
        let joined = self.input.export_after(graph, Some(summary), inputs)?;
        self.deep.export(graph, &joined)
    }
}

/// Recurrent layers on top of each other; the last state summarises the sequence.
pub struct RecurrentBackbone {
    lower: Vec<Recurrent>,
    top: Recurrent,
    tail: Tail,
}

impl RecurrentBackbone {
    /// Adds the weights; an error without a sequence column.
    pub fn new(
        params: &mut Params,
        shape: &InputShape,
        cell: Cell,
        config: &RecurrentConfig,
    ) -> Result<Self> {
        let name = match cell {
            Cell::Lstm => "lstm",
            Cell::Gru => "gru",
        };
        let mut width = require_sequence(shape, name)?.channels;
        let mut layers = Vec::with_capacity(config.sizes.len());
        for (index, &size) in config.sizes.iter().enumerate() {
            let name = format!("{name}.{index}");
            layers.push(Recurrent::new(params, &name, cell, width, size)?);
            width = size;
        }
        let missing = || Error::invalid(format!("{name} needs at least one layer"));
        let top = layers.pop().ok_or_else(missing)?;
        let tail = Tail::new(params, shape, width, &config.deep)?;
        Ok(Self {
            lower: layers,
            top,
            tail,
        })
    }
}

impl Backbone for RecurrentBackbone {
    fn width(&self) -> usize {
        self.tail.deep.width()
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let sequence = sequence_of(batch)?;
        let mut x = sequence.values.clone();
        for layer in &self.lower {
            x = layer.forward(&x, &sequence.mask, None)?;
        }
        let newest = self.top.newest(&x, &sequence.mask)?;
        self.tail.forward(newest, batch, mode)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let (values, mask) = sequence_values(inputs)?;
        let mask = graph.transpose(mask, &[1, 0]);
        let mut x = graph.transpose(values, &[1, 0, 2]);
        for layer in self.lower.iter().chain([&self.top]) {
            x = layer.export(graph, &x, &mask, None)?;
        }
        let index = graph.ints(&[-1], &[]);
        let last = graph.op("Gather", &[&x, &index], &[]);
        self.tail.export(graph, &last, inputs)
    }
}

/// Encoder blocks over the steps; the mean over the real steps summarises the sequence.
pub struct TransformerBackbone {
    steps: usize,
    input: Dense,
    blocks: Vec<EncoderBlock>,
    norm: LayerNorm,
    tail: Tail,
}

impl TransformerBackbone {
    /// Adds the weights; an error without a sequence column, or if the heads do not divide the size.
    pub fn new(
        params: &mut Params,
        shape: &InputShape,
        config: &TransformerConfig,
    ) -> Result<Self> {
        let sequence = require_sequence(shape, "transformer")?;
        let size = config.size;
        let input = Dense::new(
            params,
            "transformer.input",
            sequence.channels,
            size,
            Init::Glorot,
        )?;
        let blocks = (0..config.layers)
            .map(|index| {
                EncoderBlock::new(
                    params,
                    &format!("transformer.{index}"),
                    size,
                    config.heads,
                    config.feed_forward,
                    config.dropout,
                )
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            steps: sequence.steps,
            input,
            blocks,
            norm: LayerNorm::new(params, "transformer.norm", size)?,
            tail: Tail::new(params, shape, size, &config.deep)?,
        })
    }
}

impl Backbone for TransformerBackbone {
    fn width(&self) -> usize {
        self.tail.deep.width()
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let sequence = sequence_of(batch)?;
        let mask = &sequence.mask;
        let mut x = self.input.forward(&sequence.values, Activation::Identity)?;
        let encoding = time_encoding(self.steps, x.dim(2)?, x.dtype(), x.device())?;
        x = x.broadcast_add(&encoding)?;
        for block in &self.blocks {
            x = block.forward(&x, mask, mode)?;
        }
        let x = self.norm.forward(&x)?;
        let count = mask.sum_keepdim(1)?.maximum(1.0)?;
        let sum = x.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
        self.tail.forward(sum.broadcast_div(&count)?, batch, mode)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let (values, mask) = sequence_values(inputs)?;
        let mut x = self.input.export(graph, values, 3)?;
        let encoding = time_encoding(
            self.steps,
            self.input.outputs(),
            candle_core::DType::F32,
            &candle_core::Device::Cpu,
        )?;
        let encoding = graph.tensor(&encoding)?;
        x = graph.add(&x, &encoding);
        for block in &self.blocks {
            x = block.export(graph, &x, mask)?;
        }
        let x = self.norm.export(graph, &x)?;
        let count = graph.sum(mask, 1, true);
        let count = graph.max(&count, 1.0);
        let axis = graph.ints(&[2], &[1]);
        let column = graph.op("Unsqueeze", &[mask, &axis], &[]);
        let real = graph.mul(&x, &column);
        let sum = graph.sum(&real, 1, false);
        let mean = graph.div(&sum, &count);
        self.tail.export(graph, &mean, inputs)
    }
}
