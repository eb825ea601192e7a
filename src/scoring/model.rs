//! One version of a model, ready to score.

use super::Output;
use super::graph::Graph;
use crate::error::Reportable;
use pgrx::prelude::PgSqlErrorCode;
use std::rc::Rc;

/// One version of a model, ready to score. Immutable; kept alive by `Rc` while a statement uses it.
pub struct Model {
    pub name: String,
    pub version: i32,
    pub checksum: String,
    /// Shared by versions with the same graph and schema.
    pub graph: Rc<Graph>,
}

/// What a model does not predict.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("model \"{model}\" does not predict an amount")]
    Amount { model: String, version: i32 },
    #[error("model \"{model}\" does not predict a purchase probability")]
    Probability { model: String, version: i32 },
    #[error("model \"{model}\" does not predict a distribution")]
    Distribution { model: String, version: i32 },
}

impl Reportable for OutputError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
    }
    fn detail(&self) -> Option<String> {
        let (Self::Amount { version, .. }
        | Self::Probability { version, .. }
        | Self::Distribution { version, .. }) = self;
        Some(format!(
            "Its objective (version {version}) has no such output."
        ))
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Amount { .. } => {
                    "Use ltv_predict_proba, or train it with objective ziln, cmltv or expltv."
                }
                Self::Probability { .. } => {
                    "Train it with objective ziln, cmltv, expltv, mixture, cascade, bgnbd or purchase."
                }
                Self::Distribution { .. } => {
                    "Train it with objective ziln, cmltv, expltv or mixture."
                }
            }
            .to_owned(),
        )
    }
}

impl Model {
    /// An error if the model does not predict what `output` asks for.
    pub fn require(&self, output: Output) -> Result<(), OutputError> {
        let outputs = &self.graph.outputs;
        let has = match output {
            Output::Ltv => outputs.ltv.is_some(),
            Output::Probability => outputs.purchase_probability.is_some(),
            Output::Quantile => outputs.distribution.is_some(),
            Output::All => true,
        };
        if has {
            return Ok(());
        }
        let (model, version) = (self.name.clone(), self.version);
        Err(match output {
            Output::Probability => OutputError::Probability { model, version },
            Output::Quantile => OutputError::Distribution { model, version },
            Output::Ltv | Output::All => OutputError::Amount { model, version },
        })
    }
}
