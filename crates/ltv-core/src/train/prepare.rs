//! What every training begins with, whatever is trained: target, preprocessing, and what stands beside the model.

use super::control::{Control, Phase, Progress};
use super::finish::blend;
use super::finish::evaluate::Beside;
use super::finish::log_depth::LogDepth;
use super::finish::season::Season;
use super::finish::silence::Silence;
use super::rows::folds;
use super::{state, target};
use crate::btyd::State;
use crate::data::{Split, TrainingTable};
use crate::error::Result;
use crate::objective::TargetStatistics;
use crate::preprocess::Preprocessing;
use crate::recipe::Recipe;
use serde_json::Value;

/// A training that continues runs this many times fewer epochs, with a learning rate as many times lower, or fewer rounds.
pub const WARM_SHARE: usize = 4;

/// What is known before the first model is made.
pub struct Prepared {
    pub preprocessing: Preprocessing,
    /// The distribution of each feature.
    pub features: Vec<Value>,
    pub target: TargetStatistics,
    /// Of each interval between the ends of several horizons.
    pub intervals: Vec<TargetStatistics>,
    /// How many models there will be, each with a fold of its own.
    pub members: usize,
    /// Rows in memory that something is fitted to.
    pub rows: Vec<u32>,
    pub beside: Beside,
    /// What tells the state of a customer, where the features have what it reads.
    pub state: Option<State>,
}

/// Fits the preprocessing and what stands beside the model. `n_rows`: all rows of the training, in memory or not.
pub fn prepare(
    table: &TrainingTable,
    n_rows: usize,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<Prepared> {
    control.progress(Progress::of(Phase::Preprocessing));
    let options = &recipe.options;
    // Models that check each other use all rows; a single one leaves the validation rows alone.
    let members = folds::networks(options, n_rows, table.has_several_cut_offs());
    let rows: Vec<u32> = (0..table.rows() as u32)
        .filter(|&row| members > 1 || table.split[row as usize] == Split::Train)
        .collect();
    let spent: Vec<f32> = rows
        .iter()
        .map(|&row| table.target[row as usize])
        .filter(|spent| !spent.is_nan())
        .collect();
    target::check(&spent, &recipe.objective)?;
    let intervals = target::of_intervals(table, &rows, &recipe.objective)?;
    let (preprocessing, features) = Preprocessing::fit(table, &rows, options)?;
    let target = target::statistics(&spent);
    if let Some(remark) = target::remark(options, &recipe.objective, &target) {
        control.notice(&remark);
    }
    let mbgnbd = blend::fit(table, &rows, recipe, members)?;
    let purchases = mbgnbd.as_ref().map(blend::FittedMbgNbd::purchases);
    let state = state::fit(table, &rows, purchases, options.horizon);
    let log_depth = LogDepth::of(table);
    let horizon = |end: usize| match table.horizons() {
        Some(horizons) => horizons.days().get(end).copied().map(f64::from),
        None => options.horizon,
    };
    let horizon = |end: usize| options.horizon.and(horizon(end));
    Ok(Prepared {
        state,
        preprocessing,
        features,
        target,
        intervals,
        members,
        beside: Beside {
            mbgnbd,
            seasons: (0..table.ends())
                .map(|end| Season::of(table, end, horizon(end), log_depth.as_ref()))
                .collect(),
            log_depth,
            silences: (0..table.ends())
                .map(|end| Silence::fit(table, &rows, end, recipe))
                .collect(),
            is_latest: is_latest(table),
            days: match table.as_of.as_deref() {
                Some(days) => days.iter().map(|day| *day as i32).collect(),
                None => Vec::new(),
            },
        },
        rows,
    })
}

/// Whether each row is of the latest cut-off whose horizon has ended; empty where there is one cut-off only.
fn is_latest(table: &TrainingTable) -> Vec<bool> {
    let latest = table.latest_cut_off(table.ends() - 1);
    let days = table.as_of.as_deref().zip(latest);
    match days.filter(|_| table.has_several_cut_offs()) {
        Some((days, latest)) => days.iter().map(|day| *day == latest).collect(),
        None => Vec::new(),
    }
}
