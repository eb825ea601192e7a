//! Adam and AdamW in one pass over each weight.

use crate::error::Result;
use crate::layers::kernel::{self, Numbers};
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, Var};
use parking_lot::Mutex;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    pub weight_decay: f64,
    /// Weight decay apart from the gradient (AdamW) or as an L2 penalty in it (Adam).
    pub decoupled: bool,
    /// Largest norm of the gradient; 0 = no limit.
    pub clip_norm: f64,
}

pub struct Adam {
    weights: Vec<Weight>,
    config: AdamConfig,
    steps: i32,
}

struct Weight {
    var: Var,
    /// Biases and other vectors do not decay.
    decays: bool,
    moments: Moments,
}

enum Moments {
    /// First and second moment of each element, side by side.
    Cpu(Mutex<Vec<[f32; 2]>>),
    Tensors(Tensor, Tensor),
}

/// Per shard of a batch its gradients and its share of the rows.
pub type Gradients = Vec<(GradStore, f64)>;

impl Adam {
    pub fn new(weights: &[(String, Var)], config: AdamConfig) -> Result<Self> {
        let weights = weights
            .iter()
            .map(|(_, var)| {
                let on_cpu = var.device().is_cpu() && var.dtype() == candle_core::DType::F32;
                let moments = if on_cpu {
                    Moments::Cpu(Mutex::new(vec![[0.0; 2]; var.elem_count()]))
                } else {
                    Moments::Tensors(var.zeros_like()?, var.zeros_like()?)
                };
                Ok(Weight {
                    decays: var.rank() > 1,
                    var: var.clone(),
                    moments,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            weights,
            config,
            steps: 0,
        })
    }

    /// One step against the gradients. A gradient that is not finite changes nothing.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        let mut given = Vec::with_capacity(self.weights.len());
        let mut squares = 0.0;
        for weight in &self.weights {
            let gradient = weighted_sum(gradients, &weight.var)?;
            if let Some(gradient) = &gradient {
                squares += square_sum(gradient)?;
            }
            given.push(gradient);
        }
        if !squares.is_finite() {
            return Ok(());
        }
        self.steps += 1;
        let norm = squares.sqrt();
        let limit = self.config.clip_norm;
        let factor = if limit > 0.0 && norm > limit {
            limit / norm
        } else {
            1.0
        };
        let step = Step {
            factor,
            learning_rate,
            correction1: 1.0 - BETA1.powi(self.steps),
            correction2: 1.0 - BETA2.powi(self.steps),
        };
        for (weight, gradient) in self.weights.iter_mut().zip(&given) {
            if let Some(gradient) = gradient {
                weight.step(gradient, &step, &self.config)?;
            }
        }
        Ok(())
    }
}

struct Step {
    factor: f64,
    learning_rate: f64,
    correction1: f64,
    correction2: f64,
}

impl Weight {
    fn step(&mut self, gradient: &Tensor, step: &Step, config: &AdamConfig) -> Result<()> {
        let decay = if self.decays {
            config.weight_decay
        } else {
            0.0
        };
        let (penalty, shrink) = if config.decoupled {
            (0.0, 1.0 - step.learning_rate * decay)
        } else {
            (decay, 1.0)
        };
        match &mut self.moments {
            Moments::Cpu(moments) => {
                let fused = Fused {
                    moments,
                    factor: step.factor as f32,
                    penalty: penalty as f32,
                    shrink: shrink as f32,
                    rate: (step.learning_rate / step.correction1) as f32,
                    root: (1.0 / step.correction2.sqrt()) as f32,
                };
                Ok(self.var.inplace_op2(gradient, &fused)?)
            }
            Moments::Tensors(first, second) => {
                let var = self.var.as_tensor();
                let gradient = ((gradient * step.factor)? + (var * penalty)?)?;
                *first = ((&*first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
                *second = ((&*second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?;
                let scale = ((&*second / step.correction2)?.sqrt()? + EPSILON)?;
                let change = ((&*first * (step.learning_rate / step.correction1))? / scale)?;
                Ok(self.var.set(&((var * shrink)? - change)?)?)
            }
        }
    }
}

/// The gradient of one weight over all shards, if any of them has one.
fn weighted_sum(gradients: &Gradients, var: &Var) -> Result<Option<Tensor>> {
    let mut sum: Option<Vec<f32>> = None;
    let mut total: Option<Tensor> = None;
    for (store, share) in gradients {
        let Some(gradient) = store.get(var) else {
            continue;
        };
        if gradients.len() == 1 {
            return Ok(Some(gradient.contiguous()?));
        }
        let gradient = gradient.contiguous()?;
        if kernel::applies(&gradient) && gradient.dtype() == DType::F32 {
            let numbers = Numbers::of(&gradient);
            let (numbers, share) = (numbers.get::<f32>()?, *share as f32);
            match &mut sum {
                None => sum = Some(numbers.iter().map(|value| value * share).collect()),
                Some(sum) => sum
                    .iter_mut()
                    .zip(numbers)
                    .for_each(|(sum, value)| *sum += value * share),
            }
        } else {
            let part = (&gradient * *share)?;
            total = Some(match total {
                None => part,
                Some(total) => (total + part)?,
            });
        }
    }
    Ok(match sum {
        Some(sum) => Some(Tensor::from_vec(sum, var.shape(), var.device())?),
        None => total,
    })
}

fn square_sum(tensor: &Tensor) -> Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    if let candle_core::Storage::Cpu(CpuStorage::F32(data)) = &*storage {
        let data = &data[layout.start_offset()..layout.start_offset() + tensor.elem_count()];
        // Sixteen sums side by side, so that the compiler may use wide registers; always the same order.
        let mut sums = [0.0_f32; 16];
        let mut total = 0.0_f64;
        for block in data.chunks(4096) {
            let chunks = block.chunks_exact(16);
            total += chunks
                .remainder()
                .iter()
                .map(|&v| f64::from(v * v))
                .sum::<f64>();
            for chunk in chunks {
                for (sum, &value) in sums.iter_mut().zip(chunk) {
                    *sum += value * value;
                }
            }
            total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
            sums = [0.0; 16];
        }
        return Ok(total);
    }
    drop(storage);
    let sum = tensor.sqr()?.sum_all()?;
    Ok(sum.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?)
}

/// `w = shrink * w - rate * m / (sqrt(v) * root + epsilon)`, with the moments updated on the way.
struct Fused<'a> {
    moments: &'a Mutex<Vec<[f32; 2]>>,
    factor: f32,
    penalty: f32,
    shrink: f32,
    rate: f32,
    root: f32,
}

impl InplaceOp2 for Fused<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        weights: &mut CpuStorage,
        weights_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (
            CpuStorage::F32(weights),
            CpuStorage::F32(gradient),
            Some((from, to)),
            Some((g_from, g_to)),
        ) = (
            weights,
            gradient,
            weights_layout.contiguous_offsets(),
            gradient_layout.contiguous_offsets(),
        )
        else {
            candle_core::bail!("adam needs contiguous float32 tensors");
        };
        let (b1, b2) = (BETA1 as f32, BETA2 as f32);
        let (c1, c2) = (1.0 - b1, 1.0 - b2);
        let epsilon = EPSILON as f32;
        let mut moments = self.moments.lock();
        for ((weight, &gradient), moment) in weights[from..to]
            .iter_mut()
            .zip(&gradient[g_from..g_to])
            .zip(moments.iter_mut())
        {
            let gradient = gradient * self.factor + *weight * self.penalty;
            let first = b1 * moment[0] + c1 * gradient;
            let second = b2 * moment[1] + c2 * gradient * gradient;
            *moment = [first, second];
            *weight =
                self.shrink * *weight - self.rate * first / (second.sqrt() * self.root + epsilon);
        }
        Ok(())
    }
}
