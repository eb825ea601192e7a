//! Several horizons in one network: a head for what is spent in all, and one for each interval between the ends of two horizons. What is spent
//! up to the end of a horizon is the sum of its intervals, so it never falls with the horizon.
//!
//! Each head learns from the rows whose time has come: customers of yesterday teach the first interval already (ODMN, CIKM 2022). The head
//! of the whole keeps what intervals cannot tell: who buys at all, and how amounts are spread.

use super::terms::column;
use super::{Distribution, HeadOutput, Loss, Objective, Prediction};
use crate::batch::Mode;
use crate::error::{Error, Result};
use crate::onnx::{GraphBuilder, Value};
use candle_core::{DType, Tensor};

/// Horizons that one model predicts at most, the longest included.
pub const MOST_HORIZONS: usize = 24;

macro_rules! numbered {
    ($prefix:literal, $($number:literal)*) => { [$(concat!($prefix, $number)),*] };
}

/// Outputs with what is spent in each interval, in their order.
pub const INTERVALS: [&str; MOST_HORIZONS] =
    numbered!("interval_", 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);

/// Outputs with what is spent up to the end of each horizon but the longest, whose output is `ltv`.
pub const ENDS: [&str; MOST_HORIZONS] =
    numbered!("horizon_", 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);

/// Objectives whose heads can be those of intervals.
pub const OBJECTIVES: &[&str] = &["mse", "huber", "tweedie", "ziln"];

/// All that predict several horizons: those, and the law that knows every day.
pub const OF_SEVERAL: &[&str] = &["mse", "huber", "tweedie", "ziln", "bgnbd"];

/// Heads over one backbone. Targets are `[batch, 1 + intervals]`: what is spent in all, then in each interval; NaN where that is not known.
pub struct Horizons {
    whole: Box<dyn Objective>,
    intervals: Vec<Box<dyn Objective>>,
}

impl Horizons {
    /// Of heads that each put out one tensor.
    pub fn new(whole: Box<dyn Objective>, intervals: Vec<Box<dyn Objective>>) -> Self {
        Self { whole, intervals }
    }

    fn heads(&self) -> impl Iterator<Item = &dyn Objective> {
        std::iter::once(&self.whole)
            .chain(&self.intervals)
            .map(AsRef::as_ref)
    }
}

/// The rows whose target is known; `None`: all of them.
fn known(target: &Tensor) -> Result<Option<Vec<u32>>> {
    let values = target.to_dtype(DType::F32)?.to_vec1::<f32>()?;
    if values.iter().all(|value| !value.is_nan()) {
        return Ok(None);
    }
    let rows = (0u32..).zip(&values);
    Ok(Some(
        rows.filter(|(_, value)| !value.is_nan())
            .map(|(row, _)| row)
            .collect(),
    ))
}

/// The loss of one head over the rows that know its target, as a share of all rows. `None` where there is no such row.
fn of_known(
    head: &dyn Objective,
    output: &Tensor,
    target: &Tensor,
    mode: &Mode,
) -> Result<Option<Tensor>> {
    let of_all = || -> Result<Option<Tensor>> {
        Ok(Some(head.loss(&vec![output.clone()], target, mode)?.total))
    };
    if head.skips_unknown(output) {
        return of_all();
    }
    let Some(rows) = known(target)? else {
        return of_all();
    };
    if rows.is_empty() {
        return Ok(None);
    }
    let share = rows.len() as f64 / target.dim(0)? as f64;
    let rows = Tensor::from_slice(&rows, rows.len(), target.device())?;
    let output = output.index_select(&rows, 0)?;
    let target = target.index_select(&rows, 0)?;
    let loss = head.loss(&vec![output], &target, mode)?.total;
    Ok(Some(loss.affine(share, 0.0)?))
}

impl Objective for Horizons {
    fn name(&self) -> &'static str {
        self.whole.name()
    }

    fn forward(&self, hidden: &Tensor, mode: &Mode) -> Result<HeadOutput> {
        let mut outputs = Vec::with_capacity(1 + self.intervals.len());
        for head in self.heads() {
            outputs.extend(head.forward(hidden, mode)?);
        }
        Ok(outputs)
    }

    fn loss(&self, output: &HeadOutput, target: &Tensor, mode: &Mode) -> Result<Loss> {
        let mut sums: [Option<Tensor>; 2] = [None, None];
        for (index, (head, output)) in self.heads().zip(output).enumerate() {
            let target = column(target, index)?.contiguous()?;
            if let Some(loss) = of_known(head, output, &target, mode)? {
                let sum = &mut sums[index.min(1)];
                *sum = Some(match sum.take() {
                    Some(sum) => (sum + loss)?,
                    None => loss,
                });
            }
        }
        // Nobody's time has come: nothing is learned, but the gradient is there.
        let nothing = || -> Result<Tensor> {
            let first = output.first().ok_or_else(|| Error::internal("no head"))?;
            Ok(first.affine(0.0, 0.0)?.mean_all()?)
        };
        let [whole, intervals] = sums;
        let whole = whole.map_or_else(nothing, Ok)?;
        let intervals = intervals.map_or_else(nothing, Ok)?;
        let total = (&whole + &intervals)?;
        Ok(Loss::new(
            total,
            vec![("whole", whole), ("intervals", intervals)],
        ))
    }

    fn predict(&self, output: &HeadOutput) -> Result<Prediction> {
        let mut all = Vec::with_capacity(output.len());
        for (head, output) in self.heads().zip(output) {
            all.push(head.predict(&vec![output.clone()])?);
        }
        let mut heads = all.into_iter();
        let whole = heads.next().unwrap_or_default();
        let mut failed = Ok(());
        let gathered = gather(whole, heads.collect(), |sum, spent| match &*sum + spent {
            Ok(both) => *sum = both,
            Err(error) => failed = Err(error.into()),
        });
        failed.map(|()| gathered)
    }

    fn distribution(&self) -> Option<Distribution> {
        self.whole.distribution()
    }

    fn scores(&self) -> usize {
        self.heads().map(|head| head.scores()).sum()
    }

    fn export_scores(&self, graph: &mut GraphBuilder, hidden: &Value) -> Result<Value> {
        let mut parts = Vec::with_capacity(1 + self.intervals.len());
        for head in self.heads() {
            parts.push(head.export_scores(graph, hidden)?);
        }
        Ok(graph.concat(&parts.iter().collect::<Vec<_>>(), 1))
    }

    fn export_predictions(
        &self,
        graph: &mut GraphBuilder,
        scores: &[Value],
    ) -> Result<Vec<(&'static str, Value)>> {
        let mut rest = scores;
        let mut all = Vec::with_capacity(1 + self.intervals.len());
        for head in self.heads() {
            let (own, after) = rest
                .split_at_checked(head.scores())
                .ok_or_else(|| Error::internal("a head has another number of scores"))?;
            rest = after;
            all.push(head.export_predictions(graph, own)?);
        }
        let mut heads = all.into_iter();
        let whole = heads.next().unwrap_or_default();
        Ok(gather(whole, heads.collect(), |sum, spent| {
            *sum = graph.add(sum, spent);
        }))
    }
}

