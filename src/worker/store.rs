//! A trained model -> a version, its alias and the end of the job, in one transaction: all of it is seen, or nothing.

use super::queue::Job;
use super::session::{self, Identity, unexpected};
use crate::error::Result;
use ltv_core::recipe::Recipe;
use ltv_core::train::TrainedModel;
use pgrx::datum::DatumWithOid;
use pgrx::spi::SpiClient;
use pgrx::{JsonB, Spi, pg_sys};

/// Stores the model as the job's owner, with the rights of the job's owner, and returns the number of the version.
pub fn version(
    job: &Job,
    owner: pg_sys::Oid,
    recipe: &Recipe,
    model: TrainedModel,
    note: Option<&str>,
) -> Result<i32> {
    session::transaction(|| {
        let _owner = Identity::assume(owner);
        Spi::connect_mut(|client| {
            let version = next_version(client, &job.model)?;
            insert(client, job, version, recipe, model)?;
            promote(client, job, version)?;
            client
                .update(
                    "UPDATE ltv.jobs SET status = 'succeeded', finished_at = clock_timestamp(), version = $2, message = $3 \
                     WHERE job = $1",
                    None,
                    &[DatumWithOid::from(job.job), DatumWithOid::from(version), DatumWithOid::from(note)],
                )
                .map_err(unexpected)?;
            Ok(version)
        })
    })
}

/// The row of the model stays locked until the commit, so that versions are numbered in the order they appear in.
fn next_version(client: &mut SpiClient, model: &str) -> Result<i32> {
    // The model may have been dropped since the job was queued.
    client
        .update(
            "SELECT ltv.claim_model($1)",
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
                DatumWithOid::from(recipe.objective.as_str()),
                DatumWithOid::from(recipe.backbone.as_str()),
                DatumWithOid::from(JsonB(model.schema)),
                DatumWithOid::from(JsonB(job.recipe.clone())),
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

/// The first version is the champion; a later one becomes it if the job was asked to.
fn promote(client: &mut SpiClient, job: &Job, version: i32) -> Result<()> {
    let asked = job.recipe["promote"].as_bool().unwrap_or_default();
    client
        .update(
            "WITH old AS (SELECT version FROM ltv.aliases WHERE model = $1 AND alias = 'champion'), \
             new AS (INSERT INTO ltv.aliases AS a (model, alias, version) SELECT $1, 'champion', $2 \
                     WHERE $3 OR NOT EXISTS (SELECT FROM old) \
                     ON CONFLICT (model, alias) DO UPDATE SET version = EXCLUDED.version WHERE $3 RETURNING a.version) \
             INSERT INTO ltv.promotions (model, alias, from_version, to_version, reason) \
             SELECT $1, 'champion', (SELECT version FROM old), new.version, \
                    CASE WHEN EXISTS (SELECT FROM old) THEN 'asked for by job ' || $4 ELSE 'first version' END FROM new",
            None,
            &[
                DatumWithOid::from(job.model.as_str()),
                DatumWithOid::from(version),
                DatumWithOid::from(asked),
                DatumWithOid::from(job.job),
            ],
        )
        .map_err(unexpected)?;
    Ok(())
}
