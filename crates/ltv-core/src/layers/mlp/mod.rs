//! Hidden layers: Dense, batch normalisation if asked for, ReLU, dropout.

mod fused;

use super::activation::Activation;
use super::batch_norm::BatchNorm;
use super::dense::{self, Dense};
use super::dropout::{Dropout, dropout};
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::operation::apply2;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use fused::{Layer, Stack};
use serde::{Deserialize, Serialize};

/// Settings of [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    /// Widths of the hidden layers; none: the identity.
    pub hidden: Vec<usize>,
    /// Share of the hidden values that are dropped while training.
    pub dropout: f64,
    /// Whether each hidden layer is normalised over the batch.
    pub batch_norm: bool,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128, 64, 32],
            dropout: 0.3,
            batch_norm: false,
        }
    }
}

/// Hidden layers on top of each other.
pub struct Mlp {
    layers: Vec<(Dense, Option<BatchNorm>)>,
    dropout: f64,
    width: usize,
}

impl Mlp {
    /// Adds the weights of layers over `inputs` numbers.
    pub fn new(params: &mut Params, name: &str, inputs: usize, config: &MlpConfig) -> Result<Self> {
        let mut layers = Vec::with_capacity(config.hidden.len());
        let mut width = inputs;
        for (index, &units) in config.hidden.iter().enumerate() {
            let name = format!("{name}.{index}");
            let dense = Dense::new(params, &name, width, units, Init::He)?;
            let norm = config
                .batch_norm
                .then(|| BatchNorm::new(params, &format!("{name}.norm"), units))
                .transpose()?;
            layers.push((dense, norm));
            width = units;
        }
        Ok(Self {
            layers,
            dropout: config.dropout,
            width,
        })
    }

    /// The width of the last layer.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[batch, inputs]` -> `[batch, width]`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        match self.layers.first() {
            Some((dense, _)) => self.forward_by(x, dense.weight(), mode),
            None => Ok(x.clone()),
        }
    }

    /// The matrix of the first layer, where there is a layer.
    pub fn first_matrix(&self) -> Option<&Tensor> {
        self.layers.first().map(|(dense, _)| dense.weight())
    }

    /// With another matrix, `[out, inputs]`, in place of that of the first layer.
    pub fn forward_by(&self, x: &Tensor, first: &Tensor, mode: &Mode) -> Result<Tensor> {
        if !dispatch::applies(x) {
            return self.definition(x, first, mode);
        }
        let mut layers = Vec::with_capacity(self.layers.len());
        let mut weights = Vec::with_capacity(4 * self.layers.len());
        let mut learning = Vec::new();
        for (index, (dense, norm)) in self.layers.iter().enumerate() {
            let matrix = if index == 0 { first } else { dense.weight() };
            let (outputs, inputs) = matrix.dims2()?;
            let normalised = norm.as_ref().filter(|_| mode.is_training());
            layers.push(Layer {
                inputs,
                outputs,
                normalised: normalised.is_some(),
                activation: self.activation(mode),
            });
            match (norm, normalised) {
                (Some(norm), None) => {
                    let (matrix, bias) = folded(matrix, dense.bias(), norm)?;
                    weights.extend([matrix.flatten_all()?, bias]);
                }
                _ => weights.extend([matrix.flatten_all()?, dense.bias().clone()]),
            }
            if let Some(norm) = normalised {
                weights.extend([norm.weight().clone(), norm.bias().clone()]);
                learning.push(norm);
            }
        }
        let theta = Tensor::cat(&weights, 0)?;
        let stack = Stack::new(layers);
        let moments = stack.moments();
        let output = apply2(stack, [x, &theta], (x.dim(0)?, self.width))?;
        for (norm, moments) in learning.into_iter().zip(moments.lock().iter()) {
            norm.learn(moments)?;
        }
        Ok(output)
    }

    fn activation(&self, mode: &Mode) -> Activation {
        match Dropout::draw(self.dropout, mode) {
            Some(draw) => Activation::ReluDropout(draw),
            None => Activation::Relu,
        }
    }

    /// Layer by layer.
    fn definition(&self, x: &Tensor, first: &Tensor, mode: &Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, (dense, norm)) in self.layers.iter().enumerate() {
            let matrix = if index == 0 { first } else { dense.weight() };
            let layer = |x, activation| dense::dense(x, matrix, dense.bias(), activation);
            x = match norm {
                None => layer(&x, self.activation(mode))?,
                Some(norm) => {
                    let normalised = norm.forward(&layer(&x, Activation::Identity)?, mode)?;
                    dropout(&normalised.relu()?, self.dropout, mode)?
                }
            };
        }
        Ok(x)
    }

    /// [`Mlp::forward`] inside a graph, normalisation folded into the products.
    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        match self.first_matrix() {
            Some(first) => self.export_by(graph, x, first),
            None => Ok(x.clone()),
        }
    }

    /// See [`Mlp::forward_by`].
    pub fn export_by(&self, graph: &mut GraphBuilder, x: &Value, first: &Tensor) -> Result<Value> {
        let mut x = x.clone();
        for (index, (dense, norm)) in self.layers.iter().enumerate() {
            let matrix = if index == 0 { first } else { dense.weight() };
            let (matrix, bias) = match norm {
                Some(norm) => folded(matrix, dense.bias(), norm)?,
                None => (matrix.clone(), dense.bias().clone()),
            };
            let (matrix, bias) = (graph.tensor(&matrix)?, graph.tensor(&bias)?);
            x = graph.linear(&x, &matrix, &bias);
            x = graph.relu(&x);
        }
        Ok(x)
    }
}

