//! A session at work: it trains, imports, promotes, drops, scores and refreshes in no particular order.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail, ensure};
use postgres::error::SqlState;
use postgres::{Client, Error};

use super::Random;
use super::ledger::{Change, Ledger, REFERENCE, digest};

pub const TABLES: &str = "create table customers as select i as customer_id, (i * 7919 % 1000)::float8 as a, (i * 104729 % 100) as b, \
     case when i % 3 = 0 then (i * 31 % 97)::float8 else 0 end as ltv from generate_series(1, 600) i;
     create table orders as select i % 60 as customer_id, date '2020-01-01' + i % 700 as day, i % 13 + 1 as amount from generate_series(1, 2000) i";
const OPTIONS: &str = r#"{"epochs": 2, "ensemble": 1}"#;
/// Models that come and go; `f` is trained on features.
const MODELS: &[&str] = &["m", "n", "f"];

/// The model that nobody touches, and a first version of the others.
pub fn prepare(client: &mut Client, ledger: &Ledger) -> Result<()> {
    client.batch_execute(
        "select ltv_create_features('features', 'orders', date_column => 'day', value_column => 'amount', horizon => 90)",
    )?;
    for model in MODELS.iter().chain(&[REFERENCE]) {
        let job = train(client, model)?;
        ledger.queued(job);
        client.query_one("select ltv_wait($1::bigint)", &[&job])?;
    }
    let scores = digest(client, REFERENCE, 1)?;
    ledger.remember_reference(scores);
    Ok(())
}

fn source(model: &str) -> &'static str {
    if model == "f" {
        "features"
    } else {
        "customers"
    }
}

fn train(client: &mut Client, model: &str) -> Result<i64, Error> {
    let sql = "select ltv_train($1, $2, options => ($3::text)::jsonb)";
    Ok(client
        .query_one(sql, &[&model, &source(model), &OPTIONS])?
        .get(0))
}

pub struct Actor {
    client: Client,
    random: Random,
    pub pid: i32,
}

impl Actor {
    pub fn new(mut client: Client, random: Random) -> Result<Actor> {
        client.batch_execute("set statement_timeout = '20s'")?;
        let pid = client.query_one("select pg_backend_pid()", &[])?.get(0);
        Ok(Actor {
            client,
            random,
            pid,
        })
    }

