//! All hidden layers of a multilayer perceptron as one operation: hidden values and their gradients never become
//! tensors of their own, and the rows are shared out among the threads of the pool that training runs in.
//!
//! The weights come as one vector: of each layer the matrix `[out, in]`, then the bias. Every thread sums the gradient
//! of its rows; the sums are added in the order of the rows, so the result depends on the number of threads alone.

use super::activation::Activation;
use super::kernel::{self, Matrix, Numbers, product, slice};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};
use parking_lot::Mutex;
use rayon::prelude::*;

/// Rows below which a thread of its own is not worth it.
const ROWS_PER_THREAD: usize = 128;

#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    pub activation: Activation,
}

impl Layer {
    fn weights(&self) -> usize {
        (self.inputs + 1) * self.outputs
    }
}

pub struct Stack {
    layers: Vec<Layer>,
    /// Rows of each part but the last, which may be shorter.
    rows_per_part: usize,
    /// What the layers but the last put out, kept for the gradient.
    hidden: Mutex<Hidden>,
}

enum Hidden {
    F32(Vec<Vec<f32>>),
    F64(Vec<Vec<f64>>),
}

impl Stack {
    pub fn new(layers: Vec<Layer>, rows: usize) -> Self {
        let parts = kernel::threads().min(rows / ROWS_PER_THREAD).max(1);
        Self {
            layers,
            rows_per_part: rows.div_ceil(parts).max(1),
            hidden: Mutex::new(Hidden::F32(Vec::new())),
        }
    }

    /// What every layer puts out, the last one included.
    fn forward<T: WithDType>(&self, x: &[T], theta: &[T]) -> Vec<Vec<T>> {
        let inputs = self.layers[0].inputs;
        let rows = x.len() / inputs;
        let mut outputs: Vec<Vec<T>> = self
            .layers
            .iter()
            .map(|layer| vec![T::zero(); rows * layer.outputs])
            .collect();
        let mut parts: Vec<Vec<&mut [T]>> = Vec::new();
        for (output, layer) in outputs.iter_mut().zip(&self.layers) {
            let chunks = output.chunks_mut(self.rows_per_part * layer.outputs);
            for (index, chunk) in chunks.enumerate() {
                match parts.get_mut(index) {
                    Some(part) => part.push(chunk),
                    None => parts.push(vec![chunk]),
                }
            }
        }
        let x_parts = x.chunks(self.rows_per_part * inputs);
        let work: Vec<_> = x_parts.zip(parts).enumerate().collect();
        each(work, |(index, (x, mut outputs))| {
            self.forward_part(index * self.rows_per_part, x, theta, &mut outputs);
        });
        outputs
    }

    fn forward_part<T: WithDType>(
        &self,
        first_row: usize,
        x: &[T],
        theta: &[T],
        outputs: &mut [&mut [T]],
    ) {
        let mut theta = theta;
        for (index, layer) in self.layers.iter().enumerate() {
            let (weights, rest) = theta.split_at(layer.weights());
            theta = rest;
            let (matrix, bias) = weights.split_at(layer.inputs * layer.outputs);
            let (before, after) = outputs.split_at_mut(index);
            let input = before.last().map_or(x, |input| &**input);
            let output = &mut *after[0];
            product(
                output,
                (output.len() / layer.outputs, layer.outputs, layer.inputs),
                Matrix::rows(input, layer.inputs),
                Matrix::rows(matrix, layer.inputs).transposed(),
                false,
            );
            let first = first_row * layer.outputs;
            kernel::finish(output, bias, layer.activation, first);
        }
    }

    /// The gradients of the weights and, if wanted, of `x`.
    fn backward<T: WithDType>(
        &self,
        (x, theta): (&[T], &[T]),
        outputs: &[&[T]],
        gradient: &[T],
        with_x: bool,
    ) -> (Option<Vec<T>>, Vec<T>) {
        let inputs = self.layers[0].inputs;
        let starts: Vec<usize> = (0..x.len() / inputs).step_by(self.rows_per_part).collect();
        let parts = each(starts, |start| {
            let end = (start + self.rows_per_part).min(x.len() / inputs);
            let x = &x[start * inputs..end * inputs];
            let outputs: Vec<&[T]> = outputs
                .iter()
                .zip(&self.layers)
                .map(|(output, layer)| &output[start * layer.outputs..end * layer.outputs])
                .collect();
            let width = self.layers.last().map_or(0, |layer| layer.outputs);
            let gradient = gradient[start * width..end * width].to_vec();
            self.backward_part((x, theta), &outputs, gradient, with_x)
        });
        let mut by_theta: Vec<T> = Vec::new();
        let mut by_x = with_x.then(|| Vec::with_capacity(x.len()));
        for (part_x, part_theta) in parts {
            if by_theta.is_empty() {
                by_theta = part_theta;
            } else {
                for (sum, value) in by_theta.iter_mut().zip(part_theta) {
                    *sum += value;
                }
            }
            if let Some(by_x) = &mut by_x {
                by_x.extend(part_x);
            }
        }
        (by_x, by_theta)
    }

