//! Citus: a coordinator and two workers. What docs/fleet.md says is pushed down is, and what it says is not, is not.

use anyhow::{Result, ensure};

use super::subscriber::PUBLISH;
use super::{customers, ensure_eq, train, wait_until};
use crate::cluster::Cluster;
use crate::workspace::Workspace;

const TRAINING: &str = r#"{"epochs": 1, "ensemble": 1, "seed": 1}"#;
/// What single precision makes of other batches, as in tests/e2e/batch_scan_random.py.
const TOLERANCE: &str = "2e-5";

/// Workers compute these on their shards; the number is that of the tasks.
const PUSHED_DOWN: &[(&str, usize)] = &[
    (
        "select customer_id, ltv_predict('m', c) from customers c",
        4,
    ),
    (
        "select customer_id, ltv_predict('m', 1, c) from customers c",
        4,
    ),
    ("select (ltv_predict_all('m', c)).* from customers c", 4),
    (
        "select customer_id from customers c where ltv_predict('m', c) > 20",
        4,
    ),
    (
        "select customer_id, ltv_predict('m', c) as p from customers c order by p desc limit 5",
        4,
    ),
    (
        "select country, avg(ltv_predict('m', c)) from customers c group by country",
        4,
    ),
    (
        "select customer_id, ntile(10) over (order by ltv_predict('m', c)) from customers c",
        4,
    ),
    (
        "with s as (select customer_id, ltv_predict('m', c) as p from customers c) select * from s where p > 20",
        4,
    ),
    (
        "with s as materialized (select customer_id, ltv_predict('m', c) as p from customers c) select * from s",
        4,
    ),
    (
        "select ltv_predict('m', c) from customers c where customer_id = 'c000007'",
        1,
    ),
    (
        "select country, sum(ltv) from scores where ltv > 1 group by country",
        4,
    ),
    (
        "select customer_id, ltv_predict('f', today) as p from today order by p desc limit 5",
        4,
    ),
    (
        "insert into kept select customer_id, ltv_predict('m', c) from customers c",
        4,
    ),
    ("update customers c set ltv = ltv_predict('m', 1, c)", 4),
];

pub fn citus(workspace: &Workspace) -> Result<()> {
    let settings = [
        ("shared_preload_libraries", "citus,pg_ltv"),
        ("wal_level", "logical"),
        ("citus.shard_count", "4"),
        ("citus.propagate_set_commands", "local"),
    ];
    let coordinator = workspace.new_cluster("coordinator", &settings)?;
    let workers = [
        workspace.new_cluster("worker", &settings)?,
        workspace.new_cluster("worker", &settings)?,
    ];
    join(&coordinator, &workers)?;
    scores_where_the_customers_are(&coordinator, &workers)?;
    functions_read_shards(&coordinator)?;
    features(&coordinator)?;
    pushed_down(&coordinator)?;
    not_pushed_down(&coordinator)?;
    settings_and_rights(&coordinator)?;
    versions(&coordinator, &workers)?;
    by_replication(&coordinator, &workers)?;
    for cluster in workers.iter().chain([&coordinator]) {
        cluster.destroy();
    }
    Ok(())
}

/// The extension reaches workers by itself.
fn join(coordinator: &Cluster, workers: &[Cluster]) -> Result<()> {
    for cluster in workers.iter().chain([coordinator]) {
        cluster.psql("ltv", "drop extension pg_ltv; create extension citus")?;
    }
    let address = |cluster: &Cluster| {
        let host = cluster.conninfo("ltv");
        let host = host.split('\'').nth(1).unwrap_or_default().to_owned();
        format!("('{host}', {})", cluster.port)
    };
    let own = address(coordinator);
    coordinator.psql("ltv", &format!("select citus_set_coordinator_host{own}"))?;
    for worker in workers {
        coordinator.psql("ltv", &format!("select citus_add_node{}", address(worker)))?;
    }
    coordinator.psql("ltv", "create extension pg_ltv")?;
    for worker in workers {
        let there = worker.psql(
            "ltv",
            "select count(*) from pg_extension where extname = 'pg_ltv'",
        )?;
        ensure_eq(there.as_str(), "1", "the extension on a worker")?;
    }
    customers(coordinator, "ltv", 2000)?;
    coordinator.psql(
        "ltv",
        "create table plain as select * from customers;
         select create_distributed_table('customers', 'customer_id');
         create table kept (customer_id text, ltv float8);
         select create_distributed_table('kept', 'customer_id', colocate_with => 'customers');
         create view scores as select customer_id, country, ltv_predict('m', c) as ltv from customers c",
    )
    .map(drop)
}

