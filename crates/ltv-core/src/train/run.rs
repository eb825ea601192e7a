//! One training, step by step: prepare, make networks, feed them, fit them, finish, write the version.

use super::control::{Control, Phase, Progress};
use super::device::Hardware;
use super::finish::blend;
use super::finish::evaluate::{self, Beside};
use super::finish::log_depth::LogDepth;
use super::finish::season::Season;
use super::finish::silence::Silence;
use super::fit::network::{Network, NetworkConfig};
use super::fit::{Done, Trainer, step};
use super::rows::feed::Feed;
use super::rows::file::Spilled;
use super::rows::folds::{self, networks};
use super::rows::{Arrangement, batches};
use super::size::Room;
use super::version::{graph, history, selection_weights, weights};
use super::{TrainedModel, bgnbd, config, target};
use crate::data::{Split, TrainingData, TrainingTable};
use crate::error::{Error, Result};
use crate::preprocess::{Encoded, Preprocessing};
use crate::recipe::{Options, Recipe};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde_json::Value;
use std::time::Instant;

/// A training that continues runs this many times fewer epochs, with a learning rate as many times lower.
const WARM_SHARE: usize = 4;

/// Trains one recipe, on the pool that the caller is in.
pub fn train_one(
    data: TrainingData,
    recipe: &Recipe,
    control: &dyn Control,
    hardware: &Hardware,
) -> Result<TrainedModel> {
    control.progress(Progress::of(Phase::Preprocessing));
    let TrainingData {
        table,
        spilled,
        rows: n_rows,
    } = data;
    if recipe.objective == "bgnbd" {
        return Ok(TrainedModel {
            n_rows,
            ..bgnbd::train(&table, recipe, control)?
        });
    }
    let job = Job {
        recipe,
        options: &recipe.options,
        control,
        hardware,
        started: Instant::now(),
    };
    let prepared = job.prepare(&table, n_rows)?;
    let spilled = match &spilled {
        Some(rows) => Some(Spilled::new(rows, &table, &prepared.preprocessing)?),
        None => None,
    };
    let data = prepared.preprocessing.encode(table)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }
    let networks = job.networks(&prepared)?;
    let trainer = job.trainer(&prepared, &networks, &data, spilled)?;
    let histories = fit(&trainer, &networks)?;
    let finished = job.finish(&prepared, &trainer, &networks, histories)?;
    Ok(TrainedModel { n_rows, ..finished })
}

/// What a training was asked for.
struct Job<'a> {
    recipe: &'a Recipe,
    options: &'a Options,
    control: &'a dyn Control,
    hardware: &'a Hardware,
    started: Instant,
}

/// What is known before the first network is made.
struct Prepared {
    preprocessing: Preprocessing,
    /// The distribution of each feature.
    features: Vec<Value>,
    network: NetworkConfig,
    /// The stored weights to continue from.
    earlier: Option<weights::Stored>,
    /// How many networks there will be.
    members: usize,
    /// Training rows in memory.
    training_rows: usize,
    beside: Beside,
}

impl Prepared {
    /// The share of training rows that pay.
    fn paying_share(&self) -> f64 {
        let target = &self.network.target;
        target.payers as f64 / target.rows.max(1) as f64
    }

    /// How many times shorter and slower the training is.
    fn warm(&self) -> usize {
        if self.earlier.is_some() {
            WARM_SHARE
        } else {
            1
        }
    }
}

