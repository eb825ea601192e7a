//! `cargo xtask freeze`: keep the present version as one that upgrades start from.

use anyhow::Result;

use crate::project::Project;
use crate::setup::Needs;
use crate::workspace::{Template, Workspace};
use crate::{e2e, frozen, server, shell};

/// What an update must not change: what was predicted stands beside what was known.
const PREDICTED: &str = "
    create table predicted as
        select customer_id, ltv_predict('m', c) as ltv, ltv_predict_quantile('m', c, 0.9) as most from customers c;
    select ltv_set_alias('m', 1, 'challenger')";

pub fn run(project: &Project) -> Result<()> {
    Workspace::clean_up_on_signals(project)?;
    let install = server::prepare(project, Needs::default())?;
    let workspace = Workspace::begin(project, &install, false)?;
    shell::step("Training the models of the fixture");
    let database = workspace.database("frozen", Template::Extension)?;
    let cluster = &workspace.cluster;
    e2e::customers(cluster, &database, 200)?;
    for seed in [1, 2] {
        let options = format!(r#"{{"epochs": 2, "ensemble": 1, "seed": {seed}}}"#);
        e2e::train(cluster, &database, "m", &options)?;
    }
    cluster.psql(&database, PREDICTED)?;
    let reader = frozen::READER;
    let grant = format!("create role {reader}; select ltv_grant('m', '{reader}')");
    cluster.psql(&database, &grant)?;
    let directory = frozen::keep(project, cluster, &database)?;
    println!("{}", directory.display());
    Ok(())
}
