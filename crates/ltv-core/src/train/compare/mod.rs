//! Objective `auto`: candidates are trained on a part of the data and judged on another, the best one is trained on all.

mod choice;

use super::control::{Control, Phase, Progress};
use super::device::Hardware;
use super::rows::folds;
use super::run::train_one;
use super::version::replay::predict;
use super::{Chosen, TrainedModel, bgnbd, config, purchase_features};
use crate::data::{Split, TrainingData, TrainingTable};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Metric;
use crate::recipe::{Candidate, Compare, Needs, Options, Recipe};
use crate::schema::ColumnKind;
use choice::{RULE, Score, Truth};
use serde_json::{Map, Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Of five parts of the customers one judges; with few customers others take their turn.
const PARTS: usize = 5;
const MOST_ROUNDS: usize = 3;
/// Rows to judge by that make chance small enough without another round.
const ENOUGH: usize = 20_000;
/// Rows that candidates are trained and judged on at most; customers are drawn by a hash of their id.
const MOST_FITTED: usize = 100_000;
const MOST_JUDGED: usize = 50_000;
/// Paying rows without which a part of the data is too small to train or judge on.
const FEWEST_PAYERS: usize = 50;
/// Networks of a candidate: enough to know what an average of them is worth.
const MEMBERS: usize = 3;
/// Seconds that a candidate gets however little of the budget is left.
const SHORTEST: f64 = 2.0;
/// Of a round's duration that must be left to begin another one.
const RESERVE: f64 = 1.2;

/// How the data are divided.
enum Exam {
    /// Fitted where the horizon had ended by the latest cut-off, judged on everybody at that cut-off.
    Later { latest: f32, horizon: f32 },
    /// Judged on customers who are left out of the fit, at the latest cut-off.
    Customers { latest: Option<f32>, as_given: bool },
}

/// What happened to a candidate so far.
struct Attempt<'a> {
    candidate: &'a Candidate,
    seconds: f64,
    rounds: usize,
    metrics: Vec<Metric>,
    error: Option<String>,
}

struct Comparison<'a> {
    table: &'a TrainingTable,
    recipe: &'a Recipe,
    control: &'a dyn Control,
    hardware: &'a Hardware,
    started: Instant,
    budget: f64,
    exam: Exam,
}

pub fn train(
    data: impl Into<TrainingData>,
    recipe: &Recipe,
    compare: &Compare,
    control: &dyn Control,
    hardware: &Hardware,
) -> Result<TrainedModel> {
    let data = data.into();
    // Of rows that do not fit into memory those that do.
    let table = &data.table;
    let comparison = Comparison {
        exam: Exam::of(table, recipe),
        table,
        recipe,
        control,
        hardware,
        started: Instant::now(),
        budget: compare.budget_seconds,
    };
    let mut attempts: Vec<Attempt> = compare
        .candidates
        .iter()
        .filter(|candidate| candidate.wanted || comparison.can(candidate))
        .take(compare.trials)
        .map(|candidate| Attempt {
            candidate,
            seconds: 0.0,
            rounds: 0,
            metrics: Vec::new(),
            error: None,
        })
        .collect();
    let (winner, truth) = comparison.run(&mut attempts)?;
    let seconds = comparison.started.elapsed().as_secs_f64();
    let report = json!({
        "judged_on": comparison.exam.describe(),
        "rows": truth.actual.len(),
        "payers": truth.actual.iter().filter(|&&y| y > 0.0).count(),
        "rule": RULE,
        "seconds": seconds,
        "budget": compare.budget_seconds,
        "candidates": attempts
            .iter()
            .enumerate()
            .map(|(index, attempt)| attempt.to_json(index == winner))
            .collect::<Vec<Value>>(),
    });

    let best = attempts[winner].candidate;
    control.notice(&format!(
        "the best of {} candidates is {}; ltv_comparison shows all of them",
        attempts.len(),
        best.name
    ));
    let chosen = with_candidate(recipe, best)?;
    let step = Step {
        inner: control,
        text: format!("best candidate: {}", best.name),
    };
    let mut model = train_one(data, &config::with_defaults(&chosen), &step, hardware)?;
    model.seconds += seconds;
    if let Value::Object(history) = &mut model.history {
        history.insert("comparison".into(), report);
    }
    model.chosen = Some(Chosen {
        objective: best.objective.clone(),
        backbone: best.backbone.clone(),
        options: best.options.clone(),
    });
    Ok(model)
}

