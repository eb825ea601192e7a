//! The training loop of one network.

mod loss_sum;
pub mod network;
mod optimizer;
pub mod step;

use super::device::Hardware;
use super::rows::batches::{self, Batches};
use super::rows::file::Spilled;
use super::rows::prefetch::{self, Ahead};
use super::rows::{Rows, folds};
use super::{Control, Phase, Progress};
use crate::error::{Error, Result};
use crate::kernels::threads;
use crate::metrics::{self, Observations};
use crate::preprocess::Encoded;
use crate::recipe::Options;
use loss_sum::LossSum;
use network::{Network, Predictions};
use optimizer::{Adam, AdamConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use step::Shards;

/// Validation rows that the ranking metrics of each epoch are taken of.
const METRIC_ROWS: usize = 20_000;
const REPORT_EVERY: Duration = Duration::from_millis(200);
/// A smaller gain of the validation value than this share of it is no gain.
const LEAST_GAIN: f64 = 1e-5;

/// What all networks of one job share.
pub struct Trainer<'a> {
    /// All rows, or those that are kept in memory although the others are not.
    pub data: &'a Encoded,
    /// The same rows, where they are gathered from.
    pub rows: Rows<'a>,
    /// On a device whose memory the rows in `data` do not fit into: rows that are sent there together.
    pub rows_per_block: Option<usize>,
    /// Bytes that a block of rows may take on a device.
    pub block_room: usize,
    pub spilled: Option<Spilled<'a>>,
    /// Per network of the ensemble.
    pub folds: Vec<Fold>,
    pub options: &'a Options,
    pub objective: &'a str,
    pub control: &'a dyn Control,
    pub hardware: &'a Hardware,
    pub started: Instant,
    pub batch_size: usize,
    pub stratified: bool,
    pub epochs: usize,
    pub learning_rate: f64,
    pub done: Done,
}

/// What all networks together have behind them and, if no early stopping comes, before them.
pub struct Done {
    since: Instant,
    networks: AtomicUsize,
    epochs: AtomicUsize,
    rows: AtomicU64,
    rows_expected: AtomicU64,
}

impl Done {
    pub fn nothing(rows_expected: u64) -> Self {
        Self {
            since: Instant::now(),
            networks: AtomicUsize::new(0),
            epochs: AtomicUsize::new(0),
            rows: AtomicU64::new(0),
            rows_expected: AtomicU64::new(rows_expected),
        }
    }
}

/// Why training ended.
enum End {
    Epochs,
    Early,
    Time,
}

