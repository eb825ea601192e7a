//! The building blocks of backbones and heads, one file per layer. Each layer has its forward pass in
//! candle and an `export` that writes the same computation, evaluation mode, into an ONNX graph.

pub mod activation;
pub mod attention;
mod attention_fused;
pub mod batch_norm;
pub mod cross;
pub mod dense;
pub mod dropout;
pub mod embedding;
pub mod encoder;
pub mod flat_input;
pub mod fm;
mod fm_fused;
pub mod gated_residual;
mod gated_residual_block;
mod gated_residual_fused;
pub mod layer_norm;
pub mod mlp;
mod mlp_fused;
pub mod recurrent;
mod recurrent_fused;
mod recurrent_steps;
mod recurrent_weights;
pub mod softmax;
pub mod variable_selection;
mod variable_selection_fused;
