//! `activation(x w^T + b)`: where nearly all of the arithmetic of every model is done.

use super::activation::{Activation, bias_activation, bias_activation_back};
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::matrix::{self, Matrix, product};
use crate::kernels::operation::{Given, Operation, apply3};
use crate::kernels::real::Real;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{Tensor, Var};

/// `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` -> `[.., out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if dispatch::applies(x) && weight.elem_count() > 0 {
        let mut shape = x.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = bias.elem_count();
        }
        return Ok(apply3(Fused { activation }, [x, weight, bias], shape)?);
    }
    Ok(definition(x, weight, bias, activation)?)
}

fn definition(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    activation: Activation,
) -> candle_core::Result<Tensor> {
    let (out, fan_in) = weight.dims2()?;
    let rows = x.elem_count() / fan_in.max(1);
    let flat = x.reshape((rows, fan_in))?;
    let mut y = matrix::matmul(&flat, &weight.t()?)?.broadcast_add(bias)?;
    if activation != Activation::Identity {
        y = y.relu()?;
    }
    if let Activation::ReluDropout(draw) = activation {
        y = y.mul(&draw.mask(&y)?)?;
    }
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    y.reshape(shape)
}

/// Product, bias and activation in two passes, and the gradient by hand: none for an input that needs none.
struct Fused {
    activation: Activation,
}

impl Operation<3> for Fused {
    const NAME: &'static str = "dense";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [x, weight, bias]: [&[T]; 3]) -> candle_core::Result<(Vec<T>, ())> {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let rows = x.len() / inputs;
        let mut y = vec![T::zero(); rows * outputs];
        product(
            &mut y,
            (rows, outputs, inputs),
            Matrix::rows(x, inputs),
            Matrix::rows(weight, inputs).transposed(),
            false,
        );
        bias_activation(&mut y, bias, self.activation, 0);
        Ok((y, ()))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, (), 3>,
    ) -> candle_core::Result<[Option<Vec<T>>; 3]> {
        let [x, weight, bias] = given.inputs;
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let rows = x.len() / inputs;
        let mut by_bias = vec![T::zero(); outputs];
        let mut by_output = given.gradient.to_vec();
        bias_activation_back(&mut by_output, given.result, self.activation, &mut by_bias);
        let by_output = Matrix::rows(&by_output, outputs);
        let mut by_weight = vec![T::zero(); outputs * inputs];
        product(
            &mut by_weight,
            (outputs, inputs, rows),
            by_output.transposed(),
            Matrix::rows(x, inputs),
            false,
        );
        let by_x = given.wanted[0].then(|| {
            let mut by_x = vec![T::zero(); rows * inputs];
            product(
                &mut by_x,
                (rows, inputs, outputs),
                by_output,
                Matrix::rows(weight, inputs),
                false,
            );
            by_x
        });
        Ok([by_x, Some(by_weight), Some(by_bias)])
    }
}

/// The weights of one dense layer.
pub struct Dense {
    weight: Var,
    bias: Var,
}

impl Dense {
    /// Adds a weight `[outputs, inputs]` drawn by `init`, and a bias of zeros.
    pub fn new(
        params: &mut Params,
        name: &str,
        inputs: usize,
        outputs: usize,
        init: Init,
    ) -> Result<Self> {
        Ok(Self {
            weight: params.weight(&format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: params.weight(&format!("{name}.bias"), &[outputs], Init::Constant(0.0))?,
        })
    }

    /// Starts the bias at known good values, such as the mean of what is to be predicted.
    pub fn set_bias(&self, values: &[f64]) -> Result<()> {
        let bias = Tensor::new(values, self.bias.device())?.to_dtype(self.bias.dtype())?;
        Ok(self.bias.set(&bias)?)
    }

    /// `[out, in]`.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[out]`.
    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    /// The width of what it puts out.
    pub fn outputs(&self) -> usize {
        self.bias.elem_count()
    }

    /// `x` `[.., in]` -> `[.., out]`.
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        dense(x, &self.weight, &self.bias, activation)
    }

