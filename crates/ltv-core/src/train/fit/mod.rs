//! The training loop of one network.

mod loss_sum;
pub mod network;
mod optimizer;
mod schedule;
pub mod step;
mod validate;

use super::control::{Control, Phase, Progress, REPORT_EVERY, time_share};
use super::rows::batches;
use super::rows::blocks::Blocks;
use super::rows::feed::Feed;
use super::rows::prefetch;
use crate::error::{Error, Result};
use crate::recipe::Options;
use loss_sum::LossSum;
use network::Network;
use optimizer::{Adam, AdamConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schedule::Schedule;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Instant;
use step::Shards;

/// Validation rows that judge an epoch; the model in the end is judged by all of them.
const VALIDATION_ROWS: usize = 10_000;

/// What all networks of one job share.
pub struct Trainer<'a> {
    pub feed: Feed<'a>,
    pub options: &'a Options,
    pub objective: &'a str,
    pub control: &'a dyn Control,
    pub started: Instant,
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

/// One network on its way through the epochs.
struct Course<'n> {
    network: &'n Network,
    member: usize,
    deadline: Option<Instant>,
    /// Rows that it never sees, or a sample of them, which judge each epoch.
    validation: Vec<u32>,
    /// What the order of the rows is drawn from.
    order: ChaCha8Rng,
    shards: Shards,
    adam: Adam,
    /// After the latest epoch.
    validation_loss: Option<f64>,
}

/// What one epoch went over.
#[derive(Default)]
struct Pass {
    sum: LossSum,
    rows: usize,
    seconds: f64,
    out_of_time: bool,
}

/// Why training ended.
enum End {
    Epochs,
    Early,
    Time,
}

impl End {
    /// As the history says it.
    fn name(&self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::Early => "early_stopping",
            Self::Time => "max_seconds",
        }
    }
}

impl<'a> Trainer<'a> {
    /// Trains `network` and leaves it with its best weights. Returns the history, one object per epoch.
    pub fn run(&self, network: &Network, member: usize) -> Result<Value> {
        let pool = match self.feed.hardware.is_gpu() {
            true => Some(prefetch::pool()?),
            false => None,
        };
        // For the thread that prepares blocks, if there is one.
        thread::scope(|scope| {
            let seed = self.seed_of(member);
            let blocks = Blocks::of(&self.feed, member, scope, pool.as_ref(), seed);
            self.train(network, member, blocks)
        })
    }

    fn train(
        &self,
        network: &Network,
        member: usize,
        mut blocks: Blocks<'_, '_, 'a>,
    ) -> Result<Value> {
        let mut course = self.begin(network, member)?;
        let mut schedule = Schedule::new(self.options, self.learning_rate);
        let mut history = Vec::new();
        let mut training_rows = 0;
        let mut end = End::Epochs;
        for epoch in 1..=self.epochs {
            let rate = schedule.learning_rate;
            let pass = self.pass(&mut course, &mut blocks, rate)?;
            training_rows = training_rows.max(pass.rows);
            let (value, entry) = self.judge(&mut course, &pass, epoch, rate)?;
            history.push(entry);
            self.done.epochs.fetch_add(1, Relaxed);
            self.report(&pass.sum, course.validation_loss);
            schedule.note(value, epoch, network)?;
            if pass.out_of_time {
                end = End::Time;
                break;
            }
            if schedule.is_over() {
                end = End::Early;
                break;
            }
        }
        self.end(self.epochs - history.len(), training_rows);
        Ok(json!({
            "best_epoch": schedule.restore_best(network)?,
            "epochs": history,
            "ended": end.name(),
            "training_rows": training_rows.max(self.feed.folds[member].train.len()),
        }))
    }

    /// Seeds of networks follow each other.
    fn seed_of(&self, member: usize) -> u64 {
        self.options.seed.wrapping_add(member as u64)
    }

