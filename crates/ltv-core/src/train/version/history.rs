//! The `history` of a version: one entry per epoch.

use crate::train::fit::Trainer;
use serde_json::{Value, json};

/// One entry per epoch, all networks of an ensemble one after the other.
pub fn history(trainer: &Trainer, histories: Vec<Value>, continued: bool) -> Value {
    let mut epochs = Vec::new();
    let mut networks = Vec::new();
    for (mut history, fold) in histories.into_iter().zip(&trainer.feed.folds) {
        if let Value::Array(entries) = history["epochs"].take() {
            epochs.extend(entries);
        }
        networks.push(json!({
            "best_epoch": history["best_epoch"],
            "ended": history["ended"],
            "training_rows": history["training_rows"],
            "validation_rows": fold.validation.len(),
        }));
    }
    json!({
        "epochs": epochs,
        "networks": networks,
        "batch_size": trainer.feed.batch_size,
        "continued": continued,
    })
}
