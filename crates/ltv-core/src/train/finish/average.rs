//! The mean over the members of an ensemble, in Rust and in a graph.

use super::{Named, is_spend};
use crate::objective::terms::export_minimum;
use crate::onnx::GraphBuilder;
use crate::train::fit::network::Predictions;

/// What the members of an ensemble predict inside a graph, by public name.
#[derive(Clone)]
pub enum Members {
    /// Of each its own, `[batch]`.
    Apart(Vec<Named>),
    /// Of all, `[batch, members]`.
    Together(Named),
}

impl Members {
    pub fn is_one(&self) -> bool {
        matches!(self, Self::Apart(members) if members.len() == 1)
    }

    /// Expected values that are no larger.
    pub fn limit(&mut self, graph: &mut GraphBuilder, cap: f32) {
        let all: Vec<&mut Named> = match self {
            Self::Apart(members) => members.iter_mut().collect(),
            Self::Together(members) => vec![members],
        };
        for (name, value) in all.into_iter().flatten() {
            if is_spend(name) {
                *value = export_minimum(graph, value, cap);
            }
        }
    }

    /// [`average`] inside the graph, `[batch]` each.
    pub fn export(&self, graph: &mut GraphBuilder) -> Named {
        match self {
            Self::Together(members) => members
                .iter()
                .map(|(name, value)| (*name, graph.mean(value, 1, false)))
                .collect(),
            Self::Apart(members) => match members.as_slice() {
                [only] => only.clone(),
                several => of_columns(graph, several),
            },
        }
    }
}

fn of_columns(graph: &mut GraphBuilder, members: &[Named]) -> Named {
    let count = graph.float(members.len() as f32);
    let names = members.first().map(Vec::as_slice).unwrap_or_default();
    let mut outputs = Vec::new();
    for (index, (name, first)) in names.iter().enumerate() {
        let mut sum = first.clone();
        for member in &members[1..] {
            sum = graph.add(&sum, &member[index].1);
        }
        outputs.push((*name, graph.div(&sum, &count)));
    }
    outputs
}

/// The mean over the members, name by name.
pub fn average(members: Vec<Predictions>) -> Predictions {
    let count = members.len() as f32;
    let mut members = members.into_iter();
    let Some(mut total) = members.next() else {
        return Predictions::default();
    };
    for member in members {
        for ((_, sum), (_, values)) in total.columns.iter_mut().zip(member.columns) {
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }
    for (_, sum) in &mut total.columns {
        sum.iter_mut().for_each(|value| *value /= count);
    }
    total
}
