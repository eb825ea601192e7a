//! What a comparison tries: objectives, backbones, values of options, and for how long.

use super::{BACKBONES, OBJECTIVES, OPTIONS, Options, TREES, reads_sequences};
use crate::error::{Error, Result};
use crate::trees;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Combinations that are written out before some of them are drawn.
const MOST_COMBINATIONS: usize = 10_000;
/// Candidates at most: each combination with each objective and backbone.
const MOST_CANDIDATES: usize = 10_000;
/// Seconds for the candidates where nothing is said.
const BUDGET: f64 = 600.0;
const LONGEST: f64 = 1e7;

/// What a comparison tries.
#[derive(Clone, Debug, PartialEq)]
pub struct Compare {
    /// In the order in which they are tried: the strongest, by experience, first.
    pub candidates: Vec<Candidate>,
    /// Seconds for all candidates together.
    pub budget_seconds: f64,
    /// Candidates trained at most.
    pub trials: usize,
}

/// What a candidate cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any rows will do.
    Nothing,
    /// A sequence column.
    Sequence,
    /// The columns that BG/NBD reads, and the horizon.
    Histories,
}

/// One combination of objective, backbone and options.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What reports call it.
    pub name: String,
    /// Its objective.
    pub objective: String,
    /// Its backbone; not read by objective `bgnbd`.
    pub backbone: String,
    /// The caller's options with what makes this candidate, as they would be given to `ltv_train`.
    pub options: Map<String, Value>,
    /// The part of them that makes this candidate.
    pub settings: Map<String, Value>,
    /// Without this it is left out.
    pub needs: Needs,
    /// Named by the caller; others are left out without a word where they cannot be trained.
    pub wanted: bool,
}

impl Compare {
    /// `given`: objectives, backbones, search, trials, budget (seconds), each of which may be missing.
    pub fn from_json(given: &Value, options: &Value) -> Result<Self> {
        let options = match options {
            Value::Object(options) => options.clone(),
            _ => Map::new(),
        };
        let checked = Options::from_json(&Value::Object(options.clone()))?;
        let objectives = words(given, "objectives", OBJECTIVES)?;
        let backbones = words(given, "backbones", BACKBONES)?;
        let grid = combinations(&given["search"], checked.seed)?;
        let trials = number(given, "trials", 1.0, 1e6)?.map_or(usize::MAX, |n| n as usize);
        let budget_seconds = number(given, "budget", 1.0, LONGEST)?.unwrap_or(BUDGET);
        if objectives.iter().flatten().any(|name| name == "sbg") {
            return Err(Error::invalid("objective \"sbg\" cannot be compared")
                .detail("It is for customers under contract, the others are for customers without.")
                .hint("Train it with ltv_train."));
        }
        if objectives.iter().flatten().any(|name| name == "purchase") {
            return Err(Error::invalid("objective \"purchase\" cannot be compared")
                .detail("It predicts whether a customer buys, not how much.")
                .hint("Train it with ltv_train, or compare objectives that predict money."));
        }

        let mut candidates = Candidates {
            list: Vec::new(),
            options,
        };
        let is_named = objectives.is_some() || backbones.is_some();
        if is_named || !given["search"].is_null() {
            let of = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let objectives = objectives.unwrap_or_else(|| match is_named {
                true => of(&["ziln", "expltv", "cmltv"]),
                false => of(&["ziln"]),
            });
            let backbones = backbones.unwrap_or_else(|| match is_named {
                true => of(&["mlp", "linear", "deepfm"]),
                false => of(&["mlp"]),
            });
            let pairs = objectives.len() * backbones.len();
            if pairs * grid.len() > MOST_CANDIDATES {
                return Err(Error::invalid("there are too many candidates to compare")
                    .detail(format!(
                        "{} combinations of values, each with {} objectives and {} backbones, are more than {MOST_CANDIDATES}.",
                        grid.len(),
                        objectives.len(),
                        backbones.len()
                    ))
                    .hint("List fewer values in search, or fewer objectives and backbones."));
            }
            // All pairs with the first values, then all with the second: a budget cuts off the same from each.
            for settings in &grid {
                for objective in &objectives {
                    for backbone in &backbones {
                        let is_tree = backbone == TREES;
                        if is_tree && pairs > 1 && !trees::OBJECTIVES.contains(&objective.as_str())
                        {
                            continue;
                        }
                        candidates.add(objective, backbone, settings, true);
                    }
                }
            }
        }
        if !is_named {
            for (objective, backbone, settings) in strong() {
                if let Value::Object(settings) = settings {
                    candidates.add(objective, backbone, &settings, false);
                }
            }
        }
        for candidate in &candidates.list {
            Options::from_json(&Value::Object(candidate.options.clone()))?;
        }
        Ok(Self {
            candidates: candidates.list,
            budget_seconds,
            trials,
        })
    }
}

/// What is tried where nothing is named: first what `ltv_train` does by default. Each has been the best somewhere, and
/// none takes much longer than the first.
fn strong() -> Vec<(&'static str, &'static str, Value)> {
    let wide = json!({"hidden_sizes": [128, 64, 32]});
    vec![
        ("ziln", "mlp", json!({})),
        ("ziln", "trees", json!({})),
        ("ziln", "mlp", json!({"blend_bgnbd": false})),
        ("ziln", "linear", json!({})),
        ("ziln", "deepfm", json!({})),
        ("bgnbd", "mlp", json!({})),
        ("ziln", "gru", json!({})),
        ("expltv", "mlp", json!({})),
        ("cmltv", "mlp", json!({})),
        ("ziln", "mlp", wide),
        ("ziln", "dcn", json!({})),
    ]
}

