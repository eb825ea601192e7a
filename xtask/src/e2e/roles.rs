//! Whose rights a job has, and what becomes of it when roles, tables, models or databases go away.

use anyhow::Result;

use super::jobs::{
    CUSTOMERS, LONG, SHORT, cluster, count, ensure_consistent, status, train, wait_for_status,
    wait_for_training,
};
use super::{ensure_eq, wait_until};
use crate::workspace::Workspace;
use postgres::Client;

fn sqlstate(client: &mut Client, job: i64) -> Result<String> {
    let sql = "select coalesce(sqlstate, message, status) from ltv_jobs where job = $1";
    Ok(client.query_one(sql, &[&job])?.get(0))
}

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
    alice.query_one("select ltv_wait($1::bigint)", &[&job])?;
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
    alice.query_one("select ltv_wait($1::bigint)", &[&job])?;

    // Of a role that may not log in, and of one that lost its rights after queueing.
    admin.batch_execute("set session authorization analyst")?;
    let job: i64 = admin
        .query_one("select ltv_train('t', 'mine.same')", &[])?
        .get(0);
    admin.batch_execute("reset session authorization")?;
    wait_for_status(&mut admin, job, "failed")?;
    ensure_eq(
        sqlstate(&mut admin, job)?,
        "28000".to_owned(),
        "SQLSTATE of a job that nobody who may log in stands behind",
    )?;

    admin.batch_execute("select pg_advisory_lock(1)")?;
    let sql = "select ltv_train('u', query => 'select s.* from mine.same s, (select pg_advisory_lock_shared(1)) l')";
    let job: i64 = alice.query_one(sql, &[])?.get(0);
    wait_for_status(&mut admin, job, "running")?;
    admin.batch_execute("select ltv_set_owner('u', current_user); select pg_advisory_unlock(1)")?;
    wait_for_status(&mut admin, job, "failed")?;
    ensure_eq(
        sqlstate(&mut admin, job)?,
        "42704".to_owned(),
        "SQLSTATE of a job whose role lost the model",
    )?;
    ensure_consistent(&mut admin)?;
    cluster.destroy();
    Ok(())
}

/// What the code of a job tries, each in a block of its own, and who it is before, in between and after.
const TRIES: &str = r#"
create function team.identity() returns text language sql volatile as
$$ select concat_ws(' ', session_user, current_user, current_setting('is_superuser'), current_setting('session_authorization'), current_setting('role')) $$;
create function team.tries() returns int language plpgsql as $$
declare
    statement text;
    outcomes text := team.identity();
begin
    foreach statement in array array[
        'set session authorization postgres', 'reset session authorization', 'set role postgres', 'reset role', 'set role none',
        'declare held cursor with hold for select 1', 'create temp table t (i int)', 'listen x', 'alter role alice superuser',
        'select set_config(''transaction_read_only'', ''off'', false)',
        'select ltv_train(''nested'', ''team.customers'')', 'select ltv_cancel(1)', 'select pg_advisory_unlock_all()'] loop
        begin
            execute statement;
            outcomes := concat(outcomes, E'\n', statement, ': done');
        exception when others then
            outcomes := concat(outcomes, E'\n', statement, ': ', sqlstate);
        end;
    end loop;
    raise exception '%', concat(outcomes, E'\n', team.identity());
end $$;
"#;

