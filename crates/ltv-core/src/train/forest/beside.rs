//! Trees beside networks: grown on the same folds, so that held-out rows can weigh the two.

use super::fit::{Job, Members};
use super::rows::{self, TreeRows};
use super::{BESIDE_NETWORKS, check_room, settings};
use crate::data::TrainingTable;
use crate::error::Result;
use crate::objective::{ObjectiveConfig, TargetStatistics};
use crate::recipe::{Recipe, USUAL_BACKBONE};
use crate::train::control::Control;
use crate::train::fit::network::Predictions;
use crate::train::prepare::Prepared;
use crate::train::rows::folds::Fold;
use crate::trees::{Bins, Forest, Head, Settings};
use serde_json::{Map, Value};
use std::time::Instant;

/// Rows below which trees find next to nothing.
const FEWEST_ROWS: usize = 1000;
/// Bytes of a row beside the networks' own, for each column and besides: its bins, twice, and what it is scored by.
const ROW_BYTES: (usize, usize) = (2, 32);
/// The share of a training's memory that trees may take where nobody asked for them.
const MEMORY_SHARE: usize = 4;

/// Whether trees are grown where nobody asked for them or against them: where there is no law of purchases that knows more than the table says, trees know what the
/// usual network does not. Who asks for one network wants one voice. What the other backbones are for, sequences above all, trees do not see.
fn is_usual(
    table: &TrainingTable,
    prepared: &Prepared,
    objective: &ObjectiveConfig,
    recipe: &Recipe,
) -> bool {
    let (of_column, besides) = ROW_BYTES;
    let row_bytes = of_column * prepared.preprocessing.raw_columns().len() + besides;
    let fits = |memory| row_bytes.saturating_mul(table.rows()) <= memory / MEMORY_SHARE;
    recipe.backbone == USUAL_BACKBONE
        && recipe.memory.is_none_or(fits)
        && recipe.options.ensemble != Some(1)
        && matches!(objective, ObjectiveConfig::Ziln(_))
        && prepared.beside.mbgnbd.is_none()
        && table.rows() >= FEWEST_ROWS
}

/// Rows in bins, from which trees will be grown.
pub struct Grove {
    pub rows: TreeRows,
    features: Vec<Bins>,
    head: Head,
    settings: Settings,
}

impl Grove {
    /// Where the recipe wants trees beside its networks, or leaves it open and [`is_usual`].
    pub fn of(
        table: &TrainingTable,
        prepared: &Prepared,
        objective: &ObjectiveConfig,
        recipe: &Recipe,
    ) -> Result<Option<Self>> {
        let fitted = &prepared.preprocessing;
        let columns = fitted.raw_columns();
        let usual = || is_usual(table, prepared, objective, recipe);
        let is_wanted = recipe.options.blend_trees.unwrap_or_else(usual);
        if !is_wanted || *objective == ObjectiveConfig::Purchase || columns.is_empty() {
            return Ok(None);
        }
        let of = |spent: &TargetStatistics| Head::beside(objective, spent);
        let head = Head::with_intervals(of, &prepared.target, &prepared.intervals)?;
        check_room(recipe, columns.len(), prepared.members * head.parts().len())?;
        let features = rows::bins(fitted, table, &prepared.rows, recipe.options.max_bins);
        Ok(Some(Self {
            rows: TreeRows::of(fitted, table, &features)?,
            features,
            head,
            settings: settings(&recipe.options, &columns, &BESIDE_NETWORKS)?,
        }))
    }

    /// A member for each fold, and the history.
    pub fn grow(
        &self,
        folds: &[Fold],
        recipe: &Recipe,
        control: &dyn Control,
        started: Instant,
    ) -> Result<(Forest, Map<String, Value>)> {
        let job = Job {
            options: &recipe.options,
            settings: &self.settings,
            control,
            started,
            head: &self.head,
            train: (&self.rows, folds),
            validation: (&self.rows, folds),
            earlier: None,
        };
        let Members { parts, history } = job.run()?;
        let forest = Forest {
            features: self.features.clone(),
            head: self.head.clone(),
            members: parts,
        };
        Ok((forest, history))
    }

    /// What a member of `forest` predicts for some rows.
    pub fn predict(&self, forest: &Forest, member: usize, rows: &[u32]) -> Predictions {
        Predictions {
            columns: forest.predict(member, &self.rows.data.subset(rows)),
        }
    }
}
