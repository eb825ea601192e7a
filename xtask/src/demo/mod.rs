//! `cargo xtask demo`: the main job on real data, in plain SQL on the private cluster. A second run reuses what is there.

mod campaign;
pub mod game;
mod show;
mod train;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use postgres::Client;

use crate::cluster::Cluster;
use crate::project::Project;
use crate::{server, shell};
use show::{Clock, Table};

/// The tables of the demo; also what tests and documentation start from.
const TABLES: &str = include_str!("tables.sql");
const FILL: &str = include_str!("fill.sql");
const NAIVE: &str = include_str!("naive.sql");

const FEATURES: &str = "select ltv_create_features('cdnow_features', 'orders',
           date_column => 'ordered_at', value_column => 'amount',
           as_of => '1997-09-30', horizon => 273, attributes => 'customers')";

const TRAIN: &str = "select ltv_train('cdnow', 'cdnow_features', split_column => 'split')";

const SCORE: &str = "select customer_id, ltv_predict('cdnow', f) as ltv
    from cdnow_features f order by ltv desc";

const EVALUATE: &str = "select * from ltv_evaluate('cdnow',
           'select * from cdnow_features where split = ''test''')";

const EXPORT: &str = "copy (select customer_id, ltv
         from (select customer_id, ltv_predict('cdnow', f) as ltv,
                      ntile(10) over (order by ltv_predict('cdnow', f) desc) as decile
               from cdnow_features f) scored
         where decile = 1 order by ltv desc) to stdout (format csv, header)";

pub fn run(project: &Project, options: &server::Options) -> Result<()> {
    let cluster = server::start(project, options)?;
    let mut client = cluster.connect(server::DATABASE)?;
    let mut clock = Clock::default();

    println!("\nFrom 69,659 orders to ranked customers, inside PostgreSQL");
    let log = clock.time("load the orders", || orders(project, &mut client))?;
    show::step(1, "The order log", None, &log);

    let features = clock.time("build the features", || features(&mut client))?;
    show::step(
        2,
        "What was known of each customer on 1997-09-30, and what they spent in the 273 days after",
        Some(FEATURES),
        &features,
    );

    let model = clock.time("train the model", || {
        train::train(&mut client, "cdnow", TRAIN)
    })?;
    show::step(
        3,
        "A model, trained in a background worker on four fifths of the customers",
        Some(TRAIN),
        &model,
    );

    show::step(
        4,
        "What every customer will spend: the ten best",
        Some(SCORE),
        "",
    );
    let scored = clock.time("score every customer", || scores(&mut client))?;
    println!("{scored}");

    show::step(
        5,
        "How good that is, judged by customers that the model has not seen",
        Some(EVALUATE),
        "",
    );
    let metrics = clock.time("judge the model", || metrics(&mut client))?;
    println!("{metrics}");

    let file = project.home.join("demo/top_decile.csv");
    let exported = clock.time("export the best tenth", || export(&mut client, &file))?;
    show::step(
        6,
        "The best tenth of the customers as a file",
        Some(EXPORT),
        &exported,
    );

    campaign::show(&mut client, &mut clock, 7)?;

    println!("\nTime\n\n{}", clock.table());
    println!(
        "A shell on this very cluster:  cargo xtask psql\nEnd the server:                cargo xtask server stop"
    );
    Ok(())
}

fn orders(project: &Project, client: &mut Client) -> Result<String> {
    if exists(client, "orders")? {
        return Ok("Table orders is there from an earlier run.".into());
    }
    load_orders(project, client)?;
    let row = client.query_one(
        "select count(*), count(distinct customer_id), min(ordered_at)::text, max(ordered_at)::text from orders",
        &[],
    )?;
    Ok(format!(
        "{} orders of {} customers, {} to {}: tables orders and customers.",
        show::count(row.get(0)),
        show::count(row.get(1)),
        row.get::<_, String>(2),
        row.get::<_, String>(3)
    ))
}

/// Create `orders` and `customers` and fill them with the CDNOW log.
pub fn load_orders(project: &Project, client: &mut Client) -> Result<()> {
    let log = unzip(&project.root.join("tests/data/cdnow_orders.csv.gz"))?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute(TABLES)?;
    let mut copy = transaction.copy_in("copy cdnow_log from stdin (format csv, header)")?;
    copy.write_all(&log)?;
    copy.finish()?;
    transaction.batch_execute(FILL)?;
    transaction.commit()?;
    Ok(())
}

fn unzip(file: &Path) -> Result<Vec<u8>> {
    let mut command = Command::new("gzip");
    command.arg("-dc").stdin(Stdio::from(
        fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?,
    ));
    let output = command
        .output()
        .with_context(|| format!("cannot run `{}`", shell::show(&command)))?;
    if !output.status.success() {
        bail!("cannot unpack {}", file.display());
    }
    Ok(output.stdout)
}