/// The model's file to all workers; an error there is ours as well.
fn send(coordinator: &Cluster, model: &str) -> Result<()> {
    let sent = coordinator.psql(
        "ltv",
        &format!(
            "select bool_and(success) from run_command_on_workers(format('select ltv_import_model(%L::bytea)', ltv_export_model('{model}')))"
        ),
    )?;
    ensure_eq(sent.as_str(), "t", "whether the file reached all")
}

fn refused(coordinator: &Cluster, sql: &str, why: &str) -> Result<()> {
    let output = coordinator.psql_output("ltv", sql)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && error.contains(why),
        "`{sql}` is not refused because of `{why}`: docs/fleet.md says it is:\n{error}"
    );
    Ok(())
}

/// `of`: a relation or a subquery with columns customer_id and p, of `customers` and of `plain`.
fn same_scores(coordinator: &Cluster, of: &str) -> Result<()> {
    let there = of.replace("TABLE", "customers");
    let here = of.replace("TABLE", "plain");
    let sql = format!(
        "create temp table there as {there}; create temp table here as {here};
         select count(*) || ' ' || count(*) filter (where abs(t.p - h.p) <= {TOLERANCE} * abs(h.p))
         from here h left join there t using (customer_id)"
    );
    let counts = coordinator.psql("ltv", &sql)?;
    let counts = counts.lines().last().unwrap_or_default();
    let same = counts
        .split_once(' ')
        .is_some_and(|(all, same)| all == same && all != "0");
    ensure!(same, "rows and rows that are the same for `{of}`: {counts}");
    Ok(())
}

fn scores_where_the_customers_are(coordinator: &Cluster, workers: &[Cluster]) -> Result<()> {
    train(coordinator, "ltv", "m", TRAINING)?;
    let score = "select count(ltv_predict('m', c)) from customers c";
    refused(coordinator, score, "model \"m\" does not exist")?;
    send(coordinator, "m")?;
    same_scores(
        coordinator,
        "select customer_id, ltv_predict('m', c) as p from TABLE c",
    )?;
    coordinator.psql(
        "ltv",
        "insert into kept select customer_id, ltv_predict('m', c) from customers c",
    )?;
    let kept = coordinator.psql("ltv", "select count(ltv) from kept")?;
    ensure_eq(kept.as_str(), "2000", "scores that were kept")?;
    // Any node answers.
    let asked = workers[0].psql("ltv", score)?;
    ensure_eq(asked.as_str(), "2000", "scores that a worker was asked for")
}

/// Functions that score rows of a query themselves.
fn functions_read_shards(coordinator: &Cluster) -> Result<()> {
    same_scores(
        coordinator,
        "select customer_id, ltv as p from ltv_segment('m', 'TABLE')",
    )?;
    same_scores(
        coordinator,
        "select metric as customer_id, value as p from ltv_evaluate('m', 'TABLE') where metric in ('rows', 'mae', 'payers')",
    )?;
    same_scores(
        coordinator,
        "select feature as customer_id, contribution as p from ltv_explain_predict('m', $$select * from TABLE where customer_id = 'c000007'$$, background => 'plain')",
    )?;
    for (sql, wanted) in [
        ("select ltv_report('m', 'customers') <> ''", "t"),
        (
            "select customers from ltv_create_campaign('spring', 'm', 'customers', hold_out => 0.2) where step = 'scored'",
            "2000",
        ),
        ("select ltv_monitor('m', 'customers')", "0"),
    ] {
        let got = coordinator.psql("ltv", sql)?;
        ensure_eq(got.as_str(), wanted, sql)?;
    }
    Ok(())
}