impl<'a> Job<'a> {
    /// Fits the preprocessing and what stands beside the networks, and looks for weights to continue from.
    fn prepare(&self, table: &TrainingTable, n_rows: usize) -> Result<Prepared> {
        let (recipe, options) = (self.recipe, self.options);
        // Networks that check each other use all rows; a single one leaves the validation rows alone.
        let members = networks(options, n_rows, table.has_several_cut_offs());
        let rows: Vec<u32> = (0..table.rows() as u32)
            .filter(|&row| members > 1 || table.split[row as usize] == Split::Train)
            .collect();
        let target: Vec<f32> = rows.iter().map(|&row| table.target[row as usize]).collect();
        target::check(&target, &recipe.objective)?;
        let (mut preprocessing, features) = Preprocessing::fit(table, &rows, options)?;
        let mut network = NetworkConfig {
            backbone: config::backbone(recipe)?,
            objective: config::objective(recipe)?,
            shape: preprocessing.shape(),
            target: target::statistics(&target),
        };
        if let Some(remark) = target::remark(options, &recipe.objective, &network.target) {
            self.control.notice(&remark);
        }
        let earlier = self.earlier(&preprocessing, &network);
        if let Some(stored) = &earlier {
            preprocessing = stored.preprocessing.clone();
            network = stored.network.clone();
        }
        let mbgnbd = blend::fit(table, &rows, recipe, members)?;
        let log_depth = LogDepth::of(table);
        Ok(Prepared {
            preprocessing,
            features,
            network,
            earlier,
            members,
            training_rows: rows.len(),
            beside: Beside {
                mbgnbd,
                season: Season::of(table, options.horizon, log_depth.as_ref()),
                log_depth,
                silence: Silence::fit(table, &rows, recipe),
            },
        })
    }

    /// The stored weights to continue from, if there are any that fit.
    fn earlier(
        &self,
        preprocessing: &Preprocessing,
        network: &NetworkConfig,
    ) -> Option<weights::Stored> {
        let bytes = self.recipe.warm_start.as_deref()?;
        match weights::continue_from(bytes, preprocessing, network, self.options.ensemble) {
            Ok(stored) => Some(stored),
            Err(reason) => {
                self.control.notice(&format!(
                    "training starts from scratch, because the stored weights do not fit: {reason}"
                ));
                None
            }
        }
    }

    /// The networks with their first weights.
    fn networks(&self, prepared: &Prepared) -> Result<Vec<Network>> {
        let room = Room::new(self.recipe, prepared.members);
        let (device, most) = (&self.hardware.device, room.weights());
        let networks: Result<Vec<Network>> = match &prepared.earlier {
            Some(stored) => stored.networks(device, most),
            None => (0..prepared.members as u64)
                .map(|member| {
                    let seed = self.options.seed.wrapping_add(member);
                    Network::new(&prepared.network, seed, device, most)
                })
                .collect(),
        };
        networks.map_err(|error| room.explain(error))
    }