/// The rows of an epoch: all at once, or in blocks of which one at a time is in memory.
enum Blocks<'scope, 'env, 'a> {
    Memory(&'scope Rows<'a>, Batches),
    File {
        spilled: &'scope Spilled<'a>,
        member: usize,
        order: Vec<u32>,
        current: Option<Box<(Rows<'a>, Batches)>>,
    },
    Ahead(Box<Ahead<'scope, 'env, 'a>>),
}

impl<'a> Blocks<'_, '_, 'a> {
    fn count(&self) -> usize {
        match self {
            Self::Memory(..) => 1,
            Self::File { order, .. } => order.len(),
            Self::Ahead(ahead) => ahead.count(),
        }
    }

    /// Before each epoch.
    fn shuffle(&mut self, rng: &mut ChaCha8Rng) {
        if let Self::File { order, .. } = self {
            batches::shuffle(order, rng);
        }
    }

    fn get(&mut self, trainer: &Trainer<'a>, block: usize) -> Result<(&Rows<'a>, &mut Batches)> {
        match self {
            Self::Memory(rows, batches) => Ok((rows, batches)),
            Self::Ahead(ahead) => {
                let (rows, batches) = ahead.advance()?;
                Ok((rows, batches))
            }
            Self::File {
                spilled,
                member,
                order,
                current,
            } => {
                // Two blocks are never in memory together.
                *current = None;
                let data = spilled.block(order[block])?;
                let (members, seed) = (trainer.folds.len(), trainer.options.seed);
                let rows = folds::training_rows(&data, *member, members, seed);
                let (size, stratified) = (trainer.batch_size, trainer.stratified);
                let batches = Batches::new(&rows, &data.target, size, stratified);
                let data = Rows::Block(Box::new(data), trainer.hardware);
                let (data, batches) = &mut **current.insert(Box::new((data, batches)));
                Ok((data, batches))
            }
        }
    }
}

impl<'a> Trainer<'a> {
    /// Trains `network` and leaves it with its best weights. Returns the history, one object per epoch.
    pub fn run(&self, network: &Network, member: usize) -> Result<Value> {
        let pool = match self.hardware.is_gpu() {
            true => Some(prefetch::pool()?),
            false => None,
        };
        // For the thread that prepares blocks, if there is one.
        thread::scope(|scope| {
            let blocks = self.blocks(member, scope, pool.as_ref());
            self.train(network, member, blocks)
        })
    }

    fn train(
        &self,
        network: &Network,
        member: usize,
        mut blocks: Blocks<'_, '_, 'a>,
    ) -> Result<Value> {
        let options = self.options;
        let deadline = self.deadline();
        let validation = &self.folds[member].validation;
        let seed = options.seed.wrapping_add(member as u64);
        let mut order = ChaCha8Rng::seed_from_u64(seed);
        order.set_stream(1);
        let threads = rayon::current_num_threads() / self.folds.len();
        let mut shards = Shards::new(network, threads, self.hardware.is_gpu(), seed);
        let config = AdamConfig {
            weight_decay: options.weight_decay,
            decoupled: options.optimizer == "adamw",
            clip_norm: options.clip_norm,
        };
        let mut adam = Adam::new(network.weights(), config)?;
        let mut learning_rate = self.learning_rate;
        let mut best: Option<(f64, usize, Vec<candle_core::Tensor>)> = None;
        let mut waited = 0;
        let mut history = Vec::new();
        let mut end = End::Epochs;
        let mut validation_loss = None;
        let mut training_rows = 0;
        for epoch in 1..=self.epochs {
            let begun = Instant::now();
            let mut reported = begun;
            let mut sum = LossSum::default();
            let mut seen = 0;
            let mut out_of_time = false;
            blocks.shuffle(&mut order);
            'blocks: for block in 0..blocks.count() {
                let (data, batches) = blocks.get(self, block)?;
                for rows in batches.shuffle(&mut order) {
                    if self.control.is_cancelled() {
                        return Err(Error::cancelled());
                    }
                    let gradients = shards.gradients(network, data, rows, &mut sum)?;
                    adam.step(&gradients, learning_rate)?;
                    seen += rows.len();
                    self.done.rows.fetch_add(rows.len() as u64, Relaxed);
                    if reported.elapsed() >= REPORT_EVERY {
                        reported = Instant::now();
                        sum.settle()?;
                        self.report(&sum, validation_loss);
                    }
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        out_of_time = true;
                        break 'blocks;
                    }
                }
            }
            sum.settle()?;
            training_rows = training_rows.max(seen);
            let training_seconds = begun.elapsed().as_secs_f64();
            let mut entry = json!({
                "member": member + 1,
                "epoch": epoch,
                "learning_rate": learning_rate,
                "training": sum.to_json(),
                "seconds": training_seconds,
                "rows_per_second": seen as f64 / training_seconds.max(1e-9),
            });
            let value = if validation.is_empty() {
                sum.mean()
            } else {
                let (value, loss, judged) = self.validate(network, validation)?;
                validation_loss = Some(loss);
                entry["validation"] = Value::Object(judged);
                value
            };
            history.push(entry);
            self.done.epochs.fetch_add(1, Relaxed);
            self.report(&sum, validation_loss);
            let better = match &best {
                Some((least, ..)) => value < least - LEAST_GAIN * least.abs(),
                None => value.is_finite(),
            };
            if better {
                best = Some((value, epoch, network.snapshot()?));
                waited = 0;
            } else {
                waited += 1;
                if waited % options.learning_rate_patience == 0 {
                    learning_rate = (learning_rate * options.learning_rate_factor)
                        .max(options.min_learning_rate.min(learning_rate));
                }
            }
            if out_of_time {
                end = End::Time;
                break;
            }
            if waited >= options.patience {
                end = End::Early;
                break;
            }
        }
        let left = (self.epochs - history.len()) * training_rows;
        self.done.rows_expected.fetch_sub(left as u64, Relaxed);
        self.done
            .epochs
            .fetch_add(self.epochs - history.len(), Relaxed);
        self.done.networks.fetch_add(1, Relaxed);
        let Some((_, best_epoch, weights)) = best else {
            return Err(Error::data("the training diverged")
                .detail("The loss was not finite in any epoch.")
                .hint("Lower the option \"learning_rate\", and look for extreme values in the target."));
        };
        network.restore(&weights)?;
        let ended = match end {
            End::Epochs => "epochs",
            End::Early => "early_stopping",
            End::Time => "max_seconds",
        };
        Ok(json!({
            "epochs": history,
            "best_epoch": best_epoch,
            "ended": ended,
            "training_rows": training_rows,
        }))
    }

    fn blocks<'scope, 'env>(
        &'scope self,
        member: usize,
        scope: &'scope Scope<'scope, 'env>,
        pool: Option<&'scope ThreadPool>,
    ) -> Blocks<'scope, 'env, 'a> {
        let train = &self.folds[member].train;
        let seed = self.options.seed.wrapping_add(member as u64);
        match (&self.spilled, self.rows_per_block, pool) {
            (None, Some(at_once), Some(pool)) => {
                let rows = Some((train.as_slice(), at_once));
                Blocks::Ahead(Box::new(Ahead::new(self, member, scope, pool, rows, seed)))
            }
            (None, ..) => {
                let batches =
                    Batches::new(train, &self.data.target, self.batch_size, self.stratified);
                Blocks::Memory(&self.rows, batches)
            }
            (Some(_), _, Some(pool)) => {
                Blocks::Ahead(Box::new(Ahead::new(self, member, scope, pool, None, seed)))
            }
            (Some(spilled), ..) => Blocks::File {
                spilled,
                member,
                order: (0..spilled.rows.blocks()).collect(),
                current: None,
            },
        }
    }

    /// When a network that starts now must end, so that all of them get the same share of the time.
    fn deadline(&self) -> Option<Instant> {
        let limit = self.options.max_seconds?;
        let left = (limit - (self.done.since - self.started).as_secs_f64()).max(0.0);
        let networks = self.folds.len();
        let at_once = match self.hardware.is_gpu() {
            true => 1,
            false => rayon::current_num_threads().min(networks),
        };
        let share = left * at_once as f64 / networks as f64;
        Instant::now().checked_add(Duration::from_secs_f64(share))
    }

    fn report(&self, sum: &LossSum, validation_loss: Option<f64>) {
        let rows = self.done.rows.load(Relaxed);
        let expected = self.done.rows_expected.load(Relaxed);
        let rate = rows as f64 / self.done.since.elapsed().as_secs_f64().max(1e-9);
        let epochs = self.folds.len() * self.epochs;
        self.control.progress(Progress {
            phase: Phase::Training,
            epoch: (self.done.epochs.load(Relaxed) + 1).min(epochs),
            epochs,
            rows,
            rows_per_second: rate,
            training_loss: Some(sum.mean()),
            validation_loss,
            eta_seconds: Some(expected.saturating_sub(rows) as f64 / rate.max(1e-9)),
            step: self.network_of_how_many(),
            memory_bytes: self.data.memory_bytes(),
        });
    }

    /// Where several are trained side by side, the first that has not ended.
    fn network_of_how_many(&self) -> Option<String> {
        let networks = self.folds.len();
        let current = (self.done.networks.load(Relaxed) + 1).min(networks);
        (networks > 1).then(|| format!("network {current} of {networks}"))
    }

    /// The value to be minimised, the loss, and what the history keeps.
    fn validate(
        &self,
        network: &Network,
        validation: &[u32],
    ) -> Result<(f64, f64, Map<String, Value>)> {
        let mut sum = LossSum::default();
        let mut predictions = Predictions::default();
        let mut actual = Vec::new();
        let at_once = self.hardware.evaluation_batch();
        let evaluate = |rows: &[u32]| {
            if self.control.is_cancelled() {
                return Err(Error::cancelled());
            }
            let (loss, predicted) = network.evaluate(&self.rows.gather(rows)?)?;
            // The tensor of a loss holds on to all that it was computed from.
            let mut sum = LossSum::default();
            sum.add(&loss, rows.len())?;
            sum.settle()?;
            Ok((sum, predicted))
        };
        let judged: Result<Vec<_>> = validation
            .par_chunks(at_once)
            .map(|rows| threads::alone(|| evaluate(rows)))
            .collect();
        for (rows, (part, predicted)) in validation.chunks(at_once).zip(judged?) {
            sum.merge(part);
            if actual.len() < METRIC_ROWS {
                predictions.extend(predicted);
                actual.extend(rows.iter().map(|&row| self.target(row)));
            }
        }
        let mut judged = sum.to_json();
        let metrics = rank_metrics(&actual, &predictions)?;
        for (name, value) in &metrics {
            judged.insert(name.clone(), json!(value));
        }
        let metric = match self.options.early_stopping_metric.as_str() {
            "auto" if self.objective == "purchase" => "auc",
            "auto" => "loss",
            name => name,
        };
        let value = metrics
            .iter()
            .find(|(name, _)| name == metric)
            .and_then(|(_, value)| *value)
            .map_or(sum.mean(), |value| -value);
        Ok((value, sum.mean(), judged))
    }

    pub fn target(&self, row: u32) -> f64 {
        f64::from(self.data.target[row as usize])
    }
}

fn rank_metrics(actual: &[f64], predictions: &Predictions) -> Result<Vec<metrics::Metric>> {
    let widen = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let prediction = widen(predictions.value());
    if prediction.iter().any(|value| value.is_nan()) {
        return Ok(Vec::new());
    }
    let probability = predictions.get("purchase_probability").map(widen);
    let all = metrics::evaluate(&Observations {
        actual,
        prediction: &prediction,
        purchase_probability: probability.as_deref(),
        without_value: true,
        ..Observations::default()
    })?;
    Ok(all
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "normalized_gini" | "spearman" | "auc"))
        .collect())
}
