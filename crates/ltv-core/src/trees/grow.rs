//! One tree, leaf by leaf.

use super::Settings;
use super::histogram::{Histogram, Pair, Sums};
use super::matrix::Binned;
use super::rule::{Bounds, Rule, Split};
use super::split::{self, Scratch};
use super::tree::{Node, Tree};
use std::ops::Range;

/// Grows one tree after the other on the same rows; keeps its memory.
pub struct Grower<'a> {
    data: &'a Binned,
    settings: &'a Settings,
    /// The rows of the tree, leaf after leaf.
    rows: Vec<u32>,
    aside: Vec<u32>,
    ordered: Vec<Pair>,
    free: Vec<Histogram>,
}

/// A tree, and which rows are in each leaf.
pub struct Grown {
    pub tree: Tree,
    pub leaves: Vec<Range<usize>>,
}

struct Leaf {
    range: Range<usize>,
    sums: Sums,
    value: f64,
    bounds: Bounds,
    histogram: Option<Histogram>,
    best: Option<Split>,
    /// The node that it hangs on, and whether on its left.
    parent: Option<(usize, bool)>,
}

impl<'a> Grower<'a> {
    pub fn new(data: &'a Binned, settings: &'a Settings) -> Self {
        Self {
            data,
            settings,
            rows: Vec::new(),
            aside: Vec::new(),
            ordered: Vec::new(),
            free: Vec::new(),
        }
    }

    /// The rows of the latest tree; its leaves are ranges of them.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// A tree for `pairs`, one per row of the table, from the rows in `sample` and the features that are `wanted`. Its values are multiplied with
    /// `rate`.
    pub fn grow(&mut self, sample: &[u32], pairs: &[Pair], wanted: &[bool], rate: f64) -> Grown {
        self.rows.clear();
        self.rows.extend_from_slice(sample);
        let mut sums = [0.0; 2];
        for &row in sample {
            let pair = pairs[row as usize];
            sums = [sums[0] + f64::from(pair[0]), sums[1] + f64::from(pair[1])];
        }
        let mut tree = Tree {
            nodes: Vec::new(),
            leaves: Vec::new(),
        };
        let mut root = Leaf {
            range: 0..sample.len(),
            sums,
            value: 0.0,
            bounds: Bounds::NONE,
            histogram: None,
            best: None,
            parent: None,
        };
        if self.can_split(&root) {
            let mut histogram = self.histogram();
            self.fill(&mut histogram, &root.range, pairs, wanted);
            root.best = self.best(&histogram, &root, wanted);
            root.histogram = Some(histogram);
        }
        let mut leaves = vec![root];
        while leaves.len() < self.settings.leaves {
            let gain = |leaf: &Leaf| leaf.best.as_ref().map(|best| best.gain);
            let found = (0..leaves.len())
                .filter_map(|index| Some((index, gain(&leaves[index])?)))
                .reduce(|best, other| if other.1 > best.1 { other } else { best });
            let Some((index, _)) = found else { break };
            self.divide(&mut tree, &mut leaves, index, pairs, wanted);
        }
        let mut ranges = Vec::with_capacity(leaves.len());
        for (number, leaf) in leaves.into_iter().enumerate() {
            if let Some((node, is_left)) = leaf.parent {
                let child = !(number as i32);
                match is_left {
                    true => tree.nodes[node].left = child,
                    false => tree.nodes[node].right = child,
                }
            }
            // As the graph keeps it.
            tree.leaves.push(f64::from((leaf.value * rate) as f32));
            ranges.push(leaf.range);
            self.free.extend(leaf.histogram);
        }
        Grown {
            tree,
            leaves: ranges,
        }
    }

    fn histogram(&mut self) -> Histogram {
        self.free.pop().unwrap_or_else(|| Histogram::new(self.data))
    }

    fn can_split(&self, leaf: &Leaf) -> bool {
        leaf.range.len() >= 2 * self.settings.min_data_in_leaf.max(1)
            && leaf.sums[1] >= 2.0 * self.settings.min_hessian_in_leaf
    }

    fn fill(
        &mut self,
        into: &mut Histogram,
        range: &Range<usize>,
        pairs: &[Pair],
        wanted: &[bool],
    ) {
        let rows = &self.rows[range.clone()];
        self.ordered.clear();
        self.ordered
            .extend(rows.iter().map(|&row| pairs[row as usize]));
        into.fill(self.data, rows, &self.ordered, wanted);
    }

