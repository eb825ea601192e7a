//! `tft`: the Temporal Fusion Transformer, for one answer at the newest step. Static variables (the flat columns) are
//! selected and summarised; the summary steers the selection of sequence channels, starts the LSTM and enriches its
//! states, over which the newest step attends.

use super::Backbone;
use super::sequence::{require_sequence, sequence_of, sequence_values};
use crate::batch::{Batch, GraphInputs, InputShape, Mode, SequenceShape};
use crate::error::Result;
use crate::layers::attention::LastStepAttention;
use crate::layers::embedding::Embedding;
use crate::layers::gated_residual::{GatedResidual, GatedSkip};
use crate::layers::recurrent::{Cell, Recurrent, State};
use crate::layers::variable_selection::{VariableSelection, Variables};
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

/// Settings of backbone `tft` (Lim et al. 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TftConfig {
    /// Width of all vectors.
    pub size: usize,
    /// Heads of attention; they divide `size`.
    pub heads: usize,
    /// Inside the gated residual networks.
    pub dropout: f64,
}

impl Default for TftConfig {
    fn default() -> Self {
        Self {
            size: 32,
            heads: 4,
            dropout: 0.1,
        }
    }
}

/// The encoder of the Temporal Fusion Transformer; `h` is the newest step.
pub struct Tft {
    size: usize,
    steps: usize,
    channels: usize,
    statics: Option<Statics>,
    /// Per channel, value * weight + bias is its vector; `[channels, size]` each.
    channel_weight: Var,
    channel_bias: Var,
    selection: VariableSelection,
    lstm: Recurrent,
    after_lstm: GatedSkip,
    enrichment: GatedResidual,
    attention: LastStepAttention,
    after_attention: GatedSkip,
    feed_forward: GatedResidual,
    output: GatedSkip,
}

/// The static variables and the four contexts made of them.
struct Statics {
    /// Weight and bias `[numeric, size]`.
    numeric: Option<(Var, Var)>,
    categories: Vec<Embedding>,
    selection: VariableSelection,
    for_selection: GatedResidual,
    for_h: GatedResidual,
    for_c: GatedResidual,
    for_enrichment: GatedResidual,
}

struct Contexts<T> {
    selection: T,
    start: State<T>,
    enrichment: T,
}

impl Statics {
    fn new(params: &mut Params, shape: &InputShape, config: &TftConfig) -> Result<Option<Self>> {
        let size = config.size;
        let count = shape.numeric + shape.cardinalities.len();
        if count == 0 {
            return Ok(None);
        }
        let numeric = match shape.numeric {
            0 => None,
            n => Some(variable_vectors(params, "tft.numeric", n, size)?),
        };
        let categories = shape
            .cardinalities
            .iter()
            .enumerate()
            .map(|(index, &cardinality)| {
                let name = format!("tft.category.{index}");
                Embedding::new(params, &name, cardinality, size, Init::Normal(0.3))
            })
            .collect::<Result<_>>()?;
        let dropout = config.dropout;
        let name = "tft.static.selection";
        let selection = VariableSelection::new(params, name, count, size, None, dropout)?;
        let mut context = |purpose: &str| {
            let name = format!("tft.static.{purpose}");
            GatedResidual::new(params, &name, size, size, None, dropout)
        };
        Ok(Some(Self {
            numeric,
            categories,
            selection,
            for_selection: context("for_selection")?,
            for_h: context("for_h")?,
            for_c: context("for_c")?,
            for_enrichment: context("for_enrichment")?,
        }))
    }

