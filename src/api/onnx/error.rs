//! Why a graph that somebody else made cannot be imported.

use super::{OUTPUTS, ZILN};
use crate::catalog::quoted;
use crate::error::Reportable;
use crate::scoring::MOST_WIDTH;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("input \"{name}\" of the graph is of {found}")]
    ElementType { name: String, found: String },
    #[error("input \"{name}\" of the graph has shape {shape}")]
    InputShape { name: String, shape: String },
    #[error("the number of columns of input \"{name}\" is unknown")]
    FreeWidth { name: String },
    #[error("{given} features are named, but input \"{name}\" has {expected} columns")]
    FeatureCount {
        name: String,
        expected: i64,
        given: usize,
    },
    #[error("features cannot be named for a graph with {inputs} inputs")]
    NamedInputs { inputs: usize },
    #[error("feature \"{name}\" is named twice")]
    DuplicateFeature { name: String },
    #[error("input \"{name}\" of the graph has {width} columns")]
    TooWide { name: String, width: i64 },
    #[error("the graph has no inputs")]
    NoInputs,
    #[error("the graph has no output \"{name}\"")]
    NoOutput { name: String, available: String },
    #[error("which output of the graph is the prediction must be said")]
    Choose { available: String },
    #[error("output \"{name}\" of the graph is {found}")]
    OutputShape {
        name: String,
        found: String,
        may_be: Option<&'static str>,
    },
    #[error("output \"{name}\" of the graph has the probabilities of {classes} classes")]
    Classes { name: String, classes: i64 },
    #[error("unknown output \"{name}\"")]
    UnknownOutput { name: String },
    #[error("the graph mixes the rows of a batch")]
    MixedRows { alone: f32, together: f32 },
}

impl Reportable for ImportError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::FreeWidth { .. }
            | Self::FeatureCount { .. }
            | Self::NamedInputs { .. }
            | Self::DuplicateFeature { .. }
            | Self::NoOutput { .. }
            | Self::Choose { .. }
            | Self::UnknownOutput { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::TooWide { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            _ => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::ElementType { .. } => "Numbers must come in as float, double, int64, int32 or bool, categories as string.".to_owned(),
            Self::InputShape { .. } => "The first axis must be the batch, of any length; numbers have shape [batch, width], \
                                        categories [batch, 1], sequences [batch, steps, channels]."
                .to_owned(),
            Self::OutputShape { .. } => "A prediction is a tensor of numbers of shape [batch] or [batch, 1]; purchase_probability \
                                         may be the second of two columns, and \"ziln\" three logits."
                .to_owned(),
            Self::NoOutput { available, .. } | Self::Choose { available } => {
                format!("Its outputs are: {available}.")
            }
            Self::Classes { .. } => "Only a model of two classes, of which the second is a purchase, is understood.".to_owned(),
            Self::MixedRows { alone, together } => {
                format!("The same row scored {alone} on its own and {together} together with others.")
            }
            Self::TooWide { .. } => format!("A model may have {MOST_WIDTH} input values at most."),
            Self::UnknownOutput { .. } => format!("Known outputs are: {}, ziln.", OUTPUTS.join(", ")),
            _ => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ElementType { .. } => "Convert the input inside the graph, with a Cast node after a float input.".to_owned(),
            Self::InputShape { .. } => {
                "Export it with a dynamic first axis (in PyTorch: dynamic_shapes=({0: 'batch'},)).".to_owned()
            }
            Self::FreeWidth { .. } | Self::FeatureCount { .. } => {
                "Name the columns in their order: features => array['recency', 'frequency', ...].".to_owned()
            }
            Self::NamedInputs { .. } => "Leave features out; its inputs have names of their own.".to_owned(),
            Self::OutputShape {
                name,
                may_be: Some(public),
                ..
            } => {
                let kind = if *public == ZILN {
                    "the three logits of a ZILN head"
                } else {
                    "a classifier's probabilities"
                };
                let choice = serde_json::json!({ *public: name });
                format!(
                    "If these are {kind}: outputs => {}.",
                    quoted(&choice.to_string())
                )
            }
            Self::NoOutput { .. } | Self::OutputShape { .. } | Self::Choose { .. } => {
                "Say which output is what: outputs => '{\"ltv\": \"name in the graph\"}', with \"purchase_probability\" for a classifier's \
                 probabilities, or \"ziln\" for the three logits of a ZILN head."
                    .to_owned()
            }
            Self::MixedRows { .. } => "Export the graph in inference mode.".to_owned(),
            _ => return None,
        })
    }
}
