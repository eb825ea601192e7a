//! A trained model -> a version, its alias and the end of the job, in one transaction: all of it is seen, or nothing.

use super::interrupt;
use super::queue::Job;
use super::session::{self, Identity, unexpected};
use crate::error::{Report, Result};
use crate::value::sql::{
    Json, column, nullable_parameter, parameter, readable_parameter, text_parameter,
};
use ltv_core::recipe::Recipe;
use ltv_core::train::{Chosen, TrainedModel};
use pgrx::spi::SpiClient;
use pgrx::{Spi, pg_sys};
use serde_json::Value;

/// Stores the model and returns the number of the version. The owner of the catalog writes, after it has checked that
/// the model still is the job's owner's; whatever SQL of that owner there is to run, runs as that owner, restricted.
pub fn version(
    job: &Job,
    settings: &Value,
    asked: &Value,
    recipe: &Recipe,
    model: TrainedModel,
    notes: &[String],
) -> Result<i32> {
    session::transaction(|| {
        let (version, trial) = {
            let _catalog = Identity::catalog_owner()?;
            Spi::connect_mut(|client| {
                let version = insert(client, job, asked, recipe, model)?;
                Ok::<_, Report>((version, trial(client, job, version, asked)?))
            })?
        };
        let measured = match trial {
            Some(trial) => Some(measure(job, settings, version, trial)?),
            None => None,
        };
        let _catalog = Identity::catalog_owner()?;
        Spi::connect_mut(|client| settle(client, job, version, asked, measured, notes))?;
        Ok(version)
    })
}

fn insert(
    client: &mut SpiClient,
    job: &Job,
    asked: &Value,
    recipe: &Recipe,
    mut model: TrainedModel,
) -> Result<i32> {
    // Known from the features that were read, which may be gone when somebody asks.
    model.statistics["horizon"] = recipe.options.horizon.into();
    let stored = stored_recipe(asked, model.chosen.as_ref());
    let chosen = model.chosen.as_ref();
    let objective = chosen.map_or(&recipe.objective, |chosen| &chosen.objective);
    let backbone = chosen.map_or(&recipe.backbone, |chosen| &chosen.backbone);
    let version = client
        .update(
            "SELECT ltv.store_version($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            None,
            &[
                parameter(job.job)?,
                parameter(model.onnx)?,
                text_parameter(objective.as_str())?,
                text_parameter(backbone.as_str())?,
                parameter(Json(model.schema.to_json()))?,
                parameter(Json(stored))?,
                parameter(Json(model.statistics))?,
                parameter(Json(model.metrics))?,
                parameter(Json(model.history))?,
                parameter(model.weights)?,
                parameter(model.n_rows as i64)?,
                parameter(model.seconds)?,
                text_parameter(env!("CARGO_PKG_VERSION"))?,
            ],
        )
        .map_err(unexpected)?
        .first();
    column(&version, 1)?.ok_or_else(|| unexpected("the version was stored without a number"))
}

/// The recipe that makes the version again: of a comparison that of the candidate it chose.
fn stored_recipe(asked: &Value, chosen: Option<&Chosen>) -> Value {
    let mut recipe = asked.clone();
    if let (Some(chosen), Some(object)) = (chosen, recipe.as_object_mut()) {
        let compared = object.remove("compare").unwrap_or_default();
        object.insert("compared".into(), compared);
        object.insert("objective".into(), chosen.objective.as_str().into());
        object.insert("backbone".into(), chosen.backbone.as_str().into());
        object.insert("options".into(), chosen.options.clone().into());
    }
    recipe
}

/// What has to be measured before the promotion rule can decide; `None`: nothing.
fn trial(client: &mut SpiClient, job: &Job, version: i32, asked: &Value) -> Result<Option<Json>> {
    let trial = client
        .update(
            "SELECT ltv.trial_of($1, $2, $3)",
            None,
            &[
                text_parameter(job.model.as_str())?,
                parameter(version)?,
                parameter(Json(asked.clone()))?,
            ],
        )
        .map_err(unexpected)?
        .first();
    column(&trial, 1)
}

/// Both versions score the customers held out, which is a query of the job's owner.
fn measure(job: &Job, settings: &Value, version: i32, trial: Json) -> Result<Json> {
    let _owner = Identity::restricted(job.owner);
    session::apply_settings(settings)?;
    let _read_only = ReadOnly::begin();
    let measured = interrupt::while_owners_code(|| {
        Spi::connect(|client| {
            let measured = client
                .select(
                    "SELECT ltv.measure($1, $2, $3)",
                    None,
                    &[
                        text_parameter(job.model.as_str())?,
                        parameter(version)?,
                        parameter(trial)?,
                    ],
                )
                .map_err(unexpected)?
                .first();
            column(&measured, 1)
        })
    })?;
    measured.ok_or_else(|| unexpected("the versions were not measured"))
}

/// The transaction writes nothing until dropped.
struct ReadOnly;

impl ReadOnly {
    fn begin() -> Self {
        // SAFETY: the flag of this transaction, which no statement of it can take back.
        unsafe { pg_sys::XactReadOnly = true };
        Self
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // SAFETY: as it was before; after an error the next transaction sets it anew.
        unsafe { pg_sys::XactReadOnly = false };
    }
}

/// Champion, challenger or none, by the promotion rule; and the job ends.
fn settle(
    client: &mut SpiClient,
    job: &Job,
    version: i32,
    asked: &Value,
    measured: Option<Json>,
    notes: &[String],
) -> Result<()> {
    let notes = (!notes.is_empty()).then(|| notes.join("; "));
    client
        .update(
            "SELECT ltv.settle_version($1, $2, $3, $4, $5, $6)",
            None,
            &[
                parameter(job.job)?,
                text_parameter(job.model.as_str())?,
                parameter(version)?,
                parameter(Json(asked.clone()))?,
                nullable_parameter(measured)?,
                readable_parameter(notes.as_deref()),
            ],
        )
        .map_err(unexpected)?;
    Ok(())
}

/// The weights that a retraining continues from, if it was asked to continue.
pub fn earlier_weights(job: &Job, asked: &Value) -> Result<Option<Vec<u8>>> {
    if asked["warm_start"] != true {
        return Ok(None);
    }
    let parent = asked["parent"].as_i64().unwrap_or_default();
    let _catalog = Identity::catalog_owner()?;
    Spi::connect(|client| {
        let weights = client
            .select(
                "SELECT ltv.weights_of($1, $2, $3)",
                None,
                &[
                    parameter(job.owner)?,
                    text_parameter(job.model.as_str())?,
                    parameter(parent as i32)?,
                ],
            )
            .map_err(unexpected)?
            .first();
        column(&weights, 1)
    })
}
