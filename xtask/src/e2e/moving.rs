//! Models go where the data goes: replicas, dumps, other databases; and when the extension goes, nothing stays.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{customers, ensure_eq, train, wait_until};
use crate::shell;
use crate::workspace::{Template, Workspace};

pub const SCORES: &str = "select string_agg(customer_id || ' ' || ltv_predict('m', c), ',' order by customer_id) from customers c";

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
    let mut copy = primary.base_backup(&workspace.new_directory("copy"), false)?;
    copy.start()?;
    ensure_eq(
        copy.psql("ltv", SCORES)?,
        primary.psql("ltv", SCORES)?,
        "the scores of a physical copy",
    )?;
    copy.destroy();
    replica.destroy();
    primary.destroy();
    Ok(())
}

/// Stored predictions of every kind, in a schema that a dump fills before the catalog and in one that it fills after.
pub const STORED: &str = "
    create schema app; create schema zzz;
    create table app.scored (x int, doc jsonb, p float8 generated always as (ltv_predict('m', 1, doc)) stored);
    insert into app.scored select row_number() over (), to_jsonb(c) from customers c limit 300;
    create table app.checked (x int, doc jsonb, check (ltv_predict('m', 1, doc) < 1e9));
    insert into app.checked select x, doc from app.scored;
    create index on app.checked (ltv_predict('m', 2, doc));
    create materialized view app.seen as select x, ltv_predict('m', doc) as p from app.scored;
    create table app.parted (x int, doc jsonb, p float8 generated always as (ltv_predict('m', 1, doc)) stored) partition by range (x);
    create table app.part partition of app.parted for values from (0) to (1000); insert into app.parted select x, doc from app.scored;
    create table app.parent (doc jsonb, p float8 generated always as (2 * ltv_predict_quantile('m', 1, doc, 0.9)) stored);
    create table app.child () inherits (app.parent); insert into app.child select doc from app.scored; insert into app.parent select doc from app.scored;
    create domain app.scorable as jsonb check (ltv_predict('m', 1, value) < 1e9);
    create table app.of_domain (doc app.scorable); insert into app.of_domain select doc from app.scored;
    create table zzz.scored (like app.scored including generated);
    insert into zzz.scored (x, doc) select x, doc from app.scored;
    create role dump_reader; select ltv_grant('m', 'dump_reader');
    select ltv_monitor('m', 'select customer_id, recency + 100 as recency, frequency, monetary, country, newsletter, first_order from customers');
    select ltv_import_onnx('gone', ltv_export_onnx('m', 1)); select ltv_drop_model('gone');
    create table app.orders as select n % 50 as customer_id, date '2024-01-01' + n % 300 as day, n % 17 as amount from generate_series(1, 2000) n;
    select ltv_create_features('app.features', 'app.orders', date_column => 'day', value_column => 'amount', as_of => '2024-06-30', horizon => 60,
        events => '{\"visits\": {\"source\": \"app.orders\", \"date_column\": \"day\"}}');
    create table app.complaints as select customer_id from customers limit 5;
    select ltv_create_campaign('app.campaign', 'm', 'customers', suppress => '{app.complaints}', start => '2024-03-01');
    select ltv_schedule('m', null, '{score,monitor}', 'customers', 'app.scores')";

