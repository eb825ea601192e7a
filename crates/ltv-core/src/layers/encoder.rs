//! A pre-norm transformer encoder block, and the encoding of time it needs.

use super::activation::Activation;
use super::attention::SelfAttention;
use super::dense::Dense;
use super::dropout::{Dropout, dropout};
use super::layer_norm::LayerNorm;
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::operation::{Given, Operation, apply2};
use crate::kernels::real::Real;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{DType, Device, Tensor, WithDType};

/// `x + attention(norm(x))`, then `x + W_2 relu(W_1 norm(x))`.
pub struct EncoderBlock {
    attention: SelfAttention,
    first_norm: LayerNorm,
    second_norm: LayerNorm,
    inner: Dense,
    outer: Dense,
    dropout: f64,
}

impl EncoderBlock {
    /// Adds the weights; an error if the heads do not divide the width.
    pub fn new(
        params: &mut Params,
        name: &str,
        width: usize,
        heads: usize,
        feed_forward: usize,
        dropout: f64,
    ) -> Result<Self> {
        Ok(Self {
            attention: SelfAttention::new(params, &format!("{name}.attention"), width, heads)?,
            first_norm: LayerNorm::new(params, &format!("{name}.norm.0"), width)?,
            second_norm: LayerNorm::new(params, &format!("{name}.norm.1"), width)?,
            inner: Dense::new(
                params,
                &format!("{name}.inner"),
                width,
                feed_forward,
                Init::He,
            )?,
            outer: Dense::new(
                params,
                &format!("{name}.outer"),
                feed_forward,
                width,
                Init::Glorot,
            )?,
            dropout,
        })
    }

    /// `x` `[batch, steps, width]`, `mask` `[batch, steps]`.
    pub fn forward(&self, x: &Tensor, mask: &Tensor, mode: &Mode) -> Result<Tensor> {
        let attended = self.attention.forward(&self.first_norm.forward(x)?, mask)?;
        let x = add_dropped(x, &attended, self.dropout, mode)?;
        let inner = self
            .inner
            .forward(&self.second_norm.forward(&x)?, Activation::Relu)?;
        let outer = self.outer.forward(&inner, Activation::Identity)?;
        add_dropped(&x, &outer, self.dropout, mode)
    }

    /// [`EncoderBlock::forward`] inside a graph, without dropout.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value, mask: &Value) -> Result<Value> {
        let normed = self.first_norm.export(graph, x)?;
        let attended = self.attention.export(graph, &normed, mask)?;
        let x = graph.add(x, &attended);
        let normed = self.second_norm.export(graph, &x)?;
        let inner = self.inner.export(graph, &normed, 3)?;
        let inner = graph.relu(&inner);
        let outer = self.outer.export(graph, &inner, 3)?;
        Ok(graph.add(&x, &outer))
    }
}

/// `x + dropout(y)`.
fn add_dropped(x: &Tensor, y: &Tensor, rate: f64, mode: &Mode) -> Result<Tensor> {
    if dispatch::applies(x) && mode.is_training() && rate > 0.0 {
        let draw = Dropout::draw(rate, mode);
        return Ok(apply2(AddDropped { draw }, [x, y], x.shape())?);
    }
    Ok((x + dropout(y, rate, mode)?)?)
}

/// Without a mask that is kept, and without a gradient for it.
struct AddDropped {
    draw: Option<Dropout>,
}

impl AddDropped {
    fn dropped<T: WithDType>(&self, y: &[T]) -> Vec<T> {
        let mut dropped = y.to_vec();
        if let Some(draw) = self.draw {
            let scale = T::from_f64(draw.scale());
            draw.for_each(0, &mut dropped, |value, kept| {
                *value *= if kept { scale } else { T::zero() };
            });
        }
        dropped
    }
}

impl Operation<2> for AddDropped {
    const NAME: &'static str = "residual dropout";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [x, y]: [&[T]; 2]) -> candle_core::Result<(Vec<T>, ())> {
        let mut sum = self.dropped(y);
        for (sum, x) in sum.iter_mut().zip(x) {
            *sum += *x;
        }
        Ok((sum, ()))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, (), 2>,
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let by_y = self.dropped(given.gradient);
        Ok([Some(given.gradient.to_vec()), Some(by_y)])
    }
}

/// `[steps, width]`: sines and cosines of how many steps back from the newest one a step lies.
pub fn time_encoding(steps: usize, width: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let mut values = Vec::with_capacity(steps * width);
    for step in 0..steps {
        let back = (steps - 1 - step) as f64;
        for column in 0..width {
            let rate = 10_000f64.powf(-((column / 2 * 2) as f64) / width as f64);
            let angle = back * rate;
            values.push(if column % 2 == 0 {
                angle.sin()
            } else {
                angle.cos()
            });
        }
    }
    let encoding = Tensor::from_vec(values, (steps, width), &Device::Cpu)?;
    Ok(encoding.to_dtype(dtype)?.to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::assert_same::{assert_same, params, wave};

    #[test]
    fn one_operation_equals_the_definition() -> Result<()> {
        let (x, y) = (wave(&[7, 5, 3], 1.7)?, wave(&[7, 5, 3], 0.9)?);
        assert_same(&params(), &[&x, &y], |fast, mode| match fast {
            true => add_dropped(&x, &y, 0.3, mode),
            false => Ok((x.as_tensor() + dropout(&y, 0.3, mode)?)?),
        })
    }
}
