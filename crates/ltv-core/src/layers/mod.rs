//! The building blocks of backbones and heads, one file per layer. Each layer has its forward pass in
//! candle and an `export` that writes the same computation, evaluation mode, into an ONNX graph.

pub mod activation;
pub mod attention;
pub mod batch_norm;
pub mod cross;
pub mod dense;
pub mod dropout;
pub mod embedding;
pub mod encoder;
pub mod flat_input;
pub mod fm;
mod fm_fused;
pub mod functions;
pub mod gated_residual;
pub mod kernel;
pub mod layer_norm;
pub mod mlp;
mod mlp_fused;
pub mod operation;
pub mod recurrent;
mod recurrent_fused;
pub mod softmax;
pub mod variable_selection;
