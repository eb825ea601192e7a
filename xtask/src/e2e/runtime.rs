//! A server without ONNX Runtime.

use anyhow::{Result, bail};

use super::{customers, train};
use crate::shell;
use crate::test::{Template, Workspace};

/// Without the library, or with something else in its place, scoring fails cleanly, says what to do, and the server runs on.
pub fn onnxruntime_missing(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("runtime", Template::Extension)?;
    customers(cluster, &database, 500)?;
    train(cluster, &database, "m", r#"{"epochs": 1}"#)?;
    for library in ["/nowhere/libonnxruntime.so", "libc.so.6"] {
        let sql = format!(
            "set ltv.onnxruntime_library = '{library}'; select sum(ltv_predict('m', c)) from customers c"
        );
        let mut psql = cluster.psql_command(&database);
        psql.args([
            "--set=VERBOSITY=verbose",
            "--set=ON_ERROR_STOP=1",
            "--command",
            &sql,
        ]);
        let output = shell::output(&mut psql)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || !said.contains("ERROR") || !said.contains("HINT") {
            bail!("with {library} it must fail with a hint; it said:\n{said}");
        }
        if said.contains("XX000") {
            bail!("with {library} the error is an internal one:\n{said}");
        }
    }
    cluster.psql(
        &database,
        "select sum(ltv_predict('m', c)) from customers c",
    )?;
    Ok(())
}
