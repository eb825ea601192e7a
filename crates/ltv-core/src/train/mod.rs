//! From rows to a finished model.

mod bgnbd;
mod compare;
mod config;
mod control;
mod device;
mod finish;
mod fit;
mod purchase_features;
mod rows;
mod size;
mod target;
mod version;

pub use control::{Control, Phase, Progress, Quiet};
pub use rows::folds::networks;

use crate::data::{Split, TrainingData, TrainingTable};
use crate::error::{Error, Result};
use crate::kernels::dispatch;
use crate::preprocess::Preprocessing;
use crate::recipe::Recipe;
use crate::schema::Schema;
use candle_core::Device;
use device::Hardware;
use finish::blend;
use finish::evaluate::{self, Beside};
use finish::log_depth::LogDepth;
use finish::season::Season;
use finish::silence::Silence;
use fit::network::{Network, NetworkConfig};
use fit::{Done, Trainer, step};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rows::file::Spilled;
use rows::{Arrangement, Rows, batches, folds};
use size::Room;
use std::time::Instant;
use version::{graph, history, selection_weights, weights};

/// Everything a version row keeps.
#[derive(Clone, Debug)]
pub struct TrainedModel {
    pub onnx: Vec<u8>,
    pub schema: Schema,
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
    let options = &recipe.options;
    let hardware = Hardware::open(&options.device, options.seed)?;
    train_at(&hardware, data.into(), recipe, control)
}

/// Like [`train`], on the CPU, but the way it is done on a GPU with `free_memory` bytes: large batches, plain tensor
/// operations, rows that lie on the device or come in blocks. For tests where there is none.
pub fn train_like_a_gpu(
    data: impl Into<TrainingData>,
    recipe: &Recipe,
    control: &dyn Control,
    free_memory: usize,
) -> Result<TrainedModel> {
    let hardware = Hardware::like_a_gpu(free_memory);
    train_at(&hardware, data.into(), recipe, control)
}

fn train_at(
    hardware: &Hardware,
    data: TrainingData,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let threads = recipe.options.threads.unwrap_or(1);
    let plainly = hardware.computes_plainly();
    // A pool of our own bounds what the tensor library takes: left alone it would use every core.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|index| format!("pg_ltv training {index}"))
        .start_handler(move |_| {
            if plainly {
                dispatch::keep_plain();
            }
        })
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
        Some(compare) => compare::train(data, recipe, compare, control, hardware),
        None => train_one(data, &config::with_defaults(recipe), control, hardware),
    })
}

