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
/// A batch is not made larger than this to hold enough payers.
const LARGEST_FOR_PAYERS: usize = 16_384;

/// The batch size where none is given. `payers_wanted` per batch, of which a `share` of the rows are.
pub(super) fn batch_size(rows: usize, payers_wanted: usize, share: f64) -> usize {
    let (few, small) = SMALL;
    let size = if rows > few { LARGE } else { small };
    let size = size.min((rows / STEPS).next_power_of_two().max(SMALLEST));
    let for_payers = (payers_wanted as f64 / share.max(1e-6)).ceil() as usize;
    size.max(for_payers.min(LARGEST_FOR_PAYERS))
        .min(rows.max(1))
}

/// Shuffles rows and cuts them into batches of nearly equal size.
pub(super) struct Batches {
    rows: Vec<u32>,
    /// Rows that pay, where each batch shall have its share of them; then `rows` holds the others.
    payers: Vec<u32>,
    order: Vec<u32>,
    size: usize,
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
        }
    }

    /// The batches of the next epoch.
    pub fn shuffle(&mut self, rng: &mut ChaCha8Rng) -> impl Iterator<Item = &[u32]> {
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
        let batches = total.div_ceil(self.size).max(1);
        let order = &self.order;
        (0..batches)
            .map(move |batch| &order[batch * total / batches..(batch + 1) * total / batches])
    }
}

pub(super) fn shuffle(rows: &mut [u32], rng: &mut ChaCha8Rng) {
    for last in (1..rows.len()).rev() {
        let other = rng.random_range(0..=last as u32) as usize;
        rows.swap(last, other);
    }
}