/// A worker is the owner of its job and nobody else, though the owner be a role that may not log in; nothing that the job
/// tries leads to another identity, and what it leaves behind is gone with it.
pub fn identity(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "identity", &[])?;
    cluster.psql(
        "ltv",
        &format!(
            "create role team nosuperuser nologin; create role alice login; grant team to alice; create schema team authorization team; \
             set role team; create table team.customers (customer_id int, a real, ltv float8); \
             insert into team.customers select i, i % 7, i % 5 from generate_series(1, 60) i; {TRIES}"
        ),
    )?;
    let mut alice = cluster.connect_as("alice", "ltv")?;
    let mut admin = cluster.connect("ltv")?;
    alice.batch_execute("set role team")?;
    let sql = "select ltv_train('m', query => 'select customer_id, a, ltv, team.tries() as t from team.customers')";
    let job: i64 = alice.query_one(sql, &[])?.get(0);
    wait_for_status(&mut admin, job, "failed")?;
    let said: String = admin
        .query_one("select message from ltv_jobs where job = $1", &[&job])?
        .get(0);
    let is_team = "team team off team none";
    let wanted = format!(
        "{is_team}\nset session authorization postgres: 42501\nreset session authorization: 42501\nset role postgres: 42501\n\
         reset role: 42501\nset role none: 42501\ndeclare held cursor with hold for select 1: 42501\ncreate temp table t (i int): 25006\n\
         listen x: 42501\nalter role alice superuser: 25006\nselect set_config('transaction_read_only', 'off', false): 25001\n\
         select ltv_train('nested', 'team.customers'): 25006\nselect ltv_cancel(1): 25006\nselect pg_advisory_unlock_all(): done\n{is_team}"
    );
    ensure_eq(said, wanted, "what the job's code achieved")?;

    // Others see the worker as the team's, and one who has its rights may end it.
    let sleeping =
        "select ltv_train('m', query => 'select c.* from team.customers c, pg_sleep(600)')";
    let job: i64 = alice.query_one(sleeping, &[])?.get(0);
    wait_for_status(&mut admin, job, "running")?;
    let sql = "select a.usename::text from ltv_jobs j join pg_stat_activity a using (pid) where j.job = $1";
    let seen: String = admin.query_one(sql, &[&job])?.get(0);
    ensure_eq(seen, "team".to_owned(), "the worker's role")?;
    alice.batch_execute("reset role")?;
    alice.query_one(
        "select pg_terminate_backend(pid) from ltv_jobs where job = $1",
        &[&job],
    )?;
    wait_for_status(&mut admin, job, "canceled")?;

    // SQL that swallows a cancel does not outlive a termination, and its end is written down.
    admin.batch_execute(
        "create function team.stays() returns int language plpgsql as $$ begin loop begin perform pg_sleep(600); \
         exception when query_canceled then null; end; end loop; end $$",
    )?;
    alice.batch_execute("set role team")?;
    let stays =
        "select ltv_train('m', query => 'select c.*, team.stays() as s from team.customers c')";
    let job: i64 = alice.query_one(stays, &[])?.get(0);
    wait_for_status(&mut admin, job, "running")?;
    alice.query_one("select ltv_cancel($1)", &[&job])?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    ensure_eq(status(&mut admin, job)?, "running".to_owned(), "the job")?;
    admin.query_one(
        "select pg_terminate_backend(pid) from ltv.jobs where job = $1",
        &[&job],
    )?;
    wait_for_status(&mut admin, job, "canceled")?;
    // Nor, after some seconds, a cancel by whoever may.
    let job: i64 = alice.query_one(stays, &[])?.get(0);
    wait_for_status(&mut admin, job, "running")?;
    alice.query_one("select ltv_cancel($1)", &[&job])?;
    wait_for_status(&mut admin, job, "canceled")?;
    // So does the limit on its time, which the administrator gives the role.
    admin.batch_execute("alter role team set ltv.job_timeout = '1s'")?;
    let job: i64 = alice.query_one(stays, &[])?.get(0);
    wait_for_status(&mut admin, job, "failed")?;
    ensure_eq(
        sqlstate(&mut admin, job)?,
        "57014".to_owned(),
        "SQLSTATE of a job that took too long",
    )?;
    let error = alice.batch_execute("set ltv.job_timeout = 0").unwrap_err();
    ensure_eq(
        error.code().map(|code| code.code().to_owned()),
        Some("42501".to_owned()),
        "SQLSTATE of a user who lifts the limit",
    )?;
    wait_until("the workers to be gone", 30, || {
        let sql = "select count(*) from pg_stat_activity where backend_type = 'pg_ltv worker'";
        Ok(count(&mut admin, sql)? == 0)
    })?;

    // A role that is gone, and one that may not SET ROLE any more.
    admin.batch_execute(
        "alter role team reset all; create role passing login; grant team to passing",
    )?;
    let mut passing = cluster.connect_as("passing", "ltv")?;
    passing.batch_execute("set role team; begin")?;
    let revoked: i64 = passing
        .query_one("select ltv_train('m', 'team.customers')", &[])?
        .get(0);
    admin.batch_execute("revoke team from passing")?;
    passing.batch_execute("commit")?;
    wait_for_status(&mut admin, revoked, "failed")?;
    ensure_eq(
        sqlstate(&mut admin, revoked)?,
        "28000".to_owned(),
        "SQLSTATE of a job whose role may not act as its owner any more",
    )?;
    cluster.destroy();
    Ok(())
}

