//! Several networks as one model, in Rust for the metrics and in the graph for scoring.
//!
//! Values and probabilities are averaged, and fall with a silence longer than any known one; the value is blended with
//! MBG/NBD's where that helps, then calibrated. The parameters of the distribution are set so that its mean is that value:
//! quantiles and expectation stay consistent.

mod average;
pub mod blend;
mod bounded;
pub mod calibration;
pub mod correction;
pub mod curve;
mod deviance;
pub mod evaluate;
pub mod log_depth;
pub mod mbgnbd;
pub mod mix;
pub mod report;
pub mod season;
pub mod silence;
pub mod spread;

use super::fit::network::Predictions;
use crate::data::TrainingTable;
use crate::objective::horizons::{ENDS, INTERVALS};
use crate::onnx::{ElementType, GraphBuilder, NUMERIC, Value};
use crate::schema::Intervals;
pub use average::Members;
use average::average;
use correction::{Aside, Correction};
use curve::Curve;
use mix::Mix;
use serde::{Deserialize, Serialize};
use silence::FALLS;

/// Values and probabilities are taken for at least this where their logarithm is needed.
const TINY: f32 = 1e-30;

/// Values inside a graph by public name.
pub type Named = Vec<(&'static str, Value)>;

/// What happens to the values of the networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finish {
    /// No network's value counts for more than this.
    pub cap: Option<f32>,
    /// With trees grown beside the networks.
    #[serde(default)]
    pub mix: Option<Mix>,
    /// Of several horizons that of the longest.
    #[serde(flatten)]
    pub correction: Correction,
    /// Of several horizons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// How quantiles become intervals with a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
}

/// Whether an output is money that is spent in the horizon or in a part of it.
pub fn is_spend(name: &str) -> bool {
    name == "ltv" || INTERVALS.contains(&name)
}

impl Finish {
    /// Of the same rows, `trees`: the predictions of trees beside the networks, if there are any; `aside`: what the correction of each horizon reads,
    /// the longest last.
    pub fn combine(
        &self,
        mut members: Vec<Predictions>,
        mut trees: Vec<Predictions>,
        aside: &[Aside],
    ) -> Predictions {
        let as_they_are = members.len() == 1 && *self == Self::default();
        let all = members.iter_mut().chain(&mut trees);
        all.for_each(|member| self.limit(member));
        let mut predictions = average(members);
        if let (Some(mix), false) = (self.mix, trees.is_empty()) {
            predictions = mix.apply(predictions, &average(trees));
        }
        let nothing = Aside::default();
        let longest = aside.last().unwrap_or(&nothing);
        for (name, column) in &mut predictions.columns {
            match *name {
                "ltv" if self.curve.is_none() => self.correction.apply(column, longest),
                name if FALLS.contains(&name) => correction::fall(column, longest),
                _ => {}
            }
        }
        if let Some(curve) = &self.curve {
            curve.apply(self, &mut predictions, aside);
        }
        if !as_they_are {
            reconcile(&mut predictions);
        }
        predictions
    }

    /// What [`Finish::combine`] reads of the rows of a table beside the models.
    pub fn aside(&self, table: &TrainingTable) -> Vec<Aside> {
        let Some(curve) = &self.curve else {
            return vec![self.correction.aside(table, None)];
        };
        let corrections = curve.shorter.iter().chain([&self.correction]);
        corrections
            .zip(&curve.days)
            .map(|(correction, days)| correction.aside(table, Some(*days)))
            .collect()
    }

    /// The ends of several horizons in days.
    pub fn days(&self) -> Option<&[f32]> {
        self.curve.as_ref().map(|curve| curve.days.as_slice())
    }

    /// Of one network, before its values are averaged with others'.
    pub fn limit(&self, member: &mut Predictions) {
        for (name, column) in &mut member.columns {
            if let (true, Some(cap)) = (is_spend(name), self.cap) {
                column.iter_mut().for_each(|value| *value = value.min(cap));
            }
        }
    }

    /// The predictions, float `[batch]` each; `trees`: of trees beside the networks, if there are any.
    ///
    /// What follows the average takes logarithms and makes values of them again: in single precision the last digit of a logarithm
    /// would be several of a value. So that is computed in double precision, on one number for each customer.
    pub fn export(
        &self,
        graph: &mut GraphBuilder,
        mut members: Members,
        trees: Option<Members>,
    ) -> Named {
        if members.is_one() && *self == Self::default() {
            return members.export(graph);
        }
        let mut trees = trees;
        if let Some(cap) = self.cap {
            let all = std::iter::once(&mut members).chain(&mut trees);
            all.for_each(|members| members.limit(graph, cap));
        }
        let mut outputs = members.export(graph);
        cast(graph, &mut outputs, ElementType::Double);
        let trees = trees.map(|trees| {
            let mut outputs = trees.export(graph);
            cast(graph, &mut outputs, ElementType::Double);
            outputs
        });
        graph.in_double(|graph| self.correct(graph, &mut outputs, trees.as_deref()));
        cast(graph, &mut outputs, ElementType::Float);
        export_reconcile(graph, outputs)
    }