    /// Everything that fitting needs.
    fn trainer(
        &self,
        prepared: &Prepared,
        networks: &[Network],
        data: &'a Encoded,
        spilled: Option<Spilled<'a>>,
    ) -> Result<Trainer<'a>> {
        let folds = folds::deal(data, networks.len(), self.options.seed);
        let training_rows = spilled
            .as_ref()
            .map_or(prepared.training_rows, |file| file.rows.rows() as usize);
        let epoch_rows = match (&spilled, self.hardware.is_gpu()) {
            (None, false) => {
                let usual = || batches::epoch_rows(training_rows);
                self.options.epoch_rows.unwrap_or_else(usual)
            }
            _ => usize::MAX,
        };
        let rows_per_epoch = match &spilled {
            Some(_) => training_rows * (prepared.members - 1).max(1),
            None => folds
                .iter()
                .map(|fold| fold.train.len().min(epoch_rows))
                .sum(),
        };
        let batching = self.batching(prepared, networks, training_rows, data.has_sequence())?;
        self.check_batches(prepared, networks, batching.size.min(training_rows))?;
        let arrangement = Arrangement::new(
            data,
            spilled.as_ref(),
            self.hardware,
            batching.bytes,
            batching.size,
        )?;
        let warm = prepared.warm();
        let epochs = self.options.epochs.div_ceil(warm);
        Ok(Trainer {
            done: Done::nothing((epochs * rows_per_epoch) as u64),
            feed: Feed {
                data,
                rows: arrangement.rows,
                rows_per_block: arrangement.rows_per_block,
                block_room: arrangement.block_room,
                spilled,
                folds,
                hardware: self.hardware,
                batch_size: batching.size,
                epoch_rows,
                stratified: batching.stratified,
                seed: self.options.seed,
            },
            options: self.options,
            objective: &self.recipe.objective,
            control: self.control,
            started: self.started,
            epochs,
            learning_rate: self.options.learning_rate * batching.learning_rate_factor / warm as f64,
        })
    }

    /// How rows are cut into batches. A GPU wants them larger, and the learning rate follows.
    fn batching(
        &self,
        prepared: &Prepared,
        networks: &[Network],
        training_rows: usize,
        has_sequence: bool,
    ) -> Result<Batching> {
        let payers_wanted = networks.first().map_or(0, Network::payers_per_batch);
        let shape = prepared.preprocessing.shape();
        let usual = || batches::batch_size(training_rows, payers_wanted, prepared.paying_share());
        let needed = |batch_size: usize| {
            let bytes = |network: &Network| network.training_bytes(&shape, batch_size);
            networks.iter().map(bytes).max().unwrap_or(0)
        };
        let (size, learning_rate_factor) = match self.options.batch_size {
            Some(given) => (given, 1.0),
            None if self.hardware.is_gpu() => {
                let wanted = batches::batch_size_for_gpu(usual(), training_rows, has_sequence);
                let room = self.hardware.usable_memory()? / 2;
                batches::larger(usual(), wanted, |size| needed(size) <= room)
            }
            None => (usual(), 1.0),
        };
        Ok(Batching {
            size,
            learning_rate_factor,
            bytes: needed(size),
            stratified: self.options.stratified_batches.unwrap_or(payers_wanted > 0),
        })
    }

    /// Refuses batches of `rows` that do not fit into memory.
    fn check_batches(&self, prepared: &Prepared, networks: &[Network], rows: usize) -> Result<()> {
        let Some(network) = networks.first() else {
            return Ok(());
        };
        if self.hardware.is_gpu() {
            return Ok(());
        }
        // On the CPU a batch is cut into shards, unless its rows are looked at together.
        let at_once = match network.couples_rows() {
            true => rows,
            false => rows.min(step::MOST_ROWS),
        };
        let bytes = network.batch_bytes(&prepared.preprocessing.shape(), at_once);
        Room::new(self.recipe, prepared.members).check_batches(at_once, bytes)
    }

    /// Judges the networks on held-out rows and writes what a version keeps.
    fn finish(
        &self,
        prepared: &Prepared,
        trainer: &Trainer,
        networks: &[Network],
        histories: Vec<Value>,
    ) -> Result<TrainedModel> {
        self.control.progress(Progress::of(Phase::Validating));
        let Prepared {
            preprocessing,
            features,
            network,
            beside,
            ..
        } = prepared;
        let judged = evaluate::judge(trainer, networks, &network.target, beside, features)?;
        let mut statistics = judged.statistics;
        statistics["selection"] = selection_weights::describe(trainer, networks, preprocessing)?;
        self.control.progress(Progress::of(Phase::Exporting));
        let (onnx, schema) = graph::assemble(preprocessing, networks, &judged.finish)?;
        Ok(TrainedModel {
            onnx,
            schema,
            statistics,
            metrics: judged.metrics,
            history: history::history(trainer, histories, prepared.earlier.is_some()),
            weights: weights::store(preprocessing, network, networks, &judged.finish)?,
            n_rows: trainer.feed.data.rows,
            seconds: self.started.elapsed().as_secs_f64(),
            chosen: None,
        })
    }
}

struct Batching {
    size: usize,
    learning_rate_factor: f64,
    /// What a training on such batches takes on a device.
    bytes: usize,
    stratified: bool,
}

/// Trains the networks, and returns the history of each. They do not depend on each other: where there are threads they are
/// trained side by side. A GPU is one.
fn fit(trainer: &Trainer, networks: &[Network]) -> Result<Vec<Value>> {
    let run = |(member, network)| trainer.run(network, member);
    match trainer.feed.hardware.is_gpu() {
        true => networks.iter().enumerate().map(run).collect(),
        false => networks.par_iter().enumerate().map(run).collect(),
    }
}
