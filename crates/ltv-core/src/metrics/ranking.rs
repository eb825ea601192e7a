//! Everything that depends on the order of the predictions. Equal predictions form one group whose members
//! share the group's mean outcome, so that the order of the rows can never change a metric.

/// Rows by descending prediction, with the outcome of each row replaced by the mean over its tie group.
pub(super) struct Ranking {
    /// Row numbers, best prediction first.
    pub order: Vec<usize>,
    /// Tie-averaged outcome at each position of `order`.
    pub outcome: Vec<f64>,
    pub total: f64,
}

impl Ranking {
    pub fn new(outcome: &[f64], score: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..outcome.len()).collect();
        order.sort_by(|&a, &b| score[b].total_cmp(&score[a]).then(a.cmp(&b)));
        let mut shared = vec![0.0; outcome.len()];
        for (start, end) in tie_groups(&order, score) {
            let sum: f64 = order[start..end].iter().map(|&row| outcome[row]).sum();
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
        let rows = self.order.len();
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

/// `[start, end)` of each run of equal scores in `order`.
fn tie_groups(order: &[usize], score: &[f64]) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        if end == order.len() || score[order[end]] != score[order[start]] {
            groups.push((start, end));
            start = end;
        }
    }
    groups
}

/// Ranks from 1, ties given their average rank.
pub(super) fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    for (start, end) in tie_groups(&order, values) {
        let rank = (start + end + 1) as f64 / 2.0;
        for &row in &order[start..end] {
            ranks[row] = rank;
        }
    }
    ranks
}

/// Pearson correlation of the average ranks; `None` where one side is constant.
pub(super) fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (average_ranks(a), average_ranks(b));
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
pub(super) fn auc(positive: impl Fn(usize) -> bool, score: &[f64]) -> Option<f64> {
    let ranks = average_ranks(score);
    let (mut rank_sum, mut positives) = (0.0, 0.0);
    for (row, rank) in ranks.iter().enumerate() {
        if positive(row) {
            rank_sum += rank;
            positives += 1.0;
        }
    }
    let negatives = score.len() as f64 - positives;
    (positives > 0.0 && negatives > 0.0)
        .then(|| (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}
