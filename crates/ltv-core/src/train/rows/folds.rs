//! Which network of an ensemble sees which rows.

use crate::data::{self, Split};
use crate::preprocess::Encoded;
use crate::recipe::Options;

/// Which rows one network is trained on, and which ones stop it.
pub struct Fold {
    /// Rows it is trained on.
    pub train: Vec<u32>,
    /// Rows that it never sees.
    pub validation: Vec<u32>,
}

/// How many networks a model of so many rows has.
pub fn networks(options: &Options, rows: usize, several_cut_offs: bool) -> usize {
    let usual = || default_members(rows, several_cut_offs);
    options.ensemble.unwrap_or_else(usual)
}

/// Networks per model where the options do not say: small data need the average, large ones the time. Rows of the same
/// customers at several cut-offs are not as much data as they seem.
pub fn default_members(rows: usize, several_cut_offs: bool) -> usize {
    match rows {
        0..100 => 1,
        100..=50_000 => 5,
        50_001..=100_000 => 3,
        100_001..=200_000 if several_cut_offs => 3,
        _ => 1,
    }
}

/// One network: the split as given. Several: as many folds of all rows, by customer; each network leaves out one.
pub fn deal(split: &[Split], groups: &[u32], members: usize, seed: u64) -> Vec<Fold> {
    let rows = 0..groups.len() as u32;
    if members == 1 {
        let (train, validation) = rows.partition(|&row| split[row as usize] == Split::Train);
        return vec![Fold { train, validation }];
    }
    (0..members)
        .map(|member| {
            let (validation, train) = rows
                .clone()
                .partition(|&row| fold(groups[row as usize], seed, members) == member);
            Fold { train, validation }
        })
        .collect()
}

/// The rows of a block from a file that network `member` is trained on; `deal` says the same of rows in memory.
pub fn training_rows(block: &Encoded, member: usize, members: usize, seed: u64) -> Vec<u32> {
    if members == 1 {
        return block.rows_of(Split::Train);
    }
    (0..block.rows as u32)
        .filter(|&row| fold(block.groups[row as usize], seed, members) != member)
        .collect()
}

/// The fold that leaves out the customer.
pub fn fold(group: u32, seed: u64, members: usize) -> usize {
    (spread(group, seed) % members as u64) as usize
}

/// A number in [0, 1) that belongs to the customer.
pub fn fraction(group: u32, seed: u64) -> f64 {
    (spread(group, seed) >> 11) as f64 / (1u64 << 53) as f64
}

/// Neighbouring hashes are spread over all folds.
fn spread(group: u32, seed: u64) -> u64 {
    data::spread(u64::from(group) ^ seed.rotate_left(32))
}
