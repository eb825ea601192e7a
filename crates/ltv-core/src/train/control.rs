//! How a training talks to whoever runs it.

use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Preprocessing,
    Training,
    Validating,
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
    pub phase: Phase,
    /// The epoch under way, from 1; 0 outside training.
    pub epoch: usize,
    pub epochs: usize,
    /// Rows trained on so far, all epochs together.
    pub rows: u64,
    pub rows_per_second: f64,
    pub training_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    /// Until the last epoch, if early stopping does not come first.
    pub eta_seconds: Option<f64>,
    /// Which of several trainings it is, in words.
    pub step: Option<String>,
    pub memory_bytes: usize,
}

impl Progress {
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
    fn progress(&self, progress: Progress);
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
