//! The order in which rows are trained on.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Small batches up to so many rows, larger ones where there are more.
const SMALL: (usize, usize) = (100_000, 256);
const LARGE: usize = 1024;
/// At least about this many steps per epoch ...
const STEPS: usize = 16;
/// ... with batches no smaller than this.
const SMALLEST: usize = 32;
/// On a GPU; with a sequence per row smaller, because each step of it leaves its activations behind.
const LARGE_GPU: usize = 16_384;
const LARGE_SEQUENCES_GPU: usize = 2048;
const STEPS_GPU: usize = 128;
/// Rows of an epoch at least ...
const SHORT_EPOCH: usize = 16_384;
/// ... and the share of all rows that it is, where these are many more. Small networks have learnt most of what they learn
/// from many rows before they have seen them all once, above all where these are the same customers at several cut-offs.
const EPOCHS_PER_PASS: usize = 32;
/// A batch is not made larger than this to hold enough payers.
const LARGEST_FOR_PAYERS: usize = 16_384;

/// The batch size where none is given. `payers_wanted` per batch, of which a `share` of the rows are.
pub fn batch_size(rows: usize, payers_wanted: usize, share: f64) -> usize {
    let (few, small) = SMALL;
    let size = if rows > few { LARGE } else { small };
    let size = size.min((rows / STEPS).next_power_of_two().max(SMALLEST));
    let for_payers = (payers_wanted as f64 / share.max(1e-6)).ceil() as usize;
    size.max(for_payers.min(LARGEST_FOR_PAYERS))
        .min(rows.max(1))
}

/// Rows of an epoch where the options do not say: networks are judged, and their learning rates reduced, after as many.
pub fn epoch_rows(rows: usize) -> usize {
    (rows / EPOCHS_PER_PASS).max(SHORT_EPOCH)
}

/// The batch size on a GPU, where none is given: up to [`LARGE_GPU`], as long as an epoch keeps [`STEPS_GPU`] steps.
pub fn batch_size_for_gpu(size: usize, rows: usize, with_sequence: bool) -> usize {
    let most = match with_sequence {
        true => LARGE_SEQUENCES_GPU,
        false => LARGE_GPU,
    };
    // The largest power of two that is not too large.
    let fitting = ((rows / STEPS_GPU + 1).next_power_of_two() / 2).max(1);
    size.max(fitting.min(most))
}

/// `wanted`, or what of it fits, in place of the `usual` batch size; and what the learning rate is multiplied with
/// then. For optimisers of Adam's kind the square root of the ratio keeps the noise of the steps (Malladi et al., On the
/// SDEs and Scaling Rules for Adaptive Gradient Algorithms, NeurIPS 2022).
pub fn larger(usual: usize, wanted: usize, fits: impl Fn(usize) -> bool) -> (usize, f64) {
    let mut size = wanted;
    while size > usual && !fits(size) {
        size /= 2;
    }
    let size = size.max(usual);
    (size, (size as f64 / usual.max(1) as f64).sqrt())
}

/// Shuffles rows and cuts them into batches of nearly equal size.
pub struct Batches {
    rows: Vec<u32>,
    /// Rows that pay, where each batch shall have its share of them; then `rows` holds the others.
    payers: Vec<u32>,
    order: Vec<u32>,
    size: usize,
    /// Batches of this order that were taken already.
    taken: usize,
}

impl Batches {
    pub fn new(rows: &[u32], target: &[f32], size: usize, stratified: bool) -> Self {
        let (payers, rows) = rows
            .iter()
            .partition(|&&row| stratified && target[row as usize] > 0.0);
        Self {
            rows,
            payers,
            order: Vec::new(),
            size: size.max(1),
            taken: 0,
        }
    }

    /// The batches of the next epoch: about `rows`, all of them before any comes again.
    pub fn next(&mut self, rows: usize, rng: &mut ChaCha8Rng) -> impl Iterator<Item = &[u32]> {
        let total = self.rows.len() + self.payers.len();
        let batches = total.div_ceil(self.size).max(1);
        let epochs = total.div_ceil(rows.max(1)).clamp(1, batches);
        if self.taken == 0 {
            self.shuffle(rng);
        }
        let from = self.taken;
        let epoch = (from * epochs).div_ceil(batches);
        let to = (epoch + 1) * batches / epochs;
        self.taken = to % batches;
        let order = &self.order;
        (from..to).map(move |batch| &order[batch * total / batches..(batch + 1) * total / batches])
    }

