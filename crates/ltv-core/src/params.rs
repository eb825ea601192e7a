//! The named weights of a model. Initial values come from a seeded generator, because candle's own CPU
//! generator cannot be seeded and training must be reproducible bit for bit.

use crate::error::{Error, ErrorKind, Result};
use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// How the values of a new weight are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All values the same.
    Constant(f64),
    /// Uniform in `[-bound, bound]`.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Glorot/Xavier uniform from the last two dimensions `[out, in]`.
    Glorot,
    /// He/Kaiming uniform for ReLU from the last dimension (fan in).
    He,
}

/// Weights (trained by gradients) and buffers (running statistics, set by the layers themselves).
pub struct Params {
    weights: Vec<(String, Var)>,
    buffers: Vec<(String, Var)>,
    rng: ChaCha8Rng,
    dtype: DType,
    device: Device,
    /// Values that may still be made.
    room: usize,
    /// What names begin with.
    scope: String,
}

impl Params {
    /// An empty store; the same seed gives the same initial values.
    pub fn new(seed: u64, dtype: DType, device: Device) -> Self {
        Self {
            weights: Vec::new(),
            buffers: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            dtype,
            device,
            room: usize::MAX,
            scope: String::new(),
        }
    }

    /// What `make` creates bears names that begin with this.
    pub fn within<T>(
        &mut self,
        scope: &str,
        make: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let outer = self.scope.clone();
        self.scope = format!("{outer}{scope}.");
        let made = make(self);
        self.scope = outer;
        made
    }

    /// At most so many values in all: a weight that would be beyond is refused before it takes memory.
    pub fn with_room(mut self, values: usize) -> Self {
        self.room = values;
        self
    }

    /// The type of all values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the values lie.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Creates the weight `name`; the returned variable shares its storage with the store.
    pub fn weight(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        let name = format!("{}{name}", self.scope);
        let var = self.create(&name, shape, init)?;
        self.weights.push((name, var.clone()));
        Ok(var)
    }

    /// Creates the buffer `name`, which no gradient changes.
    pub fn buffer(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        let name = format!("{}{name}", self.scope);
        let var = self.create(&name, shape, init)?;
        self.buffers.push((name, var.clone()));
        Ok(var)
    }

    /// Names and weights in the order of their creation.
    pub fn weights(&self) -> &[(String, Var)] {
        &self.weights
    }

    /// Names and buffers in the order of their creation.
    pub fn buffers(&self) -> &[(String, Var)] {
        &self.buffers
    }

    fn create(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Var> {
        if self
            .weights
            .iter()
            .chain(&self.buffers)
            .any(|(existing, _)| existing == name)
        {
            return Err(Error::internal(format!("two weights are named \"{name}\"")));
        }
        let count = shape
            .iter()
            .try_fold(1usize, |count, &size| count.checked_mul(size))
            .filter(|&count| count <= self.room);
        let count = count.ok_or_else(|| {
            Error::new(ErrorKind::Resources, "a network is too large").detail(format!(
                "Weight \"{name}\" has the shape {shape:?}, and there is room for {} values.",
                self.room
            ))
        })?;
        self.room -= count;
        let fan_in = shape.last().copied().unwrap_or(1).max(1) as f64;
        let fan_out = if shape.len() > 1 {
            shape[shape.len() - 2] as f64
        } else {
            1.0
        };
        let rng = &mut self.rng;
        let mut uniform = |bound: f64| -> Vec<f64> {
            (0..count)
                .map(|_| (rng.random::<f64>() * 2.0 - 1.0) * bound)
                .collect()
        };
        let values = match init {
            Init::Constant(value) => vec![value; count],
            Init::Uniform(bound) => uniform(bound),
            Init::Glorot => uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Init::He => uniform((6.0 / fan_in).sqrt()),
            Init::Normal(std) => (0..count).map(|_| standard_normal(rng) * std).collect(),
        };
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(self.dtype)?;
        Ok(Var::from_tensor(&tensor.to_device(&self.device)?)?)
    }
}

/// Box-Muller; one value per two uniforms keeps the stream simple to reason about.
pub fn standard_normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_room_is_refused_before_it_is_made() -> Result<()> {
        let mut params = Params::new(1, DType::F32, Device::Cpu).with_room(100);
        params.weight("a", &[9, 10], Init::Glorot)?;
        params.buffer("b", &[10], Init::Constant(0.0))?;
        for shape in [&[1][..], &[usize::MAX], &[1 << 40, 1 << 40]] {
            let refused = params.weight("c", shape, Init::He).err();
            assert!(
                refused.is_some_and(|error| error.kind == ErrorKind::Resources),
                "{shape:?}"
            );
        }
        Ok(())
    }
}
