//! The activation of a dense layer.

use super::dropout::Dropout;
use crate::kernels::matrix::column_sums;
use candle_core::WithDType;

/// What follows the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)`, then dropout with this draw.
    ReluDropout(Dropout),
}

/// Zero where the output of a ReLU (with dropout) was not positive, times `scale` elsewhere. `sums` collects the
/// column sums: the gradient of the bias.
fn through_relu<T: WithDType>(gradient: &mut [T], output: &[T], scale: T, sums: &mut [T]) {
    let width = sums.len();
    for (gradient, output) in gradient.chunks_mut(width).zip(output.chunks(width)) {
        for ((gradient, output), sum) in gradient.iter_mut().zip(output).zip(sums.iter_mut()) {
            *gradient = if *output > T::zero() {
                *gradient * scale
            } else {
                T::zero()
            };
            *sum += *gradient;
        }
    }
}

/// `activation(x + bias)` in place; `first` is the index of `x[0]` in the whole tensor, for dropout.
pub fn bias_activation<T: WithDType>(
    x: &mut [T],
    bias: &[T],
    activation: Activation,
    first: usize,
) {
    let zero = T::zero();
    let relu = activation != Activation::Identity;
    for row in x.chunks_mut(bias.len().max(1)) {
        for (value, bias) in row.iter_mut().zip(bias) {
            let sum = *value + *bias;
            *value = if relu && sum < zero { zero } else { sum };
        }
    }
    if let Activation::ReluDropout(draw) = activation {
        let scale = T::from_f64(draw.scale());
        draw.for_each(first, x, |value, kept| {
            *value *= if kept { scale } else { zero };
        });
    }
}

/// The way back through [`bias_activation`], given what it put out; `sums` collects the gradient of the bias.
pub fn bias_activation_back<T: WithDType>(
    gradient: &mut [T],
    output: &[T],
    activation: Activation,
    sums: &mut [T],
) {
    match activation {
        Activation::Identity => column_sums(gradient, sums),
        Activation::Relu => through_relu(gradient, output, T::one(), sums),
        Activation::ReluDropout(draw) => {
            through_relu(gradient, output, T::from_f64(draw.scale()), sums);
        }
    }
}
