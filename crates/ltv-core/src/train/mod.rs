//! From rows to a finished model.

mod assemble;
mod batches;
mod combine;
mod config;
mod control;
mod epochs;
mod network;
mod optimizer;
mod report;
mod target;
mod weights;

pub use control::{Control, Phase, Progress, Quiet};
pub use optimizer::{Adam, AdamConfig};

use crate::data::{Split, TrainingTable};
use crate::error::{Error, Result};
use crate::preprocess::Preprocessing;
use crate::recipe::Recipe;
use candle_core::Device;
use epochs::Trainer;
use network::{Network, NetworkConfig};
use std::time::Instant;

/// Everything a version row keeps.
#[derive(Clone, Debug)]
pub struct TrainedModel {
    pub onnx: Vec<u8>,
    pub schema: serde_json::Value,
    pub statistics: serde_json::Value,
    pub metrics: serde_json::Value,
    pub history: serde_json::Value,
    pub weights: Vec<u8>,
    pub n_rows: usize,
    pub seconds: f64,
}

/// A training that continues runs this many times fewer epochs, with a learning rate as many times lower.
const WARM_SHARE: usize = 4;

/// Trains the recipe's model on the table. Blocks; meant for a thread of its own.
pub fn train(table: TrainingTable, recipe: &Recipe, control: &dyn Control) -> Result<TrainedModel> {
    let started = Instant::now();
    let options = &recipe.options;
    control.progress(Progress::of(Phase::Preprocessing));
    let n_rows = table.rows();
    let training_target: Vec<f32> = (0..n_rows)
        .filter(|&row| table.split[row] == Split::Train)
        .map(|row| table.target[row])
        .collect();
    target::check(&training_target, &recipe.objective)?;
    let (mut preprocessing, features) = Preprocessing::fit(&table, options)?;
    let mut network = NetworkConfig {
        backbone: config::backbone(recipe)?,
        objective: config::objective(recipe)?,
        shape: preprocessing.shape(),
        target: target::statistics(&training_target),
    };
    let members = options.ensemble;
    let earlier = recipe
        .warm_start
        .as_deref()
        .map(|bytes| weights::continue_from(bytes, &preprocessing, &network, members));
    let earlier = match earlier {
        None => None,
        Some(Ok(stored)) => Some(stored),
        Some(Err(reason)) => {
            control.notice(&format!(
                "training starts from scratch, because the stored weights do not fit: {reason}"
            ));
            None
        }
    };
    if let Some(stored) = &earlier {
        preprocessing = stored.preprocessing.clone();
        network = stored.network.clone();
    }
    let device = device(&options.device)?;
    let data = preprocessing.encode(table)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }

    let networks = match &earlier {
        Some(stored) => stored.networks(&device)?,
        None => (0..members)
            .map(|member| Network::new(&network, options.seed.wrapping_add(member as u64), &device))
            .collect::<Result<Vec<Network>>>()?,
    };
    let train_rows = data.rows_of(Split::Train);
    let payers_wanted = networks.first().map_or(0, Network::payers_per_batch);
    let share = network.target.payers as f64 / network.target.rows.max(1) as f64;
    let warm = if earlier.is_some() { WARM_SHARE } else { 1 };
    let trainer = Trainer {
        batch_size: options
            .batch_size
            .unwrap_or_else(|| batches::batch_size(train_rows.len(), payers_wanted, share)),
        stratified: options.stratified_batches.unwrap_or(payers_wanted > 0),
        validation_rows: data.rows_of(Split::Validation),
        train_rows,
        data: &data,
        options,
        objective: &recipe.objective,
        control,
        device,
        started,
        epochs: options.epochs.div_ceil(warm),
        learning_rate: options.learning_rate / warm as f64,
        members,
    };
    let mut histories = Vec::with_capacity(members);
    for (member, network) in networks.iter().enumerate() {
        histories.push(trainer.run(network, member)?);
    }

    control.progress(Progress::of(Phase::Validating));
    let (metrics, statistics) = report::judge(&trainer, &networks, &network.target, features)?;
    control.progress(Progress::of(Phase::Exporting));
    let (onnx, schema) = assemble::assemble(&preprocessing, &networks)?;
    let history = report::history(&trainer, histories, earlier.is_some());
    let weights = weights::store(&preprocessing, &network, &networks)?;
    Ok(TrainedModel {
        onnx,
        schema: schema.to_json(),
        statistics,
        metrics,
        history,
        weights,
        n_rows,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What a model with these stored weights predicts, by name, one value per row of `table`, without any ONNX: the
/// reference that the graph is held against.
pub fn predict(weights: &[u8], table: TrainingTable) -> Result<Vec<(&'static str, Vec<f32>)>> {
    let stored = weights::Stored::read(weights)?;
    let networks = stored.networks(&Device::Cpu)?;
    let data = stored.preprocessing.encode(table)?;
    let rows: Vec<u32> = (0..data.rows as u32).collect();
    let mut members = Vec::with_capacity(networks.len());
    for network in &networks {
        members.push(network.predict_rows(&data, &rows, &Device::Cpu)?);
    }
    Ok(combine::combine(members).columns)
}

fn device(name: &str) -> Result<Device> {
    match name {
        "auto" | "cpu" => Ok(Device::Cpu),
        other => Err(Error::new(
            crate::error::ErrorKind::Unsupported,
            format!("device \"{other}\" is not available"),
        )
        .detail("This build of pg_ltv computes on the CPU.")
        .hint("Set the option \"device\" to \"auto\" or \"cpu\".")),
    }
}