/// A dense layer and the normalisation behind it, when not training, as one dense layer.
fn folded(matrix: &Tensor, bias: &Tensor, norm: &BatchNorm) -> Result<(Tensor, Tensor)> {
    let (scale, shift) = norm.scale_and_shift()?;
    let matrix = matrix.broadcast_mul(&scale.unsqueeze(1)?)?;
    Ok((matrix, ((bias * scale)? + shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use parking_lot::Mutex;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// The values, all gradients, that of x first, and the running statistics.
    fn run(mlp: &Mlp, params: &Params, x: &Var, fast: bool) -> Result<Vec<Vec<f64>>> {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(5));
        let mode = Mode::Train(&rng);
        let before: Vec<Tensor> = params
            .buffers()
            .iter()
            .map(|(_, var)| var.as_tensor().copy())
            .collect::<candle_core::Result<_>>()?;
        let h = match (fast, mlp.first_matrix()) {
            (false, Some(first)) => mlp.definition(x, first, &mode)?,
            _ => mlp.forward(x, &mode)?,
        };
        let gradients = h.sqr()?.sum_all()?.backward()?;
        let mut numbers = vec![h.flatten_all()?.to_vec1()?];
        for var in std::iter::once(x).chain(params.weights().iter().map(|(_, var)| var)) {
            let Some(gradient) = gradients.get(var) else {
                panic!("a gradient is missing");
            };
            numbers.push(gradient.flatten_all()?.to_vec1()?);
        }
        for ((_, var), before) in params.buffers().iter().zip(&before) {
            numbers.push(var.to_vec1()?);
            var.set(before)?;
        }
        Ok(numbers)
    }

    #[test]
    fn one_operation_equals_layer_by_layer() -> Result<()> {
        let device = Device::Cpu;
        let cases = [(1, 1), (301, 1), (301, 2), (1000, 3)];
        for ((rows, threads), batch_norm) in cases.into_iter().flat_map(|c| [(c, false), (c, true)])
        {
            let mut params = Params::new(3, DType::F64, device.clone());
            let config = MlpConfig {
                hidden: vec![9, 6, 5],
                dropout: 0.3,
                batch_norm,
            };
            let mlp = Mlp::new(&mut params, "m", 7, &config)?;
            for (number, (_, var)) in params.weights().iter().enumerate() {
                let count = var.elem_count();
                let wave = |i: usize| ((i + number) as f64 * 1.9).sin() * 0.1;
                let noise = Tensor::from_vec((0..count).map(wave).collect(), var.shape(), &device)?;
                var.set(&(var.as_tensor().detach() + noise)?)?;
            }
            let x: Vec<f64> = (0..rows * 7).map(|i| (i as f64 * 0.7).sin()).collect();
            let x = Var::from_vec(x, (rows, 7), &device)?;
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let Ok(pool) = pool.build() else {
                panic!("no thread pool");
            };
            let fast = pool.install(|| run(&mlp, &params, &x, true))?;
            let plain = run(&mlp, &params, &x, false)?;
            assert_eq!(fast.len(), plain.len());
            for (fast, plain) in fast.iter().zip(&plain) {
                assert_eq!(fast.len(), plain.len());
                for (a, b) in fast.iter().zip(plain) {
                    let gap = (a - b).abs();
                    // Statistics in another order of additions cost a digit.
                    let bound = if batch_norm { 1e-10 } else { 1e-11 };
                    assert!(gap < bound * (1.0 + b.abs()), "{rows} {threads}: {a} {b}");
                }
            }
            // Twice the same, bit for bit.
            assert_eq!(fast, pool.install(|| run(&mlp, &params, &x, true))?);
        }
        Ok(())
    }

    #[test]
    fn without_training_too() -> Result<()> {
        let mut params = Params::new(3, DType::F64, Device::Cpu);
        let config = MlpConfig {
            hidden: vec![9, 6],
            batch_norm: true,
            ..MlpConfig::default()
        };
        let mlp = Mlp::new(&mut params, "m", 7, &config)?;
        let wave = (0..40 * 7).map(|i| (f64::from(i) * 0.7).sin()).collect();
        let x = Tensor::from_vec(wave, (40, 7), &Device::Cpu)?;
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(5));
        for _ in 0..3 {
            mlp.forward(&x, &Mode::Train(&rng))?;
        }
        let (Some(first), mode) = (mlp.first_matrix(), Mode::Evaluate) else {
            panic!("no layer");
        };
        let plain = mlp.definition(&x, first, &mode)?.flatten_all()?;
        let fast = mlp.forward(&x, &mode)?.flatten_all()?;
        for (a, b) in fast.to_vec1::<f64>()?.iter().zip(plain.to_vec1::<f64>()?) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        Ok(())
    }
}
