//! Adam and AdamW: on the CPU in one pass over each weight.

mod config;
mod flat;

pub use config::AdamConfig;

use crate::error::Result;
use crate::kernels::dispatch;
use crate::kernels::storage::Numbers;
use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, Var};
use config::{BETA1, BETA2, EPSILON};
use flat::FlatAdam;
use parking_lot::Mutex;

pub struct Adam {
    /// Each with whether it decays: biases and other vectors do not.
    weights: Vec<(Var, bool)>,
    moments: Moments,
    config: AdamConfig,
    steps: i32,
}

enum Moments {
    /// Per weight the first and second moment of each element, side by side.
    Cpu(Vec<Mutex<Vec<[f32; 2]>>>),
    Flat(FlatAdam),
}

/// Per shard of a batch its gradients and its share of the rows.
pub type Gradients = Vec<(GradStore, f64)>;

impl Adam {
    pub fn new(weights: &[(String, Var)], config: AdamConfig) -> Result<Self> {
        let weights: Vec<(Var, bool)> = weights
            .iter()
            .map(|(_, var)| (var.clone(), var.rank() > 1))
            .collect();
        let fused = |(var, _): &(Var, bool)| dispatch::applies(var) && var.dtype() == DType::F32;
        let moments = if weights.iter().all(fused) {
            let zeros = |(var, _): &(Var, bool)| Mutex::new(vec![[0.0; 2]; var.elem_count()]);
            Moments::Cpu(weights.iter().map(zeros).collect())
        } else {
            Moments::Flat(FlatAdam::new(&weights)?)
        };
        Ok(Self {
            weights,
            moments,
            config,
            steps: 0,
        })
    }

    /// One step against the gradients. A gradient that is not finite changes nothing.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        let given = self
            .weights
            .iter()
            .map(|(var, _)| weighted_sum(gradients, var))
            .collect::<Result<Vec<_>>>()?;
        let moments = match &mut self.moments {
            Moments::Cpu(moments) => moments,
            Moments::Flat(flat) => {
                // Whether the gradient is finite is known to the device alone, so the step counts in any case.
                self.steps += 1;
                let at = (self.steps, learning_rate);
                return flat.step(&self.weights, &given, at, &self.config);
            }
        };
        let squares = given
            .iter()
            .flatten()
            .map(square_sum)
            .sum::<Result<f64>>()?;
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
        let correction1 = 1.0 - BETA1.powi(self.steps);
        let correction2 = 1.0 - BETA2.powi(self.steps);
        for (((var, decays), moments), gradient) in self.weights.iter().zip(moments).zip(&given) {
            let Some(gradient) = gradient else {
                continue;
            };
            let decay = if *decays {
                self.config.weight_decay
            } else {
                0.0
            };
            let (penalty, shrink) = if self.config.decoupled {
                (0.0, 1.0 - learning_rate * decay)
            } else {
                (decay, 1.0)
            };
            let fused = Fused {
                moments,
                factor: factor as f32,
                penalty: penalty as f32,
                shrink: shrink as f32,
                rate: (learning_rate / correction1) as f32,
                root: (1.0 / correction2.sqrt()) as f32,
            };
            var.inplace_op2(gradient, &fused)?;
        }
        Ok(())
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
        if dispatch::applies(&gradient) && gradient.dtype() == DType::F32 {
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
    let numbers = Numbers::of(tensor);
    // Sixteen sums side by side, so that the compiler may use wide registers; always the same order.
    let mut sums = [0.0_f32; 16];
    let mut total = 0.0_f64;
    for block in numbers.get::<f32>()?.chunks(4096) {
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
    Ok(total)
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
