//! One tree, in bins.

use super::bins::Bins;
use super::matrix::{Binned, SIDE};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

/// Who goes to the left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// Numbers up to those of bin `bin`, and missing ones if `missing`.
    Number {
        /// The last bin that goes to the left.
        bin: u8,
        /// Whether missing values go to the left.
        missing: bool,
    },
    /// The categories with these ids; unseen ones never do.
    Category(Vec<u8>),
}

impl Test {
    /// For each bin whether it goes to the left.
    pub(super) fn table(&self, bins: &Bins) -> [bool; 256] {
        let mut table = [false; 256];
        match self {
            Self::Number { bin, missing } => {
                table[..=usize::from(*bin)].fill(true);
                table[usize::from(bins.missing())] = *missing;
            }
            Self::Category(ids) => ids.iter().for_each(|id| table[usize::from(*id)] = true),
        }
        table
    }
}

/// An inner node. A child that is not negative is a node, and leaf `!child` otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The feature that is asked for.
    pub feature: usize,
    /// What is asked.
    pub test: Test,
    /// Where those go who pass the test.
    pub left: i32,
    /// Where the others go.
    pub right: i32,
    /// What the split gained.
    pub gain: f64,
}

/// One tree; without a node it is one leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The root first.
    pub nodes: Vec<Node>,
    /// The values of the leaves, learning rate included.
    pub leaves: Vec<f64>,
}

impl Tree {
    /// Whether nodes and leaves refer to each other and to `features` as those of a tree do: each child comes after its parent.
    pub(super) fn is_sound(&self, features: &[Bins]) -> bool {
        let child = |parent: usize, child: i32| match usize::try_from(child) {
            Ok(node) => node > parent && node < self.nodes.len(),
            Err(_) => (!child as usize) < self.leaves.len(),
        };
        let nodes = self.nodes.iter().enumerate();
        !self.leaves.is_empty()
            && nodes.into_iter().all(|(index, node)| {
                node.feature < features.len() && child(index, node.left) && child(index, node.right)
            })
    }

    /// Adds the tree's value of each row to its place in `sums`.
    pub(super) fn add_to(&self, data: &Binned, sums: &mut [f64]) {
        let path = Path::of(self, data);
        let parts = sums.par_chunks_mut(PART).enumerate();
        parts.for_each(|(part, sums)| {
            let first = (part * PART) as u32;
            for (block, sums) in sums.chunks_mut(BLOCK).enumerate() {
                let first = first + (block * BLOCK) as u32;
                let leaves = path.leaves(|place| first + place as u32, sums.len());
                for (sum, leaf) in sums.iter_mut().zip(leaves) {
                    *sum += path.values[usize::from(leaf)];
                }
            }
        });
    }

    /// The same of some rows.
    pub(super) fn add_of(&self, rows: &[u32], data: &Binned, sums: &mut [f64]) {
        let path = Path::of(self, data);
        for rows in rows.chunks(BLOCK) {
            let leaves = path.leaves(|place| rows[place], rows.len());
            for (&row, leaf) in rows.iter().zip(leaves) {
                sums[row as usize] += path.values[usize::from(leaf)];
            }
        }
    }

    /// Questions on the longest way to a leaf.
    fn depth(&self) -> usize {
        let mut depths = vec![1; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for child in [node.left, node.right] {
                if let Ok(child) = usize::try_from(child) {
                    depths[child] = depths[index] + 1;
                }
            }
        }
        depths.into_iter().max().unwrap_or(0)
    }
}

/// Rows that go down a tree together, and those that a thread takes at a time.
const BLOCK: usize = 64;
const PART: usize = 16_384;

/// A tree as rows go through it. Leaves are steps to themselves, so that all rows take as many and nothing has to be guessed.
struct Path<'a> {
    steps: Vec<Step<'a>>,
    depth: usize,
    /// Of the leaf that a step stands for; 0 for nodes.
    values: Vec<f64>,
}

struct Step<'a> {
    bins: &'a [[u8; SIDE]],
    place: usize,
    /// Per bin the next step.
    next: [u16; 256],
}

impl<'a> Path<'a> {
    fn of(tree: &Tree, data: &'a Binned) -> Self {
        let inner = tree.nodes.len();
        let number = |child: i32| match usize::try_from(child) {
            Ok(node) => node as u16,
            Err(_) => (inner + !child as usize) as u16,
        };
        let mut steps: Vec<Step> = tree
            .nodes
            .iter()
            .map(|node| {
                let table = node.test.table(&data.features()[node.feature]);
                let sides = [number(node.right), number(node.left)];
                Step {
                    bins: data.group(node.feature / SIDE).1,
                    place: node.feature % SIDE,
                    next: table.map(|is_left| sides[usize::from(is_left)]),
                }
            })
            .collect();
        let mut values = vec![0.0; inner];
        for (leaf, value) in tree.leaves.iter().enumerate() {
            values.push(*value);
            if inner > 0 {
                steps.push(Step {
                    next: [(inner + leaf) as u16; 256],
                    ..steps[0]
                });
            }
        }
        Self {
            steps,
            depth: tree.depth(),
            values,
        }
    }

    /// The leaves of up to `BLOCK` rows.
    fn leaves(&self, row: impl Fn(usize) -> u32, count: usize) -> [u16; BLOCK] {
        let mut at = [0u16; BLOCK];
        for _ in 0..self.depth {
            for (place, at) in at.iter_mut().enumerate().take(count) {
                let step = &self.steps[usize::from(*at)];
                let bin = step.bins[row(place) as usize][step.place];
                *at = step.next[usize::from(bin)];
            }
        }
        at
    }
}
