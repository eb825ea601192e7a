//! Rounds of trees for one part of an objective, until the validation rows gain no more.

use super::Settings;
use super::grow::{Grower, Grown};
use super::histogram::Pair;
use super::loss::Part;
use super::matrix::Binned;
use super::tree::Tree;
use crate::error::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The trees of one part: per parameter what all rows start from, and its trees in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boosted {
    /// What is learned.
    pub part: Part,
    /// Per parameter the score before the first tree.
    pub start: Vec<f64>,
    /// Per parameter its trees.
    pub trees: Vec<Vec<Tree>>,
}

/// Rows of a table, and what they spent.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The bins of all rows of the table.
    pub data: &'a Binned,
    /// What each row of the table spent.
    pub spent: &'a [f32],
    /// Rows that are meant.
    pub rows: &'a [u32],
}

/// A round that is over.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// From 1.
    pub number: usize,
    /// Mean loss over the training rows, where the watcher asked for it.
    pub training: Option<f64>,
    /// Mean loss over the validation rows, if there are any.
    pub validation: Option<f64>,
}

/// Looks on while trees are grown.
pub trait Watch: Sync {
    /// Whether boosting must end with an error.
    fn is_cancelled(&self) -> bool {
        false
    }
    /// Whether there is no time for another round.
    fn is_late(&self) -> bool {
        false
    }
    /// Whether the training loss of this round is wanted.
    fn wants_training_loss(&self, _round: usize) -> bool {
        false
    }
    /// A round is over.
    fn round(&self, _round: Round) {}
}

impl Watch for () {}

/// Rows of a part by themselves, with labels and scores.
struct Scored {
    data: Binned,
    labels: Vec<f64>,
    /// Per parameter.
    scores: Vec<Vec<f64>>,
}

impl Scored {
    fn new(part: &Part, rows: Rows) -> Self {
        let counts = |row: &&u32| part.counts(rows.spent[**row as usize]);
        let rows_of_part: Vec<u32> = rows.rows.iter().filter(counts).copied().collect();
        let label = |&row: &u32| part.label(rows.spent[row as usize]);
        Self {
            data: rows.data.subset(&rows_of_part),
            labels: rows_of_part.iter().map(label).collect(),
            scores: Vec::new(),
        }
    }

    fn begin(&mut self, boosted: &Boosted) {
        self.scores = boosted.scores(&self.data);
    }
}

impl Boosted {
    /// Nothing learned yet but the mean.
    fn new(part: &Part, labels: &[f64]) -> Self {
        Self {
            start: part.loss.start(labels),
            trees: vec![Vec::new(); part.loss.parameters()],
            part: part.clone(),
        }
    }

    /// Per parameter the score of each row.
    pub fn scores(&self, data: &Binned) -> Vec<Vec<f64>> {
        let parameters = self.start.iter().zip(&self.trees);
        parameters
            .map(|(start, trees)| {
                let mut sums = vec![*start; data.rows()];
                trees.iter().for_each(|tree| tree.add_to(data, &mut sums));
                sums
            })
            .collect()
    }

    /// Trees of all parameters.
    pub fn count(&self) -> usize {
        self.trees.iter().map(Vec::len).sum()
    }
}