/// Everything that must be the same in the copy.
pub const CONTENT: &str = "select concat_ws(' / ',
    (select string_agg(version || checksum, ',' order by version) from ltv.versions),
    (select string_agg(alias || version, ',' order by alias) from ltv.aliases),
    (select string_agg(concat_ws(' ', from_version, to_version, by::text), ',' order by promotion) from ltv.promotions),
    (select string_agg(concat_ws(' ', model, owner::text, settings), ',') from ltv.models),
    (select string_agg(concat_ws(' ', model, grantee::text, privilege), ',') from ltv.privileges),
    (select string_agg(concat_ws(' ', relation::text, definition ->> 'horizon', orders::text, events::text), ',') from ltv.feature_definitions),
    (select string_agg(concat_ws(' ', relation::text, definition ->> 'draw', customers::text, suppress::text), ',') from ltv.campaigns),
    (select count(*) || ' ' || count(*) filter (where arm = 'hold_out') from app.campaign),
    (select string_agg(concat_ws(' ', model, owner::text, steps, features::text, definition ->> 'scores'), ',') from ltv.chains),
    (select string_agg(job || status, ',' order by job) from ltv.jobs where job <= 2),
    (select string_agg(concat_ws(' ', run, model, version, feature, psi, drifted), ',' order by run, feature) from ltv.monitoring),
    (select string_agg(concat_ws(' ', alert, run, feature, message), ',' order by alert) from ltv.alerts),
    (select string_agg(concat_ws(' ', model, last_version), ',') from ltv.dropped_models),
    (select count(*) || ' ' || count(p) || ' ' || sum(p) from app.scored), (select count(*) || ' ' || sum(p) from zzz.scored),
    (select count(*) || ' ' || sum(p) from app.parted), (select count(*) || ' ' || sum(p) from app.parent), (select count(*) from app.of_domain),
    (select count(*) from app.checked), (select count(*) || ' ' || sum(p) from app.seen))";

