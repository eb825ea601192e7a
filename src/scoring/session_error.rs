//! What ONNX Runtime refuses.

use super::memory::MemoryError;
use crate::error::Reportable;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the ONNX graph cannot be loaded")]
    Load { reason: String },
    #[error("the ONNX graph failed")]
    Run { reason: String },
    #[error("the ONNX graph has an input that is not a tensor")]
    NotTensor { name: String },
    #[error("{0}")]
    Memory(MemoryError),
}

impl SessionError {
    /// What ONNX Runtime said when it loaded a graph.
    pub fn of_load(reason: &str) -> Self {
        Self::out_of_memory(reason).unwrap_or_else(|| Self::Load {
            reason: reason.to_owned(),
        })
    }

    /// What ONNX Runtime said when it ran a graph.
    pub fn of_run(reason: &str) -> Self {
        Self::out_of_memory(reason).unwrap_or_else(|| Self::Run {
            reason: reason.to_owned(),
        })
    }

    /// It has no code of its own for that.
    fn out_of_memory(reason: &str) -> Option<Self> {
        const SIGNS: [&str; 6] = [
            "bad_alloc",
            "bad allocation",
            "length_error",
            "Available memory of",
            "Failed to allocate memory",
            "failed to allocate",
        ];
        SIGNS.iter().any(|sign| reason.contains(sign)).then(|| {
            Self::Memory(MemoryError::Exhausted {
                reason: "ONNX Runtime could not allocate what the graph needs.".to_owned(),
            })
        })
    }
}

impl Reportable for SessionError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Load { .. } => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            Self::Run { .. } => PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
            Self::NotTensor { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Self::Memory(error) => error.sqlstate(),
        }
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Load { reason } | Self::Run { reason } => {
                format!("ONNX Runtime says: {}", reason.trim())
            }
            Self::NotTensor { name } => format!("\"{name}\" is a sequence, a map or optional."),
            Self::Memory(error) => return error.detail(),
        })
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Load { .. } => Some(
                "Check the file with onnx.checker, and that its operators and its opset are known to the installed \
                 ONNX Runtime."
                    .to_owned(),
            ),
            Self::Run { .. } | Self::NotTensor { .. } => None,
            Self::Memory(error) => error.hint(),
        }
    }
}