/// Boosts trees for `part` on the rows of `train`, and keeps those up to the round that `validation` liked best. `earlier`: trees to go on
/// from. Where there is no validation row, all rounds are kept.
pub fn boost(
    part: &Part,
    train: Rows,
    validation: Rows,
    settings: &Settings,
    earlier: Option<&Boosted>,
    watch: &dyn Watch,
) -> Result<Boosted> {
    let mut fitted = Scored::new(part, train);
    let mut judging = Scored::new(part, validation);
    let mut boosted = match earlier {
        Some(earlier) => earlier.clone(),
        None => Boosted::new(part, &fitted.labels),
    };
    if fitted.labels.is_empty() {
        return Ok(boosted);
    }
    fitted.begin(&boosted);
    judging.begin(&boosted);
    let before: Vec<usize> = boosted.trees.iter().map(Vec::len).collect();
    let loss = |rows: &Scored| part.loss.mean(&rows.labels, &rows.scores);
    let can_judge = !judging.labels.is_empty();
    let mut best = (
        0,
        if can_judge {
            loss(&judging)
        } else {
            f64::INFINITY
        },
    );
    let Scored {
        data,
        labels,
        mut scores,
    } = fitted;
    let mut course = Course::new(part, settings, &data);
    for number in 1..=settings.rounds {
        if watch.is_cancelled() {
            return Err(Error::cancelled());
        }
        course.draw();
        for parameter in 0..part.loss.parameters() {
            part.loss
                .pairs(parameter, &labels, &scores, &mut course.pairs);
            let grown = course.grow(part.loss.pace(parameter));
            let (own, judged) = (&mut scores[parameter], &mut judging.scores[parameter]);
            rayon::join(
                || course.add(&grown, own, &data),
                || grown.tree.add_to(&judging.data, judged),
            );
            boosted.trees[parameter].push(grown.tree);
        }
        let validation = can_judge.then(|| loss(&judging));
        let wants = watch.wants_training_loss(number);
        watch.round(Round {
            number,
            training: wants.then(|| part.loss.mean(&labels, &scores)),
            validation,
        });
        match validation {
            Some(found) if found < best.1 => best = (number, found),
            Some(_) if number - best.0 >= settings.patience => break,
            Some(_) => {}
            None => best.0 = number,
        }
        if watch.is_late() {
            break;
        }
    }
    for (trees, before) in boosted.trees.iter_mut().zip(before) {
        trees.truncate(before + best.0);
    }
    Ok(boosted)
}

/// One part on its way through the rounds.
struct Course<'a> {
    settings: &'a Settings,
    grower: Grower<'a>,
    pairs: Vec<Pair>,
    /// Rows of this round, and those that it leaves out.
    sample: Vec<u32>,
    others: Vec<u32>,
    rng: ChaCha8Rng,
    features: usize,
}

impl<'a> Course<'a> {
    fn new(part: &Part, settings: &'a Settings, data: &'a Binned) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        rng.set_stream(part.loss.parameters() as u64);
        Self {
            settings,
            grower: Grower::new(data, settings),
            pairs: vec![[0.0; 2]; data.rows()],
            sample: (0..data.rows() as u32).collect(),
            others: Vec::new(),
            rng,
            features: data.features().len(),
        }
    }

    /// Draws the rows of a round.
    fn draw(&mut self) {
        let share = self.settings.row_share;
        if share >= 1.0 {
            return;
        }
        let seed: u64 = self.rng.random();
        let least = (share * 2f64.powi(32)) as u64;
        let rows = self.pairs.len();
        self.sample.resize(rows, 0);
        self.others.resize(rows, 0);
        let (mut inside, mut outside) = (0, 0);
        for row in 0..rows as u32 {
            let is_in = hash(seed, row) >> 32 < least;
            self.sample[inside] = row;
            self.others[outside] = row;
            inside += usize::from(is_in);
            outside += usize::from(!is_in);
        }
        self.sample.truncate(inside);
        self.others.truncate(outside);
    }

    fn grow(&mut self, pace: f64) -> Grown {
        let wanted = self.columns();
        let rate = pace * self.settings.learning_rate;
        self.grower.grow(&self.sample, &self.pairs, &wanted, rate)
    }

    /// Which features the next tree sees.
    fn columns(&mut self) -> Vec<bool> {
        let count = (self.features as f64 * self.settings.column_share).round() as usize;
        let mut order: Vec<usize> = (0..self.features).collect();
        let mut wanted = vec![false; self.features];
        for place in 0..count.clamp(1, self.features.max(1)).min(self.features) {
            if count < self.features {
                let other = self.rng.random_range(place as u32..self.features as u32) as usize;
                order.swap(place, other);
            }
            wanted[order[place]] = true;
        }
        wanted
    }

    /// Adds the tree's values to the scores: where the rows of its leaves are known, and where it has to be asked.
    fn add(&self, grown: &Grown, scores: &mut [f64], data: &Binned) {
        for (range, value) in grown.leaves.iter().zip(&grown.tree.leaves) {
            for &row in &self.grower.rows()[range.clone()] {
                scores[row as usize] += value;
            }
        }
        if self.settings.row_share < 1.0 {
            grown.tree.add_of(&self.others, data, scores);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn hash(seed: u64, row: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(row).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