/// pg_dump in every format, restored in one process and in several; training and refreshing go on after it.
pub fn dump_and_restore(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let source = workspace.database("dumped", Template::Extension)?;
    customers(cluster, &source, 500)?;
    train(cluster, &source, "m", r#"{"epochs": 1, "seed": 1}"#)?;
    train(cluster, &source, "m", r#"{"epochs": 1, "seed": 2}"#)?;
    cluster.psql(
        &source,
        "select ltv_set_alias('m', 2, 'champion'), ltv_set_alias('m', 1, 'challenger'), ltv_keep_versions('m', 5)",
    )?;
    cluster.psql(&source, STORED)?;
    // Belongs to the running server.
    cluster.psql(
        &source,
        "insert into ltv.jobs (model, recipe) values ('m', '{}')",
    )?;
    let content = cluster.psql(&source, CONTENT)?;
    let scores = cluster.psql(&source, SCORES)?;

    let file = workspace.new_directory("dump.sql");
    let archive = workspace.new_directory("dump.archive");
    let folder = workspace.new_directory("dump.folder");
    for (format, to) in [
        ("plain", &file),
        ("custom", &archive),
        ("directory", &folder),
    ] {
        let mut dump = cluster.client_program("pg_dump", &source);
        dump.arg(format!("--format={format}")).arg("--file").arg(to);
        shell::capture(&mut dump)?;
    }
    let restores: [(&str, Option<&PathBuf>, &[&str]); 5] = [
        ("plain", None, &[]),
        ("custom", Some(&archive), &[]),
        ("custom_jobs", Some(&archive), &["--jobs=2"]),
        ("folder_jobs", Some(&folder), &["--jobs=3"]),
        ("one_transaction", Some(&archive), &["--single-transaction"]),
    ];
    for (name, from, arguments) in restores {
        let copy = workspace.database(name, Template::Empty)?;
        // In parallel an index over predictions might be built before the models are there; see docs/backup.md.
        let sections: &[&[&str]] = if name.ends_with("_jobs") {
            &[
                &["--section=pre-data", "--section=data"],
                &["--section=post-data"],
            ]
        } else {
            &[&[]]
        };
        for section in sections {
            let mut restore = match from {
                None => {
                    let mut psql = cluster.psql_command(&copy);
                    psql.args(["--set=ON_ERROR_STOP=1", "--file"]).arg(&file);
                    psql
                }
                Some(from) => {
                    let mut restore = cluster.client_program("pg_restore", &copy);
                    restore
                        .args(["--exit-on-error", "--dbname", &copy])
                        .args(arguments)
                        .args(*section)
                        .arg(from);
                    restore
                }
            };
            shell::capture(&mut restore)?;
        }
        ensure_eq(cluster.psql(&copy, CONTENT)?, content.clone(), name)?;
        ensure_eq(cluster.psql(&copy, SCORES)?, scores.clone(), name)?;
        let waiting = "select count(*) from ltv.jobs where status = 'queued'";
        ensure_eq(
            cluster.psql(&copy, waiting)?.as_str(),
            "0",
            "jobs that wait in the copy",
        )?;
        if arguments.is_empty() {
            cluster.psql(&copy, "select ltv_refresh_features('app.features')")?;
            train(cluster, &copy, "m", r#"{"epochs": 1}"#)?;
            ensure_eq(
                cluster
                    .psql(&copy, "select max(version) from ltv.versions")?
                    .as_str(),
                "3",
                "the next version",
            )?;
        }
        cluster.drop_database(&copy)?;
    }
    cluster.psql(&source, "delete from ltv.jobs where status = 'queued'")?;
    as_the_owner_of_the_database(workspace, &source, &content)?;
    interleaved(workspace)?;
    in_sections(workspace, &source)?;
    by_schema(workspace, &source, &scores)?;
    without_a_role(workspace, &source)
}

/// A role that owns the database, and nothing of the extension, can dump it; what it has dumped a superuser restores.
fn as_the_owner_of_the_database(workspace: &Workspace, source: &str, content: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    cluster.psql(
        source,
        &format!(
            "create role dump_owner login password 'dump_owner'; alter database {source} owner to dump_owner;
             grant usage on schema app, zzz to dump_owner; grant select on all tables in schema app, zzz, public to dump_owner"
        ),
    )?;
    let file = workspace.new_directory("owner.sql");
    let mut dump = cluster.client_program("pg_dump", source);
    dump.args(["--role=dump_owner", "--file"]).arg(&file);
    let dumped = shell::capture(&mut dump);
    cluster.psql(
        source,
        &format!("alter database {source} owner to current_user; drop owned by dump_owner"),
    )?;
    dumped?;
    let copy = workspace.database("of_the_owner", Template::Empty)?;
    let mut psql = cluster.psql_command(&copy);
    psql.args(["--set=ON_ERROR_STOP=1", "--file"]).arg(&file);
    shell::capture(&mut psql)?;
    ensure_eq(
        cluster.psql(&copy, CONTENT)?,
        content.to_owned(),
        "the owner's dump",
    )?;
    cluster.drop_database(&copy)?;
    cluster.psql(source, "drop role dump_owner").map(drop)
}

fn archive(workspace: &Workspace, source: &str, arguments: &[&str]) -> Result<PathBuf> {
    let to = workspace.new_directory("archive");
    let mut dump = workspace.cluster.client_program("pg_dump", source);
    dump.args(["--format=custom", "--file"])
        .arg(&to)
        .args(arguments);
    shell::capture(&mut dump)?;
    Ok(to)
}

fn restore(workspace: &Workspace, copy: &str, from: &Path, arguments: &[&str]) -> Result<()> {
    let mut restore = workspace.cluster.client_program("pg_restore", copy);
    restore
        .args(["--exit-on-error", "--dbname", copy])
        .args(arguments)
        .arg(from);
    shell::capture(&mut restore).map(drop)
}

/// A parallel restore locks the table that it fills. The model arrives before that one stores its first missing prediction.
fn interleaved(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("interleaved", Template::Extension)?;
    customers(cluster, &database, 500)?;
    train(cluster, &database, "m", r#"{"epochs": 1}"#)?;
    cluster.psql(
        &database,
        "create table scored (doc jsonb, p float8 generated always as (ltv_predict('m', 1, doc)) stored);
         create table also (like scored including generated); create table kept as table ltv.versions; delete from ltv.versions",
    )?;
    let as_pg_restore =
        "set check_function_bodies = off; select set_config('search_path', '', false)";
    let mut filler = cluster.connect(&database)?;
    filler.batch_execute(as_pg_restore)?;
    filler.batch_execute("begin; truncate public.also; truncate public.scored")?;
    std::thread::scope(|scope| {
        let models = scope.spawn(|| -> Result<()> {
            let mut client = cluster.connect(&database)?;
            client.batch_execute(as_pg_restore)?;
            client.batch_execute("insert into ltv.versions table public.kept")?;
            Ok(())
        });
        let waits = "select count(*) from pg_locks l join pg_database d on d.oid = l.database where not l.granted and d.datname = current_database()";
        wait_until("the models to wait for the table", 30, || {
            Ok(cluster.psql(&database, waits)? != "0")
        })?;
        filler.batch_execute(
            "insert into public.scored select to_jsonb(c) from public.customers c; commit",
        )?;
        match models.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("the session that restores the models panicked"),
        }
    })?;
    ensure_eq(
        cluster
            .psql(&database, "select count(p) from scored")?
            .as_str(),
        "500",
        "predictions stored before the model came",
    )?;
    cluster.drop_database(&database)
}

/// A generated column that is NOT NULL needs the models first.
fn in_sections(workspace: &Workspace, source: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    cluster.psql(
        source,
        "create table app.strict (doc jsonb, p float8 not null generated always as (ltv_predict('m', 1, doc)) stored);
         insert into app.strict select doc from app.scored",
    )?;
    let from = archive(workspace, source, &[])?;
    let copy = workspace.database("at_once", Template::Empty)?;
    if restore(workspace, &copy, &from, &[]).is_ok() {
        bail!("a generated column that is NOT NULL was restored before its model");
    }
    cluster.drop_database(&copy)?;
    let copy = workspace.database("in_sections", Template::Empty)?;
    for section in [
        &["--section=pre-data"][..],
        &["--section=data", "--schema=ltv"],
        &["--section=data", "--exclude-schema=ltv"],
        &["--section=post-data"],
    ] {
        restore(workspace, &copy, &from, section)?;
    }
    let sum = "select sum(p) || ' ' || count(*) from app.strict";
    ensure_eq(
        cluster.psql(&copy, sum)?,
        cluster.psql(source, sum)?,
        "predictions that are NOT NULL",
    )?;
    cluster.drop_database(&copy)?;
    cluster.psql(source, "drop table app.strict").map(drop)
}

/// A schema is dumped without models; models alone are the tables of the catalog, for a database that has the extension.
fn by_schema(workspace: &Workspace, source: &str, scores: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    let copy = workspace.database("by_schema", Template::Extension)?;
    customers(cluster, &copy, 500)?;
    let empty = archive(workspace, source, &["--schema=ltv"])?;
    restore(workspace, &copy, &empty, &[])?;
    ensure_eq(
        cluster
            .psql(&copy, "select count(*) from ltv_models")?
            .as_str(),
        "0",
        "models that --schema=ltv brings",
    )?;
    let models = archive(
        workspace,
        source,
        &[
            "--data-only",
            "--table=ltv.*",
            "--exclude-table=ltv.feature_definitions",
            "--exclude-table=ltv.campaigns",
            "--exclude-table=ltv.chains",
        ],
    )?;
    restore(workspace, &copy, &models, &[])?;
    ensure_eq(
        cluster.psql(&copy, SCORES)?,
        scores.to_owned(),
        "the tables of the catalog",
    )?;
    restore(
        workspace,
        &copy,
        &archive(workspace, source, &["--schema=app"])?,
        &[],
    )?;
    let sum = "select sum(p) || ' ' || count(*) from app.scored";
    ensure_eq(
        cluster.psql(&copy, sum)?,
        cluster.psql(source, sum)?,
        "predictions of another schema",
    )?;
    cluster.drop_database(&copy)
}

/// Roles are found by name where a dump is restored.
fn without_a_role(workspace: &Workspace, source: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    let from = archive(workspace, source, &[])?;
    cluster.psql(source, "alter role dump_reader rename to dump_somebody")?;
    let copy = workspace.database("without_role", Template::Empty)?;
    match restore(workspace, &copy, &from, &[]) {
        Err(error) if format!("{error:#}").contains("role \"dump_reader\" does not exist") => {}
        other => bail!("a grant to a role that does not exist was restored: {other:?}"),
    }
    cluster.drop_database(&copy)?;
    cluster.psql(
        source,
        "select ltv_revoke('m', 'dump_somebody'); drop role dump_somebody",
    )?;
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
