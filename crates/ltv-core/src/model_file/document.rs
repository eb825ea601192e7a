//! What a model file says of its version, and whether all of it is what the functions that read it take it for.

use super::named::Named;
use super::shape::{numbers, plain, same, short, small_whole};
use super::unreadable;
use crate::error::{Error, Result};
use crate::objective::TargetStatistics;
use crate::objective::horizons::MOST_HORIZONS;
use crate::recipe::{BACKBONES, OBJECTIVES, Options};
use crate::schema::{OUTPUTS, Schema, horizon_output};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Microseconds from 1970 to 2100.
const LATEST: i64 = 4_102_444_800_000_000;

/// Whether a version was trained by pg_ltv.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// By a job.
    Trained,
    /// As an ONNX graph.
    Imported,
}

/// All of a version but its graph. The functions in SQL read the JSON; this is its guard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    model: String,
    version: i32,
    /// Where the version came from.
    pub source: Source,
    objective: Option<String>,
    backbone: Option<String>,
    schema: Value,
    recipe: Named<Recipe>,
    statistics: Named<Statistics>,
    metrics: BTreeMap<String, Value>,
    history: BTreeMap<String, Value>,
    n_rows: Option<i64>,
    training_seconds: Option<f64>,
    created_at: i64,
    pg_ltv_version: Option<String>,
}

/// Nothing of it is SQL.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recipe {
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    id_column: Option<String>,
    #[serde(default)]
    options: Value,
    #[serde(default)]
    trained_on: Option<String>,
    #[serde(default)]
    query_sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statistics {
    #[serde(default)]
    features: Option<Vec<Named<Described>>>,
    #[serde(default)]
    selection: Option<Vec<Named<Described>>>,
    #[serde(default)]
    gains: Option<Vec<Named<Gain>>>,
    #[serde(default)]
    target: Option<Named<TargetStatistics>>,
    #[serde(default)]
    spread: Option<Named<Spread>>,
    #[serde(default)]
    horizon: Option<f64>,
    #[serde(default)]
    sample: Option<Named<Drawn>>,
    #[serde(default)]
    calibration: Value,
    #[serde(default)]
    ageing: Value,
    #[serde(default)]
    trees: Value,
    #[serde(default)]
    bgnbd: Value,
    #[serde(default)]
    season_factor: Value,
    #[serde(default)]
    parameters: Value,
}