/// Orders that are distributed by customer give the features that others give.
fn features(coordinator: &Cluster) -> Result<()> {
    let make = |name: &str, orders: &str, rest: &str| {
        coordinator.psql(
            "ltv",
            &format!("select ltv_create_features('{name}', '{orders}', date_column => 'day', value_column => 'amount', horizon => 90{rest})"),
        )
    };
    coordinator.psql(
        "ltv",
        "create table plain_orders as
         select 'c' || lpad((1 + abs(hashint4(n)) % 2000)::text, 6, '0') as customer_id,
                date '2024-01-01' + abs(hashint4(n + 1000000)) % 500 as day, abs(hashint4(n + 2000000)) % 97 as amount
         from generate_series(1, 20000) n;
         create table orders (like plain_orders);
         select create_distributed_table('orders', 'customer_id', colocate_with => 'customers');
         insert into orders select * from plain_orders",
    )?;
    make("plain_features", "plain_orders", "")?;
    make("features", "orders", "")?;
    make(
        "today",
        "orders",
        ", as_of => '2025-05-01', materialized => false",
    )?;
    let differing = "select (select count(*) from plain_features) || ' ' || (select count(*) from (select * from plain_features except select * from features) d)";
    let before = coordinator.psql("ltv", differing)?;
    ensure!(
        before.ends_with(" 0") && before != "0 0",
        "features and those that differ: {before}"
    );
    coordinator.psql(
        "ltv",
        "select create_distributed_table('features', 'customer_id', colocate_with => 'orders');
         select ltv_refresh_features('features')",
    )?;
    ensure_eq(
        coordinator.psql("ltv", differing)?,
        before,
        "features that are distributed",
    )?;
    let job = coordinator.psql(
        "ltv",
        &format!("select ltv_train('f', 'features', options => '{TRAINING}')"),
    )?;
    coordinator.psql("ltv", &format!("select ltv_wait({job})"))?;
    send(coordinator, "f")?;
    coordinator.psql(
        "ltv",
        "call ltv_nightly('f', '{refresh,score,monitor}', features => 'today', scores => 'night')",
    )?;
    let steps =
        "select string_agg(step || ' ' || status, ', ' order by step) from ltv_nightly_steps";
    ensure_eq(
        coordinator.psql("ltv", steps)?.as_str(),
        "monitor succeeded, refresh succeeded, score succeeded",
        "the night",
    )
}

fn plan(coordinator: &Cluster, query: &str) -> Result<String> {
    coordinator.psql("ltv", &format!("explain (verbose, costs off) {query}"))
}

fn pushed_down(coordinator: &Cluster) -> Result<()> {
    for (query, tasks) in PUSHED_DOWN {
        let plan = plan(coordinator, query)?;
        let scored = plan.matches("LTV Batch").count();
        let there = plan.lines().any(|line| {
            let shard = line.contains("public.customers_1") || line.contains("public.orders_1");
            line.trim_start().starts_with("Query: ") && line.contains("ltv_predict") && shard
        });
        ensure!(
            there && scored == 1 && plan.contains(&format!("Task Count: {tasks}\n")),
            "not pushed down, in batches: `{query}`\n{plan}"
        );
    }
    Ok(())
}

fn not_pushed_down(coordinator: &Cluster) -> Result<()> {
    let some = plan(
        coordinator,
        "select ltv_predict('m', c) from (select * from customers limit 100) c",
    )?;
    ensure!(
        some.contains("Distributed Subplan") && some.contains("Task Count: 1\n"),
        "a subquery with LIMIT is pushed down now: docs/fleet.md says it is not:\n{some}"
    );
    let no_names = "the input lacks columns";
    let columns = "select customer_id, recency, frequency, monetary, country, newsletter, first_order from customers";
    refused(
        coordinator,
        &format!("select ltv_predict('m', s) from ({columns}) s"),
        no_names,
    )?;
    coordinator.psql("ltv", &format!("create view narrow as {columns}"))?;
    refused(
        coordinator,
        "select ltv_predict('m', n) from narrow n",
        no_names,
    )?;
    let volatile = columns.replace(" from", ", random() from");
    same_scores(
        coordinator,
        &format!(
            "select customer_id, ltv_predict('m', s) as p from ({}) s",
            volatile.replace("from customers", "from TABLE")
        ),
    )?;
    refused(
        coordinator,
        "update customers c set ltv = ltv_predict('m', c)",
        "STABLE functions",
    )?;
    refused(
        coordinator,
        "merge into kept k using (select customer_id, ltv_predict('m', c) as p from customers c) s on s.customer_id = k.customer_id when matched then update set ltv = s.p",
        "non-IMMUTABLE functions",
    )
}

