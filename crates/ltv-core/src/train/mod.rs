//! From rows to a finished model.
//!
//! | room | holds |
//! |---|---|
//! | `run` | one training, step by step: prepare, networks, trainer, fit, finish |
//! | `prepare` | what every training begins with |
//! | `forest` | backbone `trees`, which is no network |
//! | `bgnbd` | objective `bgnbd`, which has no network |
//! | `compare` | objective `auto`: candidates trained and judged |
//! | `rows` | where training rows lie, and how networks are fed with them |
//! | `fit` | the epochs of one network, the gradient of a batch, the optimiser |
//! | `finish` | from several networks to one prediction: average, MBG/NBD, silence, calibration, season |
//! | `version` | what a version row keeps: graph, weights, history |
//! | `state` | MBG/NBD, for the state of customers |
//! | `config`, `target`, `size`, `device`, `control` | settings, target, memory, CPU or GPU, and how to talk to the caller |
//!
//! A room uses those before it only: `compare -> run -> version -> finish -> fit -> rows`.

mod bgnbd;
mod compare;
mod config;
mod control;
mod device;
mod finish;
mod fit;
mod forest;
mod law;
mod prepare;
mod purchase_features;
mod rows;
mod run;
mod sbg;
mod size;
mod state;
mod target;
mod version;

pub use control::{Control, Phase, Progress, Quiet};
pub use rows::folds::networks;
pub use version::replay::predict;

use crate::data::TrainingData;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::dispatch;
use crate::recipe::Recipe;
use crate::schema::Schema;
use device::Hardware;

/// Everything a version row keeps.
#[derive(Clone, Debug)]
pub struct TrainedModel {
    /// The graph: raw features in, predictions out.
    pub onnx: Vec<u8>,
    /// Inputs and outputs of the graph.
    pub schema: Schema,
    /// Distributions of features, target and predictions, and what was fitted beside the networks.
    pub statistics: serde_json::Value,
    /// Metrics on held-out rows.
    pub metrics: serde_json::Value,
    /// One entry per epoch.
    pub history: serde_json::Value,
    /// What [`predict`] and a later training continue from.
    pub weights: Vec<u8>,
    /// Rows that were trained on.
    pub n_rows: usize,
    /// How long it took.
    pub seconds: f64,
    /// What a comparison chose.
    pub chosen: Option<Chosen>,
}

/// The recipe of the best candidate, as far as it differs from what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Its objective.
    pub objective: String,
    /// Its backbone.
    pub backbone: String,
    /// Its options that differ from what was asked for.
    pub options: serde_json::Map<String, serde_json::Value>,
}

/// Of each thread; the deepest recursion is in the gradient of a long graph.
const STACK: usize = 16 << 20;

/// Trains the recipe's model on the table. Blocks; meant for a thread of its own.
pub fn train(
    data: impl Into<TrainingData>,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let options = &recipe.options;
    let hardware = Hardware::open(&options.device, options.seed)?;
    train_at(&hardware, data.into(), recipe, control)
}

/// Like [`train`], on the CPU, but the way it is done on a GPU with `free_memory` bytes: large batches, plain tensor
/// operations, rows that lie on the device or come in blocks. For tests where there is none.
pub fn train_like_a_gpu(
    data: impl Into<TrainingData>,
    recipe: &Recipe,
    control: &dyn Control,
    free_memory: usize,
) -> Result<TrainedModel> {
    let hardware = Hardware::like_a_gpu(free_memory);
    train_at(&hardware, data.into(), recipe, control)
}

fn train_at(
    hardware: &Hardware,
    data: TrainingData,
    recipe: &Recipe,
    control: &dyn Control,
) -> Result<TrainedModel> {
    let threads = recipe.options.threads.unwrap_or(1);
    let plainly = hardware.computes_plainly();
    // A pool of our own bounds what the tensor library takes: left alone it would use every core.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .thread_name(|index| format!("pg_ltv training {index}"))
        .start_handler(move |_| {
            if plainly {
                dispatch::keep_plain();
            }
        })
        .build()
        .map_err(|error| {
            Error::new(
                ErrorKind::Resources,
                "could not start the threads for the training",
            )
            .detail(error.to_string())
            .hint("Lower the option \"threads\" or the setting ltv.training_threads.")
        })?;
    pool.install(|| match &recipe.compare {
        Some(compare) => compare::train(data, recipe, compare, control, hardware),
        None => run::train_one(data, &config::with_defaults(recipe), control, hardware),
    })
}
