//! A server without ONNX Runtime.

use anyhow::{Result, bail};

use super::{customers, train};
use crate::shell;
use crate::workspace::{Template, Workspace};

/// Without the library, or with something else in its place, scoring fails cleanly, says what to do, and the server runs on.
pub fn onnxruntime_missing(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("runtime", Template::Extension)?;
    customers(cluster, &database, 500)?;
    train(cluster, &database, "m", r#"{"epochs": 1}"#)?;
    let old = old_library(workspace)?;
    for library in ["/nowhere/libonnxruntime.so", "libc.so.6", old.as_str()] {
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
        if library == old && !said.contains("is version 1.10.0, but at least") {
            bail!("the versions found and needed are not named:\n{said}");
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

/// A cursor that says neither SCROLL nor NO SCROLL, as the first statement of a session, is predicted in batches like any other.
pub fn first_cursor(workspace: &Workspace) -> Result<()> {
    let cluster = &workspace.cluster;
    let database = workspace.database("first_cursor", Template::Extension)?;
    customers(cluster, &database, 500)?;
    train(cluster, &database, "m", r#"{"epochs": 1}"#)?;
    let mark = format!("first cursor of {database}");
    let mut client = cluster.connect(&database)?;
    // auto_explain writes the plan that was executed to the server's log.
    client.batch_execute(&format!(
        "load 'auto_explain'; set auto_explain.log_min_duration = 0; set application_name = '{mark}'; begin; \
         declare c cursor for select ltv_predict('m', t) /* {mark} */ from customers t; fetch 100 from c; fetch backward 10 from c; \
         close c; commit"
    ))?;
    let log = cluster.log();
    let Some((_, plan)) = log.rsplit_once(&format!("/* {mark} */ from customers t")) else {
        bail!("the plan of the cursor is not in the server's log");
    };
    if !plan.contains("LTV Batch") {
        bail!("the first cursor of a session was predicted row by row:\n{plan}");
    }
    Ok(())
}

/// A library that says that it is ONNX Runtime 1.10.0, and is nothing else.
fn old_library(workspace: &Workspace) -> Result<String> {
    const SOURCE: &str = r#"
        static const void *api(unsigned version) { return 0; }
        static const char *version(void) { return "1.10.0"; }
        static struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { api, version };
        const void *OrtGetApiBase(void) { return &base; }
    "#;
    let directory = workspace.new_directory("old_library");
    std::fs::create_dir_all(&directory)?;
    let (source, library) = (directory.join("old.c"), directory.join("libold.so"));
    std::fs::write(&source, SOURCE)?;
    shell::capture(
        std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source]),
    )?;
    Ok(library.display().to_string())
}
