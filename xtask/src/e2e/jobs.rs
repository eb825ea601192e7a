//! The job queue under stress: cancels, crashes, restarts, missing worker slots, several roles and databases.

use anyhow::{Context, Result};
use postgres::Client;

use super::{ensure_eq, wait_until};
use crate::cluster::{Cluster, StopMode};
use crate::workspace::Workspace;

/// A table that trains for as long as a test needs.
pub(super) const CUSTOMERS: &str = "create table customers as select i::text as customer_id, (i * 7919 % 1000)::float8 as a, \
     (i * 104729 % 100) as b, 'c' || i % 5 as c, case when i % 3 = 0 then (i * 31 % 97)::float8 else 0 end as ltv \
     from generate_series(1, 3000) i";

/// Goes on until somebody stops it.
pub(super) const LONG: &str =
    r#"{"epochs": 100000, "patience": 100000, "learning_rate_patience": 100000}"#;
pub(super) const SHORT: &str = r#"{"epochs": 1}"#;

pub(super) fn train(client: &mut Client, model: &str, options: &str) -> Result<i64> {
    let sql = "select ltv_train($1, 'customers', options => ($2::text)::jsonb)";
    Ok(client.query_one(sql, &[&model, &options])?.get(0))
}

pub(super) fn status(client: &mut Client, job: i64) -> Result<String> {
    let row = client.query_one("select status from ltv_jobs where job = $1", &[&job])?;
    Ok(row.get(0))
}

/// Somebody who waits looks after the queue, too.
pub(super) fn wait_for_status(client: &mut Client, job: i64, wanted: &str) -> Result<()> {
    wait_until(&format!("job {job} to be {wanted}"), 60, || {
        client.query_one("select ltv.wake_queue()", &[])?;
        Ok(status(client, job)? == wanted)
    })
    .with_context(|| format!("job {job} is {}", status(client, job).unwrap_or_default()))
}

/// Until the compute thread has reported an epoch.
pub(super) fn wait_for_training(client: &mut Client, job: i64) -> Result<()> {
    wait_until(&format!("job {job} to train"), 60, || {
        let sql = "select phase = 'training' and epoch > 0 from ltv_jobs where job = $1";
        Ok(client.query_one(sql, &[&job])?.get::<_, Option<bool>>(0) == Some(true))
    })
}

pub(super) fn count(client: &mut Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[])?.get(0))
}

/// Every job that succeeded has its version, every version its job, and nothing is half there.
pub(super) fn ensure_consistent(client: &mut Client) -> Result<()> {
    let jobs = count(
        client,
        "select count(*) from ltv.jobs where status = 'succeeded'",
    )?;
    let versions = count(client, "select count(*) from ltv.versions")?;
    let both = count(
        client,
        "select count(*) from ltv.jobs j join ltv.versions v on v.job = j.job and v.version = j.version \
         where j.status = 'succeeded'",
    )?;
    ensure_eq(
        (versions, both),
        (jobs, jobs),
        "versions, and versions with a job",
    )?;
    let broken = count(
        client,
        "select count(*) from ltv.models m where m.last_version <> \
         (select coalesce(max(v.version), 0) from ltv.versions v where v.model = m.model) \
         or (m.last_version > 0) <> exists (select from ltv.aliases a where a.model = m.model and a.alias = 'champion')",
    )?;
    ensure_eq(broken, 0, "models whose numbering or champion is wrong")?;
    ensure_history(client)
}

/// The history of each alias is without gaps, and ends where the alias stands.
pub(super) fn ensure_history(client: &mut Client) -> Result<()> {
    let gaps = count(
        client,
        "select count(*) from ltv.promotions p where p.from_version is distinct from (select b.to_version \
         from ltv.promotions b where b.model = p.model and b.alias = p.alias and b.promotion < p.promotion order by b.promotion desc limit 1)",
    )?;
    ensure_eq(
        gaps,
        0,
        "promotions that do not start where the one before ended",
    )?;
    let strays = count(
        client,
        "select count(*) from ltv.aliases a where a.version is distinct from (select p.to_version \
         from ltv.promotions p where p.model = a.model and p.alias = a.alias order by p.promotion desc limit 1)",
    )?;
    ensure_eq(strays, 0, "aliases that the history does not know")
}