    fn best(&self, histogram: &Histogram, leaf: &Leaf, wanted: &[bool]) -> Option<Split> {
        let rule = Rule {
            settings: self.settings,
            total: leaf.sums,
            rows: leaf.range.len(),
            bounds: leaf.bounds,
        };
        let mut scratch = Scratch::new();
        let features = self.data.features().iter().enumerate();
        features
            .filter(|(feature, _)| wanted[*feature])
            .filter_map(|(feature, bins)| {
                let cells = histogram.feature(feature);
                split::best(feature, cells, bins, &rule, &mut scratch)
            })
            .reduce(|best, other| if other.gain > best.gain { other } else { best })
    }

    /// Splits a leaf: its left child takes its place, the right one is added.
    fn divide(
        &mut self,
        tree: &mut Tree,
        leaves: &mut Vec<Leaf>,
        index: usize,
        pairs: &[Pair],
        wanted: &[bool],
    ) {
        let leaf = &mut leaves[index];
        let (Some(split), parent) = (leaf.best.take(), leaf.histogram.take()) else {
            return;
        };
        let node = tree.nodes.len();
        if let Some((above, is_left)) = leaf.parent {
            match is_left {
                true => tree.nodes[above].left = node as i32,
                false => tree.nodes[above].right = node as i32,
            }
        }
        let (range, bounds) = (leaf.range.clone(), leaf.bounds);
        let table = split.test.table(&self.data.features()[split.feature]);
        let middle = range.start + self.partition(range.clone(), split.feature, &table);
        let (left_bounds, right_bounds) = self.bounds(&split, bounds);
        let child = |range, sums, value, bounds, is_left| Leaf {
            range,
            sums,
            value,
            bounds,
            histogram: None,
            best: None,
            parent: Some((node, is_left)),
        };
        let mut left = child(
            range.start..middle,
            split.left,
            split.left_value,
            left_bounds,
            true,
        );
        let mut right = child(
            middle..range.end,
            split.right,
            split.right_value,
            right_bounds,
            false,
        );
        tree.nodes.push(Node {
            feature: split.feature,
            test: split.test,
            left: 0,
            right: 0,
            gain: split.gain,
        });
        let is_last = leaves.len() + 1 >= self.settings.leaves;
        match parent {
            Some(parent) if !is_last && (self.can_split(&left) || self.can_split(&right)) => {
                self.count(parent, &mut left, &mut right, pairs, wanted);
            }
            parent => self.free.extend(parent),
        }
        leaves[index] = left;
        leaves.push(right);
    }

    /// Counts the smaller child; its sister has the rest of their parent.
    fn count(
        &mut self,
        mut rest: Histogram,
        left: &mut Leaf,
        right: &mut Leaf,
        pairs: &[Pair],
        wanted: &[bool],
    ) {
        let (small, large) = match left.range.len() <= right.range.len() {
            true => (left, right),
            false => (right, left),
        };
        let mut counted = self.histogram();
        self.fill(&mut counted, &small.range, pairs, wanted);
        rest.subtract(&counted, self.data, wanted);
        for (leaf, histogram) in [(small, counted), (large, rest)] {
            if self.can_split(leaf) {
                leaf.best = self.best(&histogram, leaf, wanted);
            }
            leaf.histogram = Some(histogram);
        }
    }

    /// Rows that go to the left come first; both sides keep their order. Returns how many go to the left.
    fn partition(&mut self, range: Range<usize>, feature: usize, table: &[bool; 256]) -> usize {
        let bins = self.data.column(feature);
        let rows = &mut self.rows[range];
        self.aside.resize(rows.len().max(self.aside.len()), 0);
        let (mut left, mut right) = (0, 0);
        for index in 0..rows.len() {
            let row = rows[index];
            let is_left = table[usize::from(bins(row))];
            // Both are written, and one is kept: nothing to be guessed.
            rows[left] = row;
            self.aside[right] = row;
            left += usize::from(is_left);
            right += usize::from(!is_left);
        }
        rows[left..].copy_from_slice(&self.aside[..right]);
        left
    }

    /// Where the feature has a direction, no value of the one side may pass the middle of both.
    fn bounds(&self, split: &Split, bounds: Bounds) -> (Bounds, Bounds) {
        let middle = 0.5 * (split.left_value + split.right_value);
        let below = Bounds {
            high: middle,
            ..bounds
        };
        let above = Bounds {
            low: middle,
            ..bounds
        };
        match self.settings.direction(split.feature) {
            1 => (below, above),
            -1 => (above, below),
            _ => (bounds, bounds),
        }
    }
}
