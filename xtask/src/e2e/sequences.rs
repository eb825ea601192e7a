//! Models on sequences, all the way: from orders to features, training and scores, held against what the trained
//! network itself predicts.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::workspace::{Template, Workspace};
use crate::{cargo, postgres_install};

const RELATIVE: f64 = 1e-5;

/// Customers with no purchase day to many, and some whose sequence is not known.
const HISTORIES: &str = "
    create table orders as
    select c as customer_id, date '2024-01-01' + (c * 13 + n * n * (1 + c % 5) * 3) % 300 as ordered_at,
           round((5 + (c * 31 + n * 17) % 90 + n / 3.0)::numeric, 2) as amount, 1 + (c + n) % 4 as units
    from generate_series(1, 400) c, generate_series(0, c % 9) n;
    select ltv_create_features('histories', 'orders', date_column => 'ordered_at', value_column => 'amount',
                               as_of => '2024-08-01', horizon => 80, sequence => '{units}');
    update histories set spend_sequence = null where customer_id::int % 23 = 0;
    create table odd as select row_number() over (order by customer_id) as n, * from histories limit 12;
    update odd set spend_sequence = case n
        when 1 then null
        when 2 then '{}'
        when 3 then '{{20,3,1}}'
        when 4 then (select array_agg(array[10 + i, 300 - i, i % 4]) from generate_series(1, 70) i)
        when 5 then '{{20,40,1},{NULL,30,2},{25,NULL,NULL}}'
        when 6 then '{{NULL,NULL,NULL},{25,9,1},{NULL,NULL,NULL}}'
        when 7 then '{{NULL,NULL,NULL},{NULL,NULL,NULL}}'
        when 8 then '{{NaN,3,1},{Infinity,2,1},{-Infinity,1,1}}'
        when 9 then '{{1e30,1e30,1e30},{-1e30,-1e30,-1e30}}'
        when 10 then '{{0,0,0}}'
        else spend_sequence end;
    update odd set recency = null, frequency = null, monetary_mean = 'NaN' where n in (1, 4, 12);";

/// Scores of every sequence backbone are the network's own, however a sequence looks, in batches and row by row.
pub fn parity(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("sequences", Template::Extension)?;
    cluster.psql(&database, HISTORIES)?;
    let reference = reference_program(workspace)?;
    for (backbone, objective, ensemble) in [
        ("lstm", "ziln", 1),
        ("gru", "cmltv", 1),
        ("transformer", "expltv", 1),
        ("tft", "ziln", 2),
        ("lstm", "mse", 2),
        ("tft", "purchase", 1),
    ] {
        let model = format!("{backbone}_{objective}");
        let job = cluster.psql(
            &database,
            &format!(
                r#"select ltv_train('{model}', 'histories', backbone => '{backbone}', objective => '{objective}',
                   options => '{{"epochs": 3, "max_timesteps": 5, "ensemble": {ensemble}}}')"#
            ),
        )?;
        cluster.psql(
            &database,
            &format!("set client_min_messages = warning; select ltv_wait({job})"),
        )?;
        for relation in ["histories", "odd"] {
            compare(cluster, &database, &reference, &model, relation)
                .with_context(|| format!("{model} on {relation}"))?;
        }
    }
    Ok(())
}

/// The example program that predicts without PostgreSQL.
fn reference_program(workspace: &Workspace) -> Result<String> {
    // The installation that the workspace's is a copy of: everything is compiled for that one.
    let install = postgres_install::find(None)?.context("no PostgreSQL was found")?;
    cargo::artifacts(&workspace.shared, &install, &["--all-targets"])?
        .iter()
        .filter(|artifact| {
            artifact["target"]["name"] == "predict" && artifact["target"]["kind"][0] == "example"
        })
        .find_map(|artifact| artifact["executable"].as_str().map(String::from))
        .context("cargo did not build the example predict")
}

fn compare(
    cluster: &Cluster,
    database: &str,
    reference: &str,
    model: &str,
    relation: &str,
) -> Result<()> {
    let question = cluster.psql(
        database,
        &format!(
            "select json_build_object('weights', encode(v.weights, 'hex'), 'inputs', v.schema -> 'inputs',
                    'rows', (select json_agg(x order by x.customer_id) from {relation} x))
             from ltv.versions v where v.model = '{model}'"
        ),
    )?;
    let wanted = ask(reference, &question)?;
    let mut given = Vec::new();
    for batches in ["on", "off"] {
        let scores: Value = serde_json::from_str(&cluster.psql(
            database,
            &format!(
                "set ltv.enable_batch_scan = {batches};
                 select json_agg(p order by customer_id)
                 from (select customer_id, ltv_predict_all('{model}', x) as p from {relation} x) s"
            ),
        )?)?;
        for name in ["ltv", "purchase_probability", "whale_probability"] {
            let Some(wanted) = wanted[name].as_array() else {
                continue;
            };
            let scores = scores.as_array().context("no scores")?;
            if scores.len() != wanted.len() {
                bail!("{} scores for {} rows", scores.len(), wanted.len());
            }
            for (row, (score, wanted)) in scores.iter().zip(wanted).enumerate() {
                let (score, wanted) = (number(&score[name])?, number(wanted)?);
                if (score - wanted).abs() > RELATIVE * wanted.abs() {
                    bail!(
                        "{name} of row {row} is {score} in SQL and {wanted} without it, batches {batches}"
                    );
                }
            }
        }
        given.push(scores);
    }
    for (batch, alone) in rows(&given[0]).zip(rows(&given[1])) {
        for name in ["ltv", "purchase_probability", "p10", "p50", "p90"] {
            if batch[name] == alone[name] {
                continue;
            }
            let (on, off) = (number(&batch[name])?, number(&alone[name])?);
            // A quantile just above the share of non-buyers is steep: what counts is the width of the distribution.
            let width = alone["p90"].as_f64().unwrap_or(0.0);
            if (on - off).abs() > RELATIVE * off.abs().max(width) {
                bail!("{name} is {on} in a batch and {off} alone");
            }
        }
    }
    Ok(())
}

fn rows(scores: &Value) -> impl Iterator<Item = &Value> {
    scores.as_array().into_iter().flatten()
}

fn number(value: &Value) -> Result<f64> {
    let number = value
        .as_f64()
        .with_context(|| format!("{value} is no number"))?;
    if !number.is_finite() {
        bail!("{number} is not finite");
    }
    Ok(number)
}

fn ask(program: &str, question: &str) -> Result<Value> {
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(question.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{program} failed");
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