pub(super) fn cluster(
    workspace: &Workspace,
    name: &str,
    settings: &[(&str, &str)],
) -> Result<Cluster> {
    let cluster = workspace.new_cluster(name, settings)?;
    cluster.psql("ltv", CUSTOMERS)?;
    Ok(cluster)
}

/// ltv_cancel, a statement cancel and a termination end a job, while it reads and while it computes.
pub fn cancel(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "cancel", &[])?;
    let mut client = cluster.connect("ltv")?;
    for how in [
        "select ltv_cancel(job) from ltv.jobs where job = $1",
        "select pg_cancel_backend(pid) from ltv.jobs where job = $1",
        "select pg_terminate_backend(pid) from ltv.jobs where job = $1",
    ] {
        let computing = train(&mut client, "m", LONG)?;
        wait_for_training(&mut client, computing)?;
        client.query_one(how, &[&computing])?;
        wait_for_status(&mut client, computing, "canceled")?;

        let sql = "select ltv_train('m', query => 'select c.* from customers c, pg_sleep(600)')";
        let reading: i64 = client.query_one(sql, &[])?.get(0);
        wait_for_status(&mut client, reading, "running")?;
        client.query_one(how, &[&reading])?;
        wait_for_status(&mut client, reading, "canceled")?;
    }
    wait_until("the workers to be gone", 30, || {
        Ok(count(
            &mut client,
            "select count(*) from pg_stat_activity where backend_type = 'pg_ltv worker'",
        )? == 0)
    })?;
    ensure_eq(
        count(&mut client, "select count(*) from ltv.versions")?,
        0,
        "versions",
    )?;
    let error = client
        .execute("select ltv_wait(max(job)) from ltv.jobs", &[])
        .unwrap_err();
    ensure_eq(
        error.code().map(|code| code.code().to_owned()),
        Some("57014".to_owned()),
        "SQLSTATE",
    )?;
    // A job that has not begun ends without a worker.
    client.batch_execute("begin")?;
    let job = train(&mut client, "m", LONG)?;
    client.query_one("select ltv_cancel($1)", &[&job])?;
    client.batch_execute("commit")?;
    ensure_eq(
        status(&mut client, job)?,
        "canceled".to_owned(),
        "status of a job cancelled before its start",
    )?;
    cluster.destroy();
    Ok(())
}

