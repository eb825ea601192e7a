//! Hidden layers: Dense, batch normalisation if asked for, ReLU, dropout.

use super::activation::Activation;
use super::batch_norm::BatchNorm;
use super::dense::Dense;
use super::dropout::{Dropout, dropout};
use super::kernel;
use super::mlp_fused::{Layer, Stack};
use crate::batch::Mode;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::params::{Init, Params};
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlpConfig {
    pub hidden: Vec<usize>,
    pub dropout: f64,
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

pub struct Mlp {
    layers: Vec<(Dense, Option<BatchNorm>)>,
    dropout: f64,
    width: usize,
}

impl Mlp {
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

    pub fn width(&self) -> usize {
        self.width
    }

    /// `[batch, inputs]` -> `[batch, width]`.
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let plain = self.layers.iter().all(|(_, norm)| norm.is_none());
        if self.layers.is_empty() || !plain || !kernel::applies(x) {
            return self.definition(x, mode);
        }
        let mut layers = Vec::with_capacity(self.layers.len());
        let mut weights = Vec::with_capacity(2 * self.layers.len());
        for (dense, _) in &self.layers {
            let (outputs, inputs) = dense.weight().dims2()?;
            layers.push(Layer {
                inputs,
                outputs,
                activation: self.activation(mode),
            });
            weights.push(dense.weight().flatten_all()?);
            weights.push(dense.bias().clone());
        }
        let theta = Tensor::cat(&weights, 0)?;
        Ok(x.contiguous()?
            .apply_op2(&theta, Stack::new(layers, x.dim(0)?))?)
    }

    fn activation(&self, mode: &Mode) -> Activation {
        match Dropout::draw(self.dropout, mode) {
            Some(draw) => Activation::ReluDropout(draw),
            None => Activation::Relu,
        }
    }

    /// Layer by layer.
    fn definition(&self, x: &Tensor, mode: &Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for (dense, norm) in &self.layers {
            x = match norm {
                None => dense.forward(&x, self.activation(mode))?,
                Some(norm) => {
                    let normalised =
                        norm.forward(&dense.forward(&x, Activation::Identity)?, mode)?;
                    dropout(&normalised.relu()?, self.dropout, mode)?
                }
            };
        }
        Ok(x)
    }

    pub fn export(&self, graph: &mut GraphBuilder, x: &Value) -> Result<Value> {
        let mut x = x.clone();
        for (dense, norm) in &self.layers {
            x = dense.export(graph, &x, 2)?;
            if let Some(norm) = norm {
                x = norm.export(graph, &x)?;
            }
            x = graph.relu(&x);
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Var};
    use parking_lot::Mutex;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// The values and all gradients, that of x first.
    fn run(mlp: &Mlp, params: &Params, x: &Var, fast: bool) -> Result<Vec<Vec<f64>>> {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(5));
        let mode = Mode::Train(&rng);
        let h = if fast {
            mlp.forward(x, &mode)?
        } else {
            mlp.definition(x, &mode)?
        };
        let gradients = h.sqr()?.sum_all()?.backward()?;
        let mut numbers = vec![h.flatten_all()?.to_vec1()?];
        for var in std::iter::once(x).chain(params.weights().iter().map(|(_, var)| var)) {
            let Some(gradient) = gradients.get(var) else {
                panic!("a gradient is missing");
            };
            numbers.push(gradient.flatten_all()?.to_vec1()?);
        }
        Ok(numbers)
    }

    #[test]
    fn one_operation_equals_layer_by_layer() -> Result<()> {
        let device = Device::Cpu;
        for (rows, threads) in [(1, 1), (301, 1), (301, 2), (1000, 3)] {
            let mut params = Params::new(3, DType::F64, device.clone());
            let config = MlpConfig {
                hidden: vec![9, 6, 5],
                dropout: 0.3,
                batch_norm: false,
            };
            let mlp = Mlp::new(&mut params, "m", 7, &config)?;
            let x: Vec<f64> = (0..rows * 7).map(|i| (i as f64 * 0.7).sin()).collect();
            let x = Var::from_vec(x, (rows, 7), &device)?;
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let Ok(pool) = pool.build() else {
                panic!("no thread pool");
            };
            let fast = pool.install(|| run(&mlp, &params, &x, true))?;
            let plain = run(&mlp, &params, &x, false)?;
            for (fast, plain) in fast.iter().zip(&plain) {
                for (a, b) in fast.iter().zip(plain) {
                    let gap = (a - b).abs();
                    assert!(gap < 1e-11 * (1.0 + b.abs()), "{rows} {threads}: {a} {b}");
                }
            }
            // Twice the same, bit for bit.
            assert_eq!(fast, pool.install(|| run(&mlp, &params, &x, true))?);
        }
        Ok(())
    }
}
