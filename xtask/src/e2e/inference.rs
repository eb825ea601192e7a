//! Inferences that would go on for long: whatever is to end them does, within a second or two, and the server runs on.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use postgres::Client;

use super::wait_until;
use crate::cluster::{Cluster, StopMode};
use crate::workspace::Workspace;

/// A second, and what a busy machine takes on top.
const SOON: Duration = Duration::from_secs(4);

/// A graph of tests/onnx/hostile.sql.
fn graph(workspace: &Workspace, name: &str) -> Result<String> {
    let path = workspace.project.root.join("tests/onnx/hostile.sql");
    let text = fs::read_to_string(&path)?;
    let start = format!("\\set {name} '");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line
        .with_context(|| format!("no graph {name}"))?
        .trim_end_matches('\'')
        .to_owned())
}

fn import(client: &mut Client, workspace: &Workspace, name: &str) -> Result<()> {
    let text = graph(workspace, name)?;
    client.execute(
        &format!("select ltv_import_onnx('{name}', decode('{text}', 'base64'))"),
        &[],
    )?;
    Ok(())
}

/// A session that runs a statement, until `end`; how it ended, and how long after.
fn ended_by(
    cluster: &Cluster,
    statement: &str,
    end: impl FnOnce(i32) -> Result<()>,
) -> Result<(String, Duration)> {
    let mut session = cluster.connect("ltv")?;
    session.batch_execute("set ltv.allow_control_flow = on")?;
    let pid: i32 = session.query_one("select pg_backend_pid()", &[])?.get(0);
    thread::scope(|scope| {
        let running = scope.spawn(|| session.batch_execute(statement));
        thread::sleep(Duration::from_millis(700));
        let asked = Instant::now();
        end(pid)?;
        let result = match running.join() {
            Ok(result) => result,
            Err(_) => bail!("the session panicked"),
        };
        let took = asked.elapsed();
        let said = match result {
            Ok(()) => bail!("the statement came to its end: {statement}"),
            Err(error) => error
                .code()
                .map_or_else(|| error.to_string(), |code| code.code().to_owned()),
        };
        Ok((said, took))
    })
}

/// Cancel, terminate, time limit and fast shutdown end an inference between operators, within one long operator, in the
/// trial run of an import and in a batch.
pub fn interrupts(workspace: &Workspace) -> Result<()> {
    let mut cluster = workspace.new_cluster("inference", &[])?;
    let mut admin = cluster.connect("ltv")?;
    admin.batch_execute("set ltv.allow_control_flow = on")?;
    import(&mut admin, workspace, "loop")?;
    let one_operator = graph(workspace, "one_operator")?;
    let trial = format!("select ltv_import_onnx('bad', decode('{one_operator}', 'base64'))");
    let statements = [
        "select ltv_predict('loop', array[1e9])",
        "select sum(ltv_predict('loop', array[i * 1e9])) from generate_series(1, 100) i",
        "set ltv.enable_batch_scan = off; select sum(ltv_predict('loop', array[i * 1e9])) from generate_series(1, 100) i",
        &trial,
    ];
    for statement in statements {
        let shown = statement.get(..60).unwrap_or(statement);
        for (how, expected) in [
            ("cancel", "57014"),
            ("terminate", "57P01"),
            ("time limit", "57014"),
        ] {
            let sql = match how {
                "time limit" => format!("set statement_timeout = 700; {statement}"),
                _ => statement.to_owned(),
            };
            let (said, took) = ended_by(&cluster, &sql, |pid| {
                let function = match how {
                    "cancel" => "pg_cancel_backend",
                    "terminate" => "pg_terminate_backend",
                    _ => return Ok(()),
                };
                admin.execute(&format!("select {function}({pid})"), &[])?;
                Ok(())
            })?;
            ensure!(took < SOON, "{how} ended {shown} after {took:?}");
            // An operator that cannot be stopped takes its session along, whose client may not hear the reason.
            ensure!(
                said == expected || statement == trial,
                "{how} of {shown} gave {said}, not {expected}"
            );
            admin
                .query_one("select 1", &[])
                .context("the server went down")?;
        }
    }
    wait_until("nothing is left at work", 10, || {
        let others: i64 = admin
            .query_one(
                "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
                &[],
            )?
            .get(0);
        Ok(others == 0)
    })?;
    for statement in [statements[0], &trial] {
        let (_, took) = ended_by(&cluster, statement, |_| cluster.stop(StopMode::Fast))?;
        ensure!(took < SOON, "a fast shutdown took {took:?}");
        cluster.start()?;
    }
    ensure!(
        !cluster.log().contains("terminated by signal"),
        "a process crashed:\n{}",
        cluster.log_tail(30)
    );
    Ok(())
}

/// Graphs that ask for more memory than a process may have are errors, not ends of processes.
pub fn little_memory(workspace: &Workspace) -> Result<()> {
    let cluster = workspace.new_cluster("little_memory", &[])?;
    let names = [
        "doubling",
        "doubling_text",
        "square",
        "wide_9",
        "wide_62",
        "steps_12",
        "claimed",
        "laughs",
        "long_chain",
        "many_rows",
    ];
    let limit: u64 = 1_500 << 20;
    for name in names {
        let text = graph(workspace, name)?;
        let mut session = cluster.connect("ltv")?;
        let pid: i32 = session.query_one("select pg_backend_pid()", &[])?.get(0);
        // By the server's own account, which may.
        session.batch_execute(&format!(
            "copy (select 1) to program 'cat > /dev/null; prlimit --pid {pid} --as={limit}:{limit}'"
        ))?;
        session.batch_execute("set statement_timeout = '20s'; set ltv.scoring_memory = '8GB'")?;
        let result = session.batch_execute(&format!(
            "select ltv_import_onnx('bad', decode('{text}', 'base64'))"
        ));
        let state = result
            .as_ref()
            .err()
            .and_then(|error| error.code())
            .map(|code| code.code().to_owned());
        ensure!(
            result.is_ok() || state.as_deref().is_some_and(|s| !s.starts_with("XX")),
            "{name} with little memory: {result:?}"
        );
        session
            .query_one("select 1", &[])
            .with_context(|| format!("{name} ended its session:\n{}", cluster.log_tail(15)))?;
    }
    Ok(())
}
