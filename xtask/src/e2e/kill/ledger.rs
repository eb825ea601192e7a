//! What the sessions were told has been done, and whether it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Result, bail, ensure};
use postgres::Client;

use super::Random;
use crate::e2e::ensure_eq;
use crate::e2e::jobs::{count, ensure_history};

/// The model that nobody changes.
pub const REFERENCE: &str = "reference";
/// How many versions are scored anew after a round.
const LOOKED_AT: usize = 8;

pub enum Change {
    Added(String, i32),
    Removed(String, i32),
    /// The model with all its versions.
    Gone(String),
}

type Version = (String, i32);

#[derive(Default)]
struct Known {
    reference: String,
    jobs: BTreeSet<i64>,
    added: BTreeSet<Version>,
    removed: BTreeSet<Version>,
    /// Removals that were asked for; whether they were done is not known where no answer came.
    perhaps_removed: BTreeSet<Version>,
    perhaps_gone: BTreeSet<String>,
    scores: BTreeMap<Version, String>,
    answers: usize,
}

#[derive(Default)]
pub struct Ledger(Mutex<Known>);

impl Ledger {
    fn known(&self) -> MutexGuard<'_, Known> {
        match self.0.lock() {
            Ok(known) => known,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    pub fn remember_reference(&self, scores: String) {
        self.known().reference = scores;
    }

    pub fn is_reference(&self, scores: &str) -> bool {
        self.known().reference == scores
    }

    pub fn acknowledged(&self) -> usize {
        self.known().answers
    }

    pub fn queued(&self, job: i64) {
        let mut known = self.known();
        known.jobs.insert(job);
        known.answers += 1;
    }

    pub fn begun(&self, change: Change) {
        let mut known = self.known();
        match change {
            Change::Removed(model, version) => {
                known.perhaps_removed.insert((model, version));
            }
            Change::Gone(model) => {
                known.perhaps_gone.insert(model);
            }
            Change::Added(..) => {}
        }
    }

    pub fn done(&self, change: Change) {
        let mut known = self.known();
        known.answers += 1;
        match change {
            Change::Added(model, version) => {
                known.added.insert((model, version));
            }
            Change::Removed(model, version) => {
                known.removed.insert((model, version));
            }
            Change::Gone(model) => {
                let gone: Vec<Version> = known
                    .added
                    .iter()
                    .filter(|version| version.0 == model)
                    .cloned()
                    .collect();
                known.perhaps_removed.extend(gone);
            }
        }
    }

    /// Everything that was acknowledged is there, and nothing is half there.
    ///
    /// Workers go on meanwhile, so all of it is read in one snapshot.
    pub fn check(&self, client: &mut Client) -> Result<()> {
        client.batch_execute("begin isolation level repeatable read, read only")?;
        self.check_snapshot(client)?;
        Ok(client.batch_execute("commit")?)
    }

    fn check_snapshot(&self, client: &mut Client) -> Result<()> {
        ensure_history(client)?;
        let known = self.known();
        for job in &known.jobs {
            let sql = format!("select count(*) from ltv.jobs where job = {job}");
            ensure_eq(
                count(client, &sql)?,
                1,
                &format!("job {job}, which was queued"),
            )?;
        }
        let there: BTreeSet<Version> = client
            .query("select model, version from ltv.versions", &[])?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        for version in known.added.difference(&there) {
            ensure!(
                known.perhaps_removed.contains(version) || known.perhaps_gone.contains(&version.0),
                "version {} of {}, which was imported, is gone",
                version.1,
                version.0
            );
        }
        if let Some(version) = known.removed.intersection(&there).next() {
            bail!(
                "version {} of {}, which was dropped, is there",
                version.1,
                version.0
            );
        }
        let succeeded: BTreeSet<Version> = client
            .query(
                "select model, version from ltv.jobs where status = 'succeeded'",
                &[],
            )?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect();
        for version in succeeded.difference(&there) {
            ensure!(
                known.perhaps_removed.contains(version),
                "version {} of {}, whose job succeeded, is gone",
                version.1,
                version.0
            );
        }
        for (what, sql) in HALVES {
            ensure_eq(count(client, sql)?, 0, what)?;
        }
        Ok(())
    }

    /// Scores with some of the versions: new ones are remembered, others must give what they gave.
    pub fn look(&self, client: &mut Client, random: &mut Random) -> Result<()> {
        let mut known = self.known();
        let now = digest(client, REFERENCE, 1)?;
        ensure!(
            now == known.reference,
            "the untouched model scores otherwise"
        );
        let rows = client.query("select model, version from ltv.versions order by 1, 2", &[])?;
        let mut versions: Vec<Version> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        // Newest first, then any.
        let newest = versions.len().saturating_sub(LOOKED_AT / 2);
        let mut chosen = versions.split_off(newest);
        for _ in 0..LOOKED_AT / 2 {
            chosen.extend(random.choose(&versions).cloned());
        }
        for version in chosen {
            let now = digest(client, &version.0, version.1)?;
            let before = known
                .scores
                .entry(version.clone())
                .or_insert_with(|| now.clone());
            ensure!(
                *before == now,
                "version {} of {} scores otherwise than before",
                version.1,
                version.0
            );
        }
        Ok(())
    }
}

/// What may never be found.
const HALVES: &[(&str, &str)] = &[
    (
        "versions whose job did not succeed",
        "select count(*) from ltv.versions v join ltv.jobs j on j.job = v.job \
         where v.source = 'trained' and (j.status <> 'succeeded' or j.version is distinct from v.version)",
    ),
    (
        "versions whose graph is not the one that was stored",
        "select count(*) from ltv.versions where checksum <> encode(sha256(onnx), 'hex')",
    ),
    (
        "versions without a model",
        "select count(*) from ltv.versions v where not exists (select from ltv.models m where m.model = v.model)",
    ),
    (
        "numbers beyond the last",
        "select count(*) from ltv.models m join ltv.versions v using (model) where v.version > m.last_version",
    ),
    (
        "aliases of no version",
        "select count(*) from ltv.aliases a where not exists (select from ltv.versions v where v.model = a.model and v.version = a.version)",
    ),
];

/// The scores of all customers by this version, to the last bit.
pub fn digest(client: &mut Client, model: &str, version: i32) -> Result<String, postgres::Error> {
    let source = if model == "f" {
        "features"
    } else {
        "customers"
    };
    // The features change when they are refreshed; what they are scored as is fixed.
    let rows = if source == "features" {
        "(select jsonb_populate_record(null::features, '{}') as c, i as customer_id from generate_series(1, 3) i) s"
    } else {
        "(select c, customer_id from customers c) s"
    };
    let sql = format!(
        "select md5(string_agg(float8send(ltv_predict($1::text, $2::int4, c))::text, '' order by customer_id)) from {rows}"
    );
    client.query_one(&sql, &[&model, &version])?.try_get(0)
}