    /// Until told to stop, or until the session has been ended.
    pub fn work(&mut self, ledger: &Ledger, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.act(ledger) {
                match error.downcast_ref::<Error>() {
                    Some(error) if self.client.is_closed() || ends_session(error) => return Ok(()),
                    Some(error) if is_ordinary(error) => {
                        // A transaction of several statements was left in the middle.
                        if self.client.batch_execute("rollback").is_err() {
                            return Ok(());
                        }
                    }
                    _ => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn act(&mut self, ledger: &Ledger) -> Result<()> {
        let model = *self.random.choose(MODELS).unwrap_or(&"m");
        match self.random.below(16) {
            0 | 1 => {
                let job = train(&mut self.client, model)?;
                ledger.queued(job);
            }
            2 => {
                let sql = "select ltv_retrain($1, promote => $2, options => ($3::text)::jsonb)";
                let rule = self.random.choose(&["always", "if_better", "never"]);
                let row = self.client.query_one(sql, &[&model, &rule, &OPTIONS])?;
                ledger.queued(row.get(0));
            }
            3 | 4 => self.import(ledger, model)?,
            5 => self.import_in_transaction(ledger, model)?,
            6 => {
                // A version that was imported remembers no rows.
                let sql = "select ltv_quantize($1, null, $2)";
                self.client.query_one(sql, &[&model, &source(model)])?;
            }
            7 | 8 => self.drop_version(ledger, model)?,
            9 => self.scratch(ledger)?,
            10 => self.promote(model)?,
            11 => {
                let sql = "select ltv_cancel(max(job)) from ltv_jobs";
                self.client.query_one(sql, &[])?;
            }
            12 => {
                let sql =
                    "select ltv_retry(max(job)) from ltv_jobs where status in ('lost', 'canceled')";
                let row = self.client.query_one(sql, &[])?;
                ledger.queued(row.get(0));
            }
            13 => {
                let sql = "select ltv_refresh_features('features', $1::text::ltv.cutoffs)";
                let day = *self
                    .random
                    .choose(&["2021-01-01", "2021-03-01"])
                    .unwrap_or(&"");
                self.client.query_one(sql, &[&day])?;
            }
            14 => {
                let sql = "select ltv_monitor($1, $2)";
                self.client.query_one(sql, &[&model, &source(model)])?;
            }
            _ => {
                let now = digest(&mut self.client, REFERENCE, 1)?;
                ensure!(
                    ledger.is_reference(&now),
                    "the untouched model scores otherwise in the midst of it"
                );
            }
        }
        Ok(())
    }

    fn versions(&mut self, model: &str) -> Result<Vec<i32>> {
        let sql = "select version from ltv_versions where model = $1 order by 1";
        let rows = self.client.query(sql, &[&model])?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// A further version with the graph of one that is there.
    fn import(&mut self, ledger: &Ledger, model: &str) -> Result<()> {
        let sql = "select ltv_import_onnx($1, ltv_export_onnx($1), promote => $2)";
        let promote = self.random.below(2) == 0;
        let row = self.client.query_one(sql, &[&model, &promote])?;
        ledger.done(Change::Added(model.to_owned(), row.get(0)));
        Ok(())
    }

    fn import_in_transaction(&mut self, ledger: &Ledger, model: &str) -> Result<()> {
        let mut transaction = self.client.transaction()?;
        let sql = "select ltv_import_onnx($1, ltv_export_onnx($1))";
        let version: i32 = transaction.query_one(sql, &[&model])?.get(0);
        transaction.query_one(
            "select ltv_set_alias($1, $2, 'challenger')",
            &[&model, &version],
        )?;
        if self.random.below(4) == 0 {
            // The number may be given to the next one.
            transaction.rollback()?;
        } else {
            transaction.commit()?;
            ledger.done(Change::Added(model.to_owned(), version));
        }
        Ok(())
    }

    /// Not one that an alias names; that is refused.
    fn drop_version(&mut self, ledger: &Ledger, model: &str) -> Result<()> {
        let versions = self.versions(model)?;
        let Some(version) = self.random.choose(&versions).copied() else {
            return Ok(());
        };
        if versions.len() < 3 {
            return Ok(());
        }
        // Whether it has come to pass is not known if the answer never comes.
        ledger.begun(Change::Removed(model.to_owned(), version));
        let sql = "select ltv_drop_version($1, $2)";
        self.client.query_one(sql, &[&model, &version])?;
        ledger.done(Change::Removed(model.to_owned(), version));
        Ok(())
    }

    /// A model of its own, made and dropped.
    fn scratch(&mut self, ledger: &Ledger) -> Result<()> {
        let model = format!("scratch {}", self.pid);
        let sql = "select ltv_import_onnx($1, ltv_export_onnx($2))";
        let version: i32 = self.client.query_one(sql, &[&model, &REFERENCE])?.get(0);
        ledger.done(Change::Added(model.clone(), version));
        if self.random.below(2) == 0 {
            ledger.begun(Change::Gone(model.clone()));
            self.client
                .query_one("select ltv_drop_model($1)", &[&model])?;
            ledger.done(Change::Gone(model));
        }
        Ok(())
    }

    fn promote(&mut self, model: &str) -> Result<()> {
        let versions = self.versions(model)?;
        let Some(version) = self.random.choose(&versions).copied() else {
            bail!("model {model} has lost all its versions");
        };
        if self.random.below(3) == 0 {
            self.client
                .query_one("select ltv_rollback($1)", &[&model])?;
        } else {
            let sql = "select ltv_set_alias($1, $2)";
            self.client.query_one(sql, &[&model, &version])?;
        }
        Ok(())
    }
}

fn ends_session(error: &Error) -> bool {
    error.is_closed()
        || error.code().is_none()
        || error
            .code()
            .is_some_and(|code| code.code().starts_with("57P"))
}

/// What sessions that get in each other's way may be told.
fn is_ordinary(error: &Error) -> bool {
    const ORDINARY: &[&str] = &[
        "42704", // dropped meanwhile
        "55000", // nothing to roll back to, still named, nothing to retry
        "2BP01", // still named
        "22004", // no such job, so null
        "0A000", // quantised already, and imported
        "40P01", "40001", "55P03", "57014",
    ];
    error
        .code()
        .is_some_and(|code: &SqlState| ORDINARY.contains(&code.code()))
}