fn exists(client: &mut Client, relation: &str) -> Result<bool> {
    let row = client.query_one("select to_regclass($1) is not null", &[&relation])?;
    Ok(row.get(0))
}

fn features(client: &mut Client) -> Result<String> {
    let reused = exists(client, "cdnow_features")?;
    if !reused {
        client.batch_execute(FEATURES)?;
    }
    let row = client.query_one(
        "select count(*), count(*) filter (where ltv > 0),
                (select count(*) from pg_attribute where attrelid = 'cdnow_features'::regclass and attnum > 0)
         from cdnow_features",
        &[],
    )?;
    let (customers, paying): (i64, i64) = (row.get(0), row.get(1));
    Ok(format!(
        "{} customers, of whom {} came back; {} columns: table cdnow_features{}.",
        show::count(customers),
        show::count(paying),
        row.get::<_, i64>(2),
        if reused { ", from an earlier run" } else { "" }
    ))
}

fn scores(client: &mut Client) -> Result<String> {
    // Every row is fetched, as an application would.
    let rows = client.query(SCORE, &[])?;
    let best: Vec<&str> = rows.iter().take(10).map(|row| row.get(0)).collect();
    let known = client.query(
        "select f.customer_id, (ltv_predict_all('cdnow', f)).*,
                (select count(*) from orders o where o.customer_id = f.customer_id and o.ordered_at <= f.as_of) as orders,
                (select sum(amount)::float8 from orders o where o.customer_id = f.customer_id and o.ordered_at <= f.as_of) as spent,
                f.ltv as came
         from cdnow_features f where f.customer_id = any($1)",
        &[&best],
    )?;
    let mut table = Table::new(&[
        "customer",
        "orders so far",
        "spent so far",
        "will spend",
        "will buy",
        "did spend",
    ]);
    for id in best {
        if let Some(row) = known.iter().find(|row| row.get::<_, &str>(0) == id) {
            table.row(vec![
                id.to_string(),
                show::count(row.get("orders")),
                show::money(row.get("spent")),
                show::money(row.get("ltv")),
                show::percent(row.get("purchase_probability")),
                show::money(row.get("came")),
            ]);
        }
    }
    Ok(format!(
        "{table}{} customers scored.",
        show::count(rows.len() as i64)
    ))
}

const METRICS: &[(&str, &str, &str)] = &[
    (
        "normalized_gini",
        "normalized Gini",
        "1 is a perfect order, 0 is chance",
    ),
    ("spearman", "Spearman", "1 is a perfect order"),
    (
        "decile_mape",
        "decile MAPE",
        "0 is best: how far the ten groups' means are off",
    ),
    (
        "revenue_capture_10",
        "revenue of the best 10 %",
        "their share of all revenue",
    ),
    ("total_ratio", "predicted / real revenue", "1 is best"),
];

fn metrics(client: &mut Client) -> Result<String> {
    let naive = client.query_one(NAIVE, &[])?;
    let model = evaluation(client)?;
    let mut table = Table::new(&["", "pg_ltv", "naive", ""]);
    for (name, label, meaning) in METRICS {
        let value =
            |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.3}"));
        let ours = model
            .iter()
            .find(|(metric, _)| metric == name)
            .map(|(_, number)| *number);
        table.row(vec![
            (*label).into(),
            value(ours),
            value(naive.get(*name)),
            (*meaning).into(),
        ]);
    }
    let row = client.query_one(
        "select count(*) from cdnow_features where split = 'test'",
        &[],
    )?;
    Ok(format!(
        "{table}{} customers of the test split; naive: the spend of the last 273 days comes again.",
        show::count(row.get(0))
    ))
}

/// What ltv_evaluate says: one row per metric.
fn evaluation(client: &mut Client) -> Result<Vec<(String, f64)>> {
    let rows = client.query(EVALUATE, &[])?;
    Ok(rows
        .iter()
        .filter_map(|row| Some((row.get(0), row.get::<_, Option<f64>>(1)?)))
        .collect())
}

fn export(client: &mut Client, file: &Path) -> Result<String> {
    let mut text = String::new();
    client.copy_out(EXPORT)?.read_to_string(&mut text)?;
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(format!(
        "{} customers in {}",
        show::count(text.lines().count() as i64 - 1),
        file.display()
    ))
}

/// Features and the trained model, without the show.
pub fn prepare_model(cluster: &Cluster, database: &str) -> Result<()> {
    cluster.psql(database, FEATURES)?;
    let job = cluster.psql(database, TRAIN)?;
    cluster.psql(
        database,
        &format!("set client_min_messages = warning; select ltv_wait({job})"),
    )?;
    Ok(())
}
