//! The SQL functions that are not written in SQL, one file per group.

mod evaluate;
mod loaded;
mod onnx;
pub mod predict;
mod quantize;
pub mod train;