    fn shuffle(&mut self, rng: &mut ChaCha8Rng) {
        shuffle(&mut self.rows, rng);
        shuffle(&mut self.payers, rng);
        let total = self.rows.len() + self.payers.len();
        self.order.clear();
        let (mut rows, mut payers) = (self.rows.iter(), self.payers.iter());
        for place in 0..total {
            let due = |place: usize| place * self.payers.len() / total;
            let next = if due(place + 1) > due(place) {
                payers.next()
            } else {
                rows.next()
            };
            self.order.extend(next);
        }
    }
}

pub fn shuffle(rows: &mut [u32], rng: &mut ChaCha8Rng) {
    for last in (1..rows.len()).rev() {
        let other = rng.random_range(0..=last as u32) as usize;
        rows.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_gpu_takes_larger_batches_of_more_rows() {
        let size = |rows, with_sequence| {
            let usual = batch_size(rows, 0, 1.0);
            (usual, batch_size_for_gpu(usual, rows, with_sequence))
        };
        assert_eq!(size(1_000, false), (64, 64));
        assert_eq!(size(200_000, false), (1024, 1024));
        assert_eq!(size(1_000_000, false), (1024, 4096));
        assert_eq!(size(20_000_000, false), (1024, 16_384));
        assert_eq!(size(20_000_000, true), (1024, 2048));
    }

    #[test]
    fn larger_batches_take_longer_steps_and_no_more_memory_than_there_is() {
        assert_eq!(larger(1024, 16_384, |_| true), (16_384, 4.0));
        assert_eq!(larger(1024, 16_384, |size| size <= 5000), (4096, 2.0));
        assert_eq!(larger(1024, 16_384, |_| false), (1024, 1.0));
        assert_eq!(larger(1000, 1000, |_| true), (1000, 1.0));
    }

    #[test]
    fn batches_grow_with_the_scarcity_of_payers() {
        assert_eq!(batch_size(50_000, 0, 0.01), 256);
        assert_eq!(batch_size(50_000, 64, 0.5), 256);
        assert_eq!(batch_size(50_000, 64, 0.01), 6400);
        // Within reason, and never more than there are rows.
        assert_eq!(batch_size(1_000_000, 64, 1e-5), LARGEST_FOR_PAYERS);
        assert_eq!(batch_size(500, 64, 0.01), 500);
        assert_eq!(batch_size(1, 64, 0.0), 1);
    }

    #[test]
    fn payers_are_dealt_evenly_and_every_row_comes_once() {
        let target: Vec<f32> = (0..1003)
            .map(|i| f32::from(u8::from(i % 29 == 0)))
            .collect();
        let rows: Vec<u32> = (0..1003).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let payers = target.iter().filter(|&&y| y > 0.0).count();
        for (stratified, size) in [(true, 100), (true, 16), (true, 5000), (false, 100)] {
            let mut batches = Batches::new(&rows, &target, size, stratified);
            let mut seen = Vec::new();
            let dealt: Vec<usize> = batches
                .next(usize::MAX, &mut rng)
                .map(|batch| {
                    seen.extend_from_slice(batch);
                    batch
                        .iter()
                        .filter(|&&row| target[row as usize] > 0.0)
                        .count()
                })
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, rows);
            let (least, most) = (dealt.iter().min(), dealt.iter().max());
            if let (true, Some(least), Some(most)) = (stratified, least, most) {
                assert!(most - least <= 1, "{dealt:?}");
                assert!(*least >= payers / dealt.len(), "{dealt:?}");
            }
        }
    }

    #[test]
    fn short_epochs_take_every_row_once_before_any_comes_again() {
        let target = vec![0.0; 1003];
        let rows: Vec<u32> = (0..1003).collect();
        for (at_once, size) in [(100, 10), (334, 100), (999, 100), (1003, 64), (1, 64)] {
            let mut batches = Batches::new(&rows, &target, size, false);
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            for _ in 0..2 {
                let mut seen = Vec::new();
                while seen.len() < rows.len() {
                    let epoch: Vec<u32> =
                        batches.next(at_once, &mut rng).flatten().copied().collect();
                    assert!(
                        !epoch.is_empty() && epoch.len() <= at_once + size,
                        "{}",
                        epoch.len()
                    );
                    seen.extend(epoch);
                }
                seen.sort_unstable();
                assert_eq!(seen, rows);
            }
        }
    }
}
