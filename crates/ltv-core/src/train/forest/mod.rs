//! Backbone `trees`: the same rows in and the same kind of version out, without a network.

pub mod beside;
mod fit;
mod rows;

use super::control::{Control, Phase, Progress};
use super::finish::evaluate::{self, Ensemble};
use super::fit::network::Predictions;
use super::prepare::{Prepared, WARM_SHARE, prepare};
use super::rows::folds::{self, Fold};
use super::version::{graph, trees as stored};
use super::{TrainedModel, config};
use crate::data::{Horizons, TrainingData};
use crate::error::{Error, ErrorKind, Result};
use crate::objective::TargetStatistics;
use crate::preprocess::{RawColumn, RawKind};
use crate::recipe::{Options, Recipe};
use crate::trees::{Forest, Head, Settings, histogram_bytes};
use rows::{Room, TreeRows};
use serde_json::{Value, json};
use std::time::Instant;

pub fn train(data: TrainingData, recipe: &Recipe, control: &dyn Control) -> Result<TrainedModel> {
    let started = Instant::now();
    let TrainingData {
        table,
        spilled,
        rows: n_rows,
    } = data;
    let objective = config::objective(recipe)?;
    let mut prepared = prepare(&table, n_rows, recipe, control)?;
    let of = |spent: &TargetStatistics| Head::new(&objective, spent);
    let mut head = Head::with_intervals(of, &prepared.target, &prepared.intervals)?;
    let columns = prepared.preprocessing.raw_columns();
    let mut settings = settings(&recipe.options, &columns, &ALONE)?;
    let days = table.horizons().map(Horizons::days);
    let earlier = earlier(recipe, control, &prepared, &head, days);
    if let Some(stored) = &earlier {
        prepared.preprocessing = stored.preprocessing.clone();
        prepared.members = stored.forest.members.len();
        head = stored.forest.head.clone();
        settings.rounds = settings.rounds.div_ceil(WARM_SHARE);
    }
    check_room(recipe, columns.len(), prepared.members * head.parts().len())?;
    let fitted = &prepared.preprocessing;
    let features = match &earlier {
        Some(stored) => stored.forest.features.clone(),
        None => rows::bins(fitted, &table, &prepared.rows, recipe.options.max_bins),
    };
    let rows = TreeRows::of(fitted, &table, &features)?;
    let file = match &spilled {
        Some(file) => {
            let room = Room {
                bytes: recipe.memory,
                at_once: at_once(prepared.members * head.parts().len()),
                seed: recipe.options.seed,
            };
            Some(TreeRows::of_file(
                file, fitted, &table, &features, &room, control,
            )?)
        }
        None => None,
    };
    let horizons = table.horizons().cloned();
    drop(table);
    let seed = recipe.options.seed;
    let folds = folds::deal(&rows.split, &rows.groups, prepared.members, seed);
    let of_file = file
        .as_ref()
        .map(|file| folds::deal(&file.split, &file.groups, prepared.members, seed));
    let job = fit::Job {
        options: &recipe.options,
        settings: &settings,
        control,
        started,
        head: &head,
        train: (
            file.as_ref().unwrap_or(&rows),
            of_file.as_ref().unwrap_or(&folds),
        ),
        validation: (&rows, &folds),
        earlier: earlier.as_ref().map(|stored| &stored.forest),
    };
    let fit::Members { parts, history } = job.run()?;
    let forest = Forest {
        features,
        head,
        members: parts,
    };
    let finishing = Finishing {
        forest: &forest,
        rows: &rows,
        folds: &folds,
        is_spilled: file.is_some(),
        columns: &columns,
        horizons: horizons.as_ref(),
    };
    let mut model = finishing.run(&prepared, recipe, control)?;
    if let Value::Object(object) = &mut model.history {
        object.extend(history);
        object.insert("continued".into(), json!(earlier.is_some()));
    }
    Ok(TrainedModel {
        n_rows,
        seconds: started.elapsed().as_secs_f64(),
        ..model
    })
}

/// Trees that are grown, on their way to a version.
struct Finishing<'a> {
    forest: &'a Forest,
    rows: &'a TreeRows,
    folds: &'a [Fold],
    is_spilled: bool,
    columns: &'a [RawColumn],
    horizons: Option<&'a Horizons>,
}

impl Finishing<'_> {
    fn run(
        &self,
        prepared: &Prepared,
        recipe: &Recipe,
        control: &dyn Control,
    ) -> Result<TrainedModel> {
        control.progress(Progress::of(Phase::Validating));
        let predict = |member: usize, rows: &[u32]| {
            Ok(Predictions {
                columns: self.forest.predict(member, &self.rows.data.subset(rows)),
            })
        };
        let ensemble = Ensemble {
            folds: self.folds,
            spent: &self.rows.spent,
            groups: &self.rows.groups,
            horizons: self.horizons,
            options: &recipe.options,
            control,
            is_spilled: self.is_spilled,
            distribution: self.forest.head.distribution(),
            predict: &predict,
            trees: None,
        };
        let Prepared {
            preprocessing,
            features,
            target,
            beside,
            ..
        } = prepared;
        let judged = evaluate::judge(&ensemble, target, beside, features)?;
        let mut statistics = judged.statistics;
        statistics["gains"] = gains(self.forest, self.columns);
        control.progress(Progress::of(Phase::Exporting));
        let (onnx, mut schema) = graph::assemble_trees(preprocessing, self.forest, &judged.finish)?;
        schema.state.clone_from(&prepared.state);
        Ok(TrainedModel {
            onnx,
            schema,
            statistics,
            metrics: judged.metrics,
            history: json!({}),
            weights: stored::store(preprocessing, self.forest, &judged.finish)?,
            n_rows: self.rows.spent.len(),
            seconds: 0.0,
            chosen: None,
        })
    }
}

