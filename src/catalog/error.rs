//! What can be wrong with the model that a call names.

use crate::error::Reportable;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    #[error("the model must not be null")]
    NullModel,
    #[error("the version must not be null")]
    NullVersion,
    #[error("no model is given")]
    NoDefaultModel,
    #[error("model \"{model}\" does not exist")]
    NoModel {
        model: String,
        /// Who asks, unless everything would be shown to them.
        role: Option<String>,
    },
    #[error("model \"{model}\" has no champion")]
    NoChampion { model: String, versions: i32 },
    #[error("version {version} of model \"{model}\" does not exist")]
    NoVersion { model: String, version: i32 },
    #[error("must be owner of model \"{model}\"")]
    NotOwner { model: String, role: String },
    #[error("permission denied for model \"{model}\"")]
    Denied {
        model: String,
        role: String,
        privilege: &'static str,
    },
    #[error("the schema of version {version} of model \"{model}\" cannot be read")]
    BadSchema {
        model: String,
        version: i32,
        reason: String,
    },
}

impl Reportable for CatalogError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NullModel | Self::NullVersion => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::NoDefaultModel => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NoModel { .. } | Self::NoVersion { .. } => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT
            }
            Self::NoChampion { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::NotOwner { .. } | Self::Denied { .. } => {
                PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE
            }
            Self::BadSchema { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::NoDefaultModel => Some("The setting ltv.default_model is empty.".to_owned()),
            Self::NoChampion { versions: 0, .. } => {
                Some("No training of it has succeeded yet.".to_owned())
            }
            Self::NoChampion { .. } => {
                Some("It has versions, but none of them has the alias champion.".to_owned())
            }
            Self::NoModel { role, .. } => role
                .as_ref()
                .map(|role| format!("Or there is one that role \"{role}\" may not use.")),
            Self::NotOwner { role, .. } => Some(format!("Role \"{role}\" does not own it.")),
            Self::Denied {
                role, privilege, ..
            } => Some(format!("Role \"{role}\" lacks the privilege {privilege}.")),
            Self::BadSchema { reason, .. } => Some(format!("It is not as expected: {reason}.")),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NullModel | Self::NullVersion => return None,
            Self::NoDefaultModel => {
                "Name the model in the call, or: SET ltv.default_model = 'name'.".to_owned()
            }
            Self::NoModel { role: None, .. } => {
                "The view ltv_models lists the models that you may use; ltv_train makes a new one."
                    .to_owned()
            }
            Self::NoModel {
                model,
                role: Some(role),
            } => format!(
                "The view ltv_models lists the models that you may use; ltv_train makes a new one. The owner of a model lets \
                 others use it: SELECT ltv_grant({}, {});",
                quoted(model),
                quoted(role)
            ),
            Self::NoChampion { versions: 0, .. } => {
                "The view ltv_jobs shows its jobs and their errors; ltv_wait waits for one, ltv_drop_model gives the name back.".to_owned()
            }
            Self::NoChampion { model, .. } => {
                format!(
                    "Choose one: SELECT ltv_set_alias({}, version, 'champion').",
                    quoted(model)
                )
            }
            Self::NoVersion { .. } => "The view ltv_versions lists those there are.".to_owned(),
            Self::NotOwner { .. } => {
                "Its owner, a member of the owning role or a superuser can do it.".to_owned()
            }
            Self::Denied {
                model,
                role,
                privilege,
            } => format!(
                "Its owner can run: SELECT ltv_grant({}, {}, '{}');",
                quoted(model),
                quoted(role),
                privilege
            ),
            Self::BadSchema { .. } => "Retrain or import the model again.".to_owned(),
        })
    }
}

/// A text as a literal of SQL, in a hint.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
