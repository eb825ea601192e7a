//! A trial of the exported graph before anybody can use it.

use super::session::unexpected;
use crate::error::Result;
use crate::scoring::{Batch, Graph, Model, environment};
use ltv_core::train::TrainedModel;
use std::rc::Rc;

/// Loads ONNX Runtime, if there is one: while a model is trained there is time for it.
pub fn prepare() {
    let _ = environment();
}

/// Rows to try: all features 0, 1, 2, and no category.
const ROWS: usize = 3;

/// Scores a few rows with the very graph that will be stored. Without ONNX Runtime nothing is tried: a server may
/// train for others that score.
pub fn run(model: &TrainedModel, name: &str) -> Result<()> {
    if environment().is_err() {
        return Ok(());
    }
    let mut batch = Batch::new(Rc::new(Model {
        name: name.to_owned(),
        version: 0,
        checksum: String::new(),
        graph: Rc::new(Graph::load(&model.onnx, model.schema.clone())?),
    }));
    for seed in 0..ROWS {
        batch.push_example(seed)?;
    }
    batch.run()?;
    if batch.first_output().iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(unexpected(
            "the trained model predicts values that are not finite",
        ))
    }
}
