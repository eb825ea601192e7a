//! Customer lifetime value models without PostgreSQL: from rows of features and money spent to an ONNX graph that predicts
//! what each customer will spend.
//!
//! # A model from a table
//!
//! ```
//! use ltv_core::data::{ColumnData, Split, TrainingTable};
//! use ltv_core::recipe::Recipe;
//! use ltv_core::schema::{ColumnKind, FeatureColumn};
//! use ltv_core::train::{Quiet, predict, train};
//! use serde_json::json;
//!
//! // Who bought more often spends more.
//! let rows = 200;
//! let frequency: Vec<f32> = (0..rows).map(|row| (row % 10) as f32).collect();
//! let spent: Vec<f64> = frequency.iter().map(|&x| 10.0 * f64::from(x)).collect();
//! let table = TrainingTable::from_columns(
//!     vec![FeatureColumn::new("frequency", ColumnKind::Numeric, "real")],
//!     &[ColumnData::Numeric(frequency)],
//!     &spent,
//!     &vec![Split::Train; rows],
//!     None,
//! )?;
//! let recipe = Recipe::from_json(&json!({
//!     "objective": "ziln",
//!     "backbone": "linear",
//!     "options": {"epochs": 2, "ensemble": 1, "threads": 1},
//! }))?;
//! let model = train(table.clone(), &recipe, &Quiet)?;
//! assert_eq!(model.n_rows, rows);
//! assert!(!model.onnx.is_empty());
//! let predictions = predict(&model.weights, table)?;
//! assert_eq!(predictions[0].0, "ltv");
//! assert_eq!(predictions[0].1.len(), rows);
//! # Ok::<(), ltv_core::error::Error>(())
//! ```
//!
//! # Rooms
//!
//! | module | holds |
//! |---|---|
//! | [`train`] | a training from rows to a version: run, rows, fit, finish, version, compare |
//! | [`recipe`] | what was asked for: objective, backbone, options, presets |
//! | [`data`] | training rows in memory, in files, and on their way to another library |
//! | [`preprocess`] | from raw columns to what a network sees, in Rust and in the graph |
//! | [`backbone`], [`objective`] | networks and their heads with losses |
//! | [`layers`], [`kernels`] | what networks are made of, and what fast layers are made of |
//! | [`batch`], [`params`] | a batch of customers, the named weights of a model |
//! | [`trees`] | gradient boosting on histograms, without any network |
//! | [`btyd`] | BG/NBD and Gamma-Gamma |
//! | [`metrics`] | how good predictions are |
//! | [`onnx`] | writing, reading, judging, cutting and quantising graphs |
//! | [`schema`] | inputs and outputs of a version |
//! | [`client`] | a graph as it goes out to a program that scores elsewhere |
//! | [`model_file`] | a version as one file, and what is let in of such files |
//! | [`features`] | what a customer has bought and done, and what that tells at a moment |
//! | [`interface`] | the training as a library in C, for GPUs |
//! | [`error`] | what can go wrong |
//!
//! A module uses those below it only: `train -> objective -> backbone -> layers -> kernels`, `train -> preprocess -> data`,
//! `train -> trees -> objective`. Inside `train`: `compare -> run -> version -> finish -> fit -> rows`.

#![deny(missing_docs)]

pub mod backbone;
pub mod batch;
pub mod btyd;
pub mod client;
pub mod data;
pub mod error;
pub mod features;
pub mod interface;
pub mod kernels;
pub mod layers;
pub mod metrics;
pub mod model_file;
pub mod objective;
pub mod onnx;
pub mod params;
pub mod preprocess;
pub mod recipe;
pub mod report;
pub mod schema;
pub mod train;
pub mod trees;
