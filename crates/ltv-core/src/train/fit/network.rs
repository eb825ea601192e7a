//! One backbone with one objective and their weights.

use crate::backbone::{self, Backbone, BackboneConfig};
use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::kernels::threads;
use crate::objective::{self, Distribution, Loss, Objective, ObjectiveConfig, TargetStatistics};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use crate::preprocess::EncodedRows;
use crate::train::rows::Rows;
use candle_core::{DType, Device, Tensor, Var};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

/// Everything a network is built from, except the seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkConfig {
    pub backbone: BackboneConfig,
    pub objective: ObjectiveConfig,
    pub shape: InputShape,
    pub target: TargetStatistics,
    /// Of the intervals between the ends of several horizons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<TargetStatistics>,
}

pub struct Network {
    params: Params,
    backbone: Box<dyn Backbone>,
    objective: Box<dyn Objective>,
}

impl Network {
    /// With at most so many weights.
    pub fn new(config: &NetworkConfig, seed: u64, device: &Device, weights: usize) -> Result<Self> {
        let mut params = Params::new(seed, DType::F32, device.clone()).with_room(weights);
        let backbone = backbone::build(&config.backbone, &config.shape, &mut params)?;
        let objective = objective::build_horizons(
            &config.objective,
            backbone.as_ref(),
            &config.target,
            &config.intervals,
            &mut params,
        )?;
        Ok(Self {
            params,
            backbone,
            objective,
        })
    }

    pub fn weights(&self) -> &[(String, Var)] {
        self.params.weights()
    }

    /// Weights and running statistics.
    pub fn variables(&self) -> impl Iterator<Item = &(String, Var)> {
        self.params.weights().iter().chain(self.params.buffers())
    }

    pub fn distribution(&self) -> Option<Distribution> {
        self.objective.distribution()
    }

    /// Whether the loss of a row depends on the other rows of its batch, be it through batch statistics.
    pub fn couples_rows(&self) -> bool {
        self.objective.couples_rows() || !self.params.buffers().is_empty()
    }

    pub fn payers_per_batch(&self) -> usize {
        self.objective.payers_per_batch()
    }

    pub fn loss(&self, rows: &EncodedRows, mode: &Mode) -> Result<Loss> {
        let hidden = self.backbone.forward(&rows.batch, mode)?;
        let output = self.objective.forward(&hidden, mode)?;
        self.objective.loss(&output, &rows.target, mode)
    }

    /// The loss in evaluation mode together with the predictions.
    pub fn evaluate(&self, rows: &EncodedRows) -> Result<(Loss, Predictions)> {
        let mode = Mode::Evaluate;
        let hidden = self.backbone.forward(&rows.batch, &mode)?;
        let output = self.objective.forward(&hidden, &mode)?;
        let loss = self.objective.loss(&output, &rows.target, &mode)?;
        Ok((loss, self.columns(&output)?))
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        let mode = Mode::Evaluate;
        let hidden = self.backbone.forward(batch, &mode)?;
        self.columns(&self.objective.forward(&hidden, &mode)?)
    }

    /// See [`Backbone::selection_weights`].
    pub fn selection_weights(&self, batch: &Batch) -> Result<Vec<(&'static str, Tensor)>> {
        self.backbone.selection_weights(batch)
    }

    /// Predictions for many rows, `at_once` at a time.
    pub fn predict_rows(&self, data: &Rows, rows: &[u32], at_once: usize) -> Result<Predictions> {
        let parts: Result<Vec<Predictions>> = rows
            .par_chunks(at_once)
            .map(|rows| threads::alone(|| self.predict(&data.gather(rows)?.batch)))
            .collect();
        let mut predictions = Predictions::default();
        parts?.into_iter().for_each(|part| predictions.extend(part));
        Ok(predictions)
    }

    fn columns(&self, output: &objective::HeadOutput) -> Result<Predictions> {
        let mut columns = Vec::new();
        for (name, tensor) in self.objective.predict(output)? {
            columns.push((name, tensor.flatten_all()?.to_vec1::<f32>()?));
        }
        Ok(Predictions { columns })
    }

    /// Roughly what a training on batches of so many rows takes on a device: the weights with their gradients and
    /// moments, and what a batch leaves behind on the way forward.
    pub fn training_bytes(&self, shape: &InputShape, batch: usize) -> usize {
        // Of each layer the input, the product, the activation, and the gradients of them.
        const PER_OUTPUT: usize = 12;
        let count: usize = (self.params.weights().iter())
            .map(|(_, var)| var.elem_count())
            .sum();
        let pairs = match shape.sequence {
            Some(sequence) => 8 * sequence.steps * sequence.steps,
            None => 0,
        };
        let per_row = self.outputs(shape).saturating_mul(PER_OUTPUT) + pairs;
        let batch = batch.saturating_mul(per_row);
        batch.saturating_add(6 * count).saturating_mul(4)
    }

    /// What the inputs and outputs of the layers take in a batch of so many rows, each once.
    pub fn batch_bytes(&self, shape: &InputShape, rows: usize) -> usize {
        self.outputs(shape).saturating_mul(rows).saturating_mul(4)
    }

    /// Numbers per row that layers put out, and the numeric inputs; roughly.
    fn outputs(&self, shape: &InputShape) -> usize {
        let weights = self.params.weights().iter();
        let outputs: usize = weights
            .filter(|(_, var)| var.rank() != 2)
            .map(|(_, var)| var.elem_count())
            .sum();
        let steps = shape.sequence.map_or(1, |sequence| sequence.steps);
        (outputs + shape.numeric).saturating_mul(steps)
    }

    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        inputs: &GraphInputs,
    ) -> Result<Vec<(&'static str, Value)>> {
        let hidden = self.backbone.export(graph, inputs)?;
        self.objective.export(graph, &hidden)
    }

    /// The predictions of several networks of one kind, `[batch, networks]` each.
    pub fn export_together(
        networks: &[Self],
        graph: &mut GraphBuilder,
        inputs: &GraphInputs,
    ) -> Result<Vec<(&'static str, Value)>> {
        let mut hidden = Vec::with_capacity(networks.len());
        for network in networks {
            hidden.push(network.backbone.export(graph, inputs)?);
        }
        let objectives = networks.iter().map(|network| network.objective.as_ref());
        objective::export_together(graph, &objectives.collect::<Vec<_>>(), &hidden)
    }

    /// A copy of all variables, to come back to.
    pub fn snapshot(&self) -> Result<Vec<Tensor>> {
        self.variables()
            .map(|(_, var)| Ok(var.as_tensor().copy()?))
            .collect()
    }

    pub fn restore(&self, snapshot: &[Tensor]) -> Result<()> {
        for ((_, var), tensor) in self.variables().zip(snapshot) {
            var.set(tensor)?;
        }
        Ok(())
    }
}

/// Predictions by public name, one value per row.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    pub columns: Vec<(&'static str, Vec<f32>)>,
}

impl Predictions {
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.columns
            .iter()
            .find(|(column, _)| *column == name)
            .map(|(_, values)| values.as_slice())
    }

    /// The expected value; of a head without one the purchase probability.
    pub fn value(&self) -> &[f32] {
        self.get("ltv")
            .or_else(|| self.get("purchase_probability"))
            .unwrap_or_default()
    }

    /// Appends the rows of `other`.
    pub fn extend(&mut self, other: Self) {
        if self.columns.is_empty() {
            self.columns = other.columns;
            return;
        }
        for ((_, mine), (_, theirs)) in self.columns.iter_mut().zip(other.columns) {
            mine.extend(theirs);
        }
    }
}