/// What a customer is worth by day `at`, between 0 and the last of `days`, from the values by each of them: a monotone cubic through these and
/// the origin (Fritsch and Butland 1984), so that a later day is never worth less.
pub fn interpolate(days: &[f32], values: &[f64], at: f64) -> f64 {
    let knot = |index: usize| -> (f64, f64) {
        let before = index.checked_sub(1);
        before.map_or((0.0, 0.0), |before| {
            (f64::from(days[before]), values[before])
        })
    };
    let last = days.len().min(values.len());
    let Some(right) = (1..=last).find(|&index| at <= knot(index).0) else {
        return values.last().copied().unwrap_or(f64::NAN);
    };
    let (from, to) = (knot(right - 1), knot(right));
    if at >= to.0 {
        return to.1;
    }
    let steepness = |index: usize| {
        let (a, b) = (knot(index - 1), knot(index));
        (b.1 - a.1) / (b.0 - a.0)
    };
    let length = |index: usize| knot(index).0 - knot(index - 1).0;
    // The derivative at a knot: a weighted harmonic mean of the slopes beside it.
    let slope = |index: usize| -> f64 {
        if index == 0 {
            return steepness(1);
        }
        if index == last {
            return steepness(last);
        }
        let (left, right) = (steepness(index), steepness(index + 1));
        if left <= 0.0 || right <= 0.0 {
            return 0.0;
        }
        let share =
            (length(index) + 2.0 * length(index + 1)) / (3.0 * (length(index) + length(index + 1)));
        left * right / (share * right + (1.0 - share) * left)
    };
    let width = to.0 - from.0;
    let t = (at - from.0).max(0.0) / width;
    let (low, high) = (slope(right - 1) * width, slope(right) * width);
    let (t2, t3) = (t * t, t * t * t);
    let value = from.1 * (2.0 * t3 - 3.0 * t2 + 1.0)
        + low * (t3 - 2.0 * t2 + t)
        + to.1 * (3.0 * t2 - 2.0 * t3)
        + high * (t3 - t2);
    value.clamp(from.1.min(to.1), to.1.max(from.1))
}

/// The outputs of all heads as those of one: `ltv` is the sum of the intervals, each of which has an output; all else is the whole's.
pub fn gather<T: Clone>(
    whole: Vec<(&'static str, T)>,
    intervals: Vec<Vec<(&'static str, T)>>,
    mut add: impl FnMut(&mut T, &T),
) -> Vec<(&'static str, T)> {
    let values = intervals.into_iter().flatten();
    let spent: Vec<T> = values
        .filter(|(name, _)| *name == "ltv")
        .map(|(_, value)| value)
        .collect();
    let mut outputs = Vec::with_capacity(whole.len() + spent.len());
    if let Some((first, others)) = spent.split_first() {
        let mut sum = first.clone();
        others.iter().for_each(|spent| add(&mut sum, spent));
        outputs.push(("ltv", sum));
    }
    outputs.extend(whole.into_iter().filter(|(name, _)| *name != "ltv"));
    outputs.extend(INTERVALS.into_iter().zip(spent));
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_between_are_worth_what_lies_between_and_knots_what_they_are() {
        let days = [30.0, 91.0, 365.0];
        for values in [
            [3.0, 7.5, 9.0],
            [0.0, 0.0, 5.0],
            [4.0, 4.0, 4.0],
            [1e-30, 1e30, 1e30],
        ] {
            for (day, value) in days.iter().zip(values) {
                assert_eq!(interpolate(&days, &values, f64::from(*day)), value);
            }
            assert_eq!(interpolate(&days, &values, 0.0), 0.0);
            let mut before = 0.0;
            for day in 0..=3650 {
                let value = interpolate(&days, &values, f64::from(day) / 10.0);
                assert!(value >= before, "{values:?} {day}: {value} {before}");
                before = value;
            }
        }
        // A straight line stays one.
        let value = interpolate(&[10.0, 20.0, 40.0], &[1.0, 2.0, 4.0], 33.0);
        assert!((value - 3.3).abs() < 1e-12, "{value}");
    }
}
