//! Dropout: while training each value is zeroed with probability `rate` and the rest scaled up, so that
//! the expected value stays; the identity otherwise.

use crate::batch::Mode;
use candle_core::{DType, Device, Result, Tensor};
use rand::RngCore;

/// One layer's draw for one batch. The same draw always gives the same mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
    seed: u64,
}

/// What is compared with 16 random bits per value.
const RESOLUTION: f64 = 65536.0;
/// Values that one 64-bit draw decides on.
const DRAWS: usize = 4;

/// Number `counter` of the SplitMix64 sequence that starts at `seed`.
fn random_bits(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add((counter + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Dropout {
    /// None where nothing is to be dropped: when evaluating, or with rate 0.
    pub fn draw(rate: f64, mode: &Mode) -> Option<Self> {
        match mode {
            Mode::Train(rng) if rate > 0.0 => Some(Self {
                rate,
                seed: rng.lock().next_u64(),
            }),
            _ => None,
        }
    }

    fn threshold(&self) -> u32 {
        (self.rate * RESOLUTION).round().min(RESOLUTION - 1.0) as u32
    }

    /// What kept values are multiplied by.
    pub fn scale(&self) -> f64 {
        1.0 / (1.0 - f64::from(self.threshold()) / RESOLUTION)
    }

    /// Calls `apply(value, kept)` on every value; `first` is the index of the first one in the whole tensor, so that
    /// parts can be drawn apart from each other.
    pub fn for_each<T>(&self, first: usize, values: &mut [T], mut apply: impl FnMut(&mut T, bool)) {
        let threshold = u64::from(self.threshold());
        let mut decide = |values: &mut [T], bits: u64| {
            for (place, value) in values.iter_mut().enumerate() {
                apply(value, (bits >> (16 * place)) & 0xffff >= threshold);
            }
        };
        let place = first % DRAWS;
        let mut counter = (first / DRAWS) as u64;
        let mut values = values;
        if place > 0 {
            let (now, rest) = values.split_at_mut((DRAWS - place).min(values.len()));
            decide(now, random_bits(self.seed, counter) >> (16 * place));
            counter += 1;
            values = rest;
        }
        let mut chunks = values.chunks_exact_mut(DRAWS);
        for chunk in &mut chunks {
            decide(chunk, random_bits(self.seed, counter));
            counter += 1;
        }
        decide(chunks.into_remainder(), random_bits(self.seed, counter));
    }

    /// The mask as a tensor like `x`: 0 where dropped, [`Dropout::scale`] where kept.
    pub fn mask(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.mask_by_device(x);
        }
        let scale = self.scale();
        if x.dtype() == DType::F32 {
            let mut mask = vec![0f32; x.elem_count()];
            self.for_each(0, &mut mask, |value, kept| {
                *value = if kept { scale as f32 } else { 0.0 };
            });
            return Tensor::from_vec(mask, x.shape(), &Device::Cpu);
        }
        let mut mask = vec![0f64; x.elem_count()];
        self.for_each(0, &mut mask, |value, kept| {
            *value = if kept { scale } else { 0.0 };
        });
        Tensor::from_vec(mask, x.shape(), &Device::Cpu)?.to_dtype(x.dtype())
    }
}

impl Dropout {
    /// Drawn by the device's own generator, because a mask for each layer and batch is too much to send there.
    fn mask_by_device(&self, x: &Tensor) -> Result<Tensor> {
        let kept = x.rand_like(0.0, 1.0)?.ge(1.0 - 1.0 / self.scale())?;
        kept.to_dtype(x.dtype())?.affine(self.scale(), 0.0)
    }
}

/// `x` with one draw of dropout, the same shape; `x` itself when evaluating.
pub fn dropout(x: &Tensor, rate: f64, mode: &Mode) -> Result<Tensor> {
    match Dropout::draw(rate, mode) {
        Some(draw) => x.mul(&draw.mask(x)?),
        None => Ok(x.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use parking_lot::Mutex;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_device_drops_its_share_and_scales_the_rest() -> Result<()> {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(1));
        let x = Tensor::zeros((200, 500), DType::F32, &Device::Cpu)?;
        for rate in [0.1, 0.5] {
            let draw = Dropout::draw(rate, &Mode::Train(&rng)).expect("a draw");
            for mask in [draw.mask(&x)?, draw.mask_by_device(&x)?] {
                let values = mask.flatten_all()?.to_vec1::<f32>()?;
                let scale = draw.scale() as f32;
                assert!(values.iter().all(|&v| v == 0.0 || (v - scale).abs() < 1e-6));
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                // Five standard deviations of the mean.
                let chance = 5.0 * (rate / (1.0 - rate) / values.len() as f64).sqrt() as f32;
                assert!((mean - 1.0).abs() < chance, "{rate}: {mean}");
            }
        }
        Ok(())
    }
}