fn train_one(
    data: TrainingData,
    recipe: &Recipe,
    control: &dyn Control,
    hardware: &Hardware,
) -> Result<TrainedModel> {
    let TrainingData {
        table,
        spilled,
        rows: n_rows,
    } = data;
    control.progress(Progress::of(Phase::Preprocessing));
    if recipe.objective == "bgnbd" {
        return Ok(TrainedModel {
            n_rows,
            ..bgnbd::train(&table, recipe, control)?
        });
    }
    let started = Instant::now();
    let options = &recipe.options;
    // Networks that check each other use all rows; a single one leaves the validation rows alone.
    let members = networks(options, n_rows, table.has_several_cut_offs());
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
    if let Some(remark) = target::remark(options, &recipe.objective, &network.target) {
        control.notice(&remark);
    }
    let earlier = earlier(recipe, &preprocessing, &network, control);
    if let Some(stored) = &earlier {
        preprocessing = stored.preprocessing.clone();
        network = stored.network.clone();
    }
    let mbgnbd = blend::fit(&table, &rows, recipe, members)?;
    let log_depth = LogDepth::of(&table);
    let season = Season::of(&table, options.horizon, log_depth.as_ref());
    let silence = Silence::fit(&table, &rows, recipe);
    let spilled = match &spilled {
        Some(rows) => Some(Spilled::new(rows, &table, &preprocessing)?),
        None => None,
    };
    let data = preprocessing.encode(table)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }

    let room = Room::new(recipe, members);
    let most = room.weights();
    let networks: Result<Vec<Network>> = match &earlier {
        Some(stored) => stored.networks(&hardware.device, most),
        None => (0..members as u64)
            .map(|member| {
                let seed = options.seed.wrapping_add(member);
                Network::new(&network, seed, &hardware.device, most)
            })
            .collect(),
    };
    let networks = networks.map_err(|error| room.explain(error))?;
    let payers_wanted = networks.first().map_or(0, Network::payers_per_batch);
    let share = network.target.payers as f64 / network.target.rows.max(1) as f64;
    let warm = if earlier.is_some() { WARM_SHARE } else { 1 };
    let folds = folds::deal(&data, networks.len(), options.seed);
    let epochs = options.epochs.div_ceil(warm);
    let training_rows = spilled
        .as_ref()
        .map_or(rows.len(), |spilled| spilled.rows.rows() as usize);
    let rows_per_epoch = match &spilled {
        Some(_) => training_rows * (members - 1).max(1),
        None => folds.iter().map(|fold| fold.train.len()).sum(),
    };
    let usual = || batches::batch_size(training_rows, payers_wanted, share);
    let needed = |batch_size: usize| {
        let bytes = |network: &Network| network.training_bytes(&preprocessing.shape(), batch_size);
        networks.iter().map(bytes).max().unwrap_or(0)
    };
    let (batch_size, learning_rate_factor) = match options.batch_size {
        Some(given) => (given, 1.0),
        None if hardware.is_gpu() => {
            let wanted = batches::batch_size_for_gpu(usual(), training_rows, data.has_sequence());
            let room = hardware.usable_memory()? / 2;
            batches::larger(usual(), wanted, |size| needed(size) <= room)
        }
        None => (usual(), 1.0),
    };
    // On the CPU a batch is cut into shards, unless its rows are looked at together.
    let couples_rows = networks.first().is_some_and(Network::couples_rows);
    let rows_at_once = match couples_rows || hardware.is_gpu() {
        true => batch_size.min(training_rows),
        false => batch_size.min(training_rows).min(step::MOST_ROWS),
    };
    if let (Some(network), false) = (networks.first(), hardware.is_gpu()) {
        let bytes = network.batch_bytes(&preprocessing.shape(), rows_at_once);
        room.check_batches(rows_at_once, bytes)?;
    }
    let arrangement = Arrangement::new(
        &data,
        spilled.as_ref(),
        hardware,
        needed(batch_size),
        batch_size,
    )?;
    let trainer = Trainer {
        done: Done::nothing((epochs * rows_per_epoch) as u64),
        batch_size,
        stratified: options.stratified_batches.unwrap_or(payers_wanted > 0),
        folds,
        data: &data,
        rows: arrangement.rows,
        rows_per_block: arrangement.rows_per_block,
        block_room: arrangement.block_room,
        spilled,
        options,
        objective: &recipe.objective,
        control,
        hardware,
        started,
        epochs,
        learning_rate: options.learning_rate * learning_rate_factor / warm as f64,
    };
    let run = |(member, network)| trainer.run(network, member);
    // Networks do not depend on each other: where there are threads they are trained side by side. A GPU is one.
    let histories: Vec<serde_json::Value> = match hardware.is_gpu() {
        true => networks
            .iter()
            .enumerate()
            .map(run)
            .collect::<Result<_>>()?,
        false => networks
            .par_iter()
            .enumerate()
            .map(run)
            .collect::<Result<_>>()?,
    };

    control.progress(Progress::of(Phase::Validating));
    let judged = evaluate::judge(
        &trainer,
        &networks,
        &network.target,
        Beside {
            mbgnbd,
            silence,
            season,
            log_depth,
        },
        features,
    )?;
    let mut statistics = judged.statistics;
    statistics["selection"] = selection_weights::describe(&trainer, &networks, &preprocessing)?;
    control.progress(Progress::of(Phase::Exporting));
    let (onnx, schema) = graph::assemble(&preprocessing, &networks, &judged.finish)?;
    let history = history::history(&trainer, histories, earlier.is_some());
    let weights = weights::store(&preprocessing, &network, &networks, &judged.finish)?;
    Ok(TrainedModel {
        onnx,
        schema,
        statistics,
        metrics: judged.metrics,
        history,
        weights,
        n_rows,
        seconds: started.elapsed().as_secs_f64(),
        chosen: None,
    })
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
    let networks = stored.networks(&Device::Cpu, usize::MAX)?;
    let mbgnbd = stored
        .finish
        .blend
        .as_ref()
        .map(|blend| blend.values(&table));
    let silence = stored.finish.silence.as_ref();
    let left = silence.map(|silence| silence.factors(&table));
    let data = stored.preprocessing.encode(table)?;
    let rows: Vec<u32> = (0..data.rows as u32).collect();
    let hardware = Hardware::cpu();
    let memory = Rows::Memory(&data, &hardware);
    let mut members = Vec::with_capacity(networks.len());
    for network in &networks {
        members.push(network.predict_rows(&memory, &rows, hardware.evaluation_batch())?);
    }
    let combined = (stored.finish).combine(members, mbgnbd.as_deref(), left.as_deref());
    Ok(combined.columns)
}
