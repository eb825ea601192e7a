//! pg_cron as it is: a chain of steps fires, scores are written, a model is trained and promoted; what fails is told.

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

    let chain = |cron: &str| {
        format!(
            r#"select ltv_schedule('m', {cron}, '{{score,monitor,retrain}}', 'customers', 'scores', arguments => '{{"retrain": {{"promote": "always"}}}}')"#
        )
    };
    let early = cluster.psql_output("ltv", &chain("'* * * * *'"))?;
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
    cluster.psql("ltv", &chain("'* * * * *'"))?;
    let known = "select concat_ws(' ', model, steps, schedule, command, role) from ltv_schedules";
    ensure_eq(
        cluster.psql("ltv", known)?.as_str(),
        "m {score,monitor,retrain} * * * * * CALL public.ltv_nightly('m', '{score,monitor,retrain}') postgres",
        "the schedule",
    )?;
    // pg_cron fires at the full minute.
    wait_until("the scheduled retraining to be promoted", 150, || {
        let champion = "select version from ltv.aliases where model = 'm' and alias = 'champion'";
        Ok(cluster.psql("ltv", champion)? == "2")
    })?;
    let done = "select string_agg(concat_ws(' ', step, status, rows), ', ') from (select * from ltv_nightly_steps where run = 1) s";
    ensure_eq(
        cluster.psql("ltv", done)?.as_str(),
        "score succeeded 1000, monitor succeeded 1000, retrain succeeded",
        "the steps of the first night",
    )?;
    ensure_eq(
        cluster
            .psql("ltv", "select count(*) from scores where valid_to is null")?
            .as_str(),
        "1000",
        "scores",
    )?;

    // So is a night that pg_cron could not start, once the next one begins.
    cluster.psql(
        "ltv",
        "insert into cron.job_run_details (jobid, runid, database, username, command, status, return_message, start_time, end_time)
         select jobid, 1000000, database, username, command, 'failed', 'connection failed', clock_timestamp(), clock_timestamp() from cron.job",
    )?;
    wait_until("the night that never began to be told", 150, || {
        let told = "select count(*) > 0 from ltv_alerts where kind = 'step' and message like 'step \"score\" could not be started by pg_cron at %'";
        Ok(cluster.psql("ltv", told)? == "t")
    })?;

    // A step that fails is an alert, the scheduler sees it, and what is behind it does not run.
    cluster.psql("ltv", "alter table customers rename to gone_for_now")?;
    cluster.psql("ltv", "create table customers as select 1 as customer_id")?;
    cluster.psql("ltv", &chain("'* * * * *'"))?;
    wait_until("the night to fail", 150, || {
        let failed = "select last_status = 'failed' and last_message like 'step \"score\"%' from ltv_schedules";
        Ok(cluster.psql("ltv", failed)? == "t")
    })?;
    let told = "select count(*) > 0 from ltv_alerts where kind = 'step' and message like 'step \"score\"%'";
    ensure_eq(cluster.psql("ltv", told)?.as_str(), "t", "the alert")?;
    wait_until("pg_cron to see it", 30, || {
        let seen = "select count(*) > 0 from cron.job_run_details where status = 'failed' and return_message like '%step \"score\" failed%'";
        Ok(cluster.psql("ltv", seen)? == "t")
    })?;

    cluster.psql("ltv", &chain("null"))?;
    ensure_eq(
        cluster
            .psql("ltv", "select count(*) || ' ' || (select count(*) from cron.job) from ltv_schedules where schedule is null")?
            .as_str(),
        "1 0",
        "the chain that another scheduler is to run",
    )?;
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