/// One role does not keep another one's jobs waiting; jobs of a copied database stay where they were queued.
pub fn fairness(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "fairness", &[("ltv.max_concurrent_jobs", "2")])?;
    cluster.psql(
        "ltv",
        "create role alice login; create role bob login; grant select on customers to alice, bob",
    )?;
    let mut admin = cluster.connect("ltv")?;
    let mut alice = cluster.connect_as("alice", "ltv")?;
    let mut bob = cluster.connect_as("bob", "ltv")?;
    let long: Vec<i64> = (0..3)
        .map(|_| train(&mut alice, "a", LONG))
        .collect::<Result<_>>()?;
    wait_for_training(&mut admin, long[0])?;
    let job = train(&mut bob, "b", SHORT)?;
    bob.query_one("select ltv_wait($1::bigint)", &[&job])?;
    ensure_eq(
        count(
            &mut admin,
            "select count(*) from ltv.jobs where status = 'running'",
        )?,
        1,
        "alice's jobs that run",
    )?;
    // What an open transaction has cancelled is passed over, and no worker waits for it.
    alice.batch_execute("begin")?;
    for job in &long {
        alice.query_one("select ltv_cancel($1)", &[job])?;
    }
    let job = train(&mut bob, "b", SHORT)?;
    bob.query_one("select ltv_wait($1::bigint)", &[&job])?;
    admin.query_one(
        "select pg_terminate_backend(pid) from ltv.jobs where status = 'running'",
        &[],
    )?;
    wait_for_status(&mut admin, long[0], "canceled")?;
    alice.batch_execute("commit")?;
    for job in &long {
        wait_for_status(&mut admin, *job, "canceled")?;
    }
    // The administrator's limit for a role.
    admin.batch_execute("alter role alice set ltv.max_jobs_per_role = 2")?;
    let long: Vec<i64> = (0..3)
        .map(|_| train(&mut alice, "a", LONG))
        .collect::<Result<_>>()?;
    wait_for_training(&mut admin, long[0])?;
    wait_for_training(&mut admin, long[1])?;
    ensure_eq(
        status(&mut admin, long[2])?,
        "queued".to_owned(),
        "the third job of a role that may run two",
    )?;
    // A copy of the database does not run them again.
    let third = long[2];
    drop((alice, bob));
    admin.batch_execute(&format!(
        "select ltv_cancel({}); select ltv_cancel({})",
        long[0], long[1]
    ))?;
    for job in &long[..2] {
        wait_for_status(&mut admin, *job, "canceled")?;
    }
    admin.query_one("select ltv_cancel($1)", &[&third])?;
    wait_for_status(&mut admin, third, "canceled")?;
    wait_until("the last worker to end", 30, || {
        let workers = "select count(*) from pg_stat_activity where backend_type = 'pg_ltv worker'";
        Ok(admin.query_one(workers, &[])?.get::<_, i64>(0) == 0)
    })?;
    admin.batch_execute(&format!("set session_replication_role = replica; update ltv.jobs set status = 'queued', finished_at = null where job = {third}; \
                                  reset session_replication_role"))?;
    drop(admin);
    wait_until("the last session to leave the database", 30, || {
        let left = "select count(*) from pg_stat_activity where datname = 'ltv'";
        Ok(cluster.psql("postgres", left)? == "0")
    })?;
    cluster.psql("postgres", "create database copy template ltv")?;
    let mut copy = cluster.connect("copy")?;
    copy.query_one("select ltv.wake_queue()", &[])?;
    wait_for_status(&mut copy, third, "lost")?;
    ensure_eq(
        sqlstate(&mut copy, third)?,
        "55000".to_owned(),
        "SQLSTATE of a job in a copy of its database",
    )?;
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
        .execute("select ltv_wait($1::bigint)", &[&waiting])
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
    second.query_one("select ltv_wait($1::bigint)", &[&job])?;
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
