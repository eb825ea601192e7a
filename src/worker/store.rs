//! A trained model -> a version, its alias and the end of the job, in one transaction: all of it is seen, or nothing.

use super::queue::Job;
use super::session::{self, Identity, unexpected};
use crate::error::Result;
use ltv_core::recipe::Recipe;
use ltv_core::train::{Chosen, TrainedModel};
use pgrx::datum::DatumWithOid;
use pgrx::spi::SpiClient;
use pgrx::{JsonB, Spi};
use serde_json::Value;

/// Stores the model as the job's owner, with the rights of the job's owner, and returns the number of the version.
pub fn version(job: &Job, recipe: &Recipe, model: TrainedModel, notes: &[String]) -> Result<i32> {
    session::transaction(|| {
        let _owner = Identity::job_owner(&job.owner)?;
        session::apply_settings(&job.settings)?;
        Spi::connect_mut(|client| {
            let version = next_version(client, &job.model)?;
            insert(client, job, version, recipe, model)?;
            settle(client, job, version)?;
            client
                .update(
                    "UPDATE ltv.jobs SET status = 'succeeded', finished_at = clock_timestamp(), version = $2, message = $3 \
                     WHERE job = $1",
                    None,
                    &[DatumWithOid::from(job.job), DatumWithOid::from(version), DatumWithOid::from((!notes.is_empty()).then(|| notes.join("; ")))],
                )
                .map_err(unexpected)?;
            Ok(version)
        })
    })
}

/// The row of the model stays locked until the commit, so that versions are numbered in the order they appear in.
fn next_version(client: &mut SpiClient, model: &str) -> Result<i32> {
    // An error if the model was dropped since the job was queued.
    client
        .update(
            "SELECT ltv.lock_model(quote_ident(current_user)::regrole, $1)",
            None,
            &[DatumWithOid::from(model)],
        )
        .map_err(unexpected)?;
    let version = client
        .update(
            "UPDATE ltv.models SET last_version = last_version + 1 WHERE model = $1 RETURNING last_version",
            None,
            &[DatumWithOid::from(model)],
        )
        .map_err(unexpected)?
        .first()
        .get_one::<i32>()
        .map_err(unexpected)?;
    version.ok_or_else(|| unexpected("the model vanished while its version was stored"))
}

fn insert(
    client: &mut SpiClient,
    job: &Job,
    version: i32,
    recipe: &Recipe,
    model: TrainedModel,
) -> Result<()> {
    let stored = stored_recipe(job, model.chosen.as_ref());
    let chosen = model.chosen.as_ref();
    let objective = chosen.map_or(&recipe.objective, |chosen| &chosen.objective);
    let backbone = chosen.map_or(&recipe.backbone, |chosen| &chosen.backbone);
    client
        .update(
            "INSERT INTO ltv.versions (model, version, checksum, onnx, source, objective, backbone, schema, recipe, \
             statistics, metrics, history, weights, n_rows, training_seconds, job, pg_ltv_version) \
             VALUES ($1, $2, encode(sha256($3), 'hex'), $3, 'trained', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
            None,
            &[
                DatumWithOid::from(job.model.as_str()),
                DatumWithOid::from(version),
                DatumWithOid::from(model.onnx),
                DatumWithOid::from(objective.as_str()),
                DatumWithOid::from(backbone.as_str()),
                DatumWithOid::from(JsonB(model.schema)),
                DatumWithOid::from(JsonB(stored)),
                DatumWithOid::from(JsonB(model.statistics)),
                DatumWithOid::from(JsonB(model.metrics)),
                DatumWithOid::from(JsonB(model.history)),
                DatumWithOid::from(model.weights),
                DatumWithOid::from(model.n_rows as i64),
                DatumWithOid::from(model.seconds),
                DatumWithOid::from(job.job),
                DatumWithOid::from(env!("CARGO_PKG_VERSION")),
            ],
        )
        .map_err(unexpected)?;
    Ok(())
}

/// The recipe that makes the version again: of a comparison that of the candidate it chose.
fn stored_recipe(job: &Job, chosen: Option<&Chosen>) -> Value {
    let mut recipe = job.recipe.clone();
    if let (Some(chosen), Some(object)) = (chosen, recipe.as_object_mut()) {
        let compared = object.remove("compare").unwrap_or_default();
        object.insert("compared".into(), compared);
        object.insert("objective".into(), chosen.objective.as_str().into());
        object.insert("backbone".into(), chosen.backbone.as_str().into());
        object.insert("options".into(), chosen.options.clone().into());
    }
    recipe
}

/// Champion, challenger or none: by the promotion rule, which may score customers held out for it.
fn settle(client: &mut SpiClient, job: &Job, version: i32) -> Result<()> {
    client
        .update(
            "SELECT ltv.settle_version($1, $2, $3, $4)",
            None,
            &[
                DatumWithOid::from(job.job),
                DatumWithOid::from(job.model.as_str()),
                DatumWithOid::from(version),
                DatumWithOid::from(JsonB(job.recipe.clone())),
            ],
        )
        .map_err(unexpected)?;
    Ok(())
}

/// The weights that a retraining continues from, if it was asked to continue.
pub fn earlier_weights(job: &Job) -> Result<Option<Vec<u8>>> {
    if job.recipe["warm_start"] != true {
        return Ok(None);
    }
    Spi::connect(|client| {
        let rows = client
            .select(
                "SELECT weights FROM ltv.versions v WHERE v.model OPERATOR(pg_catalog.=) $1 \
                 AND v.version OPERATOR(pg_catalog.=) $2",
                None,
                &[
                    DatumWithOid::from(job.model.as_str()),
                    DatumWithOid::from(job.recipe["parent"].as_i64().unwrap_or_default() as i32),
                ],
            )
            .map_err(unexpected)?;
        match rows.is_empty() {
            true => Ok(None),
            false => rows.first().get_one::<Vec<u8>>().map_err(unexpected),
        }
    })
}