/// The recipe that trains the candidate.
fn with_candidate(recipe: &Recipe, candidate: &Candidate) -> Result<Recipe> {
    let mut options = Options::from_json(&Value::Object(candidate.options.clone()))?;
    options.threads = recipe.options.threads;
    options.horizon = recipe.options.horizon;
    Ok(Recipe {
        objective: candidate.objective.clone(),
        backbone: candidate.backbone.clone(),
        options,
        compare: None,
        ..recipe.clone()
    })
}

impl Comparison<'_> {
    /// The winner's place, and what the candidates were judged by.
    fn run(&self, attempts: &mut [Attempt]) -> Result<(usize, Truth)> {
        let mut truth = Truth {
            is_later: matches!(self.exam, Exam::Later { .. }),
            ..Truth::default()
        };
        let mut predictions: Vec<Vec<f32>> = vec![Vec::new(); attempts.len()];
        let mut alive: Vec<usize> = (0..attempts.len()).collect();
        let mut winner = None;
        for round in 0..self.exam.rounds() {
            let begun = Instant::now();
            let (fit, judged) = self.divide(round)?;
            truth
                .actual
                .extend(judged.target().iter().map(|&y| f64::from(y)));
            truth.groups.extend_from_slice(&judged.groups);
            let mut scores = Vec::new();
            for &index in &alive {
                let attempt = &mut attempts[index];
                if self.left() <= 0.0 && !scores.is_empty() {
                    attempt.error = Some("not tried: the budget was spent".to_owned());
                    continue;
                }
                let text = format!(
                    "candidate {} of {}: {}",
                    index + 1,
                    predictions.len(),
                    attempt.candidate.name
                );
                let from = Instant::now();
                let outcome = self.attempt(attempt.candidate, &fit, &judged, text);
                attempt.seconds += from.elapsed().as_secs_f64();
                attempt.rounds += 1;
                match outcome {
                    Ok(values) => {
                        predictions[index].extend(values);
                        let score = Score::of(&truth, &predictions[index])?;
                        attempt.metrics = score.metrics.clone();
                        scores.push((index, score));
                    }
                    Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
                    Err(error) => attempt.error = Some(described(&error)),
                }
            }
            winner = choice::choose(&scores).or(winner);
            alive = choice::hopeful(&scores);
            let another = begun.elapsed().as_secs_f64() * RESERVE * alive.len() as f64
                / scores.len().max(1) as f64;
            if alive.len() < 2 || truth.actual.len() >= ENOUGH || another > self.left() {
                break;
            }
        }
        match winner {
            Some(winner) => Ok((winner, truth)),
            None => Err(nobody(attempts)),
        }
    }

    /// Expected values for `judged` of the candidate trained on `fit`.
    fn attempt(
        &self,
        candidate: &Candidate,
        fit: &TrainingTable,
        judged: &TrainingTable,
        text: String,
    ) -> Result<Vec<f32>> {
        let step = Step {
            inner: self.control,
            text,
        };
        let mut recipe = config::with_defaults(&with_candidate(self.recipe, candidate)?);
        let options = &mut recipe.options;
        // As the winner will be trained: the cut-offs to fit on may be a single one.
        if self.table.has_several_cut_offs() && self.has_histories() {
            options.blend_bgnbd.get_or_insert(true);
        }
        let usual = folds::default_members(fit.rows(), fit.has_several_cut_offs());
        options.ensemble.get_or_insert(usual.min(MEMBERS));
        let left = self.left().max(SHORTEST);
        options.max_seconds = Some(options.max_seconds.map_or(left, |limit| limit.min(left)));
        let work = || -> Result<Vec<f32>> {
            if candidate.objective == "bgnbd" {
                return bgnbd::values(fit, judged, &recipe);
            }
            let model = train_one(fit.clone().into(), &recipe, &step, self.hardware)?;
            let columns = predict(&model.weights, judged.clone())?;
            let value = columns.into_iter().find(|(name, _)| *name == "ltv");
            value
                .map(|(_, values)| values)
                .ok_or_else(|| Error::internal("the candidate predicts no value"))
        };
        // A candidate that fails, in whatever way, fails alone.
        let values = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::internal("the training of the candidate panicked")))?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(Error::data("it predicts values that are not finite")),
        }
    }

    /// Seconds of the budget that are left.
    fn left(&self) -> f64 {
        self.budget - self.started.elapsed().as_secs_f64()
    }

    /// Whether the data have what the candidate needs.
    fn can(&self, candidate: &Candidate) -> bool {
        match candidate.needs {
            Needs::Nothing => true,
            Needs::Sequence => {
                let is_sequence = |kind| matches!(kind, ColumnKind::Sequence { .. });
                self.table
                    .inputs()
                    .iter()
                    .any(|input| is_sequence(input.kind))
            }
            Needs::Histories => self.has_histories(),
        }
    }

    /// Whether the data are made for BG/NBD.
    fn has_histories(&self) -> bool {
        self.recipe.options.horizon.is_some()
            && purchase_features::Columns::find(self.table).is_ok()
    }

    /// The rows to fit and the rows to judge by.
    fn divide(&self, round: usize) -> Result<(TrainingTable, TrainingTable)> {
        let table = self.table;
        let seed = self.recipe.options.seed;
        let judges = |row: usize| match self.exam {
            Exam::Later { latest, .. } => {
                table.as_of.as_ref().is_some_and(|days| days[row] == latest)
            }
            Exam::Customers { latest, as_given } => {
                let at_latest = latest.is_none_or(|latest| {
                    table.as_of.as_ref().is_none_or(|days| days[row] == latest)
                });
                at_latest && held_out(table, row, as_given, seed, round)
            }
        };
        let fits = |row: usize| match self.exam {
            Exam::Later { latest, horizon } => table
                .as_of
                .as_ref()
                .is_some_and(|days| days[row] + horizon <= latest),
            Exam::Customers { as_given, .. } => !held_out(table, row, as_given, seed, round),
        };
        let pick = |wanted: &dyn Fn(usize) -> bool, most: usize| -> Vec<u32> {
            let rows: Vec<u32> = (0..table.rows())
                .filter(|&row| wanted(row))
                .map(|row| row as u32)
                .collect();
            let share = most as f64 / rows.len().max(1) as f64;
            rows.into_iter()
                .filter(|&row| folds::fraction(table.groups[row as usize], seed ^ 0x5eed) < share)
                .collect()
        };
        let mut fit = table.subset(&pick(&fits, MOST_FITTED));
        let judged = table.subset(&pick(&judges, MOST_JUDGED));
        for (what, part) in [("train", &fit), ("judge", &judged)] {
            let payers = part.target().iter().filter(|&&y| y > 0.0).count();
            if payers < FEWEST_PAYERS.min(table.rows() / 20) || payers == 0 {
                return Err(Error::data(format!(
                    "there are too few customers to {what} candidates on"
                ))
                .detail(format!(
                    "Of {} rows {payers} have a target above 0.",
                    part.rows()
                ))
                .hint("Train one objective with ltv_train, or give more customers."));
            }
        }
        if fit.split.iter().all(|&split| split == fit.split[0]) {
            // The validation customers judge: others stop the training.
            for row in 0..fit.rows() {
                let stops = folds::fold(fit.groups[row], seed.wrapping_add(1), PARTS) == 0;
                fit.split[row] = if stops {
                    Split::Validation
                } else {
                    Split::Train
                };
            }
        }
        Ok((fit, judged))
    }
}

