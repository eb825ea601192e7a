//! Sums of gradients and Hessians for each bin of each feature.

use super::matrix::{Binned, SIDE};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};

/// Gradient and Hessian.
pub type Pair = [f32; 2];
/// Sums of them.
pub type Sums = [f64; 2];
/// Of one feature.
pub type Cells = [Sums; 256];

/// Rows from which on it pays to share the groups of features among threads.
const WORTH_SHARING: usize = 4096;

/// Bytes of the histogram of one leaf.
pub fn histogram_bytes(columns: usize) -> usize {
    columns.div_ceil(SIDE) * size_of::<[Cells; SIDE]>()
}

/// Of all rows of a leaf.
pub struct Histogram(Vec<[Cells; SIDE]>);

impl Histogram {
    pub fn new(data: &Binned) -> Self {
        Self(vec![[[[0.0; 2]; 256]; SIDE]; data.groups()])
    }

    pub fn feature(&self, feature: usize) -> &Cells {
        &self.0[feature / SIDE][feature % SIDE]
    }

    /// Sums the `pairs` of `rows`, which are in the same order. `wanted`: features that are looked at.
    pub fn fill(&mut self, data: &Binned, rows: &[u32], pairs: &[Pair], wanted: &[bool]) {
        let fill = |(group, cells): (usize, &mut [Cells; SIDE])| {
            let (features, bins) = data.group(group);
            if !wanted[features.clone()].contains(&true) {
                return;
            }
            let count = features.len();
            for (cells, feature) in cells.iter_mut().zip(features) {
                cells[..data.features()[feature].count()].fill([0.0; 2]);
            }
            match count {
                1 => add::<1>(cells, bins, rows, pairs),
                2 => add::<2>(cells, bins, rows, pairs),
                3 => add::<3>(cells, bins, rows, pairs),
                4 => add::<4>(cells, bins, rows, pairs),
                5 => add::<5>(cells, bins, rows, pairs),
                6 => add::<6>(cells, bins, rows, pairs),
                7 => add::<7>(cells, bins, rows, pairs),
                _ => add::<8>(cells, bins, rows, pairs),
            }
        };
        if rows.len() >= WORTH_SHARING && self.0.len() > 1 && rayon::current_num_threads() > 1 {
            self.0.par_iter_mut().enumerate().for_each(fill);
        } else {
            self.0.iter_mut().enumerate().for_each(fill);
        }
    }

    /// What is left of a leaf when one of its children is taken away.
    pub fn subtract(&mut self, child: &Self, data: &Binned, wanted: &[bool]) {
        let features = data.features().iter().enumerate();
        for (feature, bins) in features.filter(|(feature, _)| wanted[*feature]) {
            let (group, place) = (feature / SIDE, feature % SIDE);
            let count = bins.count();
            let cells = &mut self.0[group][place][..count];
            for (cell, gone) in cells.iter_mut().zip(&child.0[group][place][..count]) {
                cell[0] -= gone[0];
                cell[1] -= gone[1];
            }
        }
    }
}

/// The first `COUNT` features of a group. A bin is a byte and there are 256 cells, so that no index has to be checked.
#[inline]
fn add<const COUNT: usize>(
    cells: &mut [Cells; SIDE],
    bins: &[[u8; SIDE]],
    rows: &[u32],
    pairs: &[Pair],
) {
    for (&row, pair) in rows.iter().zip(pairs) {
        let bins = &bins[row as usize];
        let (gradient, hessian) = (f64::from(pair[0]), f64::from(pair[1]));
        for place in 0..COUNT {
            let cell = &mut cells[place][usize::from(bins[place])];
            cell[0] += gradient;
            cell[1] += hessian;
        }
    }
}
