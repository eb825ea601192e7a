//! Early stopping, and the learning rate: both wait for a better value.

use super::network::Network;
use crate::error::{Error, Result};
use crate::recipe::Options;
use candle_core::Tensor;

/// A smaller gain of the value than this share of it is no gain.
const LEAST_GAIN: f64 = 1e-5;

/// The best epoch so far, and how long ago it was.
pub struct Schedule<'a> {
    options: &'a Options,
    pub learning_rate: f64,
    best: Option<Best>,
    /// Epochs since the best one.
    waited: usize,
}

struct Best {
    value: f64,
    epoch: usize,
    weights: Vec<Tensor>,
}

impl<'a> Schedule<'a> {
    pub fn new(options: &'a Options, learning_rate: f64) -> Self {
        Self {
            options,
            learning_rate,
            best: None,
            waited: 0,
        }
    }

    /// After each epoch: keeps the weights of the best one, or waits and lowers the learning rate.
    pub fn note(&mut self, value: f64, epoch: usize, network: &Network) -> Result<()> {
        let better = match &self.best {
            Some(best) => value < best.value - LEAST_GAIN * best.value.abs(),
            None => value.is_finite(),
        };
        if better {
            self.waited = 0;
            self.best = Some(Best {
                value,
                epoch,
                weights: network.snapshot()?,
            });
            return Ok(());
        }
        self.waited += 1;
        let options = self.options;
        if self.waited.is_multiple_of(options.learning_rate_patience) {
            let least = options.min_learning_rate.min(self.learning_rate);
            self.learning_rate = (self.learning_rate * options.learning_rate_factor).max(least);
        }
        Ok(())
    }

    /// Whether it has waited long enough.
    pub fn is_over(&self) -> bool {
        self.waited >= self.options.patience
    }

    /// Brings the best weights back, and says which epoch they are of.
    pub fn restore_best(self, network: &Network) -> Result<usize> {
        let Some(best) = self.best else {
            return Err(Error::data("the training diverged")
                .detail("The loss was not finite in any epoch.")
                .hint("Lower the option \"learning_rate\", and look for extreme values in the target."));
        };
        network.restore(&best.weights)?;
        Ok(best.epoch)
    }
}
