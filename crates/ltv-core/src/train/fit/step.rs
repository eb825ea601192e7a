//! The gradient of one batch. Its rows are cut into shards that are worked on side by side, each as a batch of its own;
//! the gradients are added in the order of the shards, so that a result depends on the number of threads alone.

use super::loss_sum::LossSum;
use super::network::Network;
use super::optimizer::Gradients;
use crate::batch::Mode;
use crate::error::Result;
use crate::kernels::threads;
use crate::train::rows::Rows;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Larger shards do not fit in cache: their activations are evicted before the backward pass reads them.
pub const MOST_ROWS: usize = 1024;
/// Fewer rows than this are not worth a thread of their own.
const FEWEST_ROWS: usize = 64;

pub struct Shards {
    /// How many are worked on at the same time; 0: the batch stays whole.
    threads: usize,
    seed: u64,
    /// What dropout draws from, one per shard.
    noise: Vec<Mutex<ChaCha8Rng>>,
}

impl Shards {
    /// Batches of `network` in shards, unless its loss looks at several rows at once, or `whole` says otherwise.
    pub fn new(network: &Network, threads: usize, whole: bool, seed: u64) -> Self {
        Self {
            threads: if whole || network.couples_rows() {
                0
            } else {
                threads.max(1)
            },
            seed,
            noise: Vec::new(),
        }
    }

    fn count(&self, rows: usize) -> usize {
        if self.threads == 0 {
            return 1;
        }
        let shards = rows.div_ceil(MOST_ROWS).next_multiple_of(self.threads);
        shards.min(rows / FEWEST_ROWS).max(1)
    }

    /// Adds the losses to `sum`; the gradient is that of the mean over all rows.
    pub fn gradients(
        &mut self,
        network: &Network,
        data: &Rows,
        rows: &[u32],
        sum: &mut LossSum,
    ) -> Result<Gradients> {
        let count = self.count(rows.len());
        while self.noise.len() < count {
            let mut noise = ChaCha8Rng::seed_from_u64(self.seed);
            // 1 is the order of the rows.
            noise.set_stream(2 + self.noise.len() as u64);
            self.noise.push(Mutex::new(noise));
        }
        let gradients = |shard: usize| {
            let rows = &rows[shard * rows.len() / count..(shard + 1) * rows.len() / count];
            let encoded = data.gather(rows)?;
            let loss = network.loss(&encoded, &Mode::Train(&self.noise[shard]))?;
            Ok((loss.total.backward()?, loss, rows.len()))
        };
        if count == 1 {
            let (gradients, loss, rows) = gradients(0)?;
            sum.add(&loss, rows)?;
            return Ok(vec![(gradients, 1.0)]);
        }
        let shards: Result<Vec<_>> = (0..count)
            .into_par_iter()
            .with_max_len(count.div_ceil(self.threads))
            .map(|shard| threads::alone(|| gradients(shard)))
            .collect();
        let mut all = Vec::with_capacity(count);
        for (gradients, loss, shard_rows) in shards? {
            sum.add(&loss, shard_rows)?;
            all.push((gradients, shard_rows as f64 / rows.len() as f64));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backbone::{BackboneConfig, MlpConfig};
    use crate::data::{ColumnData, Split, TrainingTable};
    use crate::objective::{ObjectiveConfig, ZilnConfig};
    use crate::preprocess::Preprocessing;
    use crate::recipe::Options;
    use crate::schema::{ColumnKind, FeatureColumn};
    use crate::train::device::Hardware;
    use crate::train::fit::network::NetworkConfig;
    use crate::train::target;
    use candle_core::Device;
    use std::collections::HashMap;

    fn added(network: &Network, gradients: &Gradients) -> Result<HashMap<String, Vec<f64>>> {
        let mut sums: HashMap<String, Vec<f64>> = HashMap::new();
        for (store, share) in gradients {
            for (name, var) in network.weights() {
                let Some(gradient) = store.get(var) else {
                    continue;
                };
                let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
                let sum = sums
                    .entry(name.clone())
                    .or_insert_with(|| vec![0.0; gradient.len()]);
                for (sum, value) in sum.iter_mut().zip(gradient) {
                    *sum += f64::from(value) * share;
                }
            }
        }
        Ok(sums)
    }

    #[test]
    fn shards_add_up_to_the_whole_batch() -> Result<()> {
        let rows = 2500;
        let wave = |k: f32| -> Vec<f32> { (0..rows).map(|i| (i as f32 * k).sin()).collect() };
        let inputs = ["a", "b", "c"]
            .map(|name| FeatureColumn::new(name, ColumnKind::Numeric, "real"))
            .to_vec();
        let columns = [0.7, 1.3, 2.9].map(|k| ColumnData::Numeric(wave(k)));
        let y: Vec<f64> = wave(0.31)
            .iter()
            .map(|v| f64::from(*v).max(0.0) * 20.0)
            .collect();
        let split = vec![Split::Train; rows];
        let table = TrainingTable::from_columns(inputs, &columns, &y, &split, None)?;
        let all: Vec<u32> = (0..rows as u32).collect();
        let (fitted, _) = Preprocessing::fit(&table, &all, &Options::default())?;
        let config = NetworkConfig {
            backbone: BackboneConfig::Mlp(MlpConfig {
                dropout: 0.0,
                ..MlpConfig::default()
            }),
            objective: ObjectiveConfig::Ziln(ZilnConfig::default()),
            shape: fitted.shape(),
            target: target::statistics(table.target()),
            intervals: Vec::new(),
        };
        let data = fitted.encode(table)?;
        let network = Network::new(&config, 1, &Device::Cpu, usize::MAX)?;
        let encoded = data.gather(&all, &Device::Cpu)?;
        let unused = Mutex::new(ChaCha8Rng::seed_from_u64(1));
        let loss = network.loss(&encoded, &Mode::Train(&unused))?;
        let whole = added(&network, &vec![(loss.total.backward()?, 1.0)])?;
        let hardware = Hardware::cpu();
        let rows_in_memory = Rows::Memory(&data, &hardware);
        for (threads, count) in [(1, 3), (2, 4), (3, 3)] {
            let mut shards = Shards::new(&network, threads, false, 1);
            assert_eq!(shards.count(rows), count);
            let mut sum = LossSum::default();
            let gradients = shards.gradients(&network, &rows_in_memory, &all, &mut sum)?;
            assert_eq!(gradients.len(), count);
            let parts = added(&network, &gradients)?;
            assert_eq!(parts.len(), whole.len());
            for (name, whole) in &whole {
                let size = whole.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
                for (whole, part) in whole.iter().zip(&parts[name]) {
                    assert!((whole - part).abs() < 1e-5 * size, "{name}: {part} {whole}");
                }
            }
        }
        Ok(())
    }
}
