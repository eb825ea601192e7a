//! `ltv.versions.schema`: what a version wants to be fed and what it returns.

use ltv_core::objective::Distribution;
use ltv_core::onnx::Derived;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Schema {
    /// In the order of positional (array) input.
    pub inputs: Vec<Input>,
    /// Public names of what the version predicts.
    pub outputs: Vec<String>,
    #[serde(default)]
    pub distribution: Option<Distribution>,
    /// Imported graphs: all inputs, numeric ones, are the columns of this one float input of the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<String>,
    /// Imported graphs: public name -> name in the graph, where they differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub graph_outputs: BTreeMap<String, String>,
    /// Imported graphs: what is computed from their outputs, where these are no prediction as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Derived>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Input {
    pub name: String,
    #[serde(flatten)]
    pub kind: Kind,
    /// SQL type of the column that it was trained on.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// A number; NaN: missing.
    Numeric,
    /// A string; empty: missing.
    Categorical,
    /// Days since 1970-01-01; NaN: missing.
    Timestamp,
    /// An array of `len` numbers.
    Vector { len: usize },
    /// Steps of `channels` numbers each, oldest first.
    Sequence { channels: usize },
}

impl Kind {
    /// Whether one value fills it.
    pub fn is_single(self) -> bool {
        matches!(self, Self::Numeric | Self::Categorical | Self::Timestamp)
    }

    /// How many elements of a positional array it takes; `None`: it cannot be given by one.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Numeric | Self::Categorical | Self::Timestamp => Some(1),
            Self::Vector { len } => Some(len),
            Self::Sequence { .. } => None,
        }
    }
}