/// The share of the customers that was learned from.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drawn {
    share: f64,
    rows_read: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    kind: String,
    n: i64,
    missing: Option<f64>,
    #[serde(default)]
    mean: Option<f64>,
    #[serde(default)]
    std: Option<f64>,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    quantiles: Option<Vec<f64>>,
    #[serde(default)]
    histogram: Option<Named<Histogram>>,
    #[serde(default)]
    categories: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    other: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Histogram {
    edges: Vec<f64>,
    shares: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gain {
    name: String,
    #[allow(dead_code, reason = "its type is what is checked")]
    gain: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    tiers: Vec<f64>,
    dispersion: Vec<f64>,
    #[allow(dead_code, reason = "its type is what is checked")]
    level: Option<f64>,
    #[allow(dead_code, reason = "its type is what is checked")]
    tier: Option<f64>,
}

impl Document {
    /// Reads it and checks all that can be checked without the graph. The schema comes with it.
    pub fn read(json: &str) -> Result<(Self, Schema)> {
        let Named(document): Named<Self> =
            serde_json::from_str(json).map_err(|error| unreadable(format!("{error}.")))?;
        let schema = Schema::from_json(&document.schema)
            .map_err(|error| unreadable(error.detail.unwrap_or(error.message)))?;
        document.check_names()?;
        document.check_schema(&schema)?;
        document.recipe.0.check()?;
        document.statistics.0.check()?;
        document.check_metrics()?;
        document.check_history()?;
        Ok((document, schema))
    }

    fn check_names(&self) -> Result<()> {
        let is_name = !self.model.is_empty() && self.model.len() <= 200;
        if !is_name || self.version < 1 {
            return Err(unreadable("It names no version of a model."));
        }
        let known = |name: &Option<String>, all: &[&str]| {
            (name.as_deref()).is_none_or(|name| all.contains(&name))
        };
        if !known(&self.objective, OBJECTIVES) || !known(&self.backbone, BACKBONES) {
            return Err(unreadable("Its objective or its backbone is not known."));
        }
        if !(0..=LATEST).contains(&self.created_at) {
            return Err(unreadable("It was made at no time that is known."));
        }
        if self.n_rows.is_some_and(|rows| rows < 0)
            || self.training_seconds.is_some_and(|seconds| seconds < 0.0)
        {
            return Err(unreadable("It was trained on less than nothing."));
        }
        match &self.pg_ltv_version {
            Some(version) => short(version, "version"),
            None => Ok(()),
        }
    }

    fn check_schema(&self, schema: &Schema) -> Result<()> {
        const OF: &str = "schema";
        plain(&self.schema, OF)?;
        if !same(&schema.to_json(), &self.schema) {
            return Err(unreadable("Its schema has parts that are not known."));
        }
        let mut names = BTreeSet::new();
        if !(schema.inputs.iter()).all(|input| names.insert(input.name.as_str())) {
            return Err(unreadable("Two of its inputs have one name."));
        }
        let days = &schema.horizons;
        let ascends = days.windows(2).all(|pair| pair[0] < pair[1]);
        let all_days = days.iter().all(|days| days.is_finite() && *days > 0.0);
        if !ascends || !all_days || days.len() > MOST_HORIZONS {
            return Err(unreadable("Its horizons are no horizons."));
        }
        let of_days: Vec<String> = days.iter().map(|days| horizon_output(*days)).collect();
        let known = |name: &String| OUTPUTS.contains(&name.as_str()) || of_days.contains(name);
        if schema.outputs.is_empty() || !schema.outputs.iter().all(known) {
            return Err(unreadable("Its outputs are not known."));
        }
        if (schema.intervals.as_ref()).is_some_and(|intervals| !intervals.is_sound()) {
            return Err(unreadable("Its intervals are none."));
        }
        let is_plain =
            schema.packed.is_none() && schema.graph_outputs.is_empty() && schema.derived.is_empty();
        let fits = match self.source {
            Source::Trained => is_plain && self.objective.is_some(),
            Source::Imported => schema.state.is_none() && days.is_empty(),
        };
        match fits {
            true => Ok(()),
            false => Err(unreadable("Its schema is not one of its kind of version.")),
        }
    }

    fn check_metrics(&self) -> Result<()> {
        const OF: &str = "metrics";
        for (name, value) in &self.metrics {
            short(name, OF)?;
            match (name.as_str(), value) {
                ("evaluated_on", Value::String(text)) => short(text, OF)?,
                ("horizons", Value::Array(each)) => {
                    each.iter().try_for_each(|metrics| numbers(metrics, OF))?;
                }
                ("quantization", Value::Object(report)) => {
                    report.values().try_for_each(|value| plain(value, OF))?;
                }
                ("evaluated_on" | "horizons" | "quantization", _) => {
                    return Err(unreadable("Its metrics are none."));
                }
                _ if value.is_object() => return Err(unreadable("Its metrics are none.")),
                _ => numbers(value, OF)?,
            }
        }
        Ok(())
    }

    fn check_history(&self) -> Result<()> {
        const OF: &str = "history";
        for (name, value) in &self.history {
            short(name, OF)?;
            plain(value, OF)?;
            match (name.as_str(), value) {
                ("epochs", Value::Array(epochs)) => epochs.iter().try_for_each(check_epoch)?,
                ("epochs" | "comparison", _) => {
                    return Err(unreadable("Its history is none."));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_epoch(epoch: &Value) -> Result<()> {
    const OF: &str = "history";
    let Value::Object(parts) = epoch else {
        return Err(unreadable("Its history is none."));
    };
    parts
        .iter()
        .try_for_each(|(key, value)| match key.as_str() {
            "member" | "epoch" => small_whole(value, OF),
            "training" | "validation" => numbers(value, OF),
            _ if value.is_object() => Err(unreadable("Its history is none.")),
            _ => numbers(value, OF),
        })
}

impl Recipe {
    fn check(&self) -> Result<()> {
        const OF: &str = "recipe";
        let texts = [&self.target, &self.id_column, &self.trained_on];
        for text in texts.into_iter().flatten() {
            short(text, OF)?;
        }
        if let Some(hash) = &self.query_sha256
            && (hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(unreadable("The hash of its query is none."));
        }
        let told = |error: Error| unreadable(format!("In its recipe: {}.", error.message));
        Options::from_json(&self.options).map_err(told)?;
        Ok(())
    }
}

impl Statistics {
    fn check(&self) -> Result<()> {
        const OF: &str = "statistics";
        for described in self.features.iter().chain(&self.selection).flatten() {
            described.0.check()?;
        }
        for gain in self.gains.iter().flatten() {
            short(&gain.0.name, OF)?;
        }
        if let Some(Named(target)) = &self.target
            && !matches!(target.payer_quantiles.len(), 0 | 101)
        {
            return Err(unreadable("The quantiles of its target are none."));
        }
        if let Some(Named(spread)) = &self.spread
            && (spread.dispersion.len() != spread.tiers.len() + 1 || !ascends(&spread.tiers))
        {
            return Err(unreadable("The spread of its predictions is none."));
        }
        if self.horizon.is_some_and(|days| days <= 0.0) {
            return Err(unreadable("Its horizon is none."));
        }
        if let Some(Named(drawn)) = &self.sample
            && (drawn.rows_read < 0 || !(0.0..=1.0).contains(&drawn.share))
        {
            return Err(unreadable(
                "The share of the customers that it learned from is none.",
            ));
        }
        let others = [
            &self.calibration,
            &self.ageing,
            &self.trees,
            &self.bgnbd,
            &self.season_factor,
            &self.parameters,
        ];
        others.into_iter().try_for_each(|value| plain(value, OF))
    }
}

impl Described {
    fn check(&self) -> Result<()> {
        const OF: &str = "statistics";
        short(&self.name, OF)?;
        short(&self.kind, OF)?;
        let wrong = || unreadable(format!("What it says of \"{}\" is not sound.", self.name));
        let is_share = |share: f64| (-1e-9..=1.0 + 1e-9).contains(&share);
        let shares = [self.missing, self.other];
        if self.n < 0 || !shares.into_iter().flatten().all(is_share) {
            return Err(wrong());
        }
        if let Some(Named(histogram)) = &self.histogram {
            let fits = histogram.shares.len() == histogram.edges.len() + 1;
            if !fits || !ascends(&histogram.edges) || !histogram.shares.iter().all(|s| is_share(*s))
            {
                return Err(wrong());
            }
        }
        if (self.quantiles.as_ref()).is_some_and(|quantiles| quantiles.len() != 21) {
            return Err(wrong());
        }
        for (name, share) in self.categories.iter().flatten() {
            if name.contains('\0') || !is_share(*share) {
                return Err(wrong());
            }
        }
        let numbers = [self.mean, self.std, self.min, self.max];
        match numbers
            .into_iter()
            .flatten()
            .all(|number| number.abs() < 1e300)
        {
            true => Ok(()),
            false => Err(wrong()),
        }
    }
}

fn ascends(numbers: &[f64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] <= pair[1])
}