fn settings_and_rights(coordinator: &Cluster) -> Result<()> {
    let score = "select count(ltv_predict(c)) from customers c";
    refused(
        coordinator,
        &format!("set ltv.default_model = 'm'; {score}"),
        "no model is given",
    )?;
    let mut session = coordinator.connect("ltv")?;
    let mut transaction = session.transaction()?;
    transaction.batch_execute("set local ltv.default_model = 'm'")?;
    let count: i64 = transaction.query_one(score, &[])?.get(0);
    ensure_eq(count, 2000, "scores with SET LOCAL")?;
    transaction.commit()?;
    coordinator.psql("ltv", "alter database ltv set ltv.default_model = 'm'")?;
    wait_until("sessions with the setting", 30, || {
        let sessions = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'citus_internal%'";
        coordinator.psql(
            "ltv",
            &format!("select count(*) from run_command_on_workers($$ {sessions} $$)"),
        )?;
        Ok(coordinator
            .psql("ltv", score)
            .is_ok_and(|count| count == "2000"))
    })?;

    coordinator.psql("ltv", "create role reader login; grant select on customers to reader; select ltv_grant('m', 'reader')")?;
    let as_reader = || -> Result<bool> {
        let mut reader = coordinator.connect_as("reader", "ltv")?;
        Ok(reader
            .query("select ltv_predict('m', c) from customers c", &[])
            .is_ok())
    };
    ensure!(!as_reader()?, "a grant on the coordinator reached workers");
    coordinator.psql(
        "ltv",
        "select run_command_on_workers($$select ltv_grant('m', 'reader')$$)",
    )?;
    ensure!(as_reader()?, "a grant on all workers does not suffice");
    Ok(())
}

/// Each worker scores with its own champion.
fn versions(coordinator: &Cluster, workers: &[Cluster]) -> Result<()> {
    train(
        coordinator,
        "ltv",
        "m",
        r#"{"epochs": 1, "ensemble": 1, "seed": 2}"#,
    )?;
    coordinator.psql("ltv", "select ltv_set_alias('m', 2)")?;
    let used = "select string_agg(v::text, ',' order by v) from (select distinct (ltv_predict_all('m', c)).version as v from customers c) s";
    let used = || coordinator.psql("ltv", used);
    ensure_eq(
        used()?.as_str(),
        "1",
        "the version, promoted on the coordinator",
    )?;
    send(coordinator, "m")?;
    ensure_eq(used()?.as_str(), "1", "the version, once it has arrived")?;
    workers[0].psql("ltv", "select ltv_set_alias('m', 2)")?;
    ensure_eq(used()?.as_str(), "1,2", "versions, promoted on one worker")?;
    let champions = "select count(distinct result) from run_command_on_all_nodes($$select checksum from ltv_versions where model = 'm' and 'champion' = any (aliases)$$)";
    ensure_eq(
        coordinator.psql("ltv", champions)?.as_str(),
        "2",
        "champions on all nodes",
    )?;
    workers[1].psql("ltv", "select ltv_set_alias('m', 2)")?;
    ensure_eq(used()?.as_str(), "2", "the version, promoted on both")?;
    ensure_eq(
        coordinator.psql("ltv", champions)?.as_str(),
        "1",
        "champions on all nodes",
    )
}

/// Workers subscribe in place of importing: models, promotions and grants of the coordinator are theirs.
fn by_replication(coordinator: &Cluster, workers: &[Cluster]) -> Result<()> {
    coordinator.psql("ltv", PUBLISH)?;
    let connection = coordinator.conninfo("ltv").replace('\'', "''");
    for (number, worker) in workers.iter().enumerate() {
        worker.psql(
            "ltv",
            "select ltv_drop_model('m'), ltv_drop_model('f'); truncate ltv.dropped_models",
        )?;
        worker.psql("ltv", &format!("create subscription ltv_models_{number} connection '{connection}' publication ltv_models"))?;
    }
    let mut reader = coordinator.connect_as("reader", "ltv")?;
    let mut follows = |version: i32| {
        coordinator.psql("ltv", &format!("select ltv_set_alias('m', {version})"))?;
        wait_until("the promotion on all workers", 60, || {
            let sql = "select min(v), max(v) from (select (ltv_predict_all('m', c)).version as v from customers c) s";
            Ok(reader.query_one(sql, &[]).is_ok_and(|row| {
                row.get::<_, i32>(0) == version && row.get::<_, i32>(1) == version
            }))
        })
    };
    follows(1)?;
    follows(2)?;
    same_scores(
        coordinator,
        "select customer_id, ltv_predict('m', c) as p from TABLE c",
    )
}
