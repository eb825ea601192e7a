//! Reading and writing ONNX files.

mod builder;
pub mod proto;

pub use builder::{Attribute, Axis, BATCH, ElementType, GraphBuilder, Value};
