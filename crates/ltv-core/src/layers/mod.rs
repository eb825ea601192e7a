//! The building blocks of backbones and heads: one file per layer, a folder where a fused operation stands beside the
//! plain definition ([`kernels`](crate::kernels) says how).
//!
//! Each layer has its forward pass by tensor operations and an `export` that writes the same computation, evaluation mode,
//! into an ONNX graph.

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
pub mod gated_residual;
pub mod layer_norm;
pub mod mlp;
pub mod recurrent;
pub mod softmax;
pub mod variable_selection;
