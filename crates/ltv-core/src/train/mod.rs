//! From rows to a finished model.

mod control;

pub use control::{Control, Phase, Progress, Quiet};

use crate::data::TrainingTable;
use crate::error::{Error, Result};
use crate::recipe::Recipe;

/// Everything a version row keeps.
#[derive(Clone, Debug)]
pub struct TrainedModel {
    pub onnx: Vec<u8>,
    pub schema: serde_json::Value,
    pub statistics: serde_json::Value,
    pub metrics: serde_json::Value,
    pub history: serde_json::Value,
    pub weights: Vec<u8>,
    pub n_rows: usize,
    pub seconds: f64,
}

/// Trains the recipe's model on the table. Blocks; meant for a thread of its own.
pub fn train(table: TrainingTable, recipe: &Recipe, control: &dyn Control) -> Result<TrainedModel> {
    let _ = (table, recipe, control);
    Err(Error::internal("training is not built yet"))
}
