//! What can go wrong without PostgreSQL. The extension maps each kind to a SQLSTATE.

/// The kind of an [`Error`], from which the extension derives the SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An option, argument or recipe is wrong (22023).
    InvalidParameter,
    /// The training data cannot be used (22000).
    InvalidData,
    /// An ONNX file cannot be used (22P03 or 0A000 as the message says).
    InvalidModel,
    /// The combination is not supported (0A000).
    Unsupported,
    /// The job was cancelled (57014).
    Cancelled,
    /// A resource is missing or exhausted (53200).
    Resources,
    /// Something is larger or deeper than is allowed (54000).
    TooLarge,
    /// The device cannot be used as it is (55000).
    Device,
    /// A bug of pg_ltv (XX000).
    Internal,
}

/// Message (lower case), what exactly was wrong, what to do about it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which SQLSTATE it becomes.
    pub kind: ErrorKind,
    /// What went wrong, as in PostgreSQL: lower case, no full stop.
    pub message: String,
    /// What was found and what was expected, in sentences.
    pub detail: Option<String>,
    /// What to do about it, in sentences.
    pub hint: Option<String>,
}

impl Error {
    /// An error without detail and hint.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }
    /// An option or argument that is not allowed: [`ErrorKind::InvalidParameter`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameter, message)
    }
    /// Rows that cannot be trained on: [`ErrorKind::InvalidData`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidData, message)
    }
    /// A stored model that cannot be read: [`ErrorKind::InvalidModel`].
    pub fn model(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidModel, message)
    }
    /// A fault of this crate: [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }
    /// The training was cancelled: [`ErrorKind::Cancelled`].
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "training was cancelled")
    }
    /// The error with a detail.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    /// The error with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        let text = error.to_string();
        // What CUDA and cuBLAS say; the tensor library passes it on as text.
        if text.contains("OUT_OF_MEMORY") || text.contains("ALLOC_FAILED") {
            return Self::new(ErrorKind::Resources, "the device is out of memory")
                .detail(text)
                .hint("Lower the option \"batch_size\", wait until other work on the device has ended, or set the option \"device\" to \"cpu\".");
        }
        Self::internal("a tensor operation failed").detail(text)
    }
}

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
