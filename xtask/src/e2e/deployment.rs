//! A server that dies in the middle of a deployment.

use anyhow::Result;

use super::{customers, ensure_eq, train};
use crate::cluster::{Cluster, StopMode};
use crate::workspace::Workspace;

fn champion(cluster: &Cluster) -> Result<String> {
    cluster.psql(
        "ltv",
        "select version from ltv.aliases where model = 'm' and alias = 'champion'",
    )
}

fn score(cluster: &Cluster) -> Result<String> {
    cluster.psql(
        "ltv",
        "select round(sum(ltv_predict('m', c))::numeric, 6) from customers c",
    )
}

/// An alias moved in a transaction that the crash cut off never moved; one committed stays moved.
pub fn crash(workspace: &Workspace) -> Result<()> {
    let mut cluster = workspace.new_cluster("crash_deployment", &[])?;
    customers(&cluster, "ltv", 1000)?;
    train(&cluster, "ltv", "m", r#"{"epochs": 1, "seed": 1}"#)?;
    train(&cluster, "ltv", "m", r#"{"epochs": 1, "seed": 2}"#)?;
    let first = score(&cluster)?;

    let mut open = cluster.connect("ltv")?;
    open.batch_execute("begin; select ltv_set_alias('m', 2, 'champion')")?;
    cluster.kill9()?;
    cluster.start()?;
    ensure_eq(
        champion(&cluster)?.as_str(),
        "1",
        "the champion after a crash before the commit",
    )?;
    ensure_eq(
        score(&cluster)?,
        first.clone(),
        "the score after a crash before the commit",
    )?;

    cluster.psql("ltv", "select ltv_set_alias('m', 2, 'champion')")?;
    let second = score(&cluster)?;
    if second == first {
        anyhow::bail!("both versions predict the same: {first}");
    }
    cluster.stop(StopMode::Immediate)?;
    cluster.start()?;
    ensure_eq(
        champion(&cluster)?.as_str(),
        "2",
        "the champion after a crash after the commit",
    )?;
    ensure_eq(
        score(&cluster)?,
        second,
        "the score after a crash after the commit",
    )?;
    cluster.destroy();
    Ok(())
}