/// Another session sees everything about a job that runs, and the SQLSTATE of one that failed.
pub fn progress(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(workspace, "progress", &[])?;
    let mut client = cluster.connect("ltv")?;
    let mut other = cluster.connect("ltv")?;
    let long = train(&mut client, "m", LONG)?;
    wait_for_training(&mut other, long)?;
    let complete = "select num_nonnulls(phase, epoch, epochs, rows, rows_per_second, training_loss, validation_loss, eta, memory_bytes, \
         role, pid, started_at, duration) = 13 and status = 'running' and phase = 'training' and epoch between 1 and epochs \
         and epochs = 500000 and step = 'network 1 of 5' and rows > 0 and rows_per_second > 0 and eta > '0' and memory_bytes between 1e6 and 1e9 \
         and role = current_user and exists (select from pg_stat_activity a where a.pid = j.pid and a.backend_type = 'pg_ltv worker') \
         from ltv_jobs j where job = $1";
    wait_until("everything about the job to be shown", 30, || {
        Ok(other
            .query_one(complete, &[&long])?
            .get::<_, Option<bool>>(0)
            == Some(true))
    })?;
    let epoch = "select epoch::bigint from ltv_jobs where job = ";
    let before = count(&mut other, &format!("{epoch}{long}"))?;
    wait_until("the epochs to go on", 30, || {
        Ok(count(&mut other, &format!("{epoch}{long}"))? > before)
    })?;
    let wait = format!("select ltv_wait({long}, timeout => '1 s')");
    let told = cluster.psql_output("ltv", &wait)?.stderr;
    let told = String::from_utf8_lossy(&told);
    anyhow::ensure!(told.contains("network 1 of 5, training, epoch "), "{told}");
    // A statement that waits can be cancelled; the job goes on.
    let error = client
        .batch_execute(&format!(
            "set statement_timeout = '300ms'; select ltv_wait({long})"
        ))
        .unwrap_err();
    ensure_eq(
        error.code().map(|code| code.code().to_owned()),
        Some("57014".to_owned()),
        "SQLSTATE of a wait that was cancelled",
    )?;
    client.batch_execute("set statement_timeout = 0")?;
    ensure_eq(status(&mut other, long)?, "running".to_owned(), "the job")?;
    client.query_one("select ltv_cancel($1)", &[&long])?;
    wait_for_status(&mut other, long, "canceled")?;

    // How much it has read is visible, too.
    let sql =
        "select ltv_train('m', query => 'select c.* from customers c, generate_series(1, 100000)')";
    let reading: i64 = client.query_one(sql, &[])?.get(0);
    wait_until("rows to be read", 60, || {
        let sql = "select phase = 'reading' and rows >= 100000 and rows_per_second > 0 and pid is not null from ltv_jobs where job = $1";
        Ok(other.query_one(sql, &[&reading])?.get::<_, Option<bool>>(0) == Some(true))
    })?;
    client.query_one("select ltv_cancel($1)", &[&reading])?;
    wait_for_status(&mut other, reading, "canceled")?;

    let sql = "select ltv_train('m', query => 'select customer_id, 1 / (b - b) as x, ltv from customers')";
    let failing: i64 = client.query_one(sql, &[])?.get(0);
    wait_for_status(&mut other, failing, "failed")?;
    let row = other.query_one(
        "select sqlstate, message, pid is null and eta is null and finished_at is not null from ltv_jobs where job = $1",
        &[&failing],
    )?;
    ensure_eq(
        (row.get(0), row.get(1), row.get(2)),
        ("22012".to_owned(), "division by zero".to_owned(), true),
        "a job that failed",
    )?;
    cluster.destroy();
    Ok(())
}

/// Rolled back: no job. Not committed: nobody sees it. Prepared: it starts after COMMIT PREPARED.
pub fn uncommitted(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(
        workspace,
        "uncommitted",
        &[("max_prepared_transactions", "2")],
    )?;
    let mut client = cluster.connect("ltv")?;
    let mut other = cluster.connect("ltv")?;
    client.batch_execute("begin")?;
    train(&mut client, "m", SHORT)?;
    ensure_eq(
        count(&mut other, "select count(*) from ltv_jobs")?,
        0,
        "jobs seen before the commit",
    )?;
    client.batch_execute("rollback; begin; savepoint s")?;
    train(&mut client, "m", SHORT)?;
    client.batch_execute("rollback to s; release s; commit")?;
    ensure_eq(
        count(&mut other, "select count(*) from ltv_jobs")?,
        0,
        "jobs after rolling back",
    )?;

    client.batch_execute("begin; savepoint s")?;
    let job = train(&mut client, "m", SHORT)?;
    client.batch_execute("release s; commit")?;
    wait_for_status(&mut other, job, "succeeded")?;

    client.batch_execute("begin")?;
    let job = train(&mut client, "m", SHORT)?;
    client.batch_execute("prepare transaction 'p'")?;
    ensure_eq(
        count(
            &mut other,
            "select count(*) from ltv_jobs where status = 'queued'",
        )?,
        0,
        "prepared jobs seen",
    )?;
    client.batch_execute("commit prepared 'p'")?;
    wait_for_status(&mut other, job, "succeeded")?;
    ensure_consistent(&mut client)?;
    cluster.destroy();
    Ok(())
}

