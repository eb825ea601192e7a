//! Boosted trees: gradient boosting on histograms (Friedman 2001; Ke et al., LightGBM, 2017).
//!
//! Values become bins, at most 256 per feature. A tree grows leaf by leaf: the leaf whose best split gains most is split next. Its
//! smaller child is counted, its sister is what is left. Whoever has no value takes the side that gains more; categories are ordered by
//! what they would be worth and cut in two.
//!
//! | file | holds |
//! |---|---|
//! | `bins`, `matrix` | values -> bins, rows of bins |
//! | `histogram`, `rule`, `split`, `category` | sums of gradients per bin, the best split of a feature |
//! | `grow`, `tree` | one tree |
//! | `loss` | gradients and Hessians of each part of an objective |
//! | `boost` | rounds, sampling of rows and columns, early stopping |
//! | `head` | from the parameters of an objective to predictions, in Rust and in a graph |
//! | `forest`, `export` | all trees of a model; the same as an operator of a graph |
//!
//! Sums have one order, whatever the number of threads: a model is the same bit for bit.

mod bins;
mod boost;
mod category;
mod export;
mod forest;
mod grow;
mod head;
mod histogram;
mod loss;
mod matrix;
mod rule;
mod split;
mod tree;

pub use bins::{Bins, MOST_BINS};
pub use boost::{Boosted, Round, Rows, Watch, boost};
pub use export::export;
pub use forest::Forest;
pub use head::{Head, OBJECTIVES};
pub use histogram::histogram_bytes;
pub use loss::{Loss, Part};
pub use matrix::Binned;
pub use tree::{Node, Test, Tree};

use serde::{Deserialize, Serialize};

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Rounds at most; in each a tree per parameter is grown.
    pub rounds: usize,
    /// What the values of a tree are multiplied with.
    pub learning_rate: f64,
    /// Leaves of a tree at most.
    pub leaves: usize,
    /// Rows in a leaf at least, estimated from their Hessians.
    pub min_data_in_leaf: usize,
    /// Sum of the Hessians in a leaf at least.
    pub min_hessian_in_leaf: f64,
    /// What is added to the sum of the Hessians of a leaf: its value is that much nearer to 0.
    pub l2: f64,
    /// Share of the rows that each round sees.
    pub row_share: f64,
    /// Share of the features that each tree sees.
    pub column_share: f64,
    /// Rounds without a lower loss on the validation rows before boosting stops.
    pub patience: usize,
    /// What rows and columns are drawn from.
    pub seed: u64,
    /// Per feature 1: parameters do not fall with it; -1: they do not rise; 0: either. Empty: 0 for all.
    pub monotone: Vec<i8>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rounds: 1000,
            learning_rate: 0.05,
            leaves: 15,
            min_data_in_leaf: 50,
            min_hessian_in_leaf: 1e-3,
            l2: 1.0,
            row_share: 0.8,
            column_share: 0.8,
            patience: 50,
            seed: 42,
            monotone: Vec::new(),
        }
    }
}

impl Settings {
    /// Of one feature; see `monotone`.
    fn direction(&self, feature: usize) -> i8 {
        self.monotone.get(feature).copied().unwrap_or(0)
    }
}