/// Whether the row's customer is left out of the fit.
fn held_out(table: &TrainingTable, row: usize, as_given: bool, seed: u64, round: usize) -> bool {
    match as_given {
        true => table.split[row] == Split::Validation,
        false => folds::fold(table.groups[row], seed, PARTS) == round,
    }
}

impl Exam {
    fn of(table: &TrainingTable, recipe: &Recipe) -> Self {
        let as_given = recipe.split_column.is_some() && table.split.contains(&Split::Validation);
        let days = table
            .as_of
            .as_deref()
            .filter(|_| table.has_several_cut_offs());
        let latest = days.map(|days| days.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        if let (Some(latest), Some(days), Some(horizon)) = (latest, days, recipe.options.horizon) {
            let horizon = horizon as f32;
            let payers = |wanted: &dyn Fn(f32) -> bool| {
                let paying = days
                    .iter()
                    .zip(table.target())
                    .filter(|(day, y)| wanted(**day) && **y > 0.0);
                paying.count()
            };
            // Once each for the ensemble's folds and the judges.
            if payers(&|day| day + horizon <= latest) >= 4 * FEWEST_PAYERS
                && payers(&|day| day == latest) >= FEWEST_PAYERS
            {
                return Self::Later { latest, horizon };
            }
        }
        Self::Customers { latest, as_given }
    }

    fn rounds(&self) -> usize {
        match self {
            Self::Customers {
                as_given: false, ..
            } => MOST_ROUNDS,
            _ => 1,
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Later { .. } => {
                "the latest cut-off, fitted on earlier ones whose horizon had ended by then"
            }
            Self::Customers {
                latest: Some(_), ..
            } => "customers held out, at the latest cut-off",
            Self::Customers { as_given: true, .. } => "the validation customers",
            Self::Customers { .. } => "customers held out",
        }
    }
}

impl Attempt<'_> {
    fn to_json(&self, is_chosen: bool) -> Value {
        let candidate = self.candidate;
        let mut entry = Map::new();
        entry.insert("candidate".into(), json!(candidate.name));
        entry.insert("objective".into(), json!(candidate.objective));
        if candidate.objective != "bgnbd" {
            entry.insert("backbone".into(), json!(candidate.backbone));
        }
        entry.insert("options".into(), json!(candidate.settings));
        for (name, value) in &self.metrics {
            entry.insert(name.clone(), json!(value));
        }
        entry.insert("seconds".into(), json!(self.seconds));
        entry.insert("rounds".into(), json!(self.rounds));
        entry.insert("chosen".into(), json!(is_chosen));
        entry.insert("error".into(), json!(self.error));
        Value::Object(entry)
    }
}