/// What the splits of each feature gained, as shares of all, the largest first.
pub fn gains(forest: &Forest, columns: &[RawColumn]) -> Value {
    let mut gains: Vec<(&str, f64)> = columns
        .iter()
        .map(|column| column.name.as_str())
        .zip(forest.gains())
        .collect();
    gains.sort_by(|a, b| b.1.total_cmp(&a.1));
    let entry = |(name, gain): (&str, f64)| json!({"name": name, "gain": gain});
    gains.into_iter().map(entry).collect()
}

/// Trees that are grown at the same time.
fn at_once(tasks: usize) -> usize {
    rayon::current_num_threads().min(tasks.max(1))
}

/// The histograms of trees, one for each leaf of each tree that is being grown.
fn histograms(recipe: &Recipe, columns: usize, tasks: usize) -> usize {
    histogram_bytes(columns)
        .saturating_mul(recipe.options.leaves)
        .saturating_mul(at_once(tasks))
}

/// Refuses trees whose histograms do not fit into memory.
fn check_room(recipe: &Recipe, columns: usize, tasks: usize) -> Result<()> {
    let (bytes, at_once) = (histograms(recipe, columns, tasks), at_once(tasks));
    match recipe.memory {
        Some(memory) if bytes > memory => Err(Error::new(
            ErrorKind::Resources,
            "the trees of this recipe need too much memory",
        )
        .detail(format!(
            "The histograms of {columns} columns and {} leaves take {} MB, {at_once} trees at a time, and ltv.training_memory is {} MB.",
            recipe.options.leaves,
            bytes >> 20,
            memory >> 20
        ))
        .hint("Lower the options \"leaves\" or \"threads\", use fewer columns, or raise ltv.training_memory.")),
        _ => Ok(()),
    }
}

/// How fast trees learn where the options do not say.
struct Pace {
    learning_rate: f64,
    patience: usize,
}

const ALONE: Pace = Pace {
    learning_rate: 0.03,
    patience: 50,
};
/// Measured: in an average with networks nothing is lost by larger steps, and a sixth of the trees is enough.
const BESIDE_NETWORKS: Pace = Pace {
    learning_rate: 0.2,
    patience: 20,
};

/// From options to how trees are grown.
fn settings(options: &Options, columns: &[RawColumn], pace: &Pace) -> Result<Settings> {
    if columns.is_empty() {
        return Err(Error::data("there is no column that trees can ask for")
            .detail("The only feature is a sequence, which backbone \"trees\" does not read.")
            .hint("Add numbers or categories, or use a sequence backbone."));
    }
    let mut monotone = vec![0; columns.len()];
    for (names, direction) in [
        (&options.monotone_increasing, 1),
        (&options.monotone_decreasing, -1),
    ] {
        for name in names {
            constrain(&mut monotone, columns, name, direction)?;
        }
    }
    Ok(Settings {
        rounds: options.rounds,
        learning_rate: options.tree_learning_rate.unwrap_or(pace.learning_rate),
        leaves: options.leaves,
        min_data_in_leaf: options.min_data_in_leaf,
        min_hessian_in_leaf: options.min_hessian_in_leaf,
        l2: options.l2,
        row_share: options.row_share,
        column_share: options.column_share,
        patience: options.round_patience.unwrap_or(pace.patience),
        seed: options.seed,
        monotone,
    })
}

fn constrain(monotone: &mut [i8], columns: &[RawColumn], name: &str, direction: i8) -> Result<()> {
    let refuse =
        |detail: String| {
            Err(Error::invalid(format!("expected values cannot be monotone in \"{name}\""))
            .detail(detail)
            .hint("Correct \"monotone_increasing\" or \"monotone_decreasing\" in the options."))
        };
    let places = columns.iter().position(|column| column.name == name);
    let Some(place) = places else {
        let numbers = columns
            .iter()
            .filter(|column| !matches!(column.kind, RawKind::Category(_)));
        let names: Vec<&str> = numbers.map(|column| column.name.as_str()).collect();
        return refuse(format!(
            "It is no feature. Those with an order are {}.",
            names.join(", ")
        ));
    };
    let direction = match columns[place].kind {
        RawKind::Number => direction,
        // The later a timestamp, the lower its age.
        RawKind::Age => -direction,
        RawKind::Category(_) => {
            return refuse("Its values are categories, which have no order.".to_owned());
        }
    };
    if monotone[place] == -direction {
        return refuse("It is named as increasing and as decreasing.".to_owned());
    }
    monotone[place] = direction;
    Ok(())
}

/// The stored trees to go on from, if there are any that fit.
fn earlier(
    recipe: &Recipe,
    control: &dyn Control,
    prepared: &Prepared,
    head: &Head,
    days: Option<&[f32]>,
) -> Option<stored::Stored> {
    let bytes = recipe.warm_start.as_deref()?;
    let members = recipe.options.ensemble;
    match stored::continue_from(bytes, &prepared.preprocessing, head, days, members) {
        Ok(stored) => Some(stored),
        Err(reason) => {
            control.notice(&format!(
                "training starts from scratch, because the stored trees do not fit: {reason}"
            ));
            None
        }
    }
}
