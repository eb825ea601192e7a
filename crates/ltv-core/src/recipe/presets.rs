//! Presets: published models with their settings, by name. The files are in the folder `models` of the project.

use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A published model. What it leaves open is left to the defaults.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Where the model and its settings come from.
    pub source: String,
    /// Its objective.
    pub objective: String,
    /// Its backbone, where the objective has one.
    pub backbone: Option<String>,
    /// Its options.
    #[serde(default)]
    pub options: Map<String, Value>,
}

macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        const FILES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../../models/", $name, ".toml")))),+
        ];
    };
}

presets!(
    "bgnbd",
    "cmltv",
    "dcn",
    "dcn_v2",
    "deepfm",
    "expltv",
    "gru",
    "lstm",
    "sbg",
    "tft",
    "transformer",
    "trees",
    "ziln",
    "ziln_linear",
);

impl Preset {
    /// The names of all presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The preset of this name; an error lists those there are.
    pub fn find(name: &str) -> Result<Self> {
        let Some((_, text)) = FILES.iter().find(|(other, _)| *other == name) else {
            let names: Vec<&str> = Self::names().collect();
            return Err(Error::invalid(format!("unknown preset \"{name}\""))
                .detail(format!("The presets are {}.", names.join(", ")))
                .hint("Use one of them, or name objective and backbone instead."));
        };
        toml::from_str(text).map_err(|error| {
            Error::internal(format!("preset \"{name}\" cannot be read")).detail(error.to_string())
        })
    }

    /// The preset's options with the caller's on top.
    pub fn options_with(self, options: &Value) -> Value {
        match options {
            Value::Null => Value::Object(self.options),
            Value::Object(given) => {
                let mut merged = self.options;
                merged.extend(given.clone());
                Value::Object(merged)
            }
            // Not an object: the options' own check says so.
            other => other.clone(),
        }
    }
}
