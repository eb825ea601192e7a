//! Logical replication: a subscriber of the catalog's tables follows what the publisher does with its models.

use anyhow::{Result, ensure};

use super::{customers, ensure_eq, train, wait_until};
use crate::cluster::Cluster;
use crate::workspace::Workspace;

/// As docs/backup.md says.
pub const PUBLISH: &str = "create publication ltv_models for table ltv.models, ltv.dropped_models, ltv.versions, ltv.aliases, ltv.promotions, ltv.privileges";

const VERSION: &str =
    "select version from ltv_predict_all('m', (select c from customers c limit 1))";

/// Models, promotions, shares, revokes and drops arrive, in sessions that have scored before as well.
pub fn follows(workspace: &Workspace) -> Result<()> {
    let settings = [("wal_level", "logical")];
    let publisher = workspace.new_cluster("publisher", &settings)?;
    let subscriber = workspace.new_cluster("subscriber", &settings)?;
    for cluster in [&publisher, &subscriber] {
        customers(cluster, "ltv", 500)?;
        cluster.psql(
            "ltv",
            "create role reader login; grant select on customers to reader",
        )?;
    }
    train(&publisher, "ltv", "m", r#"{"epochs": 1, "seed": 1}"#)?;
    // What was there arrives by copying, while a session has already asked in vain.
    let mut session = subscriber.connect("ltv")?;
    let mut sees = |wanted: Result<i32, &str>, what: &str| {
        wait_until(what, 60, || {
            Ok(match (session.query_one(VERSION, &[]), wanted) {
                (Ok(row), Ok(version)) => row.get::<_, i32>(0) == version,
                (Err(error), Err(sqlstate)) => {
                    error.code().is_some_and(|code| code.code() == sqlstate)
                }
                _ => false,
            })
        })
    };
    sees(Err("42704"), "no model yet")?;
    publisher.psql("ltv", PUBLISH)?;
    let connection = publisher.conninfo("ltv").replace('\'', "''");
    subscriber.psql(
        "ltv",
        &format!("create subscription ltv_models connection '{connection}' publication ltv_models"),
    )?;
    sees(Ok(1), "the model to be copied")?;
    same_scores(&publisher, &subscriber)?;

    // What happens afterwards arrives row by row.
    train(&publisher, "ltv", "m", r#"{"epochs": 1, "seed": 2}"#)?;
    publisher.psql("ltv", "select ltv_set_alias('m', 2)")?;
    sees(Ok(2), "the promotion")?;
    same_scores(&publisher, &subscriber)?;
    publisher.psql("ltv", "select ltv_rollback('m')")?;
    sees(Ok(1), "the rollback")?;
    publisher.psql(
        "ltv",
        "select ltv_set_alias('m', 2, 'challenger'), ltv_set_traffic('m', 1)",
    )?;
    sees(Ok(2), "the challenger's share")?;
    publisher.psql("ltv", "select ltv_drop_alias('m', 'challenger')")?;
    sees(Ok(1), "the end of the share")?;

    let mut reader = subscriber.connect_as("reader", "ltv")?;
    let mut may_score = |wanted: bool, what: &str| {
        wait_until(what, 60, || {
            Ok(reader.query_one(VERSION, &[]).is_ok() == wanted)
        })
    };
    may_score(false, "a stranger to be kept out")?;
    publisher.psql("ltv", "select ltv_grant('m', 'reader')")?;
    may_score(true, "the grant")?;
    publisher.psql("ltv", "select ltv_revoke('m', 'reader')")?;
    may_score(false, "the revoke")?;
    publisher.psql("ltv", "select ltv_set_owner('m', 'reader')")?;
    may_score(true, "the new owner")?;

    ensure_eq(
        subscriber.psql("ltv", HISTORY)?,
        publisher.psql("ltv", HISTORY)?,
        "the history of the aliases",
    )?;
    publisher.psql("ltv", "select ltv_drop_version('m', 2)")?;
    wait_until("the version to be dropped", 60, || {
        Ok(subscriber.psql("ltv", "select count(*) from ltv_versions")? == "1")
    })?;
    publisher.psql("ltv", "select ltv_drop_model('m')")?;
    sees(Err("42704"), "the model to be dropped")?;
    may_score(false, "the model to be dropped")?;
    // A name that is used again goes on counting.
    train(&publisher, "ltv", "m", r#"{"epochs": 1, "seed": 3}"#)?;
    sees(Ok(3), "a new model of the old name")?;
    publisher.psql("ltv", "truncate ltv.aliases")?;
    sees(Err("55000"), "the aliases to be gone")?;

    ensure!(
        !subscriber.log().contains("ERROR:  duplicate key"),
        "rows arrived twice"
    );
    subscriber.destroy();
    publisher.destroy();
    Ok(())
}

const HISTORY: &str = "select string_agg(concat_ws(' ', promotion, alias, from_version, to_version, by, reason, undoes), ',' order by promotion) from ltv.promotions";

fn same_scores(publisher: &Cluster, subscriber: &Cluster) -> Result<()> {
    let scores = "select string_agg(customer_id || ' ' || ltv_predict('m', c), ',' order by customer_id) from customers c";
    ensure_eq(
        subscriber.psql("ltv", scores)?,
        publisher.psql("ltv", scores)?,
        "the scores",
    )
}
