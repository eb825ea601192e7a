//! Whose rights a job has, and what becomes of it when roles, tables, models or databases go away.

use anyhow::Result;

use super::ensure_eq;
use super::jobs::{
    CUSTOMERS, LONG, SHORT, cluster, count, ensure_consistent, train, wait_for_status,
    wait_for_training,
};
use crate::test::Workspace;

/// A job runs as the role that queued it, sees what that role sees, and ends cleanly when the role is gone.
pub fn rights(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "roles", &[])?;
    cluster.psql(
        "ltv",
        "create role analyst; create role alice login; grant analyst to alice; \
         create table orders_of as select c.*, case when ltv > 20 then 'analyst' else 'nobody' end as seen_by from customers c; \
         insert into orders_of select c.*, 'analyst' from customers c where ltv = 0 limit 100; \
         alter table orders_of enable row level security; \
         create policy p on orders_of using (seen_by = current_user); \
         grant select on orders_of to analyst; \
         create schema mine authorization analyst; \
         create table public.same as select * from customers limit 0; \
         create table mine.same as select * from customers; \
         grant all on mine.same to analyst; grant all on public.same to public",
    )?;
    let mut admin = cluster.connect("ltv")?;
    let mut alice = cluster.connect_as("alice", "ltv")?;
    alice.batch_execute("set role analyst; set search_path = mine, public")?;
    let visible = count(&mut alice, "select count(*) from orders_of")?;
    let sql =
        "select ltv_train('r', 'orders_of', features => '{a,b,c}', options => '{\"epochs\": 1}')";
    let job: i64 = alice.query_one(sql, &[])?.get(0);
    alice.query_one("select ltv_wait($1)", &[&job])?;
    let row = admin.query_one(
        "select n_rows, created_by::text from ltv.versions where model = 'r'",
        &[],
    )?;
    ensure_eq(
        (row.get(0), row.get(1)),
        (visible, "analyst".to_owned()),
        "rows seen, creator",
    )?;
    // The search_path goes along.
    let sql = "select ltv_train('s', query => 'select * from same', options => '{\"epochs\": 1}')";
    let job: i64 = alice.query_one(sql, &[])?.get(0);
    alice.query_one("select ltv_wait($1)", &[&job])?;

    // Of a role that may not log in, and of one that lost its rights after queueing.
    admin.batch_execute("set session authorization analyst")?;
    let job: i64 = admin
        .query_one("select ltv_train('t', 'mine.same')", &[])?
        .get(0);
    admin.batch_execute("reset session authorization")?;
    wait_for_status(&mut admin, job, "failed")?;
    let state: String = admin
        .query_one("select sqlstate from ltv.jobs where job = $1", &[&job])?
        .get(0);
    ensure_eq(
        state,
        "28000".to_owned(),
        "SQLSTATE of a job whose role may not log in",
    )?;

    admin.batch_execute("select pg_advisory_lock(1)")?;
    let sql = "select ltv_train('u', query => 'select s.* from mine.same s, (select pg_advisory_lock_shared(1)) l')";
    let job: i64 = alice.query_one(sql, &[])?.get(0);
    wait_for_status(&mut admin, job, "running")?;
    admin.batch_execute("revoke all on schema ltv from public; select pg_advisory_unlock(1)")?;
    wait_for_status(&mut admin, job, "failed")?;
    admin.batch_execute("grant usage on schema ltv to public")?;
    let state: String = admin
        .query_one("select sqlstate from ltv.jobs where job = $1", &[&job])?
        .get(0);
    ensure_eq(
        state,
        "42501".to_owned(),
        "SQLSTATE of a job without rights",
    )?;
    ensure_consistent(&mut admin)?;
    cluster.destroy();
    Ok(())
}

/// Tables that vanish before and while a job runs; models that vanish; another database.
pub fn vanishing(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "vanishing", &[("ltv.max_concurrent_jobs", "1")])?;
    let mut client = cluster.connect("ltv")?;
    let running = train(&mut client, "m", LONG)?;
    client.batch_execute("create table other as select * from customers")?;
    let waiting: i64 = client
        .query_one("select ltv_train('m', 'other')", &[])?
        .get(0);
    wait_for_training(&mut client, running)?;
    client.batch_execute("drop table customers; drop table other")?;
    client.query_one("select ltv_cancel($1)", &[&running])?;
    let error = client
        .execute("select ltv_wait($1)", &[&waiting])
        .unwrap_err();
    ensure_eq(
        error.code().map(|code| code.code().to_owned()),
        Some("42P01".to_owned()),
        "SQLSTATE",
    )?;

    client.batch_execute(CUSTOMERS)?;
    let running = train(&mut client, "gone", r#"{"epochs": 3}"#)?;
    client.batch_execute("begin; select from ltv.models where model = 'gone' for update")?;
    client.batch_execute(
        "delete from ltv.models where model = 'gone'; drop table customers; commit",
    )?;
    wait_for_status(&mut client, running, "failed")?;
    let state: String = client
        .query_one("select sqlstate from ltv.jobs where job = $1", &[&running])?
        .get(0);
    anyhow::ensure!(
        ["42704", "42P01"].contains(&state.as_str()),
        "SQLSTATE of a job without its model: {state}"
    );

    cluster.create_database("second", "template0")?;
    let mut second = cluster.connect("second")?;
    second.batch_execute("create extension pg_ltv")?;
    second.batch_execute(CUSTOMERS)?;
    let job = train(&mut second, "m", SHORT)?;
    second.query_one("select ltv_wait($1)", &[&job])?;
    ensure_eq(
        count(&mut second, "select count(*) from ltv.versions")?,
        1,
        "versions in the second database",
    )?;
    ensure_eq(
        count(&mut client, "select count(*) from ltv.versions")?,
        0,
        "versions in the first database",
    )?;

    let job = train(&mut second, "m", LONG)?;
    wait_for_training(&mut second, job)?;
    drop(second);
    client.batch_execute("drop database second with (force)")?;
    ensure_eq(cluster.is_running(), true, "the server runs on")?;
    cluster.destroy();
    Ok(())
}
