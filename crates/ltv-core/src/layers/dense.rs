//! `activation(x w^T + b)`: where nearly all of the arithmetic of every model is done.

use super::activation::Activation;
use super::kernel::{self, Matrix, Numbers, product, slice};
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Shape, Tensor, Var, WithDType};

/// `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` -> `[.., out]`.
pub fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor, activation: Activation) -> Result<Tensor> {
    if kernel::applies(x) && weight.elem_count() > 0 {
        let x = x.contiguous()?;
        return Ok(x.apply_op3(weight, bias, Fused { activation })?);
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
    let mut y = kernel::matmul(&flat, &weight.t()?)?.broadcast_add(bias)?;
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

impl Fused {
    fn forward<T: WithDType>(&self, x: &[T], weight: &[T], bias: &[T]) -> Vec<T> {
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
        kernel::finish(&mut y, bias, self.activation, 0);
        y
    }

    fn backward<T: WithDType>(
        &self,
        (x, weight): (&Tensor, &Tensor),
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Gradients> {
        let (outputs, inputs) = weight.dims2()?;
        let rows = x.elem_count() / inputs;
        let mut by_bias = vec![T::zero(); outputs];
        let mut by_output = Numbers::of(gradient).get::<T>()?.to_vec();
        let scale = match self.activation {
            Activation::ReluDropout(draw) => draw.scale(),
            _ => 1.0,
        };
        if self.activation == Activation::Identity {
            kernel::column_sums(&by_output, &mut by_bias);
        } else {
            let result = Numbers::of(result);
            kernel::through_relu(
                &mut by_output,
                result.get()?,
                T::from_f64(scale),
                &mut by_bias,
            );
        }
        let by_output = Matrix::rows(&by_output, outputs);
        let mut by_weight = vec![T::zero(); outputs * inputs];
        product(
            &mut by_weight,
            (outputs, inputs, rows),
            by_output.transposed(),
            Matrix::rows(Numbers::of(x).get()?, inputs),
            false,
        );
        let by_x = if x.track_op() {
            let mut by_x = vec![T::zero(); rows * inputs];
            product(
                &mut by_x,
                (rows, inputs, outputs),
                by_output,
                Matrix::rows(Numbers::of(weight).get()?, inputs),
                false,
            );
            Some(Tensor::from_vec(by_x, x.shape(), x.device())?)
        } else {
            None
        };
        let device = weight.device();
        let by_weight = Tensor::from_vec(by_weight, weight.shape(), device)?;
        let by_bias = Tensor::from_vec(by_bias, outputs, device)?;
        Ok((by_x, Some(by_weight), Some(by_bias)))
    }
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Fused {
    fn name(&self) -> &'static str {
        "dense"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut shape = l1.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = l3.shape().elem_count();
        }
        let storage = match s1 {
            CpuStorage::F64(_) => {
                CpuStorage::F64(self.forward(slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?))
            }
            _ => CpuStorage::F32(self.forward(slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?)),
        };
        Ok((storage, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<Gradients> {
        let gradient = gradient.contiguous()?;
        match x.dtype() {
            DType::F64 => self.backward::<f64>((x, weight), result, &gradient),
            _ => self.backward::<f32>((x, weight), result, &gradient),
        }
    }
}

/// The weights of one dense layer.
pub struct Dense {
    weight: Var,
    bias: Var,
}

impl Dense {
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

    pub fn bias(&self) -> &Tensor {
        &self.bias
    }

    pub fn outputs(&self) -> usize {
        self.bias.elem_count()
    }

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
