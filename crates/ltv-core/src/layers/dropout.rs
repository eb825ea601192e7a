//! Dropout: while training each value is zeroed with probability `rate` and the rest scaled up, so that
//! the expected value stays; the identity otherwise.

use crate::batch::Mode;
use candle_core::{DType, Result, Tensor};
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};

/// One layer's draw for one batch. The same draw always gives the same mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    rate: f64,
    seed: u64,
}

/// What is compared with 16 random bits per value.
const RESOLUTION: f64 = 65536.0;

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

    /// Calls `apply(value, kept)` on every value in order.
    pub fn for_each<T>(&self, values: &mut [T], mut apply: impl FnMut(&mut T, bool)) {
        let threshold = self.threshold();
        let mut rng = SmallRng::seed_from_u64(self.seed);
        for chunk in values.chunks_mut(4) {
            let mut bits = rng.random::<u64>();
            for value in chunk {
                apply(value, (bits & 0xffff) as u32 >= threshold);
                bits >>= 16;
            }
        }
    }

    /// The mask as a tensor like `x`: 0 where dropped, [`Dropout::scale`] where kept.
    pub fn mask(&self, x: &Tensor) -> Result<Tensor> {
        let scale = self.scale() as f32;
        let mut mask = vec![0f32; x.elem_count()];
        self.for_each(&mut mask, |value, kept| {
            *value = if kept { scale } else { 0.0 };
        });
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?;
        if x.dtype() == DType::F32 {
            Ok(mask)
        } else {
            mask.to_dtype(x.dtype())
        }
    }
}

pub fn dropout(x: &Tensor, rate: f64, mode: &Mode) -> Result<Tensor> {
    match Dropout::draw(rate, mode) {
        Some(draw) => x.mul(&draw.mask(x)?),
        None => Ok(x.clone()),
    }
}