/// Without a free worker slot a job waits, says why, and starts when the slot is free.
pub fn no_free_slot(workspace: &Workspace) -> Result<()> {
    let settings = [
        ("max_worker_processes", "1"),
        ("max_logical_replication_workers", "0"),
    ];
    let cluster = cluster(workspace, "slots", &settings)?;
    cluster.psql("ltv", "create role other login; grant all on customers to other; grant create on schema public to other")?;
    let mut client = cluster.connect("ltv")?;
    let first = train(&mut client, "m", LONG)?;
    wait_for_training(&mut client, first)?;
    let said = cluster.psql_output(
        "ltv",
        &format!("select ltv_train('m', 'customers', options => '{SHORT}')"),
    )?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    anyhow::ensure!(
        said.contains("max_worker_processes"),
        "no hint on worker slots in: {said}"
    );
    let theirs = train(&mut cluster.connect_as("other", "ltv")?, "n", SHORT)?;
    ensure_eq(
        status(&mut client, first + 1)?,
        "queued".to_owned(),
        "second job",
    )?;
    client.query_one("select ltv_cancel($1)", &[&first])?;
    // The worker of the first one goes on with what it can; the other role's job starts when somebody looks.
    wait_for_status(&mut client, first + 1, "succeeded")?;
    wait_for_status(&mut client, theirs, "succeeded")?;
    ensure_consistent(&mut client)?;
    cluster.destroy();
    Ok(())
}

/// Never more than ltv.max_concurrent_jobs at a time, in order, each exactly once.
pub fn concurrency(workspace: &Workspace) -> Result<()> {
    let cluster = cluster(
        workspace,
        "concurrency",
        &[("ltv.max_concurrent_jobs", "2")],
    )?;
    cluster.psql(
        "ltv",
        "create role other login; grant all on customers to other",
    )?;
    let mut clients = [cluster.connect("ltv")?, cluster.connect_as("other", "ltv")?];
    for round in 0..6 {
        let model = format!("m{}", round % 2);
        train(&mut clients[round % 2], &model, SHORT)?;
    }
    let client = &mut clients[0];
    let mut most = 0;
    wait_until("all jobs to end", 120, || {
        let running = "select count(*) from ltv.jobs where status = 'running'";
        most = most.max(count(client, running)?);
        Ok(count(
            client,
            "select count(*) from ltv_jobs where status not in ('succeeded')",
        )? == 0)
    })?;
    anyhow::ensure!(most <= 2, "{most} jobs ran at the same time");
    let sql = "select count(*) from ltv.jobs a join ltv.jobs b on a.job + 1 < b.job and a.started_at > b.started_at";
    ensure_eq(
        count(client, sql)?,
        0,
        "jobs that overtook more than their neighbour",
    )?;
    ensure_eq(
        count(client, "select count(*) from ltv.versions")?,
        6,
        "versions",
    )?;
    ensure_consistent(client)?;
    cluster.destroy();
    Ok(())
}

