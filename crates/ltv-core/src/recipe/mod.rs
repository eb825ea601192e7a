//! What a job was asked to do: stored with the job and with every version, so that it can be repeated.

mod compare;
mod kind;
mod options;
mod presets;

pub use compare::{Candidate, Compare, Needs};
pub use kind::Kind;
pub use options::{OPTIONS, OptionDoc, Options, reference};
pub use presets::Preset;

use crate::error::{Error, Result};
use serde_json::{Value, json};

/// The backbones by name.
pub const BACKBONES: &[&str] = &[
    "linear",
    USUAL_BACKBONE,
    "deepfm",
    "dcn",
    "lstm",
    "gru",
    "transformer",
    "tft",
    TREES,
];

/// The backbone of a model that does not say which.
pub const USUAL_BACKBONE: &str = "mlp";

/// The backbone that is no network: boosted trees.
pub const TREES: &str = "trees";

/// The objectives by name.
pub const OBJECTIVES: &[&str] = &[
    "mse", "huber", "tweedie", "purchase", "ziln", "cmltv", "expltv", "bgnbd", "sbg",
];

/// Whether an objective is a law of a few numbers, without a network or trees.
pub fn is_law(objective: &str) -> bool {
    matches!(objective, "bgnbd" | "sbg")
}

/// Whether a backbone needs a sequence column.
pub fn reads_sequences(backbone: &str) -> bool {
    matches!(backbone, "lstm" | "gru" | "transformer" | "tft")
}

/// What a training was asked for; stored with every version.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The relation that the rows come from, as the user wrote it.
    pub relation: Option<String>,
    /// The query that the rows come from.
    pub query: Option<String>,
    /// The column with the money spent in the horizon.
    pub target: String,
    /// The column that tells customers apart.
    pub id_column: String,
    /// One of [`OBJECTIVES`], or [`AUTO`].
    pub objective: String,
    /// One of [`BACKBONES`].
    pub backbone: String,
    /// The columns to learn from; by default all others.
    pub features: Option<Vec<String>>,
    /// A boolean column that is true for validation rows.
    pub split_column: Option<String>,
    /// How to train.
    pub options: Options,
    /// The preset that objective, backbone and options came from.
    pub preset: Option<String>,
    /// What is tried where the objective is `auto`.
    pub compare: Option<Compare>,
    /// Weights of an earlier version to continue from; not part of the JSON.
    pub warm_start: Option<Vec<u8>>,
    /// Bytes that networks and their batches may take; not part of the JSON.
    pub memory: Option<usize>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            relation: None,
            query: None,
            target: "ltv".to_owned(),
            id_column: "customer_id".to_owned(),
            objective: "ziln".to_owned(),
            backbone: USUAL_BACKBONE.to_owned(),
            features: None,
            split_column: None,
            options: Options::default(),
            preset: None,
            compare: None,
            warm_start: None,
            memory: None,
        }
    }
}

/// The objective that stands for a comparison of others.
pub const AUTO: &str = "auto";

impl Recipe {
    /// Reads what `ltv_train` was given; an error names the entry that is wrong and what is allowed.
    pub fn from_json(value: &Value) -> Result<Self> {
        let default = Self::default();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let features = match &value["features"] {
            Value::Array(names) => Some(
                names
                    .iter()
                    .filter_map(|name| name.as_str().map(str::to_owned))
                    .collect(),
            ),
            _ => None,
        };
        // What the caller says wins over the preset.
        let (mut objective, mut backbone) = (text("objective"), text("backbone"));
        let options = match text("preset") {
            None => Options::from_json(&value["options"])?,
            Some(name) => {
                let preset = Preset::find(&name)?;
                objective = objective.or_else(|| Some(preset.objective.clone()));
                backbone = backbone.or_else(|| preset.backbone.clone());
                Options::from_json(&preset.options_with(&value["options"]))?
            }
        };
        let compare = match objective.as_deref() {
            Some(AUTO) => {
                if let Some(preset) = text("preset") {
                    return Err(Error::invalid("a preset leaves nothing to compare")
                        .detail(format!("Preset \"{preset}\" names one objective, and objective \"{AUTO}\" tries several."))
                        .hint("Leave out one of them."));
                }
                objective = None;
                Some(Compare::from_json(&value["compare"], &value["options"])?)
            }
            _ => None,
        };
        let recipe = Self {
            relation: text("relation"),
            query: text("query"),
            target: text("target").unwrap_or(default.target),
            id_column: text("id_column").unwrap_or(default.id_column),
            objective: one_of("objective", objective, OBJECTIVES, "ziln")?,
            backbone: one_of("backbone", backbone, BACKBONES, USUAL_BACKBONE)?,
            features,
            split_column: text("split_column"),
            options,
            preset: text("preset"),
            compare,
            warm_start: None,
            memory: None,
        };
        if recipe.compare.is_none() {
            recipe.check_trees()?;
        }
        Ok(recipe)
    }

    /// Trees take some of the objectives, and none of the options of networks.
    pub fn check_trees(&self) -> Result<()> {
        if self.backbone != TREES || is_law(&self.objective) {
            return self.options.refuse_directions(&self.backbone);
        }
        if !crate::trees::OBJECTIVES.contains(&self.objective.as_str()) {
            return Err(crate::trees::Head::refused(&self.objective));
        }
        self.options.refuse_for_trees()
    }

    /// The length of the prediction window in days, which a law of `learned` cannot know by itself.
    pub fn window(&self, law: &str, learned: &str, example: u32) -> Result<f64> {
        self.options.horizon.ok_or_else(|| {
            Error::invalid(format!("{law} needs the option \"horizon\""))
                .detail(format!("It learns {learned}, not how long the prediction window is."))
                .hint(format!("Give its length in days, for example options => '{{\"horizon\": {example}}}'; a relation made by ltv_create_features brings it along."))
        })
    }

    /// As it is stored with the version.
    pub fn to_json(&self) -> Value {
        json!({
            "relation": self.relation,
            "query": self.query,
            "target": self.target,
            "id_column": self.id_column,
            "objective": self.objective,
            "backbone": self.backbone,
            "features": self.features,
            "split_column": self.split_column,
            "options": self.options.to_json(),
            "preset": self.preset,
        })
    }
}

fn one_of(what: &str, value: Option<String>, allowed: &[&str], default: &str) -> Result<String> {
    let value = value.unwrap_or_else(|| default.to_owned());
    if allowed.contains(&value.as_str()) {
        return Ok(value);
    }
    Err(Error::invalid(format!("unknown {what} \"{value}\""))
        .detail(format!(
            "The {what}s are {}{}.",
            allowed.join(", "),
            if what == "objective" {
                ", and auto"
            } else {
                ""
            }
        ))
        .hint(format!(
            "Use one of them, or leave {what} out for the default, {default}."
        )))
}
