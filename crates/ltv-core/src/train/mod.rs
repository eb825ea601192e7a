//! From rows to a finished model.

mod assemble;
mod batches;
mod blend;
mod calibration;
mod classic;
mod combine;
mod compare;
mod config;
mod control;
mod epochs;
mod folds;
mod judge;
mod loss_sum;
mod network;
mod optimizer;
mod report;
mod selection;
mod spilled;
mod step;
mod target;
mod weights;

pub use control::{Control, Phase, Progress, Quiet};
pub use optimizer::{Adam, AdamConfig};

use crate::data::{Split, TrainingData, TrainingTable};
use crate::error::{Error, Result};
use crate::preprocess::Preprocessing;
use crate::recipe::Recipe;
use candle_core::Device;
use epochs::{Done, Trainer};
use network::{Network, NetworkConfig};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use spilled::Spilled;
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
    /// What a comparison chose.
    pub chosen: Option<Chosen>,
}

/// The recipe of the best candidate, as far as it differs from what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    pub objective: String,
    pub backbone: String,
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// Of each thread; the deepest recursion is in the gradient of a long graph.
const STACK: usize = 16 << 20;

/// A training that continues runs this many times fewer epochs, with a learning rate as many times lower.
const WARM_SHARE: usize = 4;

/// Trains the recipe's model on the table. Blocks; meant for a thread of its own.
pub fn train(
    data: impl Into<TrainingData>,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let data = data.into();
    let threads = recipe.options.threads.unwrap_or(1);
    // A pool of our own bounds what the tensor library takes: left alone it would use every core.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|index| format!("pg_ltv training {index}"))
        .build()
        .map_err(|error| {
            Error::new(
                crate::error::ErrorKind::Resources,
                "could not start the threads for the training",
            )
            .detail(error.to_string())
            .hint("Lower the option \"threads\" or the setting ltv.training_threads.")
        })?;
    pool.install(|| match &recipe.compare {
        Some(compare) => compare::train(data, recipe, compare, control),
        None => train_one(data, &config::with_defaults(recipe), control),
    })
}

