//! The clusters that other scenarios stand on: killed and recovered, copied and followed.

use anyhow::Result;

use super::{ensure_eq, wait_until};
use crate::cluster::StopMode;
use crate::test::Workspace;

/// What was committed is there after a SIGKILL of the postmaster, and the extension works.
pub fn crash_recovery(workspace: &Workspace) -> Result<()> {
    let mut cluster = workspace.new_cluster("crash", &[])?;
    cluster.psql(
        "ltv",
        "create table t as select generate_series(1, 1000) as n",
    )?;
    cluster.kill9()?;
    ensure_eq(cluster.is_running(), false, "running after SIGKILL")?;
    cluster.start()?;
    ensure_eq(
        cluster.psql("ltv", "select count(*) from t")?.as_str(),
        "1000",
        "rows",
    )?;
    cluster.psql("ltv", "select count(*) from ltv_jobs")?;
    cluster.stop(StopMode::Immediate)?;
    cluster.start()?;
    cluster.psql("ltv", "drop extension pg_ltv cascade")?;
    cluster.destroy();
    Ok(())
}

/// A streaming replica follows and knows the extension.
pub fn replica(workspace: &Workspace) -> Result<()> {
    let primary = workspace.new_cluster("primary", &[])?;
    let mut replica = primary.base_backup(&workspace.new_directory("replica"), true)?;
    replica.start()?;
    primary.psql("ltv", "create table t as select 42 as n")?;
    wait_until("the replica to follow", 30, || {
        Ok(replica
            .psql("ltv", "select n from t")
            .is_ok_and(|answer| answer == "42"))
    })?;
    ensure_eq(
        replica.psql("ltv", "select pg_is_in_recovery()")?.as_str(),
        "t",
        "in recovery",
    )?;
    replica.psql("ltv", "select count(*) from ltv_jobs")?;
    replica.destroy();
    primary.destroy();
    Ok(())
}
