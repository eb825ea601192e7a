//! `purchase`: whether a customer will buy at all.

use super::terms::{bce, export_probability, paying};
use super::{HeadOutput, Loss, Objective, Prediction, TargetStatistics, head, taken};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::functions::sigmoid;
use crate::layers::activation::Activation;
use crate::layers::dense::Dense;
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;

/// The first `unit_columns` of `h` enter the logit with weight one, the others through a dense layer: that makes
/// `deepfm` with this objective DeepFM as published.
pub struct Purchase {
    unit_columns: usize,
    head: Dense,
}

impl Purchase {
    /// Adds the head over `width` numbers.
    pub fn new(
        params: &mut Params,
        width: usize,
        unit_columns: usize,
        statistics: &TargetStatistics,
    ) -> Result<Self> {
        let start = statistics.paying_logit();
        Ok(Self {
            unit_columns,
            head: head(params, "head", width - unit_columns, &[start])?,
        })
    }
}

impl Objective for Purchase {
    fn name(&self) -> &'static str {
        "purchase"
    }

    fn forward(&self, hidden: &Tensor, _mode: &Mode) -> Result<HeadOutput> {
        let units = self.unit_columns;
        if units == 0 {
            let logit = self.head.forward(hidden, Activation::Identity)?;
            return Ok(vec![logit.squeeze(1)?]);
        }
        let weighted = hidden
            .narrow(1, units, hidden.dim(1)? - units)?
            .contiguous()?;
        let logit = self
            .head
            .forward(&weighted, Activation::Identity)?
            .squeeze(1)?;
        Ok(vec![(logit + hidden.narrow(1, 0, units)?.sum(1)?)?])
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, _mode: &Mode) -> Result<Loss> {
        let total = bce(&output[0], &paying(target)?)?.mean_all()?;
        Ok(Loss::single("purchase", total))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        Ok(vec![("purchase_probability", sigmoid(&output[0])?)])
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["purchase_probability"]
    }

    fn scores(&self) -> usize {
        1
    }

    fn only_layer(&self) -> Option<&Dense> {
        (self.unit_columns == 0).then_some(&self.head)
    }

    fn export_scores(&self, graph: &mut GraphBuilder, hidden: &Value) -> Result<Value> {
        let units = self.unit_columns as i64;
        if units == 0 {
            return self.head.export(graph, hidden, 2);
        }
        let weighted = graph.slice(hidden, 1, units, i64::MAX);
        let logit = self.head.export(graph, &weighted, 2)?;
        let unit = graph.slice(hidden, 1, 0, units);
        let unit = graph.sum(&unit, 1, true);
        Ok(graph.add(&logit, &unit))
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let [logit] = taken(scores)?;
        let probability = export_probability(graph, logit);
        Ok(vec![("purchase_probability", probability)])
    }
}
