//! One version of a model, ready to score.

use super::Output;
use super::graph::Graph;
use crate::error::Reportable;
use ltv_core::schema::COVERAGES;
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
    #[error("model \"{model}\" knows no intervals")]
    Intervals { model: String, version: i32 },
    #[error("model \"{model}\" predicts one horizon only")]
    Horizons { model: String, version: i32 },
    #[error("model \"{model}\" does not know the state of customers")]
    State { model: String, version: i32 },
}

/// What an argument beside the input cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("quantile level {0} is out of range")]
    Level(f64),
    #[error("no interval has a coverage of {0}")]
    Coverage(f64),
    #[error("day {days} is outside the horizons of model \"{model}\"")]
    Day {
        days: f64,
        model: String,
        longest: f32,
    },
}

impl Reportable for ArgumentError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Level(_) => "A level is a number from 0 to 1.".to_owned(),
            Self::Coverage(_) => format!(
                "Those there are: {}.",
                COVERAGES.map(|c| c.to_string()).join(", ")
            ),
            Self::Day { longest, .. } => {
                format!("It predicts values by any day from 0 to {longest}.")
            }
        })
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Level(_) => "For the 90 % quantile write 0.9.".to_owned(),
            Self::Coverage(_) => {
                "Ask for one of them; for other shares use ltv_predict_quantile.".to_owned()
            }
            Self::Day { .. } => {
                "Ask for a day in this range, or train on a label of a longer horizon.".to_owned()
            }
        })
    }
}

impl Reportable for OutputError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Amount { version, .. }
            | Self::Probability { version, .. }
            | Self::Distribution { version, .. } => {
                format!("Its objective (version {version}) has no such output.")
            }
            Self::Intervals { version, .. } => {
                format!(
                    "Version {version} has no distribution, or no customers were held out to judge it by."
                )
            }
            Self::Horizons { version, .. } => {
                format!("Version {version} has learned its target, and no shorter horizon.")
            }
            Self::State { version, .. } => format!(
                "Version {version} was imported, or trained without the features frequency, recency and t, or on customers of whom none came back."
            ),
        })
    }
    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::Amount { .. } => {
                    "Use ltv_predict_proba, or train it with objective ziln, cmltv or expltv."
                }
                Self::Probability { .. } => {
                    "Train it with objective ziln, cmltv, expltv, bgnbd or purchase."
                }
                Self::Distribution { .. } => "Train it with objective ziln, cmltv or expltv.",
                Self::Intervals { .. } => {
                    "Train it with objective ziln, cmltv or expltv, and leave the split to pg_ltv."
                }
                Self::Horizons { .. } => {
                    "Make its features with ltv_create_features(..., horizons => '{30,90}'), and train it with objective ziln, tweedie, mse, huber or bgnbd."
                }
                Self::State { .. } => {
                    "Train it here on features with the columns frequency, recency and t, as ltv_create_features makes them."
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
            Output::Horizon | Output::Curve => !outputs.horizons.is_empty(),
            Output::Interval => {
                outputs.distribution.is_some() && self.graph.schema.intervals.is_some()
            }
            Output::All => true,
            Output::State | Output::Churn => self.graph.history.is_some(),
        };
        if has {
            return Ok(());
        }
        let (model, version) = (self.name.clone(), self.version);
        Err(match output {
            Output::Probability => OutputError::Probability { model, version },
            Output::Quantile => OutputError::Distribution { model, version },
            Output::Horizon | Output::Curve => OutputError::Horizons { model, version },
            Output::Interval => OutputError::Intervals { model, version },
            Output::State | Output::Churn => OutputError::State { model, version },
            Output::Ltv | Output::All => OutputError::Amount { model, version },
        })
    }

    /// An error if `output` cannot be had with this argument; NULL is no argument.
    pub fn check(&self, output: Output, argument: Option<f64>) -> Result<(), ArgumentError> {
        match (output, argument) {
            (Output::Quantile, Some(level)) if !(0.0..=1.0).contains(&level) => {
                Err(ArgumentError::Level(level))
            }
            (Output::Interval, Some(coverage)) if !COVERAGES.contains(&coverage) => {
                Err(ArgumentError::Coverage(coverage))
            }
            (Output::Horizon, Some(days)) => {
                let longest = self.graph.schema.horizons.last().copied().unwrap_or(0.0);
                match (0.0..=f64::from(longest)).contains(&days) {
                    true => Ok(()),
                    false => Err(ArgumentError::Day {
                        days,
                        model: self.name.clone(),
                        longest,
                    }),
                }
            }
            _ => Ok(()),
        }
    }
}
