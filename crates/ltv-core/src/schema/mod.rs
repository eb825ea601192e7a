//! The inputs and outputs of a model, as stored with each version and shared by exporter and scorer.

use crate::error::{Error, Result};
use crate::objective::Distribution;
use serde::{Deserialize, Serialize};

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
    Vector { len: usize },
    /// float32 `[batch, steps, channels]`, oldest step first, padded in front with steps that are all NaN.
    Sequence { channels: usize },
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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureColumn {
    pub name: String,
    #[serde(flatten)]
    pub kind: ColumnKind,
    /// The SQL type, as `format_type` spells it.
    #[serde(rename = "type")]
    pub sql_type: String,
}

impl FeatureColumn {
    pub fn new(name: impl Into<String>, kind: ColumnKind, sql_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            sql_type: sql_type.into(),
        }
    }

    /// Whether a timestamp column of this type has an hour worth looking at.
    pub fn has_time_of_day(&self) -> bool {
        self.kind == ColumnKind::Timestamp && self.sql_type != "date"
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    pub inputs: Vec<FeatureColumn>,
    pub outputs: Vec<String>,
    pub distribution: Option<Distribution>,
}

impl Schema {
    pub fn from_json(value: &serde_json::Value) -> Result<Self> {
        serde_json::from_value(value.clone()).map_err(|error| {
            Error::model("the stored schema of the model cannot be read").detail(error.to_string())
        })
    }

    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
