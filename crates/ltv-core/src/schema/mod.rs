//! The inputs and outputs of a model: the document `ltv.versions.schema`, which training and importing write and
//! scoring reads.

mod intervals;

pub use intervals::{COVERAGES, FEWEST_IN_TIER, Intervals, Observed, tiers};

use crate::btyd::State;
use crate::error::{Error, Result};
use crate::objective::Distribution;
use crate::onnx::Derived;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a column enters the model, and with it the shape of its ONNX input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnKind {
    /// float32 `[batch, 1]`; NaN and infinities are missing values.
    Numeric,
    /// string `[batch, 1]`; the empty string is a missing value.
    Categorical,
    /// float32 `[batch, 1]`: days since 1970-01-01, the fraction is the time of day.
    Timestamp,
    /// float32 `[batch, len]`.
    Vector {
        /// Numbers per row.
        len: usize,
    },
    /// float32 `[batch, steps, channels]`, oldest step first, padded in front with steps that are all NaN.
    Sequence {
        /// Numbers per step.
        channels: usize,
    },
}

impl ColumnKind {
    /// How many columns of the raw float matrix it takes.
    pub fn matrix_width(self) -> usize {
        match self {
            Self::Numeric | Self::Timestamp => 1,
            Self::Vector { len } => len,
            Self::Categorical | Self::Sequence { .. } => 0,
        }
    }

    /// Whether one value fills it.
    pub fn is_single(self) -> bool {
        matches!(self, Self::Numeric | Self::Categorical | Self::Timestamp)
    }

    /// How many elements of an array that gives all inputs it takes; `None`: it cannot be given by one.
    pub fn width(self) -> Option<usize> {
        match self {
            Self::Numeric | Self::Categorical | Self::Timestamp => Some(1),
            Self::Vector { len } => Some(len),
            Self::Sequence { .. } => None,
        }
    }
}

/// An input of the graph and the SQL column that it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureColumn {
    /// Of the column and of the input.
    pub name: String,
    /// How it is read.
    #[serde(flatten)]
    pub kind: ColumnKind,
    /// The SQL type of the column that it was trained on, as `format_type` spells it, or what a domain is over; imported
    /// graphs have none.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub sql_type: Option<String>,
}

impl FeatureColumn {
    /// A column whose range and vocabulary are not known yet.
    pub fn new(name: impl Into<String>, kind: ColumnKind, sql_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            sql_type: Some(sql_type.into()),
        }
    }

    /// An input of a graph that was made elsewhere.
    pub fn imported(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self {
            name: name.into(),
            kind,
            sql_type: None,
        }
    }

    /// Whether a timestamp column of this type has an hour worth looking at.
    pub fn has_time_of_day(&self) -> bool {
        self.kind == ColumnKind::Timestamp && self.sql_type.as_deref() != Some("date")
    }
}

/// Inputs and outputs of a version's graph; stored with it and in its metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// In the order of an array that gives them all.
    pub inputs: Vec<FeatureColumn>,
    /// Public names of what the version predicts, `ltv` first where there is one.
    pub outputs: Vec<String>,
    /// How the parameters among the outputs are to be read.
    #[serde(default)]
    pub distribution: Option<Distribution>,
    /// Ends of several horizons in days, ascending: the value by each of them is an output, that by the last one is `ltv`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub horizons: Vec<f32>,
    /// How quantiles become intervals with a promise, where customers were held out to judge them by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// Imported graphs: all inputs, numeric ones, are the columns of this one float input of the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packed: Option<String>,
    /// Imported graphs: public name -> name in the graph, where they differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub graph_outputs: BTreeMap<String, String>,
    /// Imported graphs: what is computed from their outputs, where these are no prediction as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Derived>,
    /// What tells the state of a customer, where the inputs have what it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
}

/// What a prediction may be called, but for the values by the end of shorter horizons.
pub const OUTPUTS: [&str; 7] = [
    "ltv",
    "purchase_probability",
    "whale_probability",
    "mu",
    "sigma",
    "alpha",
    "rate",
];

/// The output with the value by the end of a horizon that is not the longest: named like the label it is learned from.
pub fn horizon_output(days: f32) -> String {
    format!("ltv_{days}")
}

impl Schema {
    /// Of a graph of ours, whose outputs bear their public names.
    pub fn new(
        inputs: Vec<FeatureColumn>,
        outputs: Vec<String>,
        distribution: Option<Distribution>,
    ) -> Self {
        Self {
            inputs,
            outputs,
            distribution,
            horizons: Vec::new(),
            intervals: None,
            packed: None,
            graph_outputs: BTreeMap::new(),
            derived: Vec::new(),
            state: None,
        }
    }

    /// Reads what [`Schema::to_json`] wrote.
    pub fn from_json(value: &serde_json::Value) -> Result<Self> {
        Self::deserialize(value).map_err(|error| {
            Error::model("the stored schema of the model cannot be read").detail(error.to_string())
        })
    }

    /// As it is stored.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
