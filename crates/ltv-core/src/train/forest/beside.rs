//! Trees beside networks: grown on the same folds, so that held-out rows can weigh the two.

use super::fit::{Job, Members};
use super::rows::{self, Room, TreeRows};
use super::{BESIDE_NETWORKS, at_once, check_room, histograms, settings};
use crate::data::{SpilledRows, TrainingTable};
use crate::error::Result;
use crate::objective::{ObjectiveConfig, TargetStatistics};
use crate::recipe::{Recipe, USUAL_BACKBONE};
use crate::train::control::{Control, time_share};
use crate::train::fit::network::Predictions;
use crate::train::prepare::Prepared;
use crate::train::rows::folds::{self, Fold};
use crate::trees::{Bins, Boosted, Forest, Head, Part, Rows, Settings, Watch, boost};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde_json::{Map, Value};
use std::time::Instant;

/// Rows below which trees find next to nothing.
const FEWEST_ROWS: usize = 1000;
/// The share of a training's memory that trees may take: the networks' own rows are there too.
const MEMORY_SHARE: usize = 4;

/// Whether trees are grown where nobody asked for them or against them. Who asks for one network wants one voice. What the other backbones are for,
/// sequences above all, trees do not see.
fn is_usual(table: &TrainingTable, objective: &ObjectiveConfig, recipe: &Recipe) -> bool {
    recipe.backbone == USUAL_BACKBONE
        && recipe.options.ensemble != Some(1)
        && matches!(objective, ObjectiveConfig::Ziln(_))
        && table.rows() >= FEWEST_ROWS
}

/// Rows in bins, from which trees will be grown.
pub struct Grove {
    rows: TreeRows,
    /// Those to learn from, where they lie in a file; otherwise they are among the others.
    file: Option<TreeRows>,
    /// Of the customers, the share that is learned from.
    share: f64,
    room: Room,
    features: Vec<Bins>,
    head: Head,
    settings: Settings,
}

impl Grove {
    /// Where the recipe wants trees beside its networks, or leaves it open and [`is_usual`].
    pub fn of(
        table: &TrainingTable,
        spilled: Option<&SpilledRows>,
        prepared: &Prepared,
        objective: &ObjectiveConfig,
        recipe: &Recipe,
        control: &dyn Control,
    ) -> Result<Option<Self>> {
        let fitted = &prepared.preprocessing;
        let columns = fitted.raw_columns();
        let of = |spent: &TargetStatistics| Head::beside(objective, spent);
        let head = Head::with_intervals(of, &prepared.target, &prepared.intervals)?;
        let tasks = prepared.members * head.parts().len();
        let memory = recipe.memory.map(|memory| memory / MEMORY_SHARE);
        let usual = || {
            is_usual(table, objective, recipe)
                && memory.is_none_or(|memory| histograms(recipe, columns.len(), tasks) <= memory)
        };
        let is_wanted = recipe.options.blend_trees.unwrap_or_else(usual);
        if !is_wanted || *objective == ObjectiveConfig::Purchase || columns.is_empty() {
            return Ok(None);
        }
        check_room(recipe, columns.len(), tasks)?;
        let features = rows::bins(fitted, table, &prepared.rows, recipe.options.max_bins);
        let room = Room {
            bytes: memory,
            at_once: at_once(tasks),
            seed: recipe.options.seed,
        };
        let rows = TreeRows::of(fitted, table, &features)?;
        let (file, share) = match spilled {
            Some(file) => {
                let rows = TreeRows::of_file(file, fitted, table, &features, &room, control)?;
                (Some(rows), 1.0)
            }
            None => (None, room.share(table.rows(), columns.len(), control)),
        };
        Ok(Some(Self {
            rows,
            file,
            share,
            room,
            features,
            head,
            settings: settings(&recipe.options, &columns, &BESIDE_NETWORKS)?,
        }))
    }

