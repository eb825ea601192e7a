//! How a training talks to whoever runs it.

use serde::Serialize;
use std::time::{Duration, Instant};

/// Between two snapshots of the progress.
pub const REPORT_EVERY: Duration = Duration::from_millis(200);

/// When one of `tasks`, of which so many can run `at_once`, must end if it starts now, so that all of them get the same share of what is
/// left of the `limit` in seconds.
pub fn time_share(
    limit: Option<f64>,
    spent: Duration,
    tasks: usize,
    at_once: usize,
) -> Option<Instant> {
    let left = (limit? - spent.as_secs_f64()).max(0.0);
    let share = left * at_once.min(tasks) as f64 / tasks.max(1) as f64;
    Instant::now().checked_add(Duration::from_secs_f64(share))
}

/// What a training is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Learning medians, means and vocabularies.
    Preprocessing,
    /// Epochs.
    Training,
    /// Calibration and metrics.
    Validating,
    /// Writing the graph.
    Exporting,
}

impl Phase {
    /// As spelled in `ltv.job_progress`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preprocessing => "preprocessing",
            Self::Training => "training",
            Self::Validating => "validating",
            Self::Exporting => "exporting",
        }
    }
}

/// A snapshot, sent a few times per second at most.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// The epoch under way, from 1; 0 outside training.
    pub epoch: usize,
    /// Epochs of all networks together, if no early stopping comes.
    pub epochs: usize,
    /// Rows trained on so far, all epochs together.
    pub rows: u64,
    /// Since the first epoch began.
    pub rows_per_second: f64,
    /// The mean so far of this epoch.
    pub training_loss: Option<f64>,
    /// After the latest epoch.
    pub validation_loss: Option<f64>,
    /// Until the last epoch, if early stopping does not come first.
    pub eta_seconds: Option<f64>,
    /// Which of several trainings it is, in words.
    pub step: Option<String>,
    /// What the preprocessed rows take.
    pub memory_bytes: usize,
}

impl Progress {
    /// A phase that has just begun.
    pub fn of(phase: Phase) -> Self {
        Self {
            phase,
            epoch: 0,
            epochs: 0,
            rows: 0,
            rows_per_second: 0.0,
            training_loss: None,
            validation_loss: None,
            eta_seconds: None,
            step: None,
            memory_bytes: 0,
        }
    }
}

/// Asked between steps; implementations must be quick and must not fail.
pub trait Control: Send + Sync {
    /// Takes a snapshot.
    fn progress(&self, progress: Progress);
    /// Whether the training must end with [`Error::cancelled`](crate::error::Error::cancelled).
    fn is_cancelled(&self) -> bool;

    /// Something the user should know, though the training goes on.
    fn notice(&self, _message: &str) {}
}

/// For tests and benchmarks: reports nowhere, is never cancelled.
pub struct Quiet;

impl Control for Quiet {
    fn progress(&self, _: Progress) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}
