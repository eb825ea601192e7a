//! Reading and writing ONNX files.

mod builder;
pub mod proto;

pub use builder::{Attribute, Axis, BATCH, ElementType, GraphBuilder, Value};

/// The raw float matrix inside a graph of ours: see [`crate::preprocess`].
pub const NUMERIC: &str = "ltv.numeric";

/// The ids of the `index`th categorical input inside a graph of ours.
pub fn category_name(index: usize) -> String {
    format!("ltv.category.{index}")
}
