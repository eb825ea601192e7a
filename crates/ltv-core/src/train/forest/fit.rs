//! Growing the trees of all members, and what the history says of it.

use super::rows::TreeRows;
use crate::error::Result;
use crate::recipe::Options;
use crate::train::control::{Control, Phase, Progress, REPORT_EVERY, time_share};
use crate::train::rows::folds::Fold;
use crate::trees::{Boosted, Forest, Head, Loss, Part, Round, Rows, Settings, Watch, boost};
use parking_lot::Mutex;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Rounds where no validation row can end them earlier.
const BLIND_ROUNDS: usize = 100;
/// Of the rounds, the first so many and every so manieth is in the history.
const NOTED: usize = 10;

/// What the trees of a version are grown with.
pub struct Job<'a> {
    pub options: &'a Options,
    pub settings: &'a Settings,
    pub control: &'a dyn Control,
    pub started: Instant,
    pub head: &'a Head,
    /// Rows with the folds they are in.
    pub train: (&'a TreeRows, &'a [Fold]),
    pub validation: (&'a TreeRows, &'a [Fold]),
    pub earlier: Option<&'a Forest>,
}

impl Job<'_> {
    /// The parts of each member, and the history. Members and parts do not depend on each other: where there are threads they are grown side
    /// by side.
    pub fn run(&self) -> Result<Members> {
        let parts = self.head.parts();
        let members = self.validation.1.len();
        let done = Done {
            since: Instant::now(),
            reported: Mutex::new(None),
            rounds: AtomicUsize::new(0),
            of: members * parts.len() * self.rounds(),
        };
        let tasks: Vec<(usize, usize)> = (0..members)
            .flat_map(|member| (0..parts.len()).map(move |part| (member, part)))
            .collect();
        let count = tasks.len();
        let grown: Result<Vec<Grown>> = tasks
            .into_par_iter()
            .map(|(member, part)| self.grow(member, part, &parts[part], &done, count))
            .collect();
        let mut epochs = Vec::new();
        let mut reports = Vec::new();
        let mut forest: Vec<Vec<Boosted>> = Vec::new();
        for grown in grown? {
            epochs.extend(grown.epochs);
            reports.push(grown.report);
            if grown.is_first {
                forest.push(Vec::new());
            }
            if let Some(parts) = forest.last_mut() {
                parts.push(grown.boosted);
            }
        }
        let mut history = Map::new();
        history.insert("epochs".into(), epochs.into());
        history.insert("trees".into(), reports.into());
        Ok(Members {
            parts: forest,
            history,
        })
    }

    fn grow(
        &self,
        member: usize,
        index: usize,
        part: &Part,
        done: &Done,
        tasks: usize,
    ) -> Result<Grown> {
        let (rows, folds) = self.train;
        let (judges, judging) = self.validation;
        let train = Rows {
            data: &rows.data,
            spent: rows.spent_of(part),
            rows: &folds[member].train,
        };
        let validation = Rows {
            data: &judges.data,
            spent: judges.spent_of(part),
            rows: &judging[member].validation,
        };
        let settings = Settings {
            rounds: self.rounds(),
            seed: self.settings.seed.wrapping_add(member as u64),
            ..self.settings.clone()
        };
        let watcher = Watcher {
            job: self,
            done,
            member,
            name: name(&part.loss),
            deadline: time_share(
                self.options.max_seconds,
                done.since - self.started,
                tasks,
                rayon::current_num_threads(),
            ),
            notes: Mutex::new(Vec::new()),
            begun: Instant::now(),
            rounds: AtomicUsize::new(0),
        };
        let earlier = self
            .earlier
            .and_then(|forest| forest.members.get(member)?.get(index));
        let boosted = boost(part, train, validation, &settings, earlier, &watcher)?;
        let rounds = watcher.rounds.load(Relaxed);
        done.rounds
            .fetch_add(settings.rounds - rounds.min(settings.rounds), Relaxed);
        let counts = |rows: &Rows| {
            let paid = rows
                .rows
                .iter()
                .filter(|&&row| part.counts(rows.spent[row as usize]));
            paid.count()
        };
        Ok(Grown {
            report: json!({
                "member": member + 1,
                "part": watcher.name,
                "rounds": rounds,
                "trees": boosted.count(),
                "training_rows": counts(&train),
                "validation_rows": counts(&validation),
            }),
            epochs: watcher.notes.into_inner(),
            is_first: index == 0,
            boosted,
        })
    }

    /// Rounds of a part at most.
    fn rounds(&self) -> usize {
        let is_blind = self
            .validation
            .1
            .iter()
            .all(|fold| fold.validation.is_empty());
        match is_blind {
            true => self.settings.rounds.min(BLIND_ROUNDS),
            false => self.settings.rounds,
        }
    }
}

/// The parts of each member, and the history.
pub struct Members {
    pub parts: Vec<Vec<Boosted>>,
    pub history: Map<String, Value>,
}

/// One part of one member.
struct Grown {
    boosted: Boosted,
    is_first: bool,
    epochs: Vec<Value>,
    report: Value,
}

fn name(loss: &Loss) -> &'static str {
    match loss {
        Loss::Purchase => "purchase",
        Loss::Lognormal => "lognormal",
        Loss::Tweedie(_) => "tweedie",
        Loss::Square => "mse",
        Loss::Huber(_) => "huber",
    }
}

/// Rounds of all members together.
struct Done {
    since: Instant,
    reported: Mutex<Option<Instant>>,
    rounds: AtomicUsize,
    of: usize,
}

struct Watcher<'a> {
    job: &'a Job<'a>,
    done: &'a Done,
    member: usize,
    name: &'static str,
    deadline: Option<Instant>,
    notes: Mutex<Vec<Value>>,
    begun: Instant,
    rounds: AtomicUsize,
}

impl Watch for Watcher<'_> {
    fn is_cancelled(&self) -> bool {
        self.job.control.is_cancelled()
    }

    fn is_late(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn wants_training_loss(&self, round: usize) -> bool {
        round <= NOTED || round.is_multiple_of(NOTED)
    }

    fn round(&self, round: Round) {
        self.rounds.store(round.number, Relaxed);
        let rounds = self.done.rounds.fetch_add(1, Relaxed) + 1;
        if let Some(training) = round.training {
            let loss = |loss: f64| json!({"loss": loss, self.name: loss});
            let mut entry = json!({
                "member": self.member + 1,
                "epoch": round.number,
                "learning_rate": self.job.settings.learning_rate,
                "training": loss(training),
                "seconds": self.begun.elapsed().as_secs_f64(),
            });
            if let Some(validation) = round.validation {
                entry["validation"] = loss(validation);
            }
            self.notes.lock().push(entry);
        }
        let mut reported = self.done.reported.lock();
        if reported.is_some_and(|at| at.elapsed() < REPORT_EVERY) {
            return;
        }
        *reported = Some(Instant::now());
        let seconds = self.done.since.elapsed().as_secs_f64();
        let left = self.done.of.saturating_sub(rounds) as f64;
        self.job.control.progress(Progress {
            epoch: rounds,
            epochs: self.done.of,
            training_loss: round.training,
            validation_loss: round.validation,
            eta_seconds: Some(left * seconds / rounds as f64),
            memory_bytes: self.job.train.0.data.memory_bytes(),
            step: Some("trees".to_owned()),
            ..Progress::of(Phase::Training)
        });
    }
}