struct Candidates {
    list: Vec<Candidate>,
    options: Map<String, Value>,
}

impl Candidates {
    fn add(
        &mut self,
        objective: &str,
        backbone: &str,
        settings: &Map<String, Value>,
        wanted: bool,
    ) {
        let mut settings = settings.clone();
        if !wanted {
            // What the caller says for all holds for these as well.
            settings.retain(|key, _| !self.options.contains_key(key));
        }
        // With or without the blend is a question only where there can be one.
        let is_about_blend = settings.contains_key("blend_bgnbd");
        let needs = match (objective, backbone) {
            ("bgnbd", _) => Needs::Histories,
            (_, backbone) if reads_sequences(backbone) => Needs::Sequence,
            _ if is_about_blend => Needs::Histories,
            _ => Needs::Nothing,
        };
        if objective == "bgnbd" {
            // It has no network that options could change.
            settings.clear();
        }
        let mut options = self.options.clone();
        options.extend(settings.clone());
        let mut name = match objective {
            "bgnbd" => objective.to_owned(),
            _ => format!("{objective} {backbone}"),
        };
        for (key, value) in &settings {
            match (key.as_str(), value) {
                ("blend_bgnbd", Value::Bool(false)) => name.push_str(" without bgnbd"),
                ("blend_bgnbd", _) => name.push_str(" + bgnbd"),
                _ => name.push_str(&format!(", {key} {value}")),
            }
        }
        if self.list.iter().all(|other| other.name != name) {
            self.list.push(Candidate {
                name,
                objective: objective.to_owned(),
                backbone: backbone.to_owned(),
                options,
                settings,
                needs,
                wanted,
            });
        }
    }
}

/// A list of words out of `allowed`; `None` where it is not given.
fn words(given: &Value, key: &str, allowed: &[&str]) -> Result<Option<Vec<String>>> {
    let list = match &given[key] {
        Value::Null => return Ok(None),
        Value::Array(list) => list,
        _ => return Err(Error::invalid(format!("{key} must be a list"))),
    };
    let words: Vec<String> = list
        .iter()
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    match words.iter().find(|word| !allowed.contains(&word.as_str())) {
        Some(word) => Err(Error::invalid(format!("{key} has an unknown \"{word}\""))
            .detail(format!("Known are {}.", allowed.join(", ")))),
        None if words.is_empty() || words.len() < list.len() || list.len() > allowed.len() => {
            Err(Error::invalid(format!(
                "{key} must name one or more of {}",
                allowed.join(", ")
            )))
        }
        None => Ok(Some(words)),
    }
}

fn number(given: &Value, key: &str, least: f64, most: f64) -> Result<Option<f64>> {
    match &given[key] {
        Value::Null => Ok(None),
        value => match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(
                Error::invalid(format!("{key} must be between {least} and {most}"))
                    .detail(format!("Got {value}.")),
            ),
        },
    }
}

/// Every combination of the values to be searched, in an order drawn by the seed: whatever a budget leaves is a
/// sample of all. The first takes the first value of each.
fn combinations(search: &Value, seed: u64) -> Result<Vec<Map<String, Value>>> {
    let hint =
        "Write it as '{\"learning_rate\": [0.001, 0.003], \"hidden_sizes\": [[64], [128, 64]]}'.";
    let search = match search {
        Value::Null => return Ok(vec![Map::new()]),
        Value::Object(search) => search,
        other => {
            return Err(Error::invalid("search must be a JSON object of lists")
                .detail(format!("Got {other}."))
                .hint(hint));
        }
    };
    let mut all = vec![Map::new()];
    for (key, values) in search {
        let values = match values {
            Value::Array(values) if !values.is_empty() => values,
            other => {
                return Err(Error::invalid(format!(
                    "search of \"{key}\" must be a list of values"
                ))
                .detail(format!("Got {other}."))
                .hint(hint));
            }
        };
        let doc = OPTIONS.iter().find(|doc| doc.key == key);
        if let Some((doc, value)) = doc.and_then(|doc| {
            let wrong = values.iter().find(|value| !doc.kind.accepts(value))?;
            Some((doc, wrong))
        }) {
            return Err(Error::invalid(format!(
                "search of \"{key}\" must be a list of values that are each {}",
                doc.kind
            ))
            .detail(format!("Got {value}."))
            .hint(hint));
        }
        if all.len() * values.len() > MOST_COMBINATIONS {
            return Err(Error::invalid("search has too many combinations")
                .detail(format!("There may be {MOST_COMBINATIONS}."))
                .hint("List fewer values."));
        }
        all = all
            .into_iter()
            .flat_map(|combination| {
                values.iter().map(move |value| {
                    let mut more = combination.clone();
                    more.insert(key.clone(), value.clone());
                    more
                })
            })
            .collect();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for last in (2..all.len()).rev() {
        all.swap(last, random.random_range(1..=last));
    }
    Ok(all)
}