    fn begin<'n>(&self, network: &'n Network, member: usize) -> Result<Course<'n>> {
        let options = self.options;
        let deadline = self.deadline();
        let seed = self.seed_of(member);
        let mut order = ChaCha8Rng::seed_from_u64(seed);
        order.set_stream(1);
        let mut validation = self.feed.folds[member].validation.clone();
        if validation.len() > VALIDATION_ROWS {
            batches::shuffle(&mut validation, &mut order.clone());
            validation.truncate(VALIDATION_ROWS);
            validation.sort_unstable();
        }
        let threads = rayon::current_num_threads() / self.feed.folds.len();
        let config = AdamConfig {
            weight_decay: options.weight_decay,
            decoupled: options.optimizer == "adamw",
            clip_norm: options.clip_norm,
        };
        Ok(Course {
            network,
            member,
            deadline,
            validation,
            order,
            shards: Shards::new(network, threads, self.feed.hardware.is_gpu(), seed),
            adam: Adam::new(network.weights(), config)?,
            validation_loss: None,
        })
    }

    /// One epoch: all batches of all blocks, or those that there is time for.
    fn pass(
        &self,
        course: &mut Course,
        blocks: &mut Blocks<'_, '_, 'a>,
        learning_rate: f64,
    ) -> Result<Pass> {
        let begun = Instant::now();
        let mut reported = begun;
        let mut pass = Pass::default();
        blocks.shuffle(&mut course.order);
        'blocks: for block in 0..blocks.count() {
            let (data, batches) = blocks.get(&self.feed, block)?;
            for rows in batches.next(self.feed.epoch_rows, &mut course.order) {
                if self.control.is_cancelled() {
                    return Err(Error::cancelled());
                }
                let gradients =
                    course
                        .shards
                        .gradients(course.network, data, rows, &mut pass.sum)?;
                course.adam.step(&gradients, learning_rate)?;
                pass.rows += rows.len();
                self.done.rows.fetch_add(rows.len() as u64, Relaxed);
                if reported.elapsed() >= REPORT_EVERY {
                    reported = Instant::now();
                    pass.sum.settle()?;
                    self.report(&pass.sum, course.validation_loss);
                }
                let is_past = |deadline| Instant::now() >= deadline;
                if course.deadline.is_some_and(is_past) {
                    pass.out_of_time = true;
                    break 'blocks;
                }
            }
        }
        pass.sum.settle()?;
        pass.seconds = begun.elapsed().as_secs_f64();
        Ok(pass)
    }

    /// What the epoch is worth, the less the better, and its entry in the history.
    fn judge(
        &self,
        course: &mut Course,
        pass: &Pass,
        epoch: usize,
        learning_rate: f64,
    ) -> Result<(f64, Value)> {
        let mut entry = json!({
            "member": course.member + 1,
            "epoch": epoch,
            "learning_rate": learning_rate,
            "training": pass.sum.to_json(),
            "seconds": pass.seconds,
            "rows_per_second": pass.rows as f64 / pass.seconds.max(1e-9),
        });
        if course.validation.is_empty() {
            return Ok((pass.sum.mean(), entry));
        }
        let found = self.validate(course.network, &course.validation)?;
        course.validation_loss = Some(found.loss);
        entry["validation"] = Value::Object(found.entry);
        Ok((found.value, entry))
    }

    /// A network has ended: the epochs that it does not need are no longer waited for.
    fn end(&self, epochs: usize, training_rows: usize) {
        let rows = (epochs * training_rows) as u64;
        self.done.rows_expected.fetch_sub(rows, Relaxed);
        self.done.epochs.fetch_add(epochs, Relaxed);
        self.done.networks.fetch_add(1, Relaxed);
    }

    /// When a network that starts now must end, so that all of them get the same share of the time.
    fn deadline(&self) -> Option<Instant> {
        let at_once = match self.feed.hardware.is_gpu() {
            true => 1,
            false => rayon::current_num_threads(),
        };
        let spent = self.done.since - self.started;
        let networks = self.feed.folds.len();
        time_share(self.options.max_seconds, spent, networks, at_once)
    }

    fn report(&self, sum: &LossSum, validation_loss: Option<f64>) {
        let rows = self.done.rows.load(Relaxed);
        let expected = self.done.rows_expected.load(Relaxed);
        let rate = rows as f64 / self.done.since.elapsed().as_secs_f64().max(1e-9);
        let epochs = self.feed.folds.len() * self.epochs;
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
            memory_bytes: self.feed.data.memory_bytes(),
        });
    }

    /// Where several are trained side by side, the first that has not ended.
    fn network_of_how_many(&self) -> Option<String> {
        let networks = self.feed.folds.len();
        let current = (self.done.networks.load(Relaxed) + 1).min(networks);
        (networks > 1).then(|| format!("network {current} of {networks}"))
    }
}