    fn backward_part<T: WithDType>(
        &self,
        (x, theta): (&[T], &[T]),
        outputs: &[&[T]],
        mut gradient: Vec<T>,
        with_x: bool,
    ) -> (Vec<T>, Vec<T>) {
        let mut by_theta = vec![T::zero(); theta.len()];
        let mut end = theta.len();
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let start = end - layer.weights();
            let size = layer.inputs * layer.outputs;
            let (by_matrix, by_bias) = by_theta[start..end].split_at_mut(size);
            let matrix = &theta[start..start + size];
            end = start;
            let scale = match layer.activation {
                Activation::ReluDropout(draw) => T::from_f64(draw.scale()),
                _ => T::one(),
            };
            if layer.activation == Activation::Identity {
                kernel::column_sums(&gradient, by_bias);
            } else {
                kernel::through_relu(&mut gradient, outputs[index], scale, by_bias);
            }
            let input = if index == 0 { x } else { outputs[index - 1] };
            let rows = gradient.len() / layer.outputs;
            let by_output = Matrix::rows(&gradient, layer.outputs);
            product(
                by_matrix,
                (layer.outputs, layer.inputs, rows),
                by_output.transposed(),
                Matrix::rows(input, layer.inputs),
                false,
            );
            if index > 0 || with_x {
                let mut by_input = vec![T::zero(); rows * layer.inputs];
                product(
                    &mut by_input,
                    (rows, layer.inputs, layer.outputs),
                    by_output,
                    Matrix::rows(matrix, layer.inputs),
                    false,
                );
                gradient = by_input;
            }
        }
        if !with_x {
            gradient.clear();
        }
        (gradient, by_theta)
    }
}

/// Applies `work` to all items, on the pool's threads where there is more than one; results in the items' order.
fn each<I: Send, O: Send>(items: Vec<I>, work: impl Fn(I) -> O + Send + Sync) -> Vec<O> {
    if items.len() < 2 {
        items.into_iter().map(work).collect()
    } else {
        items.into_par_iter().map(work).collect()
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        "mlp"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let width = self.layers.last().map_or(0, |layer| layer.outputs);
        let shape = Shape::from((l1.dims()[0], width));
        let missing = || candle_core::Error::Msg("an MLP without layers".to_owned());
        Ok(match s1 {
            CpuStorage::F64(_) => {
                let mut outputs = self.forward::<f64>(slice(s1, l1)?, slice(s2, l2)?);
                let last = outputs.pop().ok_or_else(missing)?;
                *self.hidden.lock() = Hidden::F64(outputs);
                (CpuStorage::F64(last), shape)
            }
            _ => {
                let mut outputs = self.forward::<f32>(slice(s1, l1)?, slice(s2, l2)?);
                let last = outputs.pop().ok_or_else(missing)?;
                *self.hidden.lock() = Hidden::F32(outputs);
                (CpuStorage::F32(last), shape)
            }
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        theta: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let hidden = self.hidden.lock();
        let tensors = (x, theta, result, &gradient);
        match (&*hidden, x.dtype()) {
            (Hidden::F64(hidden), _) => self.tensors(tensors, hidden),
            (Hidden::F32(hidden), DType::F32) => self.tensors(tensors, hidden),
            _ => candle_core::bail!("an MLP's gradient before its values"),
        }
    }
}

impl Stack {
    fn tensors<T: WithDType>(
        &self,
        (x, theta, result, gradient): (&Tensor, &Tensor, &Tensor, &Tensor),
        hidden: &[Vec<T>],
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let numbers = [x, theta, result, gradient].map(Numbers::of);
        let [x_numbers, theta_numbers, result_numbers, gradient_numbers] = &numbers;
        let mut outputs: Vec<&[T]> = hidden.iter().map(Vec::as_slice).collect();
        outputs.push(result_numbers.get()?);
        let (by_x, by_theta) = self.backward(
            (x_numbers.get()?, theta_numbers.get()?),
            &outputs,
            gradient_numbers.get()?,
            x.track_op(),
        );
        let by_x = by_x
            .map(|by_x| Tensor::from_vec(by_x, x.shape(), x.device()))
            .transpose()?;
        let by_theta = Tensor::from_vec(by_theta, theta.shape(), theta.device())?;
        Ok((by_x, Some(by_theta)))
    }
}
