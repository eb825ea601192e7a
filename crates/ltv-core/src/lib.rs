//! Customer lifetime value models without PostgreSQL: preprocessing, backbones, objectives, training,
//! metrics and ONNX files. Plain Rust, tested by plain `cargo test`.

pub mod backbone;
pub mod batch;
pub mod btyd;
pub mod data;
pub mod error;
pub mod interface;
pub mod kernels;
pub mod layers;
pub mod metrics;
pub mod objective;
pub mod onnx;
pub mod params;
pub mod preprocess;
pub mod recipe;
pub mod schema;
pub mod train;
