//! The activation of a dense layer.

use super::dropout::Dropout;

/// What follows the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    Identity,
    Relu,
    ReluDropout(Dropout),
}
