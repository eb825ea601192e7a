//! pg_cron as it is: a schedule fires, a model is trained and promoted.

use anyhow::{Result, bail};

use super::{customers, ensure_eq, train, wait_until};
use crate::workspace::Workspace;

pub fn retrain(workspace: &Workspace) -> Result<()> {
    let settings = [
        ("shared_preload_libraries", "pg_cron"),
        ("cron.database_name", "ltv"),
        ("cron.use_background_workers", "on"),
    ];
    let cluster = workspace.new_cluster("cron", &settings)?;
    customers(&cluster, "ltv", 1000)?;
    train(&cluster, "ltv", "m", r#"{"epochs": 1}"#)?;

    let early = cluster.psql_output("ltv", "select ltv_schedule('m', '* * * * *')")?;
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    if early.status.success()
        || !said.contains("pg_cron is not installed")
        || !said.contains("HINT")
    {
        bail!(
            "without pg_cron in the database a schedule must be refused with a hint; it said:\n{said}"
        );
    }

    cluster.psql("ltv", "create extension pg_cron")?;
    let sql = r#"select ltv_schedule('m', '* * * * *', 'retrain', '{"promote": "always"}')"#;
    cluster.psql("ltv", sql)?;
    let known = "select model || ' ' || action || ' ' || schedule from ltv_schedules";
    ensure_eq(
        cluster.psql("ltv", known)?.as_str(),
        "m retrain * * * * *",
        "the schedule",
    )?;
    // pg_cron fires at the full minute.
    wait_until("the scheduled retraining to be promoted", 150, || {
        let champion = "select version from ltv.aliases where model = 'm' and alias = 'champion'";
        Ok(cluster.psql("ltv", champion)? == "2")
    })?;
    cluster.psql("ltv", "select ltv_unschedule('m')")?;
    ensure_eq(
        cluster
            .psql("ltv", "select count(*) from ltv_schedules")?
            .as_str(),
        "0",
        "schedules",
    )?;
    cluster.destroy();
    Ok(())
}