    /// In double precision.
    fn correct(
        &self,
        graph: &mut GraphBuilder,
        outputs: &mut Named,
        trees: Option<&[(&'static str, Value)]>,
    ) {
        if let (Some(mix), Some(trees)) = (self.mix, trees) {
            mix.export(graph, outputs, trees);
        }
        let silence = self.correction.silence.as_ref();
        let left = silence.map(|silence| silence.export(graph, &Value::named(NUMERIC)));
        for (name, value) in outputs.iter_mut() {
            match (*name, &left) {
                ("ltv", _) if self.curve.is_none() => {
                    *value = self.correction.export(graph, value, None);
                }
                (name, Some(left)) if FALLS.contains(&name) => *value = graph.mul(value, left),
                _ => {}
            }
        }
        if let Some(curve) = &self.curve {
            curve.export(self, graph, outputs);
        }
    }
}

/// What is corrected in another type: expected values and probabilities.
fn cast(graph: &mut GraphBuilder, outputs: &mut [(&'static str, Value)], to: ElementType) {
    for (name, value) in outputs {
        if is_spend(name) || ENDS.contains(name) || FALLS.contains(name) {
            *value = graph.cast(value, to);
        }
    }
}

/// `mu = ln(ltv) - ln(p) - sigma^2 / 2`, and `rate = alpha * p / ltv`.
fn reconcile(predictions: &mut Predictions) {
    let (Some(value), Some(probability)) = (
        predictions.get("ltv").map(<[f32]>::to_vec),
        predictions.get("purchase_probability").map(<[f32]>::to_vec),
    ) else {
        return;
    };
    let sigma = predictions.get("sigma").map(<[f32]>::to_vec);
    let alpha = predictions.get("alpha").map(<[f32]>::to_vec);
    for (name, column) in &mut predictions.columns {
        for (row, parameter) in column.iter_mut().enumerate() {
            let (value, probability) = (value[row].max(TINY), probability[row].max(TINY));
            match (*name, &sigma, &alpha) {
                ("mu", Some(sigma), _) => {
                    *parameter = value.ln() - probability.ln() - sigma[row] * sigma[row] * 0.5;
                }
                ("rate", _, Some(alpha)) => *parameter = alpha[row] * probability / value,
                _ => {}
            }
        }
    }
}

fn export_reconcile(graph: &mut GraphBuilder, mut outputs: Named) -> Named {
    let find = |name: &str| {
        outputs
            .iter()
            .find(|(output, _)| *output == name)
            .map(|(_, value)| value.clone())
    };
    let (Some(value), Some(probability)) = (find("ltv"), find("purchase_probability")) else {
        return outputs;
    };
    let (sigma, alpha) = (find("sigma"), find("alpha"));
    let value = graph.max(&value, TINY);
    let probability = graph.max(&probability, TINY);
    for (name, output) in &mut outputs {
        match (*name, &sigma, &alpha) {
            ("mu", Some(sigma), _) => {
                let value = graph.log(&value);
                let probability = graph.log(&probability);
                let mean = graph.sub(&value, &probability);
                let half = graph.float(0.5);
                let variance = graph.mul(sigma, sigma);
                let variance = graph.mul(&variance, &half);
                *output = graph.sub(&mean, &variance);
            }
            ("rate", _, Some(alpha)) => {
                let expected = graph.mul(alpha, &probability);
                *output = graph.div(&expected, &value);
            }
            _ => {}
        }
    }
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One network that has lost its way cannot outweigh the others.
    #[test]
    fn no_network_counts_for_more_than_the_cap() {
        let finish = Finish {
            cap: Some(10.0),
            ..Finish::default()
        };
        let member = |value: f32| Predictions {
            columns: vec![
                ("ltv", vec![value, 1.0]),
                ("purchase_probability", vec![0.5; 2]),
            ],
        };
        let combined = finish.combine(vec![member(f32::MAX), member(4.0)], Vec::new(), &[]);
        assert_eq!(combined.value(), [7.0, 1.0]);
        assert_eq!(combined.get("purchase_probability"), Some(&[0.5; 2][..]));
    }
}
