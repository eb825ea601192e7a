//! Reading and writing ONNX files.

mod adapt;
mod admit;
mod assembly;
mod builder;
pub(crate) mod decode;
mod dependence;
mod functions;
mod inspect;
mod opset;
pub(crate) mod parts;
pub mod proto;
mod quantise;
mod specialise;
mod trees;

pub use adapt::{Derived, ZipMap, adapt, derived_name, zip_maps};
pub use assembly::{Attribute, Value};
pub use builder::{Axis, BATCH, ElementType, GraphBuilder};

pub use decode::Limits;
pub use inspect::{Inspection, Port, inspect};
pub(crate) use opset::in_opset;
pub use quantise::{Range, activations, observed, quantise, range_outputs};
pub use specialise::{CategoryPart, NumericPart, Specialised, specialise};

/// The raw float matrix inside a graph of ours: see [`crate::preprocess`].
pub const NUMERIC: &str = "ltv.numeric";

/// The ids of the `index`th categorical input inside a graph of ours.
pub fn category_name(index: usize) -> String {
    format!("ltv.category.{index}")
}
