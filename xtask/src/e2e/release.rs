//! From each frozen version to the present one: by ALTER EXTENSION, and by restoring a dump.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::{ensure_eq, train};
use crate::extension;
use crate::frozen::{self, Frozen};
use crate::workspace::{Template, Workspace};

/// Customers whose prediction is another one. Another processor rounds otherwise, in the last bits.
const CHANGED: &str = "
    select count(*) from customers c join predicted p using (customer_id)
    where abs(ltv_predict('m', c) - p.ltv) > 1e-5 * p.ltv
       or abs(ltv_predict_quantile('m', c, 0.9) - p.most) > 1e-5 * p.most";

/// A version that never was, and the step from it: what is compared must see both of these go.
const EARLIER: &str = "0.0.1";
const RELICS: &str = "
    CREATE FUNCTION ltv.relic() RETURNS integer LANGUAGE sql AS 'SELECT 1';
    ALTER TABLE ltv.models ADD COLUMN relic integer;";
const STEP: &str = "
    DROP FUNCTION ltv.relic();
    ALTER TABLE ltv.models DROP COLUMN relic;";

pub fn upgrades(workspace: &Workspace) -> Result<()> {
    let (current, script) = extension::script(&workspace.shared)?;
    let fresh = workspace.database("fresh", Template::Extension)?;
    let wanted = frozen::catalog(&workspace.shared, &workspace.cluster, &fresh)?;
    ensure!(wanted.lines().count() > 100, "the catalog is hardly listed");
    workspace
        .cluster
        .psql("postgres", &format!("create role {}", frozen::READER))?;
    let all = Frozen::all(&workspace.shared)?;
    for frozen in &all {
        restored(workspace, frozen)?;
        if frozen.version != current {
            let old = Script::install(workspace, &frozen.version, &frozen.script()?)?;
            updated(workspace, &frozen.version, frozen, &wanted)?;
            drop(old);
        }
    }
    let newest = all.last().context("no version is frozen")?;
    made_up(workspace, newest, &current, &script, &wanted)
}

/// The mechanism itself, which nothing else tries while there is one version only.
fn made_up(
    workspace: &Workspace,
    data: &Frozen,
    current: &str,
    script: &str,
    wanted: &str,
) -> Result<()> {
    let _earlier = Script::install(workspace, EARLIER, &format!("{script}{RELICS}"))?;
    let path = format!("{EARLIER}--{current}");
    let empty = Script::install(workspace, &path, "")?;
    match updated(workspace, EARLIER, data, wanted) {
        Err(error) if error.to_string().contains("relic") => {}
        Err(error) => return Err(error),
        Ok(()) => bail!("a step that forgot something went unseen"),
    }
    drop(empty);
    let _step = Script::install(workspace, &path, STEP)?;
    updated(workspace, EARLIER, data, wanted)
}

fn restored(workspace: &Workspace, frozen: &Frozen) -> Result<()> {
    let database = workspace.database("of_a_dump", Template::Empty)?;
    frozen.restore(&workspace.cluster, &database)?;
    let what = format!("a dump of {} restored", frozen.version);
    holds(workspace, &database, &what)?;
    workspace.cluster.drop_database(&database)
}

/// This version installed, filled from a dump, and updated.
fn updated(workspace: &Workspace, version: &str, data: &Frozen, wanted: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("updated", Template::Empty)?;
    cluster.psql(
        &database,
        &format!("create extension pg_ltv version '{version}'"),
    )?;
    data.restore(cluster, &database)?;
    cluster.psql(&database, "alter extension pg_ltv update")?;
    let what = format!("{version} updated");
    let found = frozen::catalog(&workspace.shared, cluster, &database)?;
    ensure_same(&found, wanted, &what)?;
    holds(workspace, &database, &what)?;
    cluster.drop_database(&database)
}

/// Scores are as they were, and training goes on.
fn holds(workspace: &Workspace, database: &str, what: &str) -> Result<()> {
    let cluster = &workspace.cluster;
    let ask = |query: &str, answer: &str| -> Result<()> {
        ensure_eq(cluster.psql(database, query)?.as_str(), answer, what)
    };
    ask(
        "select count(*) from predicted where ltv > 0 and most >= 0",
        "200",
    )?;
    ask(CHANGED, "0")?;
    train(cluster, database, "m", r#"{"epochs": 1, "ensemble": 1}"#)?;
    ask("select max(version) from ltv_versions", "3")
}

fn ensure_same(found: &str, wanted: &str, what: &str) -> Result<()> {
    let only = |these: &str, those: &str| -> Vec<String> {
        let those: std::collections::BTreeSet<&str> = those.lines().collect();
        let lines = these.lines().filter(|line| !those.contains(line));
        lines.take(10).map(str::to_owned).collect()
    };
    if found != wanted {
        bail!(
            "{what}: the catalog is not that of CREATE EXTENSION\ntoo much:\n{}\nmissing:\n{}",
            only(found, wanted).join("\n"),
            only(wanted, found).join("\n")
        );
    }
    Ok(())
}

/// A script among those of the extension, as long as this lives.
struct Script(PathBuf);

impl Script {
    fn install(workspace: &Workspace, versions: &str, text: &str) -> Result<Script> {
        let extension = workspace.install.share.join("extension");
        let path = extension.join(format!("pg_ltv--{versions}.sql"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Script(path))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