    /// A vector per variable, `[batch, variables, size]`.
    fn variables(&self, batch: &Batch) -> Result<Tensor> {
        let mut variables = Vec::with_capacity(self.categories.len() + 1);
        if let Some((weight, bias)) = &self.numeric {
            let x = batch.numeric.unsqueeze(2)?;
            variables.push(x.broadcast_mul(weight)?.broadcast_add(bias)?);
        }
        for (embedding, ids) in self.categories.iter().zip(&batch.categories) {
            variables.push(embedding.forward(ids)?.unsqueeze(1)?);
        }
        Ok(Tensor::cat(&variables, 1)?)
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Contexts<Tensor>> {
        let variables = self.variables(batch)?;
        let variables = Variables::Vectors(&variables);
        let summary = self.selection.forward(&variables, None, mode)?;
        let context = |network: &GatedResidual| network.forward(&summary, None, mode);
        Ok(Contexts {
            selection: context(&self.for_selection)?,
            start: State {
                h: context(&self.for_h)?,
                c: Some(context(&self.for_c)?),
            },
            enrichment: context(&self.for_enrichment)?,
        })
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Contexts<Value>> {
        let mut variables = Vec::with_capacity(self.categories.len() + 1);
        if let Some((weight, bias)) = &self.numeric {
            let x = graph.reshape(&inputs.numeric, &[-1, weight.dim(0)? as i64, 1]);
            variables.push(export_vectors(graph, &x, weight, bias)?);
        }
        let axis = graph.ints(&[1], &[1]);
        for (embedding, ids) in self.categories.iter().zip(&inputs.categories) {
            let vector = embedding.export(graph, ids)?;
            variables.push(graph.op("Unsqueeze", &[&vector, &axis], &[]));
        }
        let variables: Vec<&Value> = variables.iter().collect();
        let variables = graph.concat(&variables, 1);
        let summary = self.selection.export(graph, &variables, None)?;
        let mut context = |network: &GatedResidual| network.export(graph, &summary, None, 2);
        Ok(Contexts {
            selection: context(&self.for_selection)?,
            start: State {
                h: context(&self.for_h)?,
                c: Some(context(&self.for_c)?),
            },
            enrichment: context(&self.for_enrichment)?,
        })
    }
}

/// What turns `count` numbers into vectors, as weight and bias.
fn variable_vectors(
    params: &mut Params,
    name: &str,
    count: usize,
    size: usize,
) -> Result<(Var, Var)> {
    let mut part = |part: &str| {
        let init = Init::Normal(0.3);
        params.weight(&format!("{name}.{part}"), &[count, size], init)
    };
    Ok((part("weight")?, part("bias")?))
}

/// `x` `[.., count, 1]` -> `[.., count, size]`.
fn export_vectors(graph: &mut GraphBuilder, x: &Value, weight: &Var, bias: &Var) -> Result<Value> {
    let weight = graph.tensor(weight)?;
    let bias = graph.tensor(bias)?;
    let product = graph.mul(x, &weight);
    Ok(graph.add(&product, &bias))
}

impl Tft {
    /// Adds the weights; an error without a sequence column, or if the heads do not divide the size.
    pub fn new(params: &mut Params, shape: &InputShape, config: &TftConfig) -> Result<Self> {
        let SequenceShape { steps, channels } = require_sequence(shape, "tft")?;
        let &TftConfig {
            size,
            heads,
            dropout,
        } = config;
        let statics = Statics::new(params, shape, config)?;
        let context = statics.as_ref().map(|_| size);
        let (channel_weight, channel_bias) =
            variable_vectors(params, "tft.channel", channels, size)?;
        let selection =
            VariableSelection::new(params, "tft.selection", channels, size, context, dropout)?;
        let lstm = Recurrent::new(params, "tft.lstm", Cell::Lstm, size, size)?;
        let after_lstm = GatedSkip::new(params, "tft.after_lstm", size, size)?;
        let enrichment =
            GatedResidual::new(params, "tft.enrichment", size, size, context, dropout)?;
        let attention = LastStepAttention::new(params, "tft.attention", size, heads)?;
        let after_attention = GatedSkip::new(params, "tft.after_attention", size, size)?;
        let feed_forward =
            GatedResidual::new(params, "tft.feed_forward", size, size, None, dropout)?;
        let output = GatedSkip::new(params, "tft.output", size, size)?;
        Ok(Self {
            size,
            steps,
            channels,
            statics,
            channel_weight,
            channel_bias,
            selection,
            lstm,
            after_lstm,
            enrichment,
            attention,
            after_attention,
            feed_forward,
            output,
        })
    }

    /// The channels of the sequence.
    fn variables<'a>(&'a self, values: &'a Tensor) -> Variables<'a> {
        Variables::Numbers(values, (&self.channel_weight, &self.channel_bias))
    }
}

impl Backbone for Tft {
    fn width(&self) -> usize {
        self.size
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let sequence = sequence_of(batch)?;
        let steps = sequence.values.dim(1)?;
        let statics = self.statics.as_ref();
        let contexts = statics
            .map(|statics| statics.forward(batch, mode))
            .transpose()?;
        let contexts = contexts.as_ref();
        // Every step is steered by its customer's context.
        let steering = contexts.map(|contexts| &contexts.selection);
        let channels = self.variables(&sequence.values);
        let selected = self.selection.forward(&channels, steering, mode)?;
        let start = contexts.map(|contexts| &contexts.start);
        let states = self.lstm.forward(&selected, &sequence.mask, start)?;
        let temporal = self.after_lstm.forward(&states, &selected)?;
        let enrichment = contexts.map(|contexts| &contexts.enrichment);
        let enriched = self.enrichment.forward(&temporal, enrichment, mode)?;
        let newest = |x: &Tensor| -> Result<Tensor> {
            Ok(x.narrow(1, steps - 1, 1)?.squeeze(1)?.contiguous()?)
        };
        let attended = self.attention.forward(&enriched, &sequence.mask)?;
        let attended = self
            .after_attention
            .forward(&attended, &newest(&enriched)?)?;
        let processed = self.feed_forward.forward(&attended, None, mode)?;
        self.output.forward(&processed, &newest(&temporal)?)
    }

    fn selection_weights(&self, batch: &Batch) -> Result<Vec<(&'static str, Tensor)>> {
        let mode = Mode::Evaluate;
        let mut weights = Vec::new();
        let mut steering = None;
        if let Some(statics) = &self.statics {
            let variables = statics.variables(batch)?;
            let variables = Variables::Vectors(&variables);
            let (summary, shares) = statics.selection.definition(&variables, None, &mode)?;
            steering = Some(statics.for_selection.forward(&summary, None, &mode)?);
            weights.push(("static", shares));
        }
        let channels = self.variables(&sequence_of(batch)?.values);
        let selected = self
            .selection
            .definition(&channels, steering.as_ref(), &mode)?;
        weights.push(("sequence", selected.1));
        Ok(weights)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let (values, mask) = sequence_values(inputs)?;
        let (size, channels) = (self.size as i64, self.channels as i64);
        let contexts = match &self.statics {
            Some(statics) => Some(statics.export(graph, inputs)?),
            None => None,
        };
        let axis = graph.ints(&[3], &[1]);
        let column = graph.op("Unsqueeze", &[values, &axis], &[]);
        let vectors = export_vectors(graph, &column, &self.channel_weight, &self.channel_bias)?;
        let steering = match &contexts {
            Some(contexts) => {
                let axis = graph.ints(&[1], &[1]);
                let context = graph.op("Unsqueeze", &[&contexts.selection, &axis], &[]);
                // Spread over the steps by adding zeros of their shape.
                let axis = graph.ints(&[2], &[1]);
                let spread = graph.op("Unsqueeze", &[mask, &axis], &[]);
                let zero = graph.float(0.0);
                let spread = graph.mul(&spread, &zero);
                let context = graph.add(&context, &spread);
                Some(graph.reshape(&context, &[-1, size]))
            }
            None => None,
        };
        let rows = graph.reshape(&vectors, &[-1, channels, size]);
        let selected = self.selection.export(graph, &rows, steering.as_ref())?;
        let shape = graph.op("Shape", &[mask], &[]);
        let width = graph.ints(&[size], &[1]);
        let shape = graph.concat(&[&shape, &width], 0);
        let selected = graph.op("Reshape", &[&selected, &shape], &[]);
        let time_major = graph.transpose(&selected, &[1, 0, 2]);
        let mask_by_step = graph.transpose(mask, &[1, 0]);
        let start = contexts
            .as_ref()
            .map(|contexts| (&contexts.start, self.steps));
        let states = self.lstm.export(graph, &time_major, &mask_by_step, start)?;
        let states = graph.transpose(&states, &[1, 0, 2]);
        let temporal = self.after_lstm.export(graph, &states, &selected, 3)?;
        let enrichment = contexts.as_ref().map(|contexts| &contexts.enrichment);
        let enriched = self.enrichment.export(graph, &temporal, enrichment, 3)?;
        let last = graph.ints(&[-1], &[]);
        let newest = |graph: &mut GraphBuilder, x: &Value| {
            let axis = [("axis", crate::onnx::Attribute::Int(1))];
            graph.op("Gather", &[x, &last], &axis)
        };
        let attended = self.attention.export(graph, &enriched, mask)?;
        let skip = newest(graph, &enriched);
        let attended = self.after_attention.export(graph, &attended, &skip, 2)?;
        let processed = self.feed_forward.export(graph, &attended, None, 2)?;
        let skip = newest(graph, &temporal);
        self.output.export(graph, &processed, &skip, 2)
    }
}
