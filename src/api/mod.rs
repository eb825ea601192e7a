//! The SQL functions that are not written in SQL, one file per group.

mod call_site;
mod caller;
mod collect;
mod commits;
mod evaluate;
pub mod export;
mod feature_rows;
mod loaded;
mod onnx;
mod order_features;
pub mod predict;
mod privilege;
mod quantize;
mod report;
mod restore;
mod source;
mod state;
mod stored;
pub mod train;
mod value;
