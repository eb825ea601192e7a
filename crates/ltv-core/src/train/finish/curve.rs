//! From what is expected in each interval to the value by the end of each horizon.
//!
//! The value by the end of a horizon is the sum of its intervals, with a correction of its own, and is raised to that of the horizon before where it
//! would be less: no correction can make a longer horizon worth less.

use super::correction::{Aside, Correction};
use super::{Finish, Named};
use crate::objective::horizons::{ENDS, INTERVALS};
use crate::onnx::{GraphBuilder, Value};
use crate::train::fit::network::Predictions;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Ends of the horizons in days, ascending.
    pub days: Vec<f32>,
    /// Of the values by the end of each but the longest, whose correction is the version's.
    pub shorter: Vec<Correction>,
}

impl Curve {
    fn corrections<'a>(&'a self, finish: &'a Finish) -> impl Iterator<Item = &'a Correction> {
        self.shorter.iter().chain([&finish.correction])
    }

    /// Values by the end of each horizon in place of what is expected in each interval.
    pub fn apply(&self, finish: &Finish, predictions: &mut Predictions, aside: &[Aside]) {
        let mut ends = sums(predictions);
        for (index, correction) in self.corrections(finish).enumerate() {
            let nothing = Aside::default();
            if let Some(end) = ends.get_mut(index) {
                correction.apply(end, aside.get(index).unwrap_or(&nothing));
            }
        }
        for index in 1..ends.len() {
            let (before, after) = ends.split_at_mut(index);
            if let (Some(before), Some(after)) = (before.last(), after.first_mut()) {
                let pairs = after.iter_mut().zip(before);
                pairs.for_each(|(value, before)| *value = value.max(*before));
            }
        }
        let longest = ends.pop().unwrap_or_default();
        let columns = &mut predictions.columns;
        columns.retain(|(name, _)| !INTERVALS.contains(name));
        if let Some((_, value)) = columns.iter_mut().find(|(name, _)| *name == "ltv") {
            *value = longest;
        }
        columns.extend(ENDS.into_iter().zip(ends));
    }

    /// The same in a graph.
    pub fn export(&self, finish: &Finish, graph: &mut GraphBuilder, outputs: &mut Named) {
        let spent = outputs.iter().filter(|(name, _)| INTERVALS.contains(name));
        let mut ends: Vec<Value> = spent.map(|(_, value)| value.clone()).collect();
        for index in 1..ends.len() {
            ends[index] = graph.add(&ends[index - 1], &ends[index]);
        }
        let corrections = self.corrections(finish).zip(&self.days);
        for (end, (correction, days)) in ends.iter_mut().zip(corrections) {
            *end = correction.export(graph, end, Some(*days));
        }
        for index in 1..ends.len() {
            ends[index] = graph.op("Max", &[&ends[index], &ends[index - 1]], &[]);
        }
        outputs.retain(|(name, _)| !INTERVALS.contains(name));
        if let (Some(longest), Some((_, value))) = (
            ends.pop(),
            outputs.iter_mut().find(|(name, _)| *name == "ltv"),
        ) {
            *value = longest;
        }
        outputs.extend(ENDS.into_iter().zip(ends));
    }
}

/// What is expected up to the end of each horizon, from what is expected in each interval.
pub fn sums(predictions: &Predictions) -> Vec<Vec<f32>> {
    let names = INTERVALS.iter();
    let mut sums: Vec<Vec<f32>> = names
        .map_while(|name| predictions.get(name))
        .map(<[f32]>::to_vec)
        .collect();
    for index in 1..sums.len() {
        let (before, after) = sums.split_at_mut(index);
        if let (Some(before), Some(after)) = (before.last(), after.first_mut()) {
            let pairs = after.iter_mut().zip(before);
            pairs.for_each(|(value, before)| *value += before);
        }
    }
    sums
}
