//! `cargo xtask demo`: the main job on real data.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::project::Project;
use crate::shell;

/// The tables of the demo; also what tests and documentation start from.
const TABLES: &str = include_str!("tables.sql");
const FILL: &str = include_str!("fill.sql");

/// Create `orders` and `customers` and fill them with the CDNOW log.
pub fn load_orders(project: &Project, client: &mut postgres::Client) -> Result<()> {
    let file = project.root.join("tests/data/cdnow_orders.csv.gz");
    let log = unzip(&file)?;
    let mut transaction = client.transaction()?;
    transaction.batch_execute(TABLES)?;
    let mut copy = transaction.copy_in("copy cdnow_log from stdin (format csv, header)")?;
    copy.write_all(&log)?;
    copy.finish()?;
    transaction.batch_execute(FILL)?;
    transaction.commit()?;
    Ok(())
}

fn unzip(file: &std::path::Path) -> Result<Vec<u8>> {
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

/// Features and the trained model, without the show.
pub fn prepare_model(cluster: &Cluster, database: &str) -> Result<()> {
    for sql in [FEATURES, TRAIN] {
        cluster.psql(database, sql)?;
    }
    Ok(())
}

const FEATURES: &str = "select 1";
const TRAIN: &str = "select 1";
