//! What can be wrong with an input.

use crate::error::Reportable;
use crate::scoring::memory::MemoryError;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("model \"{model}\" expects an array of {expected} values, not {got}")]
    WrongLength {
        model: String,
        expected: usize,
        got: usize,
        /// The inputs in their order.
        names: String,
    },
    #[error("the input lacks {} of model \"{model}\"", columns(.missing))]
    MissingColumns { model: String, missing: Vec<String> },
    #[error("input \"{column}\" is of type {found}, but model \"{model}\" expects {expected}")]
    WrongType {
        model: String,
        column: String,
        found: String,
        expected: &'static str,
    },
    #[error("input \"{column}\" of model \"{model}\" cannot be read: \"{text}\"")]
    Unreadable {
        model: String,
        column: String,
        text: String,
        expected: &'static str,
    },
    #[error("input \"{column}\" of model \"{model}\" has the wrong length")]
    WrongVector {
        model: String,
        column: String,
        expected: usize,
        got: usize,
    },
    #[error("input \"{column}\" of model \"{model}\" has the wrong shape")]
    WrongSequence {
        model: String,
        column: String,
        channels: usize,
        dimensions: Vec<usize>,
    },
    #[error("model \"{model}\" cannot be given an array")]
    NotPositional { model: String, column: String },
    #[error("cannot predict from a value of type {found}")]
    UnsupportedType { found: String },
    #[error("cannot predict from a JSON {found}")]
    UnsupportedJson { found: &'static str },
    #[error("{0}")]
    Memory(MemoryError),
}

impl From<MemoryError> for InputError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

fn columns(missing: &[String]) -> String {
    let quoted: Vec<String> = missing.iter().map(|name| format!("\"{name}\"")).collect();
    let noun = if missing.len() == 1 {
        "column"
    } else {
        "columns"
    };
    format!("{noun} {}", quoted.join(", "))
}

impl Reportable for InputError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::WrongLength { .. } | Self::WrongVector { .. } | Self::WrongSequence { .. } => {
                PgSqlErrorCode::ERRCODE_ARRAY_ELEMENT_ERROR
            }
            Self::MissingColumns { .. } => PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            Self::WrongType { .. }
            | Self::NotPositional { .. }
            | Self::UnsupportedType { .. }
            | Self::UnsupportedJson { .. } => PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            Self::Unreadable { .. } => PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            Self::Memory(error) => error.sqlstate(),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::WrongLength { names, .. } => Some(format!("They are, in order: {names}.")),
            Self::Unreadable { expected, .. } => Some(format!("It must be {expected}.")),
            Self::WrongVector { expected, got, .. } => Some(format!(
                "It must have {expected} elements, but it has {got}."
            )),
            Self::WrongSequence {
                channels,
                dimensions,
                ..
            } => Some(format!(
                "It must be a two-dimensional array, steps by {channels}, but its dimensions are {dimensions:?}."
            )),
            Self::NotPositional { column, .. } => {
                Some(format!("Its input \"{column}\" is a sequence."))
            }
            Self::Memory(error) => error.detail(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::WrongLength { .. } | Self::NotPositional { .. } => {
                "Pass a row instead, whose columns are matched by name: ltv_predict('model', t) FROM t."
                    .to_owned()
            }
            Self::MissingColumns { .. } => {
                "Add them, NULL where unknown; the columns that the model was trained on are in ltv_feature_info(model)."
                    .to_owned()
            }
            Self::WrongType {
                column, expected, ..
            } => match *expected {
                "a number" => format!("Cast it: \"{column}\"::double precision."),
                "a date or timestamp" => format!("Cast it: \"{column}\"::timestamp."),
                _ => format!("Cast \"{column}\" to the type that the model was trained on."),
            },
            Self::UnsupportedType { .. } => {
                "Pass a row (ltv_predict('model', t) FROM t), an array of numbers or a jsonb object.".to_owned()
            }
            Self::UnsupportedJson { .. } => {
                "Pass an object whose keys are the model's inputs, or an array of their values.".to_owned()
            }
            Self::Memory(error) => return error.hint(),
            Self::Unreadable { .. } | Self::WrongVector { .. } | Self::WrongSequence { .. } => {
                return None;
            }
        })
    }
}
