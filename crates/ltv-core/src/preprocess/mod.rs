//! From raw columns to what a backbone sees. Fitted once on the training rows, applied to the training data in place
//! ([`Preprocessing::encode`]) and written into the graph ([`Preprocessing::export`]) with the same float operations
//! in the same order, so that training and scoring cannot differ.

mod calendar;
mod encode;
mod export;
mod fit;
mod raw;
mod statistics;

pub use calendar::DatePart;
pub use encode::{Encoded, EncodedRows};
pub use export::Front;
pub use raw::{RawColumn, RawKind};
pub use statistics::describe_values;

use crate::batch::{InputShape, SequenceShape};
use crate::data::TrainingTable;
use crate::error::Result;
use crate::recipe::Options;
use crate::schema::FeatureColumn;
use serde::{Deserialize, Serialize};

/// The input that carries the cut-off, where the training relation had such a column.
pub const AS_OF: &str = "as_of";

/// Fitted state; stored with the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The inputs of the graph in order; [`AS_OF`] last if timestamps need it.
    pub inputs: Vec<FeatureColumn>,
    /// One per column of the raw matrix, [`AS_OF`] excepted.
    pub columns: Vec<MatrixColumn>,
    /// The cut-off where none is given, in days since 1970-01-01.
    pub reference_date: f32,
    /// Whether rows bring their cut-off along.
    pub has_as_of: bool,
    /// One per categorical input: its values by id, from id 1.
    pub vocabularies: Vec<Vec<String>>,
    /// Calendar parts of timestamp columns; they become categories after those of `vocabularies`.
    pub date_parts: Vec<DatePartColumn>,
    /// The sequence column, if there is one.
    pub sequence: Option<SequenceScaling>,
    /// Standardised values of sequences lie in `[-clip, clip]`.
    pub clip: f32,
    /// Width of every embedding; by default it follows from the number of categories.
    pub embedding_size: Option<usize>,
}

/// `(f(v or median) - mean) * scale`, with f the identity or the signed logarithm. A constant column has scale 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatrixColumn {
    /// Is a timestamp: turned into its age in days first.
    pub is_date: bool,
    /// Stands for a missing value.
    pub median: f32,
    /// Whether f is the signed logarithm.
    pub log: bool,
    /// The mean of f.
    pub mean: f32,
    /// One over the standard deviation of f.
    pub scale: f32,
    /// Standardised values are limited to this range, about that of the training rows.
    pub low: f32,
    /// See `low`.
    pub high: f32,
    /// Had missing values in training: gets an `is_missing` input.
    pub indicator: bool,
}

/// A calendar part of a timestamp, which becomes a category.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatePartColumn {
    /// Column of the raw matrix.
    pub column: usize,
    /// Which part.
    pub part: DatePart,
}

/// How sequences are cut and scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceScaling {
    /// The newest so many steps are kept.
    pub steps: usize,
    /// One per channel.
    pub channels: Vec<Channel>,
}

/// How a channel of a sequence is scaled: `(f(v) - mean) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Whether f is the signed logarithm.
    pub log: bool,
    /// The mean of f over the real steps.
    pub mean: f32,
    /// One over the standard deviation of f.
    pub scale: f32,
}

impl Preprocessing {
    /// Learns medians, means, vocabularies ... from the given rows, and describes every feature for the drift
    /// checks (the `features` of the version's statistics).
    pub fn fit(
        table: &TrainingTable,
        rows: &[u32],
        options: &Options,
    ) -> Result<(Self, Vec<serde_json::Value>)> {
        fit::fit(table, rows, options)
    }

    /// Turns the table into preprocessed rows, in place where that is possible.
    pub fn encode(&self, table: TrainingTable) -> Result<Encoded> {
        let ids = encode::ids(self, &table);
        encode::encode(self, table, &ids)
    }

    /// For [`Preprocessing::encode_block`]: per categorical column the id of each code.
    pub fn ids(&self, table: &TrainingTable) -> Vec<Vec<u32>> {
        encode::ids(self, table)
    }

    /// Like [`Preprocessing::encode`], for rows whose codes belong to another table's dictionaries.
    pub fn encode_block(&self, table: TrainingTable, ids: &[Vec<u32>]) -> Result<Encoded> {
        encode::encode(self, table, ids)
    }

    /// What a backbone has to be built for.
    pub fn shape(&self) -> InputShape {
        let indicators = self
            .columns
            .iter()
            .filter(|column| column.indicator)
            .count();
        InputShape {
            numeric: self.columns.len() + indicators,
            cardinalities: self
                .vocabularies
                .iter()
                .map(|values| values.len() + 1)
                .chain(self.date_parts.iter().map(|date| date.part.cardinality()))
                .collect(),
            sequence: self.sequence.as_ref().map(|sequence| SequenceShape {
                steps: sequence.steps,
                channels: sequence.channels.len(),
            }),
            embedding_size: self.embedding_size,
        }
    }

    /// How many of the inputs are features; after them comes at most the cut-off.
    pub fn features(&self) -> usize {
        self.inputs.len() - usize::from(self.has_as_of)
    }

    /// The columns of the raw matrix that have an `is_missing` input, in order.
    pub fn indicator_columns(&self) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|&column| self.columns[column].indicator)
            .collect()
    }
}

/// `sign(v) * ln(1 + |v|)`, as the graph computes it.
#[inline]
pub(crate) fn signed_log(value: f32) -> f32 {
    (1.0 + value.abs()).ln().copysign(value)
}
