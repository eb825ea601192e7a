//! Queue a training job and watch it.

use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use postgres::Client;

/// Train unless there is a model; says which version there is.
pub fn train(client: &mut Client, model: &str, sql: &str) -> Result<String> {
    if let Some(version) = champion(client, model)? {
        return Ok(format!(
            "{} It is there from an earlier run.",
            describe(client, model, version)?
        ));
    }
    let job: i64 = client.query_one(sql, &[])?.get(0);
    watch(client, job)?;
    match champion(client, model)? {
        Some(version) => describe(client, model, version),
        None => bail!("job {job} ended without a version"),
    }
}

fn champion(client: &mut Client, model: &str) -> Result<Option<i32>> {
    let row = client.query_opt(
        "select version from ltv.aliases where model = $1 and alias = 'champion'",
        &[&model],
    )?;
    Ok(row.map(|row| row.get(0)))
}

fn describe(client: &mut Client, model: &str, version: i32) -> Result<String> {
    let row = client.query_one(
        "select objective, backbone, n_rows, training_seconds, octet_length(onnx)::int8
         from ltv.versions where model = $1 and version = $2",
        &[&model, &version],
    )?;
    Ok(format!(
        "Version {version} of model {model}: {} on {}, trained on {} customers in {:.1} s, {} KB of ONNX.",
        row.get::<_, String>(0),
        row.get::<_, String>(1),
        super::show::count(row.get(2)),
        row.get::<_, f64>(3),
        row.get::<_, i64>(4) / 1024
    ))
}

/// A progress bar at a terminal, nothing in a pipe.
fn watch(client: &mut Client, job: i64) -> Result<()> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "   {bar:30} {pos:>3}/{len} epochs  {msg}",
    )?);
    let query = client.prepare(
        "select status, coalesce(phase, 'waiting for a worker'), epoch, epochs, training_loss, validation_loss,
                rows_per_second, message, detail, hint from ltv_jobs where job = $1",
    )?;
    loop {
        let row = client.query_one(&query, &[&job])?;
        let status: String = row.get(0);
        if let (Some(epoch), Some(epochs)) =
            (row.get::<_, Option<i32>>(2), row.get::<_, Option<i32>>(3))
        {
            bar.set_length(u64::try_from(epochs).unwrap_or(0));
            bar.set_position(u64::try_from(epoch).unwrap_or(0));
        }
        let mut message: String = row.get(1);
        if let Some(loss) = row.get::<_, Option<f64>>(5).or(row.get(4)) {
            message.push_str(&format!(", loss {loss:.4}"));
        }
        if let Some(speed) = row.get::<_, Option<f64>>(6) {
            message.push_str(&format!(", {} rows/s", super::show::count(speed as i64)));
        }
        bar.set_message(message);
        match status.as_str() {
            "queued" | "running" => thread::sleep(Duration::from_millis(100)),
            "succeeded" => {
                bar.finish_and_clear();
                return Ok(());
            }
            _ => {
                bar.finish_and_clear();
                let parts: Vec<String> = (7..10).filter_map(|column| row.get(column)).collect();
                bail!("job {job} {status}: {}", parts.join("\n"));
            }
        }
    }
}
