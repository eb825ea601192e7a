//! Every option of `ltv_train`, declared once: name, type, default, allowed values, meaning. Parsing, error
//! messages and the documentation all come from this table.

use super::kind::{Kind, OptionValue};
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;

/// One line of the reference.
#[derive(Clone, Copy, Debug)]
pub struct OptionDoc {
    /// The heading that it stands under.
    pub group: &'static str,
    /// The name of the option.
    pub key: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// What it means, line by line.
    pub doc: &'static [&'static str],
}

macro_rules! options {
    ($($group:literal { $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr, $kind:expr;)+ })+) => {
        /// What a training can be told; the defaults give a good model.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        pub struct Options {
            $($($(#[doc = $doc])+ pub $key: $type,)+)+
        }

        impl Default for Options {
            fn default() -> Self {
                Self { $($($key: $default,)+)+ }
            }
        }

        /// The reference, in the order of the declaration.
        pub static OPTIONS: &[OptionDoc] = &[
            $($(OptionDoc {
                group: $group,
                key: stringify!($key),
                kind: $kind,
                doc: &[$($doc),+],
            },)+)+
        ];

        impl Options {
            /// Sets the option from a value that its kind has accepted.
            fn set(&mut self, key: &str, value: &Value) -> Option<()> {
                match key {
                    $($(stringify!($key) => self.$key = OptionValue::from_json(value)?,)+)+
                    _ => return None,
                }
                Some(())
            }
        }
    };
}

use Kind::{Boolean, Choice, Choices, Columns, Device, Integer, Integers, Number, Numbers};

/// Epochs of all networks together: the history has an entry for each.
const MOST_EPOCHS: usize = 500_000;
/// Leaves of all members together, for each parameter of the objective.
const MOST_LEAVES: usize = 2_000_000;
/// Networks of a model that does not say how many.
const USUAL_NETWORKS: usize = 5;
/// What trees have no use for, and what they have instead.
const FOR_NETWORKS: &[(&str, Option<&str>)] = &[
    ("epochs", Some("rounds")),
    ("batch_size", None),
    ("learning_rate", Some("tree_learning_rate")),
    ("optimizer", None),
    ("weight_decay", Some("l2")),
    ("clip_norm", None),
    ("patience", Some("round_patience")),
    ("learning_rate_patience", None),
    ("learning_rate_factor", None),
    ("min_learning_rate", None),
    ("early_stopping_metric", None),
    ("blend_trees", None),
    ("stratified_batches", None),
    ("log_transform", None),
    ("log_columns", None),
    ("clip_features", None),
    ("range_margin", None),
    ("max_timesteps", None),
    ("hidden_sizes", Some("leaves")),
    ("dropout", None),
    ("batch_norm", None),
    ("embedding_size", None),
    ("fm_size", None),
    ("cross_layers", None),
    ("cross_version", None),
    ("cross_rank", None),
    ("recurrent_sizes", None),
    ("attention_size", None),
    ("attention_heads", None),
    ("attention_layers", None),
    ("feed_forward_size", None),
];
const SEED_MAX: i64 = 9_007_199_254_740_991;

options! {
    "training" {
        /// Epochs at most; early stopping usually ends before.
        epochs: usize = 100, Integer { min: 1, max: 100_000 };
        /// Rows per step. By default chosen from the number of rows; larger on a GPU, with a larger learning rate.
        batch_size: Option<usize> = None, Integer { min: 1, max: 1_048_576 };
        /// Rows of an epoch. Where there are more in memory, on a CPU, an epoch is a part of them, and the next one goes on with the rest. By default a 32nd of the rows, and at least 16384.
        epoch_rows: Option<usize> = None, Integer { min: 1, max: 1_000_000_000 };
        /// Step length of the optimiser at the start.
        learning_rate: f64 = 2e-3, Number { min: 1e-8, max: 10.0 };
        /// The optimiser; `adamw` is `adam` with weight decay apart from the gradient.
        optimizer: String = "adamw".to_owned(), Choice(&["adam", "adamw"]);
        /// Weight decay (`adamw`) or L2 penalty (`adam`).
        weight_decay: f64 = 1e-2, Number { min: 0.0, max: 10.0 };
        /// Gradients are scaled down to this norm at most; 0 switches it off.
        clip_norm: f64 = 1.0, Number { min: 0.0, max: 1e6 };
        /// Epochs without a better validation value before training stops.
        patience: usize = 15, Integer { min: 1, max: 100_000 };
        /// Epochs without a better validation value before the learning rate is reduced.
        learning_rate_patience: usize = 5, Integer { min: 1, max: 100_000 };
        /// What the learning rate is multiplied with when it is reduced.
        learning_rate_factor: f64 = 0.5, Number { min: 0.01, max: 1.0 };
        /// The learning rate is not reduced below this.
        min_learning_rate: f64 = 1e-5, Number { min: 0.0, max: 10.0 };
        /// What decides which epoch is the best: the validation loss, or a metric. `auto`: AUC for objective `purchase`, the loss otherwise.
        early_stopping_metric: String = "auto".to_owned(), Choice(&["auto", "loss", "auc", "normalized_gini", "spearman"]);
        /// Share of the customers kept for validation, unless a split column says which.
        validation_share: f64 = 0.2, Number { min: 0.0, max: 0.9 };
        /// Same data, seed and threads give the same model, bit for bit, on the CPU.
        seed: u64 = 42, Integer { min: 0, max: SEED_MAX };
        /// Threads for the computation. By default the setting ltv.training_threads.
        threads: Option<usize> = None, Integer { min: 1, max: 256 };
        /// Where to compute. `auto`: a GPU where there is one that can be used and the rows are worth it, otherwise the CPU. `cuda`: the GPU with the most free memory.
        device: String = "auto".to_owned(), Device;
        /// Seconds after which training stops with the best weights so far; by default no limit.
        max_seconds: Option<f64> = None, Number { min: 0.1, max: 1e9 };
        /// Draw batches so that each has its share of paying customers. By default where the objective needs it.
        stratified_batches: Option<bool> = None, Boolean;
    }
    "data" {
        /// Rows that are learned from at most. Each time that there are more, half of the customers are left out with all their rows, drawn by a hash of the id.
        /// 0: all rows.
        max_rows: usize = 5_000_000, Integer { min: 0, max: SEED_MAX };
        /// Integer columns to be treated as categories.
        categorical: Vec<String> = Vec::new(), Columns;
        /// A category must occur so often in the training rows to get an id of its own.
        min_count: usize = 5, Integer { min: 1, max: 1_000_000_000 };
        /// The most frequent categories kept per column; the others share the id of unseen values.
        max_categories: usize = 10_000, Integer { min: 1, max: 1_000_000 };
        /// Signed logarithm of numeric columns: where the training skewness is above 2 (`auto`), of all, or of none.
        log_transform: String = "auto".to_owned(), Choice(&["auto", "all", "none"]);
        /// Columns that get the signed logarithm whatever their skewness.
        log_columns: Vec<String> = Vec::new(), Columns;
        /// Standardised values are limited to plus or minus this. By default 4 for `dcn`, whose cross layers multiply them with each other, and 10 elsewhere.
        clip_features: Option<f64> = None, Number { min: 1.0, max: 1000.0 };
        /// Values outside the range seen in training are moved to its ends, this many standard deviations further out.
        range_margin: f64 = 0.25, Number { min: 0.0, max: 1000.0 };
        /// Steps of a sequence that the model sees, the newest ones.
        max_timesteps: usize = 50, Integer { min: 1, max: 10_000 };
    }
    "backbone" {
        /// Widths of the hidden layers of `mlp` and of the deep part of `deepfm`, `dcn` and the sequence backbones. By default `[64, 32]` for `mlp` in an average of
        /// networks, but for `cmltv` and `expltv`, and `[128, 64, 32]` elsewhere.
        hidden_sizes: Option<Vec<usize>> = None, Integers { min: 1, max: 65_536, longest: 32 };
        /// Share of hidden values set to 0 in training. By default 0.1 for `cmltv`, whose views have hidden layers of their own, and 0.3 elsewhere.
        dropout: Option<f64> = None, Number { min: 0.0, max: 0.95 };
        /// Batch normalisation before ReLU. By default on for `deepfm` and off elsewhere.
        batch_norm: Option<bool> = None, Boolean;
        /// Width of the embeddings of categories. By default min(50, round(1.6 * categories^0.56)).
        embedding_size: Option<usize> = None, Integer { min: 1, max: 4096 };
        /// `deepfm`: common width of the field embeddings.
        fm_size: usize = 8, Integer { min: 1, max: 1024 };
        /// `dcn`: number of cross layers.
        cross_layers: usize = 2, Integer { min: 1, max: 32 };
        /// `dcn`: the matrix weight of DCN-v2 or the vector weight of the first version.
        cross_version: String = "v2".to_owned(), Choice(&["v1", "v2"]);
        /// `dcn`, version 2: rank of the weight matrix. By default full.
        cross_rank: Option<usize> = None, Integer { min: 1, max: 65_536 };
        /// `lstm`, `gru`: widths of the recurrent layers.
        recurrent_sizes: Vec<usize> = vec![64, 32], Integers { min: 1, max: 8192, longest: 8 };
        /// `transformer`, `tft`: width of the model; a multiple of `attention_heads`.
        attention_size: usize = 32, Integer { min: 1, max: 8192 };
        /// `transformer`, `tft`: attention heads.
        attention_heads: usize = 4, Integer { min: 1, max: 64 };
        /// `transformer`: encoder blocks.
        attention_layers: usize = 2, Integer { min: 1, max: 32 };
        /// `transformer`: width inside the feed-forward part of a block.
        feed_forward_size: usize = 64, Integer { min: 1, max: 65_536 };
    }
    "trees" {
        /// Rounds at most; in each a tree is grown for each parameter of the objective. Where no row is for validation, 100 at most.
        rounds: usize = 1000, Integer { min: 1, max: 20_000 };
        /// Rounds without a lower loss on the validation rows before boosting stops. By default 50, and 20 beside networks.
        round_patience: Option<usize> = None, Integer { min: 1, max: 20_000 };
        /// What the values of a tree are multiplied with: the lower, the more rounds. By default 0.03, and 0.2 beside networks.
        tree_learning_rate: Option<f64> = None, Number { min: 1e-4, max: 1.0 };
        /// Leaves of a tree at most.
        leaves: usize = 15, Integer { min: 2, max: 1024 };
        /// Rows in a leaf at least, estimated from their Hessians.
        min_data_in_leaf: usize = 50, Integer { min: 1, max: 100_000_000 };
        /// Sum of the Hessians in a leaf at least.
        min_hessian_in_leaf: f64 = 1e-3, Number { min: 0.0, max: 1e12 };
        /// What is added to the sum of the Hessians of a leaf, so that its value is nearer to 0.
        l2: f64 = 1.0, Number { min: 0.0, max: 1e12 };
        /// Share of the rows that each round sees, drawn anew.
        row_share: f64 = 0.8, Number { min: 0.01, max: 1.0 };
        /// Share of the columns that each tree sees, drawn anew.
        column_share: f64 = 0.8, Number { min: 0.01, max: 1.0 };
        /// Bins for the values of a column at most; missing values have one more.
        max_bins: usize = 255, Integer { min: 2, max: 255 };
        /// Columns with which the expected value does not fall, all else being equal.
        monotone_increasing: Vec<String> = Vec::new(), Columns;
        /// Columns with which the expected value does not rise, all else being equal.
        monotone_decreasing: Vec<String> = Vec::new(), Columns;
    }
    "objective" {
        /// `sbg`: length of the period of a contract in days. By default a month.
        period: f64 = 30.4375, Number { min: 1.0, max: 3653.0 };
        /// Length of the prediction window in days, which `bgnbd` and `sbg` need. By default that of the relation's features.
        horizon: Option<f64> = None, Number { min: 0.01, max: 1e5 };
        /// Learn what is spent by the end of shorter horizons too: the columns `ltv_<days>`, and `ltv`, whose horizon is shorter than the target's. By default where there are
        /// such columns and the objective is `mse`, `huber`, `tweedie`, `ziln` or `bgnbd`; `true` makes it an error where it cannot be done.
        horizons: Option<bool> = None, Boolean;
        /// `mse`, `huber`: fit y itself or log(1 + y).
        target_transform: String = "log1p".to_owned(), Choice(&["none", "log1p"]);
        /// `huber`: errors above this count linearly, in units of the mean amount of a payer, or of log(1 + y).
        huber_delta: f64 = 1.0, Number { min: 1e-6, max: 1e12 };
        /// `tweedie`: the variance grows with the mean to this power; near 1 like counts of purchases, near 2 like their amounts.
        tweedie_power: f64 = 1.5, Number { min: 1.01, max: 1.99 };
        /// `ziln`, `expltv`: lower limit of sigma.
        sigma_floor: f64 = 1e-3, Number { min: 1e-6, max: 1.0 };
        /// `cmltv`: the law of the distribution view.
        view_distribution: String = "gamma".to_owned(), Choice(&["gamma", "lognormal"]);
        /// `cmltv`: the views in use.
        views: Vec<String> = vec!["distribution".to_owned(), "log".to_owned(), "class".to_owned()], Choices(&["distribution", "log", "class"]);
        /// `cmltv`: weights of the distribution, log and class views in the prediction.
        view_weights: Vec<f64> = vec![0.3, 0.3, 0.4], Numbers { min: 0.0, max: 1.0, count: 3 };
        /// `cmltv`, `expltv`: widths of the hidden layers of each view, gate and expert.
        head_hidden_sizes: Vec<usize> = vec![32], Integers { min: 1, max: 65_536, longest: 8 };
        /// `cmltv`: weight of the purchase loss.
        purchase_weight: f64 = 1.0, Number { min: 0.0, max: 1e6 };
        /// `cmltv`: weights of the losses of the distribution, log and class views.
        regression_weights: Vec<f64> = vec![1.0, 1.0, 1.0], Numbers { min: 0.0, max: 1e6, count: 3 };
        /// `cmltv`: weight of the classification contrast; 0 switches it off.
        classification_contrast: f64 = 0.1, Number { min: 0.0, max: 1e6 };
        /// `cmltv`: weight of the regression contrasts; 0 switches them off.
        regression_contrast: f64 = 0.1, Number { min: 0.0, max: 1e6 };
        /// `cmltv`: pairs of paying customers sampled per batch at most.
        contrast_pairs: usize = 4096, Integer { min: 1, max: 10_000_000 };
        /// `expltv`: customers who spend at least this are whales. By default from `whale_quantile`.
        whale_threshold: Option<f64> = None, Number { min: 1e-9, max: 1e15 };
        /// `expltv`: quantile of the paying customers' spend from which on they are whales.
        whale_quantile: f64 = 0.93, Number { min: 0.01, max: 0.9999 };
        /// `expltv`: weight of the whale detection; 0 switches it off.
        whale_weight: f64 = 1.0, Number { min: 0.0, max: 1e6 };
        /// `expltv`: weight of the value loss beside purchase and whale detection.
        value_weight: f64 = 1.0, Number { min: 0.0, max: 1e6 };
        /// `expltv`: a whale and a general expert (2) or one for all (1).
        experts: usize = 2, Integer { min: 1, max: 2 };
    }
    "result" {
        /// Networks averaged inside one graph. With more than one, training and validation rows are dealt into as many folds, and each network
        /// is trained on all folds but one, which stops it. By default 5 up to 50,000 rows, 3 up to 100,000 (200,000 with several cut-offs), else 1.
        ensemble: Option<usize> = None, Integer { min: 1, max: 64 };
        /// Average the networks' value with that of MBG/NBD and Gamma-Gamma, weighed by customers that the networks were not trained on: the best weight up to
        /// 0.8, at least the largest up to one half that costs them little, because the model is for a later time. By default where the features that BG/NBD reads
        /// are there, `horizon` is known, and there are several cut-offs or networks.
        blend_bgnbd: Option<bool> = None, Boolean;
        /// Grow trees beside the networks, on the same folds, and average the two, weighed by customers that neither was trained on; whoever does not help is left
        /// out of the graph. By default beside `mlp` with `ziln`, from 1000 rows on.
        blend_trees: Option<bool> = None, Boolean;
        /// What networks expect of customers who have been silent for longer than any in the training falls with a power of their silence, fitted to the most silent ones
        /// of the training. Where there is a feature `recency` and `horizon` is known.
        ageing: bool = true, Boolean;
        /// Monotone correction of the expected value, fitted on rows that the network was not trained on and kept in the graph: `total`, `power` (total and
        /// slope), `curve` (these, then each twentieth of the customers by prediction, as far as its paying rows allow), or `none`. `auto`: `curve`. Cut-offs that know
        /// more of the past count for more.
        calibration: String = "auto".to_owned(), Choice(&["auto", "none", "total", "power", "curve"]);
    }
}

impl Options {
    /// From the `options` argument of `ltv_train`. NULL as a value means the default.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut options = Self::default();
        let object = match value {
            Value::Null => return Ok(options),
            Value::Object(object) => object,
            other => {
                return Err(Error::invalid("options must be a JSON object")
                    .detail(format!("Got {other}."))
                    .hint("Write it as '{\"epochs\": 50, \"learning_rate\": 0.001}'."));
            }
        };
        for (key, value) in object {
            let Some(doc) = OPTIONS.iter().find(|doc| doc.key == key) else {
                return Err(unknown(key));
            };
            if value.is_null() {
                continue;
            }
            if !doc.kind.accepts(value) || options.set(key, value).is_none() {
                return Err(
                    Error::invalid(format!("option \"{key}\" must be {}", doc.kind))
                        .detail(format!("Got {value}."))
                        .hint(joined(doc.doc)),
                );
            }
        }
        if options.attention_size % options.attention_heads != 0 {
            return Err(Error::invalid(
                "option \"attention_size\" must be a multiple of \"attention_heads\"",
            )
            .detail(format!(
                "Got {} and {}.",
                options.attention_size, options.attention_heads
            )));
        }
        let networks = options.ensemble.unwrap_or(USUAL_NETWORKS);
        if options.epochs * networks > MOST_EPOCHS {
            return Err(Error::invalid(
                "options \"epochs\" and \"ensemble\" together ask for too much",
            )
            .detail(format!(
                "{networks} networks of {} epochs have {} epochs together; {MOST_EPOCHS} are the most, because what each of them has to say is kept.",
                options.epochs,
                options.epochs * networks
            ))
            .hint("Lower one of them; early stopping usually ends after less than a hundred epochs."));
        }
        if options.rounds * options.leaves * networks > MOST_LEAVES {
            return Err(Error::invalid(
                "options \"rounds\", \"leaves\" and \"ensemble\" together ask for too much",
            )
            .detail(format!(
                "{networks} members with {} rounds of trees with {} leaves have {} leaves for each parameter; {MOST_LEAVES} are the most, because a model is stored as one value.",
                options.rounds,
                options.leaves,
                options.rounds * options.leaves * networks
            ))
            .hint("Lower one of them; early stopping usually ends after some hundred rounds."));
        }
        Ok(options)
    }

    /// Refuses directions for what is no tree.
    pub(super) fn refuse_directions(&self, backbone: &str) -> Result<()> {
        let lists = [
            ("monotone_increasing", &self.monotone_increasing),
            ("monotone_decreasing", &self.monotone_decreasing),
        ];
        match lists.iter().find(|(_, names)| !names.is_empty()) {
            Some((key, _)) => Err(Error::invalid(format!(
                "option \"{key}\" needs backbone \"trees\""
            ))
            .detail(format!(
                "Networks such as \"{backbone}\" have no direction that they keep to."
            ))
            .hint("Say backbone => 'trees', or leave the option out.")),
            None => Ok(()),
        }
    }

    /// Refuses what only networks have. What has its default value was not asked for.
    pub(super) fn refuse_for_trees(&self) -> Result<()> {
        let (own, default) = (self.to_json(), Self::default().to_json());
        let given = FOR_NETWORKS
            .iter()
            .find(|(key, _)| own[key] != default[key]);
        let Some((key, instead)) = given else {
            return Ok(());
        };
        let of_trees = OPTIONS.iter().filter(|doc| doc.group == "trees");
        let keys: Vec<&str> = of_trees.map(|doc| doc.key).collect();
        let error = Error::invalid(format!(
            "option \"{key}\" is one of networks, and backbone \"trees\" is none"
        ))
        .detail(format!("The options of trees are {}.", keys.join(", ")));
        Err(match instead {
            Some(instead) => error.hint(format!(
                "Use \"{instead}\" instead, or leave \"{key}\" out."
            )),
            None => error.hint(format!("Leave \"{key}\" out, or use another backbone.")),
        })
    }

    /// All options with their values, defaults included.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

fn joined(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

fn unknown(key: &str) -> Error {
    let keys: Vec<&str> = OPTIONS.iter().map(|doc| doc.key).collect();
    let error = Error::invalid(format!("unknown option \"{key}\""))
        .detail(format!("The options are {}.", keys.join(", ")));
    match nearest(key, &keys) {
        Some(close) => error.hint(format!("Perhaps \"{close}\" was meant.")),
        None => error.hint("Use one of them, or leave the option out."),
    }
}

/// The key that differs from `key` in at most a third of its letters.
fn nearest<'a>(key: &str, keys: &[&'a str]) -> Option<&'a str> {
    keys.iter()
        .map(|other| (edit_distance(key, other), *other))
        .min()
        .filter(|(distance, _)| *distance <= key.len() / 3)
        .map(|(_, other)| other)
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// The reference of all options as a Markdown table per group.
pub fn reference() -> String {
    let defaults = Options::default().to_json();
    let mut text = String::new();
    let mut group = "";
    for doc in OPTIONS {
        if doc.group != group {
            group = doc.group;
            text.push_str(&format!(
                "\n### {group}\n\n| option | default | allowed | meaning |\n|---|---|---|---|\n"
            ));
        }
        let default = match &defaults[doc.key] {
            Value::Null => "automatic".to_owned(),
            value => format!("`{value}`"),
        };
        text.push_str(&format!(
            "| `{}` | {default} | {} | {} |\n",
            doc.key,
            doc.kind,
            joined(doc.doc)
        ));
    }
    text
}