    /// The product without activation; inputs of more than two dimensions too.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value, rank: usize) -> Result<Value> {
        let bias = graph.tensor(&self.bias)?;
        if rank == 2 {
            let weight = graph.tensor(&self.weight)?;
            return Ok(graph.linear(x, &weight, &bias));
        }
        let weight = graph.tensor(&self.weight.t()?.contiguous()?)?;
        let product = graph.matmul(x, &weight);
        Ok(graph.add(&product, &bias))
    }
}

/// Layers of one shape, each with an input `[batch, in]` of its own, as one product: `[batch, out * layers]`, first the first
/// output of each layer.
pub fn export_side_by_side(
    graph: &mut GraphBuilder,
    layers: &[&Dense],
    inputs: &[Value],
) -> Result<Value> {
    let outputs = layers.first().map_or(0, |layer| layer.outputs());
    let is_shared = inputs.windows(2).all(|pair| pair[0] == pair[1]);
    let places = if is_shared { 1 } else { layers.len() };
    let mut weights = Vec::with_capacity(outputs * layers.len());
    let mut biases = Vec::with_capacity(outputs * layers.len());
    for output in 0..outputs {
        for (index, layer) in layers.iter().enumerate() {
            let row = layer.weight.narrow(0, output, 1)?;
            let place = if is_shared { 0 } else { index };
            let parts: Vec<Tensor> = (0..places)
                .map(|other| {
                    if other == place {
                        Ok(row.clone())
                    } else {
                        row.zeros_like()
                    }
                })
                .collect::<candle_core::Result<_>>()?;
            weights.push(Tensor::cat(&parts, 1)?);
            biases.push(layer.bias.narrow(0, output, 1)?);
        }
    }
    let inputs: Vec<&Value> = inputs.iter().take(places).collect();
    let x = graph.concat(&inputs, 1);
    let weight = graph.tensor(&Tensor::cat(&weights, 0)?)?;
    let bias = graph.tensor(&Tensor::cat(&biases, 0)?)?;
    Ok(graph.linear(&x, &weight, &bias))
}

#[cfg(test)]
mod tests {
    use super::super::dropout::Dropout;
    use super::*;
    use crate::batch::Mode;
    use candle_core::Device;
    use parking_lot::Mutex;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn fused_equals_the_definition() -> Result<()> {
        let device = Device::Cpu;
        let draw = |count: usize, k: f64| -> Vec<f64> {
            (0..count).map(|i| (i as f64 * k + 0.1).sin()).collect()
        };
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(3));
        let dropped = Dropout::draw(0.3, &Mode::Train(&rng)).expect("a draw");
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::ReluDropout(dropped),
        ] {
            for (rows, inputs, outputs) in [(1, 1, 1), (7, 5, 3), (66, 33, 17)] {
                let x = Var::from_vec(draw(rows * inputs, 1.7), (rows, inputs), &device)?;
                let weight =
                    Var::from_vec(draw(outputs * inputs, 0.9), (outputs, inputs), &device)?;
                let bias = Var::from_vec(draw(outputs, 2.3), outputs, &device)?;
                let mix = Tensor::from_vec(draw(rows * outputs, 3.1), (rows, outputs), &device)?;
                let fast = (dense(&x, &weight, &bias, activation)? * &mix)?;
                let plain = (definition(&x, &weight, &bias, activation)? * &mix)?;
                let gap = |a: &Tensor, b: &Tensor| -> Result<f64> {
                    Ok((a - b)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?)
                };
                assert!(gap(&fast, &plain)? < 1e-12);
                let fast = fast.sum_all()?.backward()?;
                let plain = plain.sum_all()?.backward()?;
                for var in [&x, &weight, &bias] {
                    let (Some(a), Some(b)) = (fast.get(var), plain.get(var)) else {
                        panic!("a gradient is missing");
                    };
                    assert!(
                        gap(a, b)? < 1e-11,
                        "{activation:?} {rows} {inputs} {outputs}"
                    );
                }
            }
        }
        Ok(())
    }
}