/// The postmaster is killed while a job trains and while another stores its version.
pub fn crash(workspace: &Workspace) -> Result<()> {
    let mut cluster = cluster(workspace, "jobcrash", &[("ltv.max_concurrent_jobs", "1")])?;
    let mut client = cluster.connect("ltv")?;
    let first = train(&mut client, "m", SHORT)?;
    client.query_one("select ltv_wait($1::bigint)", &[&first])?;

    // The worker that the second job has just started must not take it when the first one's worker dies with the server.
    for _ in 0..5 {
        let training = train(&mut client, "m", LONG)?;
        wait_for_training(&mut client, training)?;
        let queued = train(&mut client, "m", SHORT)?;
        cluster.kill9()?;
        cluster.start()?;
        client = cluster.connect("ltv")?;
        ensure_eq(
            status(&mut client, training)?,
            "lost".to_owned(),
            "the job that trained",
        )?;
        client.query_one("select ltv_wait($1::bigint)", &[&queued])?;
        ensure_consistent(&mut client)?;
    }

    // The row of the model is locked, so the worker stops in the middle of storing.
    let mut blocker = cluster.connect("ltv")?;
    let storing = train(&mut client, "m", SHORT)?;
    blocker.batch_execute("begin; select from ltv.models where model = 'm' for update")?;
    wait_until("the job to store", 60, || {
        let sql = "select count(*) from ltv.jobs j join pg_stat_activity a using (pid) \
                   where j.status = 'running' and a.wait_event_type = 'Lock'";
        Ok(count(&mut client, sql)? == 1)
    })?;
    cluster.kill9()?;
    cluster.start()?;
    let mut client = cluster.connect("ltv")?;
    ensure_eq(
        status(&mut client, storing)?,
        "lost".to_owned(),
        "the job that stored",
    )?;
    ensure_consistent(&mut client)?;
    let again: i64 = client
        .query_one("select ltv_retry($1)", &[&storing])?
        .get(0);
    let version: i32 = client
        .query_one("select ltv_wait($1::bigint)", &[&again])?
        .get(0);
    ensure_eq(version, 7, "the next version")?;
    ensure_consistent(&mut client)?;
    cluster.destroy();
    Ok(())
}

/// Killed again and again at points nobody chose: the catalog is consistent and the queue goes on.
pub fn random_crashes(workspace: &Workspace) -> Result<()> {
    let mut cluster = cluster(
        workspace,
        "crashes",
        &[("shared_preload_libraries", "pg_ltv")],
    )?;
    for round in 0..12u64 {
        let mut client = cluster.connect("ltv")?;
        for model in ["m", "n"] {
            train(&mut client, model, SHORT)?;
        }
        let retrain = "select ltv_retrain(model, options => '{\"epochs\": 1}') from ltv_models where champion is not null and model = 'n'";
        client.query(retrain, &[])?;
        // Spread over what a job takes, from before its start to after its end.
        std::thread::sleep(std::time::Duration::from_millis(round * 197 % 1300));
        cluster.kill9()?;
        cluster.start()?;
        let mut client = cluster.connect("ltv")?;
        ensure_consistent(&mut client)?;
    }
    // The library is preloaded, so the queue goes on without anybody asking.
    let mut client = cluster.connect("ltv")?;
    wait_until("the queue to empty by itself", 120, || {
        Ok(count(
            &mut client,
            "select count(*) from ltv.jobs where status in ('queued', 'running')",
        )? == 0)
    })?;
    ensure_consistent(&mut client)?;
    let sql = "select count(*) from ltv.jobs where status not in ('succeeded', 'lost')";
    ensure_eq(
        count(&mut client, sql)?,
        0,
        "jobs that ended in another way",
    )?;
    cluster.destroy();
    Ok(())
}

/// A server that is stopped does not wait for a training, and says what became of it.
pub fn shutdown(workspace: &Workspace) -> Result<()> {
    let mut cluster = cluster(
        workspace,
        "shutdown",
        &[
            ("shared_preload_libraries", "pg_ltv"),
            ("ltv.max_concurrent_jobs", "1"),
        ],
    )?;
    let mut client = cluster.connect("ltv")?;
    let running = train(&mut client, "m", LONG)?;
    let queued = train(&mut client, "m", SHORT)?;
    wait_for_training(&mut client, running)?;
    drop(client);
    cluster.stop(StopMode::Fast)?;
    cluster.start()?;
    let mut client = cluster.connect("ltv")?;
    wait_until("the queued job to run after the restart", 60, || {
        let row = client.query_one("select status from ltv.jobs where job = $1", &[&queued])?;
        Ok(row.get::<_, String>(0) == "succeeded")
    })?;
    let row = client.query_one(
        "select status, message from ltv.jobs where job = $1",
        &[&running],
    )?;
    ensure_eq(row.get(0), "lost".to_owned(), "the job that was running")?;
    ensure_eq(
        row.get(1),
        "the server was stopped while the job was running".to_owned(),
        "its message",
    )?;
    ensure_consistent(&mut client)?;
    cluster.destroy();
    Ok(())
}
