//! How often values have come, in a memory that does not grow with their number.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Counters per line.
const WIDTH: usize = 1 << 17;
const LINES: usize = 4;
/// A value is frequent from so many times on, and from one time in so many.
const TIMES: u64 = 64;
const ONE_IN: u64 = 50_000;

/// A count-min sketch (Cormode, Muthukrishnan 2005) with conservative update (Estan, Varghese 2002): a count is never
/// too low, and too high by little as long as few values are frequent.
#[derive(Clone, Debug)]
pub struct CountSketch {
    counters: Vec<u32>,
    total: u64,
}

impl Default for CountSketch {
    fn default() -> Self {
        Self {
            counters: vec![0; WIDTH * LINES],
            total: 0,
        }
    }
}

impl CountSketch {
    /// Counts the value and says whether it has come often among all that were counted.
    pub fn is_frequent(&mut self, value: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        let hash = hasher.finish();
        // Two hashes of 32 bits make as many as there are lines.
        let (first, second) = (hash as u32, (hash >> 32) as u32 | 1);
        let places: [usize; LINES] = std::array::from_fn(|line| {
            let mixed = first.wrapping_add(second.wrapping_mul(line as u32));
            line * WIDTH + mixed as usize % WIDTH
        });
        let least = places.iter().map(|&place| self.counters[place]).min();
        let count = least.unwrap_or(0).saturating_add(1);
        for place in places {
            self.counters[place] = self.counters[place].max(count);
        }
        self.total += 1;
        u64::from(count) >= TIMES.max(self.total / ONE_IN)
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.counters.capacity() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_their_own_are_never_frequent_and_frequent_ones_are_found() {
        let mut sketch = CountSketch::default();
        let mut found = 0;
        for row in 0..2_000_000 {
            assert!(!sketch.is_frequent(&format!("id {row}")), "{row}");
            if row % 100 == 0 {
                found += usize::from(sketch.is_frequent("frequent"));
            }
        }
        assert_eq!(found, 20_000 - 63);
        assert_eq!(sketch.memory_bytes(), 2 << 20);
    }
}
