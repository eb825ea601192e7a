//! A hub and two servers that score: models arrive by logical replication or as files, and the hub reads scores that are computed where
//! the customers lie.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use postgres::Client;

use super::subscriber::PUBLISH;
use super::{customers, ensure_eq, train, wait_until};
use crate::cluster::Cluster;
use crate::workspace::Workspace;

/// Both models at one moment.
const BOTH: &str = "select (ltv_predict_all('m', c)).version as m, (ltv_predict_all('n', c)).version as n from customers c limit 1";

/// Promotions on the hub, each of both models in one transaction.
const PROMOTIONS: [i32; 6] = [2, 1, 3, 2, 3, 1];

pub fn fleet(workspace: &Workspace) -> Result<()> {
    let settings = [("wal_level", "logical"), ("max_prepared_transactions", "4")];
    let hub = workspace.new_cluster("hub", &settings)?;
    let servers = [
        workspace.new_cluster("west", &settings)?,
        workspace.new_cluster("east", &settings)?,
    ];
    customers(&hub, "ltv", 2000)?;
    for (server, place) in servers.iter().zip(["west", "east"]) {
        customers(server, "ltv", 2000)?;
        server.psql(
            "ltv",
            &format!(
                "delete from customers where (right(customer_id, 1)::int < 5) <> ('{place}' = 'west')"
            ),
        )?;
    }
    for version in 1..=3 {
        for model in ["m", "n"] {
            let options = format!(r#"{{"epochs": 1, "ensemble": 1, "seed": {version}}}"#);
            train(&hub, "ltv", model, &options)?;
        }
    }
    by_replication(&hub, &servers)?;
    pushed_down(&hub, &servers)?;
    by_files(&hub, &servers)?;
    for cluster in servers.iter().chain([&hub]) {
        cluster.destroy();
    }
    Ok(())
}

/// Promotions reach every server in their order, and what one transaction promoted is seen together.
fn by_replication(hub: &Cluster, servers: &[Cluster]) -> Result<()> {
    hub.psql("ltv", PUBLISH)?;
    let connection = hub.conninfo("ltv").replace('\'', "''");
    for (number, server) in servers.iter().enumerate() {
        server.psql("ltv", &format!("create subscription ltv_models_{number} connection '{connection}' publication ltv_models"))?;
        wait_until("the models to be copied", 60, || {
            Ok(server.psql("ltv", BOTH).is_ok_and(|both| both == "1|1"))
        })?;
    }
    let ends = AtomicBool::new(false);
    thread::scope(|scope| -> Result<()> {
        let watchers: Vec<_> = servers
            .iter()
            .map(|server| {
                let session = server.connect("ltv");
                let ends = &ends;
                scope.spawn(move || watch(&mut session?, ends))
            })
            .collect();
        let mut session = hub.connect("ltv")?;
        for version in PROMOTIONS {
            let both =
                format!("select ltv_set_alias('m', {version}), ltv_set_alias('n', {version})");
            session.batch_execute(&both)?;
        }
        let arrived = servers.iter().try_for_each(|server| {
            wait_until("the last promotion", 60, || {
                let history = "select count(*) from ltv.promotions";
                Ok(server.psql("ltv", history)? == hub.psql("ltv", history)?)
            })
        });
        ends.store(true, Ordering::Relaxed);
        for watcher in watchers {
            let seen = watcher.join().ok().context("a watcher panicked")??;
            let mut made = std::iter::once(1).chain(PROMOTIONS);
            let in_order = seen.iter().all(|seen| made.any(|version| version == *seen));
            ensure!(in_order, "{seen:?} is not the order of the promotions");
            ensure_eq(seen.last().copied(), Some(1), "the last version seen")?;
        }
        arrived
    })?;
    Ok(())
}

/// The versions that a session sees one after the other.
fn watch(session: &mut Client, ends: &AtomicBool) -> Result<Vec<i32>> {
    let mut seen = Vec::new();
    loop {
        let is_last = ends.load(Ordering::Relaxed);
        let row = session.query_one(BOTH, &[])?;
        let (m, n): (i32, i32) = (row.get(0), row.get(1));
        ensure_eq(n, m, "the version of the other model in the same statement")?;
        if seen.last() != Some(&m) {
            seen.push(m);
        }
        if is_last {
            return Ok(seen);
        }
    }
}

/// The hub asks both servers at the same time, for what each has to send: sums, and rows that a condition leaves.
fn pushed_down(hub: &Cluster, servers: &[Cluster]) -> Result<()> {
    hub.psql(
        "ltv",
        "create extension postgres_fdw;
         create table scores (place text not null, customer_id text, country text, ltv float8) partition by list (place)",
    )?;
    for (server, place) in servers.iter().zip(["west", "east"]) {
        server.psql(
            "ltv",
            &format!("create view scores as select '{place}'::text as place, customer_id, country, ltv_predict('m', c) as ltv from customers c"),
        )?;
        let other = server.conninfo("ltv");
        let options: Vec<String> = other
            .split(' ')
            .filter_map(|part| part.split_once('='))
            .filter(|(key, _)| *key != "user")
            .map(|(key, value)| format!("{key} '{}'", value.trim_matches('\'')))
            .collect();
        hub.psql(
            "ltv",
            &format!(
                "create server {place} foreign data wrapper postgres_fdw options ({}, async_capable 'true', fetch_size '10000');
                 create user mapping for current_user server {place} options (user 'postgres');
                 create foreign table scores_{place} partition of scores for values in ('{place}') server {place} options (table_name 'scores')",
                options.join(", ")
            ),
        )?;
    }
    let from_servers =
        "select string_agg(customer_id || ' ' || ltv, ',' order by customer_id) from scores";
    let here = "select string_agg(customer_id || ' ' || ltv_predict('m', c), ',' order by customer_id) from customers c";
    ensure_eq(
        hub.psql("ltv", from_servers)?,
        hub.psql("ltv", here)?,
        "scores of the servers",
    )?;
    let plan = |query: &str| {
        let explain = "set enable_partitionwise_aggregate = on; explain (verbose, costs off) ";
        hub.psql("ltv", &format!("{explain}{query}"))
    };
    let by_place = "select place, count(*), sum(ltv) from scores group by place";
    let sums = plan(by_place)?;
    ensure!(
        sums.matches("Async Foreign Scan").count() == 2
            && sums.matches("Relations: Aggregate on").count() == 2,
        "sums by place are not pushed down:\n{sums}"
    );
    let best = plan("select customer_id, ltv from scores where ltv > 20 and country = 'DE'")?;
    ensure!(
        best.matches("Async Foreign Scan").count() == 2
            && best.matches("WHERE ((ltv > ").count() == 2,
        "conditions are not pushed down:\n{best}"
    );
    let one = plan("select customer_id, ltv from scores where place = 'west'")?;
    ensure!(
        one.matches("Foreign Scan").count() == 1,
        "a place is not asked alone:\n{one}"
    );
    let five = plan("select customer_id, ltv from scores_west order by ltv desc limit 5")?;
    ensure!(
        five.contains("LIMIT 5"),
        "a place is not asked for its best five:\n{five}"
    );
    // What is not: a sum over all places needs their rows, unless it is one of sums.
    let all = plan("select sum(ltv) from scores")?;
    ensure!(
        all.matches("Foreign Scan").count() == 2 && !all.contains("Relations: Aggregate"),
        "a sum over all places is pushed down now: docs/fleet.md says it is not:\n{all}"
    );
    let promoted = |version: i32| format!("select ltv_set_alias('m', {version})");
    hub.psql("ltv", &promoted(3))?;
    wait_until("the servers to score with the promoted version", 60, || {
        Ok(hub.psql("ltv", from_servers)? == hub.psql("ltv", here)?)
    })?;
    Ok(())
}

/// Files first to all, then the promotion: prepared on all, and committed where all could prepare it.
fn by_files(hub: &Cluster, servers: &[Cluster]) -> Result<()> {
    let mut source = hub.connect("ltv")?;
    let scores = "select string_agg(c.n || ' ' || ltv_predict('m', c), ',' order by c.n) from (select n, n % 7 as recency, n % 5 as frequency, n::real as monetary, 'DE' as country, true as newsletter, date '2024-01-01' + n as first_order from generate_series(1, 50) n) c";
    for server in servers {
        server.psql("postgres", "create database files")?;
        server.psql("files", "create extension pg_ltv")?;
    }
    for version in 1..=2_i64 {
        let file: Vec<u8> = source
            .query_one("select ltv_export_model('m', $1)", &[&version])?
            .get(0);
        for server in servers {
            let mut session = server.connect("files")?;
            for again in 0..2 {
                let number: i32 = session
                    .query_one("select ltv_import_model($1)", &[&file])?
                    .get(0);
                ensure_eq(number, version as i32, &format!("the number, time {again}"))?;
            }
        }
    }
    let expected = |version: i32| {
        hub.psql("ltv", &format!("select ltv_set_alias('m', {version})"))?;
        hub.psql("ltv", scores)
    };
    let first = expected(1)?;
    for server in servers {
        ensure_eq(
            server.psql("files", scores)?,
            first.clone(),
            "scores by file",
        )?;
    }
    let promote = |server: &Cluster, version: i32| {
        server.psql("files", &format!("begin; select ltv_set_alias('m', {version}, reason => 'fleet'); prepare transaction 'promotion'"))
    };
    // One that has no such version: nobody promotes.
    servers[1].psql("files", "select ltv_drop_version('m', 2)")?;
    promote(&servers[0], 2)?;
    ensure!(
        promote(&servers[1], 2).is_err(),
        "a version that is not there was promoted"
    );
    servers[0].psql("files", "rollback prepared 'promotion'")?;
    ensure_eq(
        servers[0].psql("files", scores)?,
        first.clone(),
        "scores after the rollback",
    )?;
    let file: Vec<u8> = source
        .query_one("select ltv_export_model('m', 2)", &[])?
        .get(0);
    let number: i32 = servers[1]
        .connect("files")?
        .query_one("select ltv_import_model($1)", &[&file])?
        .get(0);
    ensure_eq(number, 3, "the number after that of a dropped version")?;
    // A file says which version it was; the numbers of a server are its own.
    let of_origin = "select version from ltv_versions where recipe #>> '{origin,version}' = '2'";
    for server in servers {
        let version: i32 = server.psql("files", of_origin)?.parse()?;
        promote(server, version)?;
        ensure_eq(
            server.psql("files", scores)?,
            first.clone(),
            "scores before the commit",
        )?;
    }
    let second = expected(2)?;
    ensure!(first != second, "both versions score alike");
    for server in servers {
        server.psql("files", "commit prepared 'promotion'")?;
        ensure_eq(
            server.psql("files", scores)?,
            second.clone(),
            "scores after the commit",
        )?;
    }
    Ok(())
}