fn described(error: &Error) -> String {
    match &error.detail {
        Some(detail) => format!("{error}: {detail}"),
        None => error.to_string(),
    }
}

fn nobody(attempts: &[Attempt]) -> Error {
    let error = Error::data("no candidate could be trained");
    let first = attempts.iter().find_map(|attempt| {
        let text = attempt.error.as_ref()?;
        Some(format!(
            "Of {} candidates, {} ended with: {text}.",
            attempts.len(),
            attempt.candidate.name
        ))
    });
    match first {
        Some(text) => error
            .detail(text.replace("..", "."))
            .hint("Check the data, or give a larger budget."),
        None => error.hint("Name objectives and backbones that fit the data."),
    }
}

/// Passes the progress of one candidate on.
struct Step<'a> {
    inner: &'a dyn Control,
    text: String,
}

impl Control for Step<'_> {
    fn progress(&self, progress: Progress) {
        self.inner.progress(Progress {
            // Whatever the candidate is at, the comparison is training.
            phase: match progress.phase {
                Phase::Exporting | Phase::Validating if self.text.starts_with("candidate") => {
                    Phase::Training
                }
                phase => phase,
            },
            step: Some(match &progress.step {
                Some(within) => format!("{}, {within}", self.text),
                None => self.text.clone(),
            }),
            ..progress
        });
    }
    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}
