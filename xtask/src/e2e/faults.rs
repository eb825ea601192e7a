//! The server is killed at each point of a retraining: before it starts, while it reads, trains, stores, judges and promotes.

use anyhow::{Context, Result};
use postgres::Client;

use super::jobs::{
    LONG, SHORT, cluster, count, ensure_consistent, status, train, wait_for_training,
};
use super::{ensure_eq, wait_until};
use crate::workspace::Workspace;

/// Trains for some seconds, which is time to lock something that comes after.
const SECONDS: &str = r#"{"epochs": 400, "patience": 400, "ensemble": 1}"#;

/// A point of a retraining, and how to stop it there.
struct Point {
    name: &'static str,
    options: &'static str,
    /// Locked before the job is queued.
    before: &'static str,
    /// Locked while it trains.
    during: &'static str,
    /// It has got there; a count over ltv.jobs j, ltv.job_progress p and pg_stat_activity a.
    reached: &'static str,
}

const READER: &str = "select pg_advisory_lock(7)";
const BLOCKED: &str = "j.status = 'running' and a.wait_event_type = 'Lock'";

const POINTS: &[Point] = &[
    Point {
        name: "reading",
        options: SHORT,
        before: READER,
        during: "",
        reached: BLOCKED,
    },
    Point {
        name: "training",
        options: LONG,
        before: "",
        during: "",
        reached: "p.phase = 'training' and p.epoch > 0",
    },
    Point {
        name: "storing",
        options: SHORT,
        before: "begin; select from ltv.models for update",
        during: "",
        reached: BLOCKED,
    },
    // The relation reads through the lock, and both versions score it.
    Point {
        name: "judging",
        options: SECONDS,
        before: "",
        during: READER,
        reached: BLOCKED,
    },
    // The alias has moved by then, in a transaction that will never commit.
    Point {
        name: "promoting",
        options: SHORT,
        before: "begin; lock table ltv.promotions in share row exclusive mode",
        during: "",
        reached: BLOCKED,
    },
];

/// Everything that a retraining of the model may change.
fn catalog(client: &mut Client) -> Result<String> {
    let sql = "select concat_ws(' / ', (select string_agg(v.version::text, ' ' order by v.version) from ltv.versions v where v.model = m.model), \
               (select string_agg(a.alias || ' ' || a.version, ' ' order by a.alias) from ltv.aliases a where a.model = m.model), \
               (select count(*) from ltv.promotions p where p.model = m.model), m.last_version) from ltv.models m where m.model = 'm'";
    Ok(client.query_one(sql, &[])?.get(0))
}

fn retrain(client: &mut Client, options: &str) -> Result<i64> {
    let sql = "select ltv_retrain('m', options => ($1::text)::jsonb)";
    Ok(client.query_one(sql, &[&options])?.get(0))
}

pub fn at_each_point(workspace: &Workspace) -> Result<()> {
    let settings = [("ltv.max_concurrent_jobs", "1")];
    let mut cluster = cluster(workspace, "faults", &settings)?;
    cluster.psql(
        "ltv",
        "alter table customers rename to plain; \
         create view customers as select c.* from plain c, (select pg_advisory_xact_lock_shared(7)) l",
    )?;
    let mut client = cluster.connect("ltv")?;
    let first = train(&mut client, "m", SHORT)?;
    client.query_one("select ltv_wait($1::bigint)", &[&first])?;
    for point in POINTS {
        let before = catalog(&mut client)?;
        let mut blocker = cluster.connect("ltv")?;
        blocker.batch_execute(point.before)?;
        let job = retrain(&mut client, point.options)?;
        if !point.during.is_empty() {
            wait_for_training(&mut client, job)?;
            blocker.batch_execute(point.during)?;
        }
        let reached = format!(
            "select count(*) from ltv.jobs j left join ltv.job_progress p using (job) left join pg_stat_activity a using (pid) \
             where j.job = {job} and {}",
            point.reached
        );
        wait_until(&format!("the retraining to be {}", point.name), 60, || {
            Ok(count(&mut client, &reached)? == 1)
        })
        .with_context(|| format!("the job is {:?}", status(&mut client, job)))?;
        // One of another model waits; it may be through before anybody looks after the restart.
        let queued = train(&mut client, "waiting", SHORT)?;
        cluster.cut_power()?;
        cluster.start()?;
        client = cluster.connect("ltv")?;
        ensure_eq(catalog(&mut client)?, before, point.name)?;
        ensure_eq(status(&mut client, job)?, "lost".to_owned(), point.name)?;
        client
            .query_one("select ltv_wait($1::bigint)", &[&queued])
            .with_context(|| format!("queued while {}", point.name))?;
        ensure_consistent(&mut client)?;
        if point.options == SHORT {
            let again: i64 = client.query_one("select ltv_retry($1)", &[&job])?.get(0);
            client.query_one("select ltv_wait($1::bigint)", &[&again])?;
            ensure_consistent(&mut client)?;
        }
    }
    let judged =
        "select count(*) from ltv.promotions where reason like '% on customers held out: %'";
    anyhow::ensure!(
        count(&mut client, judged)? >= 3,
        "retrainings were not judged"
    );
    cluster.destroy();
    Ok(())
}
