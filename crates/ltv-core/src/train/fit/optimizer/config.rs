//! The settings of Adam.

pub const BETA1: f64 = 0.9;
pub const BETA2: f64 = 0.999;
pub const EPSILON: f64 = 1e-8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    pub weight_decay: f64,
    /// Weight decay apart from the gradient (AdamW) or as an L2 penalty in it (Adam).
    pub decoupled: bool,
    /// Largest norm of the gradient; 0 = no limit.
    pub clip_norm: f64,
}
