//! How fast the trainer alone is, without PostgreSQL:
//!
//!     cargo run --release --example speed -- rows=200000 columns=32 threads=1 '{"epochs": 5}'
//!
//! Besides `rows`, `columns`, `threads`, `steps` (of a sequence; 0: none), `backbone` and `objective`, options as for
//! `ltv_train`. Prints rows per second of each epoch, the whole time, and a checksum of the weights.

use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Quiet, train};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    // SAFETY: there is no other thread yet. The worker does the same.
    unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    let mut rows = 200_000;
    let mut columns = 32;
    let mut steps = 0;
    let mut threads = 1;
    let mut recipe = Recipe::default();
    let mut options =
        serde_json::json!({"epochs": 5, "ensemble": 1, "patience": 1000, "batch_size": 1024});
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("rows", value)) => rows = value.parse()?,
            Some(("columns", value)) => columns = value.parse()?,
            Some(("steps", value)) => steps = value.parse()?,
            Some(("threads", value)) => threads = value.parse()?,
            Some(("backbone", value)) => recipe.backbone = value.to_owned(),
            Some(("objective", value)) => recipe.objective = value.to_owned(),
            _ => {
                let given: serde_json::Value = serde_json::from_str(&argument)?;
                for (key, value) in given.as_object().into_iter().flatten() {
                    options[key] = value.clone();
                }
            }
        }
    }
    recipe.options = Options::from_json(&options)?;
    recipe.options.threads = Some(threads);
    let table = table(rows, columns, steps)?;
    let begun = Instant::now();
    let model = train(table, &recipe, &Quiet)?;
    let seconds = begun.elapsed().as_secs_f64();
    let epochs = model.history["epochs"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let mut training = 0.0;
    let mut rates = Vec::new();
    for epoch in &epochs {
        training += epoch["seconds"].as_f64().unwrap_or_default();
        rates.push(epoch["rows_per_second"].as_f64().unwrap_or_default());
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{} {} rows={rows} threads={threads}: {:.0} rows/s (median; {:.0} to {:.0}), {training:.2} s in steps of {seconds:.2} s, \
         validation loss {}, weights {:x}",
        recipe.backbone,
        recipe.objective,
        rates.get(rates.len() / 2).copied().unwrap_or_default(),
        rates.first().copied().unwrap_or_default(),
        rates.last().copied().unwrap_or_default(),
        epochs
            .last()
            .map(|epoch| epoch["validation"]["loss"].clone())
            .unwrap_or_default(),
        Sha256::digest(&model.weights)
            .iter()
            .take(4)
            .fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte)),
    );
    Ok(())
}

/// A third of the customers pay, more of them and more money where the first columns are large.
fn table(rows: usize, columns: usize, steps: usize) -> Result<TrainingTable, Box<dyn Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut features: Vec<Vec<f32>> = vec![Vec::with_capacity(rows); columns];
    let mut sequences = Vec::new();
    let mut target = Vec::with_capacity(rows);
    let mut split = Vec::with_capacity(rows);
    for row in 0..rows {
        for column in &mut features {
            column.push(random.random_range(-1.0..1.0));
        }
        let signal = f64::from(features[0][row] + features[columns - 1][row]);
        let pays = random.random::<f64>() < 1.0 / (1.0 + (0.7 - signal).exp());
        let amount = (3.0 + 0.5 * signal + random.random_range(-1.0..1.0)).exp();
        target.push(if pays { amount } else { 0.0 });
        if steps > 0 {
            sequences.push(
                (0..2 * steps)
                    .map(|_| random.random_range(-1.0..1.0))
                    .collect(),
            );
        }
        split.push(if row % 5 == 0 {
            Split::Validation
        } else {
            Split::Train
        });
    }
    let mut inputs: Vec<FeatureColumn> = (0..columns)
        .map(|column| FeatureColumn::new(format!("f{column}"), ColumnKind::Numeric, "real"))
        .collect();
    let mut data: Vec<ColumnData> = features.into_iter().map(ColumnData::Numeric).collect();
    if steps > 0 {
        inputs.push(FeatureColumn::new(
            "history",
            ColumnKind::Sequence { channels: 2 },
            "real[]",
        ));
        data.push(ColumnData::Sequence(sequences));
    }
    Ok(TrainingTable::from_columns(
        inputs, &data, &target, &split, None,
    )?)
}