    /// The rows that trees are grown on, and of which customers they are.
    fn learned(&self) -> &TreeRows {
        self.file.as_ref().unwrap_or(&self.rows)
    }

    /// Of these rows to learn from, those that there is memory for.
    fn drawn(&self, rows: impl Iterator<Item = u32>) -> Vec<u32> {
        let groups = &self.learned().groups;
        rows.filter(|&row| self.room.holds(groups[row as usize], self.share))
            .collect()
    }

    /// A member for each fold, and the history.
    pub fn grow(
        &self,
        folds: &[Fold],
        recipe: &Recipe,
        control: &dyn Control,
        started: Instant,
    ) -> Result<(Forest, Map<String, Value>)> {
        let of_file = self.file.as_ref().map(|file| {
            let seed = recipe.options.seed;
            folds::deal(&file.split, &file.groups, folds.len(), seed)
        });
        let drawn: Vec<Fold> = of_file
            .as_deref()
            .unwrap_or(folds)
            .iter()
            .map(|fold| Fold {
                train: self.drawn(fold.train.iter().copied()),
                validation: Vec::new(),
            })
            .collect();
        let job = Job {
            options: &recipe.options,
            settings: &self.settings,
            control,
            started,
            head: &self.head,
            train: (self.learned(), &drawn),
            validation: (&self.rows, folds),
            earlier: None,
        };
        let Members { parts, history } = job.run()?;
        Ok((self.forest(parts), history))
    }

    fn forest(&self, members: Vec<Vec<Boosted>>) -> Forest {
        Forest {
            features: self.features.clone(),
            head: self.head.clone(),
            members,
        }
    }

    /// One member in the place of several: grown on the rows of all of them, for as many rounds as they took on average. A held-out row was weighed by
    /// what one member said of it, too. Where `max_seconds` leaves no time for that, the first one stays.
    pub fn merged(
        &self,
        forest: Forest,
        limit: Option<f64>,
        control: &dyn Control,
        started: Instant,
    ) -> Result<Forest> {
        if forest.members.len() <= 1 {
            return Ok(forest);
        }
        let watch = Late {
            control,
            deadline: time_share(limit, started.elapsed(), 1, 1),
        };
        let learned = self.learned();
        let rows = self.drawn(0..learned.data.rows() as u32);
        let parts = self.head.parts();
        let grow = |(index, part): (usize, &Part)| {
            let settings = Settings {
                rounds: mean_rounds(&forest, index),
                ..self.settings.clone()
            };
            let of = |rows| Rows {
                data: &learned.data,
                spent: learned.spent_of(part),
                rows,
            };
            boost(part, of(&rows), of(&[]), &settings, None, &watch)
        };
        let grown: Result<Vec<Boosted>> = parts.par_iter().enumerate().map(grow).collect();
        let grown = grown?;
        Ok(self.forest(match watch.is_late() {
            true => forest.members.into_iter().take(1).collect(),
            false => vec![grown],
        }))
    }

    /// What a member of `forest` predicts for some rows.
    pub fn predict(&self, forest: &Forest, member: usize, rows: &[u32]) -> Predictions {
        Predictions {
            columns: forest.predict(member, &self.rows.data.subset(rows)),
        }
    }
}

/// Rounds that a part took, on average of the members.
fn mean_rounds(forest: &Forest, part: usize) -> usize {
    let of_member = |member: &Vec<Boosted>| member[part].trees.first().map_or(0, Vec::len);
    let rounds: usize = forest.members.iter().map(of_member).sum();
    (rounds as f64 / forest.members.len() as f64).round() as usize
}

/// Ends where the training is cancelled or its time is over.
struct Late<'a> {
    control: &'a dyn Control,
    deadline: Option<Instant>,
}

impl Watch for Late<'_> {
    fn is_cancelled(&self) -> bool {
        self.control.is_cancelled()
    }

    fn is_late(&self) -> bool {
        let is_over = |deadline| Instant::now() >= deadline;
        self.deadline.is_some_and(is_over)
    }
}