fn train_one(data: TrainingData, recipe: &Recipe, control: &dyn Control) -> Result<TrainedModel> {
    let TrainingData {
        table,
        spilled,
        rows: n_rows,
    } = data;
    control.progress(Progress::of(Phase::Preprocessing));
    if recipe.objective == "bgnbd" {
        return Ok(TrainedModel {
            n_rows,
            ..classic::train(&table, recipe, control)?
        });
    }
    let started = Instant::now();
    let options = &recipe.options;
    // Networks that check each other use all rows; a single one leaves the validation rows alone.
    let members = options
        .ensemble
        .unwrap_or_else(|| folds::default_members(n_rows, table.has_several_cut_offs()));
    if spilled.is_some() && members > 1 {
        return Err(several_networks(members));
    }
    let rows: Vec<u32> = (0..table.rows() as u32)
        .filter(|&row| members > 1 || table.split[row as usize] == Split::Train)
        .collect();
    let target: Vec<f32> = rows.iter().map(|&row| table.target[row as usize]).collect();
    target::check(&target, &recipe.objective)?;
    let (mut preprocessing, features) = Preprocessing::fit(&table, &rows, options)?;
    let mut network = NetworkConfig {
        backbone: config::backbone(recipe)?,
        objective: config::objective(recipe)?,
        shape: preprocessing.shape(),
        target: target::statistics(&target),
    };
    let earlier = earlier(recipe, &preprocessing, &network, control);
    if let Some(stored) = &earlier {
        preprocessing = stored.preprocessing.clone();
        network = stored.network.clone();
    }
    let device = device(&options.device)?;
    let classic = blend::fit(&table, &rows, recipe)?;
    let spilled = match &spilled {
        Some(rows) => Some(Spilled::new(rows, &table, &preprocessing)?),
        None => None,
    };
    let data = preprocessing.encode(table)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }

    let networks = match &earlier {
        Some(stored) => stored.networks(&device)?,
        None => (0..members as u64)
            .map(|member| Network::new(&network, options.seed.wrapping_add(member), &device))
            .collect::<Result<_>>()?,
    };
    let payers_wanted = networks.first().map_or(0, Network::payers_per_batch);
    let share = network.target.payers as f64 / network.target.rows.max(1) as f64;
    let warm = if earlier.is_some() { WARM_SHARE } else { 1 };
    let folds = folds::deal(&data, networks.len(), options.seed);
    let epochs = options.epochs.div_ceil(warm);
    let training_rows = spilled
        .as_ref()
        .map_or(rows.len(), |spilled| spilled.rows.rows() as usize);
    let rows_per_epoch = match &spilled {
        Some(_) => training_rows,
        None => folds.iter().map(|fold| fold.train.len()).sum(),
    };
    let trainer = Trainer {
        done: Done::nothing((epochs * rows_per_epoch) as u64),
        batch_size: options
            .batch_size
            .unwrap_or_else(|| batches::batch_size(training_rows, payers_wanted, share)),
        stratified: options.stratified_batches.unwrap_or(payers_wanted > 0),
        folds,
        data: &data,
        spilled,
        options,
        objective: &recipe.objective,
        control,
        device,
        started,
        epochs,
        learning_rate: options.learning_rate / warm as f64,
    };
    // Networks do not depend on each other: where there are threads they are trained side by side.
    let histories = networks
        .par_iter()
        .enumerate()
        .map(|(member, network)| trainer.run(network, member))
        .collect::<Result<Vec<_>>>()?;

    control.progress(Progress::of(Phase::Validating));
    let judged = judge::judge(&trainer, &networks, &network.target, classic, features)?;
    control.progress(Progress::of(Phase::Exporting));
    let (onnx, schema) = assemble::assemble(&preprocessing, &networks, &judged.finish)?;
    let history = report::history(&trainer, histories, earlier.is_some());
    let weights = weights::store(&preprocessing, &network, &networks, &judged.finish)?;
    Ok(TrainedModel {
        onnx,
        schema: schema.to_json(),
        statistics: judged.statistics,
        metrics: judged.metrics,
        history,
        weights,
        n_rows,
        seconds: started.elapsed().as_secs_f64(),
        chosen: None,
    })
}

fn several_networks(members: usize) -> Error {
    Error::new(
        crate::error::ErrorKind::Unsupported,
        "an ensemble needs the training rows in memory",
    )
    .detail(format!(
        "The rows are more than ltv.training_memory allows, and {members} networks share them."
    ))
    .hint("Set the option \"ensemble\" to 1, or raise ltv.training_memory in the session that calls ltv_train.")
}

/// The stored weights to continue from, if there are any that fit.
fn earlier(
    recipe: &Recipe,
    preprocessing: &Preprocessing,
    network: &NetworkConfig,
    control: &dyn Control,
) -> Option<weights::Stored> {
    let bytes = recipe.warm_start.as_deref()?;
    match weights::continue_from(bytes, preprocessing, network, recipe.options.ensemble) {
        Ok(stored) => Some(stored),
        Err(reason) => {
            control.notice(&format!(
                "training starts from scratch, because the stored weights do not fit: {reason}"
            ));
            None
        }
    }
}

/// What a model with these stored weights predicts, by name, one value per row of `table`, without any ONNX: the
/// reference that the graph is held against.
pub fn predict(weights: &[u8], table: TrainingTable) -> Result<Vec<(&'static str, Vec<f32>)>> {
    let stored = weights::Stored::read(weights)?;
    let networks = stored.networks(&Device::Cpu)?;
    let classic = stored
        .finish
        .blend
        .as_ref()
        .map(|blend| blend.values(&table));
    let data = stored.preprocessing.encode(table)?;
    let rows: Vec<u32> = (0..data.rows as u32).collect();
    let mut members = Vec::with_capacity(networks.len());
    for network in &networks {
        members.push(network.predict_rows(&data, &rows, &Device::Cpu)?);
    }
    Ok(stored.finish.combine(members, classic.as_deref()).columns)
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
