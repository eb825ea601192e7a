//! One training, step by step: prepare, make networks, feed them, fit them, finish, write the version.

use super::control::{Control, Phase, Progress};
use super::device::Hardware;
use super::finish::evaluate::{self, Ensemble};
use super::finish::mix::Mix;
use super::fit::network::{Network, NetworkConfig, Predictions};
use super::fit::{Done, Trainer, step};
use super::forest::beside::Grove;
use super::prepare::{Prepared, WARM_SHARE, prepare};
use super::rows::feed::Feed;
use super::rows::file::Spilled;
use super::rows::folds;
use super::rows::{Arrangement, batches};
use super::size::Room;
use super::version::{graph, history, selection_weights, weights};
use super::{TrainedModel, bgnbd, config, forest, sbg, version};
use crate::batch::InputShape;
use crate::data::{Horizons, SpilledRows, TrainingData, TrainingTable};
use crate::error::{Error, Result};
use crate::preprocess::{Encoded, Preprocessing};
use crate::recipe::{self, Options, Recipe, TREES};
use crate::trees::Forest;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde_json::{Map, Value};
use std::time::Instant;

/// Trains one recipe, on the pool that the caller is in.
pub fn train_one(
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
    if recipe::is_law(&recipe.objective) {
        control.progress(Progress::of(Phase::Preprocessing));
        let law = match recipe.objective.as_str() {
            "sbg" => sbg::train,
            _ => bgnbd::train,
        };
        return Ok(TrainedModel {
            n_rows,
            ..law(&table, recipe, control)?
        });
    }
    if recipe.backbone == TREES {
        let data = TrainingData {
            table,
            spilled,
            rows: n_rows,
        };
        return forest::train(data, recipe, control);
    }
    let job = Job {
        recipe,
        options: &recipe.options,
        control,
        hardware,
        started: Instant::now(),
    };
    let (prepared, plan) = job.prepare(&table, n_rows)?;
    let grove = job.grove(&prepared, &table, spilled.as_ref())?;
    let spilled = match &spilled {
        Some(rows) => Some(Spilled::new(rows, &table, &prepared.preprocessing)?),
        None => None,
    };
    let data = prepared.preprocessing.encode(table)?;
    if control.is_cancelled() {
        return Err(Error::cancelled());
    }
    let networks = job.networks(&prepared, &plan)?;
    let trainer = job.trainer(&prepared, &plan, &networks, &data, spilled)?;
    let histories = fit(&trainer, &networks)?;
    let trees = match grove {
        Some(grove) => {
            let folds = &trainer.feed.folds;
            let (forest, history) = grove.grow(folds, recipe, control, job.started)?;
            Some(Trees {
                grove,
                forest,
                history,
            })
        }
        None => None,
    };
    let finished = job.finish(&prepared, &plan, &trainer, &networks, histories, trees)?;
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

/// What networks are made from.
struct Plan {
    network: NetworkConfig,
    /// The stored weights to continue from.
    earlier: Option<weights::Stored>,
}

impl Plan {
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
    fn prepare(&self, table: &TrainingTable, n_rows: usize) -> Result<(Prepared, Plan)> {
        let recipe = self.recipe;
        let objective = config::objective(recipe)?;
        let mut prepared = prepare(table, n_rows, recipe, self.control)?;
        let backbone = config::backbone(recipe, prepared.members)?;
        let mut network = NetworkConfig {
            backbone,
            objective,
            shape: prepared.preprocessing.shape(),
            target: prepared.target.clone(),
            intervals: prepared.intervals.clone(),
        };
        let earlier = self.earlier(&prepared.preprocessing, &network, table);
        if let Some(stored) = &earlier {
            prepared.preprocessing = stored.preprocessing.clone();
            network = stored.network.clone();
        }
        Ok((prepared, Plan { network, earlier }))
    }

    /// The stored weights to continue from, if there are any that fit.
    fn earlier(
        &self,
        preprocessing: &Preprocessing,
        network: &NetworkConfig,
        table: &TrainingTable,
    ) -> Option<weights::Stored> {
        let bytes = self.recipe.warm_start.as_deref()?;
        let days = table.horizons().map(Horizons::days);
        match weights::continue_from(bytes, preprocessing, &network.objective, days, self.recipe) {
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
    fn networks(&self, prepared: &Prepared, plan: &Plan) -> Result<Vec<Network>> {
        let room = Room::new(self.recipe, prepared.members);
        let (device, most) = (&self.hardware.device, room.weights());
        let networks: Result<Vec<Network>> = match &plan.earlier {
            Some(stored) => stored.networks(device, most),
            None => (0..prepared.members as u64)
                .map(|member| {
                    let seed = self.options.seed.wrapping_add(member);
                    Network::new(&plan.network, seed, device, most)
                })
                .collect(),
        };
        networks.map_err(|error| room.explain(error))
    }

    /// What trees beside the networks are grown from.
    fn grove(
        &self,
        prepared: &Prepared,
        table: &TrainingTable,
        spilled: Option<&SpilledRows>,
    ) -> Result<Option<Grove>> {
        // They are grown on the CPU, and a GPU trains where rows are many.
        if self.options.blend_trees.is_none() && self.hardware.is_gpu() {
            return Ok(None);
        }
        let objective = config::objective(self.recipe)?;
        Grove::of(
            table,
            spilled,
            prepared,
            &objective,
            self.recipe,
            self.control,
        )
    }

    /// Everything that fitting needs.
    fn trainer(
        &self,
        prepared: &Prepared,
        plan: &Plan,
        networks: &[Network],
        data: &'a Encoded,
        spilled: Option<Spilled<'a>>,
    ) -> Result<Trainer<'a>> {
        let folds = folds::deal(&data.split, &data.groups, networks.len(), self.options.seed);
        let training_rows = spilled
            .as_ref()
            .map_or(prepared.rows.len(), |file| file.rows.rows() as usize);
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
        let shape = prepared.preprocessing.shape();
        let share = plan.paying_share();
        let batching =
            self.batching(&shape, share, networks, training_rows, data.has_sequence())?;
        self.check_batches(prepared, networks, batching.size.min(training_rows))?;
        let arrangement = Arrangement::new(
            data,
            spilled.as_ref(),
            self.hardware,
            batching.bytes,
            batching.size,
        )?;
        let warm = plan.warm();
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
        shape: &InputShape,
        paying_share: f64,
        networks: &[Network],
        training_rows: usize,
        has_sequence: bool,
    ) -> Result<Batching> {
        let payers_wanted = networks.first().map_or(0, Network::payers_per_batch);
        let usual = || batches::batch_size(training_rows, payers_wanted, paying_share);
        let needed = |batch_size: usize| {
            let bytes = |network: &Network| network.training_bytes(shape, batch_size);
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
        plan: &Plan,
        trainer: &Trainer,
        networks: &[Network],
        histories: Vec<Value>,
        trees: Option<Trees>,
    ) -> Result<TrainedModel> {
        self.control.progress(Progress::of(Phase::Validating));
        let Prepared {
            preprocessing,
            features,
            beside,
            ..
        } = prepared;
        let feed = &trainer.feed;
        let predict = |member: usize, rows: &[u32]| match networks.get(member) {
            Some(network) => {
                network.predict_rows(&feed.rows, rows, feed.hardware.evaluation_batch())
            }
            None => Err(Error::internal("there is no such network")),
        };
        let of_trees = |member: usize, rows: &[u32]| match &trees {
            Some(trees) => trees.grove.predict(&trees.forest, member, rows),
            None => Predictions::default(),
        };
        let ensemble = Ensemble {
            folds: &feed.folds,
            spent: &feed.data.target,
            groups: &feed.data.groups,
            horizons: feed.data.horizons.as_ref(),
            options: self.options,
            control: self.control,
            is_spilled: feed.spilled.is_some(),
            distribution: networks.first().and_then(Network::distribution),
            predict: &predict,
            trees: trees.as_ref().map(|_| &of_trees as _),
        };
        let judged = evaluate::judge(&ensemble, &plan.network.target, beside, features)?;
        let (mut statistics, mut finish) = (judged.statistics, judged.finish);
        statistics["selection"] = selection_weights::describe(trainer, networks, preprocessing)?;
        let mut history = history::history(trainer, histories, plan.earlier.is_some());
        if let Some(trees) = &trees {
            if let Some(parts) = trees.history.get("trees") {
                history["trees"] = parts.clone();
            }
            // Of what is a part of the version.
            if finish.mix.is_some() {
                let columns = prepared.preprocessing.raw_columns();
                statistics["gains"] = forest::gains(&trees.forest, &columns);
            }
        }
        self.control.progress(Progress::of(Phase::Exporting));
        let forest = match trees {
            Some(trees) if finish.mix.is_some() => {
                let limit = self.options.max_seconds;
                let Trees { grove, forest, .. } = trees;
                Some(grove.merged(forest, limit, self.control, self.started)?)
            }
            _ => None,
        };
        let is_trees_alone = finish.mix.is_some_and(Mix::is_trees_alone);
        let (onnx, mut schema, weights) = match &forest {
            Some(forest) if is_trees_alone => {
                finish.mix = None;
                let (onnx, schema) = graph::assemble_trees(preprocessing, forest, &finish)?;
                (
                    onnx,
                    schema,
                    version::trees::store(preprocessing, forest, &finish)?,
                )
            }
            _ => {
                let network = &plan.network;
                let (onnx, schema) =
                    graph::assemble(preprocessing, networks, forest.as_ref(), &finish)?;
                let weights =
                    weights::store(preprocessing, network, networks, forest.as_ref(), &finish)?;
                (onnx, schema, weights)
            }
        };
        schema.state.clone_from(&prepared.state);
        Ok(TrainedModel {
            onnx,
            schema,
            statistics,
            metrics: judged.metrics,
            history,
            weights,
            n_rows: trainer.feed.data.rows,
            seconds: self.started.elapsed().as_secs_f64(),
            chosen: None,
        })
    }
}

/// Trees grown beside the networks.
struct Trees {
    grove: Grove,
    forest: Forest,
    history: Map<String, Value>,
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
