//! Models go where the data goes: replicas, dumps, other databases; and when the extension goes, nothing stays.

use std::fs;

use anyhow::{Result, bail};

use super::{customers, ensure_eq, train, wait_until};
use crate::shell;
use crate::test::{Template, Workspace};

const SCORES: &str = "select string_agg(customer_id || ' ' || ltv_predict('m', c), ',' order by customer_id) from customers c";

/// A streaming replica scores as the primary does, sees promotions, and refuses to train.
pub fn replica(workspace: &Workspace) -> Result<()> {
    let primary = workspace.new_cluster("primary", &[])?;
    customers(&primary, "ltv", 500)?;
    let mut replica = primary.base_backup(&workspace.new_directory("replica"), true)?;
    replica.start()?;
    train(&primary, "ltv", "m", r#"{"epochs": 1, "seed": 1}"#)?;
    let scores = primary.psql("ltv", SCORES)?;
    wait_until("the replica to know the model", 30, || {
        Ok(replica
            .psql("ltv", SCORES)
            .is_ok_and(|answer| answer == scores))
    })?;
    ensure_eq(
        replica.psql("ltv", "select pg_is_in_recovery()")?.as_str(),
        "t",
        "in recovery",
    )?;

    // One session of the replica's goes on through a promotion on the primary.
    let mut session = replica.connect("ltv")?;
    let ask = "select version from ltv_predict_all('m', (select c from customers c limit 1))";
    ensure_eq(
        session.query_one(ask, &[])?.get::<_, i32>(0),
        1,
        "the version before",
    )?;
    train(&primary, "ltv", "m", r#"{"epochs": 1, "seed": 2}"#)?;
    primary.psql("ltv", "select ltv_set_alias('m', 2, 'champion')")?;
    wait_until(
        "the session on the replica to see the promotion",
        30,
        || Ok(session.query_one(ask, &[])?.get::<_, i32>(0) == 2),
    )?;

    let refused = replica.psql_output("ltv", "select ltv_train('m', 'customers')")?;
    if refused.status.success() {
        bail!("a replica took a training job");
    }
    replica.destroy();
    primary.destroy();
    Ok(())
}

/// pg_dump and pg_restore, as text and as an archive, with the models and their aliases; training goes on after it.
pub fn dump_and_restore(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let source = workspace.database("dumped", Template::Extension)?;
    customers(cluster, &source, 500)?;
    train(cluster, &source, "m", r#"{"epochs": 1, "seed": 1}"#)?;
    train(cluster, &source, "m", r#"{"epochs": 1, "seed": 2}"#)?;
    cluster.psql(&source, "select ltv_set_alias('m', 2, 'champion')")?;
    let scores = cluster.psql(&source, SCORES)?;

    let file = workspace.new_directory("dump.sql");
    fs::write(
        &file,
        shell::capture(&mut cluster.client_program("pg_dump", &source))?,
    )?;
    let archive = workspace.new_directory("dump.archive");
    shell::capture(
        cluster
            .client_program("pg_dump", &source)
            .arg("--format=custom")
            .arg("--file")
            .arg(&archive),
    )?;

    let restored = workspace.database("restored", Template::Empty)?;
    shell::capture(
        cluster
            .psql_command(&restored)
            .args(["--set=ON_ERROR_STOP=1", "--file"])
            .arg(&file),
    )?;
    let unpacked = workspace.database("unpacked", Template::Empty)?;
    shell::capture(
        cluster
            .client_program("pg_restore", &unpacked)
            .args(["--exit-on-error", "--dbname", &unpacked])
            .arg(&archive),
    )?;
    for copy in [&restored, &unpacked] {
        ensure_eq(
            cluster.psql(copy, SCORES)?,
            scores.clone(),
            "the scores after the restore",
        )?;
        let versions =
            "select string_agg(version || checksum, ',' order by version) from ltv.versions";
        ensure_eq(
            cluster.psql(copy, versions)?,
            cluster.psql(&source, versions)?,
            "the versions",
        )?;
        let history = "select count(*) from ltv_promotions";
        ensure_eq(
            cluster.psql(copy, history)?,
            cluster.psql(&source, history)?,
            "the promotions",
        )?;
        train(cluster, copy, "m", r#"{"epochs": 1}"#)?;
        ensure_eq(
            cluster
                .psql(copy, "select max(version) from ltv.versions")?
                .as_str(),
            "3",
            "the next version",
        )?;
    }
    Ok(())
}

/// Models of the same name in two databases are two models, and each database has its own queue.
pub fn two_databases(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let one = workspace.database("one", Template::Extension)?;
    let two = workspace.database("two", Template::Extension)?;
    customers(cluster, &one, 500)?;
    customers(cluster, &two, 500)?;
    cluster.psql(&two, "update customers set ltv = ltv * 10")?;
    train(cluster, &one, "m", r#"{"epochs": 2}"#)?;
    let missing = cluster.psql_output(&two, SCORES)?;
    if missing.status.success() {
        bail!("the model of one database is seen in another");
    }
    train(cluster, &two, "m", r#"{"epochs": 2}"#)?;
    let sum = "select sum(ltv_predict('m', c)) from customers c";
    let (in_one, in_two): (f64, f64) = (
        cluster.psql(&one, sum)?.parse()?,
        cluster.psql(&two, sum)?.parse()?,
    );
    if in_two < 2.0 * in_one {
        bail!("predictions do not follow each database's own data: {in_one} and {in_two}");
    }
    ensure_eq(
        cluster
            .psql(&one, "select count(*) from ltv_jobs")?
            .as_str(),
        "1",
        "jobs",
    )?;
    Ok(())
}

/// DROP EXTENSION leaves nothing behind but the user's own tables; it can be made anew.
pub fn drop_extension(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let objects = "select coalesce(string_agg(kind || ' ' || name, ', '), '') from (
            select 'schema' as kind, nspname::text as name from pg_namespace where nspname ~ 'ltv'
            union all select 'relation', oid::regclass::text from pg_class where relname ~ 'ltv' or relnamespace::regnamespace::text = 'ltv'
            union all select 'function', oid::regprocedure::text from pg_proc where proname ~ 'ltv'
            union all select 'type', oid::regtype::text from pg_type where typname ~ 'ltv'
            union all select 'event trigger', evtname::text from pg_event_trigger
            union all select 'trigger', tgname::text from pg_trigger where not tgisinternal
            union all select 'policy', polname::text from pg_policy) found";
    let database = workspace.database("dropped", Template::Extension)?;
    customers(cluster, &database, 500)?;
    train(cluster, &database, "m", r#"{"epochs": 1}"#)?;
    cluster.psql(&database, SCORES)?;
    cluster.psql(&database, "drop extension pg_ltv")?;
    ensure_eq(
        cluster.psql(&database, objects)?.as_str(),
        "",
        "what is left",
    )?;
    cluster.psql(
        &database,
        "create extension pg_ltv; select count(*) from ltv_models",
    )?;
    Ok(())
}
