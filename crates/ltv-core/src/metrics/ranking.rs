//! Everything that depends on the order of the predictions. Equal predictions form one group whose members
//! share the group's mean outcome, so that the order of the rows can never change a metric.

/// Rows by descending score, those of equal score as they came.
pub(super) struct Order {
    pub rows: Vec<u32>,
    /// Where each run of equal scores in `rows` ends.
    ends: Vec<u32>,
}

impl Order {
    pub fn new(score: &[f64]) -> Self {
        // One integer per row, its score above its number, is sorted several times as fast as floats looked up by row.
        let mut keys: Vec<u128> = (0u32..)
            .zip(score)
            .map(|(row, &score)| u128::from(!ascending(score)) << 64 | u128::from(row))
            .collect();
        keys.sort_unstable();
        let rows: Vec<u32> = keys.into_iter().map(|key| key as u32).collect();
        let mut ends: Vec<u32> = (1u32..)
            .zip(rows.windows(2))
            .filter(|(_, pair)| score[pair[0] as usize] != score[pair[1] as usize])
            .map(|(end, _)| end)
            .collect();
        ends.extend((!rows.is_empty()).then_some(rows.len() as u32));
        Self { rows, ends }
    }

    /// `[start, end)` of each run of equal scores.
    fn ties(&self) -> impl Iterator<Item = (usize, usize)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| (start as usize, end as usize))
    }

    /// Ranks of the rows from 1, the lowest score, ties given their average rank.
    pub fn ranks(&self) -> Vec<f64> {
        let mut ranks = vec![0.0; self.rows.len()];
        for (start, end) in self.ties() {
            let rank = (2 * self.rows.len() + 1 - start - end) as f64 / 2.0;
            for &row in &self.rows[start..end] {
                ranks[row as usize] = rank;
            }
        }
        ranks
    }
}

/// A number that sorts as [`f64::total_cmp`] does.
fn ascending(value: f64) -> u64 {
    let bits = value.to_bits();
    match value.is_sign_negative() {
        true => !bits,
        false => bits | 1 << 63,
    }
}

/// An order with the outcome of each row replaced by the mean over its tie group.
pub(super) struct Ranking<'a> {
    pub order: &'a Order,
    /// Tie-averaged outcome at each position of the order.
    pub outcome: Vec<f64>,
    /// The sum of the outcomes.
    pub total: f64,
}

impl<'a> Ranking<'a> {
    pub fn new(order: &'a Order, outcome: &[f64]) -> Self {
        let mut shared = vec![0.0; outcome.len()];
        for (start, end) in order.ties() {
            let rows = &order.rows[start..end];
            let sum: f64 = rows.iter().map(|&row| outcome[row as usize]).sum();
            shared[start..end].fill(sum / (end - start) as f64);
        }
        Self {
            order,
            outcome: shared,
            total: outcome.iter().sum(),
        }
    }

    /// `2 * mean(cumulative share of the outcome) - 1`.
    pub fn gini(&self) -> Option<f64> {
        if self.total <= 0.0 {
            return None;
        }
        let mut running = 0.0;
        let area: f64 = self
            .outcome
            .iter()
            .map(|y| {
                running += y;
                running
            })
            .sum();
        Some(2.0 * area / (self.total * self.outcome.len() as f64) - 1.0)
    }

    /// Share of the outcome held by the best `percent` % of rows (at least one row).
    pub fn capture(&self, percent: f64) -> Option<f64> {
        if self.total <= 0.0 {
            return None;
        }
        let rows = ((self.outcome.len() as f64 * percent / 100.0).round() as usize)
            .clamp(1, self.outcome.len());
        Some(self.outcome[..rows].iter().sum::<f64>() / self.total)
    }

    /// Positions `[start, end)` of `groups` equal parts, best first; empty parts are left out.
    pub fn parts(&self, groups: usize) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let rows = self.outcome.len();
        (0..groups)
            .map(move |group| {
                (
                    group,
                    (group * rows).div_ceil(groups),
                    ((group + 1) * rows).div_ceil(groups),
                )
            })
            .filter(|(_, start, end)| end > start)
    }
}

/// Pearson correlation of the average ranks; `None` where one side is constant.
pub(super) fn spearman(a: &Order, b: &Order) -> Option<f64> {
    let (a, b) = (a.ranks(), b.ranks());
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let (mut covariance, mut variance_a, mut variance_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(&b) {
        covariance += (x - mean) * (y - mean);
        variance_a += (x - mean).powi(2);
        variance_b += (y - mean).powi(2);
    }
    (variance_a > 0.0 && variance_b > 0.0).then(|| covariance / (variance_a * variance_b).sqrt())
}

/// Probability that a positive row scores above a negative one, ties counted half (Mann-Whitney).
pub(super) fn auc(positive: impl Fn(usize) -> bool, by_score: &Order) -> Option<f64> {
    let ranks = by_score.ranks();
    let (mut rank_sum, mut positives) = (0.0, 0.0);
    for (row, rank) in ranks.iter().enumerate() {
        if positive(row) {
            rank_sum += rank;
            positives += 1.0;
        }
    }
    let negatives = ranks.len() as f64 - positives;
    (positives > 0.0 && negatives > 0.0)
        .then(|| (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}
