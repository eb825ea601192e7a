//! Evaluation of LTV predictions, as the field defines it.
//!
//! Sources: normalized Gini and decile MAPE after Wang, Liu and Miao, "A Deep Probabilistic Model for Customer
//! Lifetime Value Prediction" (2019) and its reference code google/lifetime_value; Spearman and AUC in their
//! textbook form with ties averaged.

mod ranking;
mod total;

pub use total::{Customers, TotalRatio};

use crate::error::{Error, Result};
use ranking::{Order, Ranking};

/// What was predicted and what happened, one entry per customer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observations<'a> {
    /// Money spent in the horizon, y >= 0.
    pub actual: &'a [f64],
    /// Expected value; for an objective without one (`purchase`) the purchase probability.
    pub prediction: &'a [f64],
    /// Probability of any purchase in the horizon.
    pub purchase_probability: Option<&'a [f64]>,
    /// Probability of spending `whale_threshold` or more.
    pub whale_probability: Option<&'a [f64]>,
    /// y >= this is a whale; `None` leaves the recall of whales out.
    pub whale_threshold: Option<f64>,
    /// Low and high end of an 80 % interval of each customer.
    pub band: Option<(&'a [f64], &'a [f64])>,
    /// The predictions are probabilities, not money: metrics in money are left out.
    pub without_value: bool,
    /// Rows with the same number are of one customer; without it each row is one.
    pub customers: Option<&'a [u32]>,
}

/// A metric that the data cannot define (no payer, one row ...) is `None`.
pub type Metric = (String, Option<f64>);

/// Per cent of the customers, the best first, whose share of the money is a metric.
pub const CAPTURE_PERCENTS: [u32; 4] = [1, 5, 10, 20];

/// All metrics, in the order in which they are shown. An error if the columns differ in length or hold NaN.
///
/// ```
/// use ltv_core::metrics::{Observations, evaluate};
///
/// let metrics = evaluate(&Observations {
///     actual: &[0.0, 0.0, 50.0, 100.0],
///     prediction: &[1.0, 5.0, 40.0, 104.0],
///     ..Observations::default()
/// })?;
/// let of = |name: &str| metrics.iter().find(|(other, _)| other == name).and_then(|(_, value)| *value);
/// assert_eq!(of("payers"), Some(2.0));
/// // The order of the customers is exactly right, and so is the total.
/// assert_eq!(of("normalized_gini"), Some(1.0));
/// assert_eq!(of("total_ratio"), Some(1.0));
/// # Ok::<(), ltv_core::error::Error>(())
/// ```
pub fn evaluate(observed: &Observations) -> Result<Vec<Metric>> {
    check(observed)?;
    let actual = observed.actual;
    let prediction = observed.prediction;
    let rows = actual.len() as f64;
    let payers = actual.iter().filter(|&&y| y > 0.0).count();
    let (by_actual, by_prediction) = (Order::new(actual), Order::new(prediction));
    let by_probability = observed.purchase_probability.map(Order::new);
    let ranking = Ranking::new(&by_prediction, actual);
    let mut metrics: Vec<Metric> = vec![
        ("rows".into(), Some(rows)),
        ("payers".into(), Some(payers as f64)),
        (
            "normalized_gini".into(),
            normalized_gini(&Ranking::new(&by_actual, actual), &ranking),
        ),
        (
            "spearman".into(),
            ranking::spearman(&by_actual, &by_prediction),
        ),
        (
            "auc".into(),
            ranking::auc(
                |row| actual[row] > 0.0,
                by_probability.as_ref().unwrap_or(&by_prediction),
            ),
        ),
    ];
    let mut push = |name: &str, value: Option<f64>| metrics.push((name.to_owned(), value));
    if !observed.without_value {
        let total: f64 = prediction.iter().sum();
        push(
            "decile_mape",
            decile_mape(&decile_rows(&ranking, actual, prediction, 10)),
        );
        push(
            "total_ratio",
            (ranking.total > 0.0).then(|| total / ranking.total),
        );
        let customers = match observed.customers {
            Some(groups) => Customers::of(groups),
            None => Customers::one_per_row(actual.len()),
        };
        let by_chance = TotalRatio::of(prediction, actual, &customers);
        let limit = |of: fn(&TotalRatio) -> f64| by_chance.as_ref().map(of);
        push("total_ratio_low", limit(|ratio| ratio.low));
        push(
            "total_ratio_high",
            limit(|ratio| ratio.high).filter(|high| high.is_finite()),
        );
        push("mean_actual", Some(ranking.total / rows));
        push("mean_prediction", Some(total / rows));
        let errors = || actual.iter().zip(prediction).map(|(y, p)| p - y);
        push(
            "rmse",
            Some((errors().map(|e| e * e).sum::<f64>() / rows).sqrt()),
        );
        push("mae", Some(errors().map(f64::abs).sum::<f64>() / rows));
    }
    push(
        "log_loss",
        observed.purchase_probability.map(|p| log_loss(actual, p)),
    );
    for percent in CAPTURE_PERCENTS {
        push(
            &format!("revenue_capture_{percent}"),
            ranking.capture(f64::from(percent)),
        );
    }
    if let Some(threshold) = observed.whale_threshold {
        let whales: Vec<f64> = actual
            .iter()
            .map(|&y| f64::from(u8::from(y >= threshold)))
            .collect();
        let by_whale_probability = observed.whale_probability.map(Order::new);
        let order = by_whale_probability.as_ref().unwrap_or(&by_prediction);
        let by_whale = Ranking::new(order, &whales);
        for percent in CAPTURE_PERCENTS {
            push(
                &format!("top_recall_{percent}"),
                by_whale.capture(f64::from(percent)),
            );
        }
    }
    if let Some((low, high)) = observed.band {
        let inside = (0..actual.len())
            .filter(|&i| actual[i] >= low[i] && actual[i] <= high[i])
            .count();
        push("interval_coverage", Some(inside as f64 / rows));
        let widths = low.iter().zip(high).map(|(low, high)| high - low);
        push("interval_width", Some(widths.sum::<f64>() / rows));
    }
    Ok(metrics)
}

/// How well the order fits, in one number: the mean of normalized Gini (money) and Spearman (customers); 0 where neither is defined.
pub fn rank_order(actual: &[f64], prediction: &[f64]) -> f64 {
    let (by_actual, by_prediction) = (Order::new(actual), Order::new(prediction));
    let gini = normalized_gini(
        &Ranking::new(&by_actual, actual),
        &Ranking::new(&by_prediction, actual),
    );
    let spearman = ranking::spearman(&by_actual, &by_prediction);
    (gini.unwrap_or(0.0) + spearman.unwrap_or(0.0)) / 2.0
}

/// The value of one metric by name; an unknown name is an error that lists those there are.
pub fn named(metrics: &[Metric], name: &str) -> Result<Option<f64>> {
    metrics
        .iter()
        .find(|(metric, _)| metric == name)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = metrics.iter().map(|(metric, _)| metric.as_str()).collect();
            Error::invalid(format!("unknown metric \"{name}\""))
                .hint(format!("Available metrics: {}.", names.join(", ")))
        })
}

/// One group of equal size by descending prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct DecileRow {
    /// From 1, the best.
    pub decile: usize,
    /// Customers in the group.
    pub rows: usize,
    /// The smallest prediction in the group.
    pub min_prediction: f64,
    /// The largest prediction in the group.
    pub max_prediction: f64,
    /// The mean prediction.
    pub mean_prediction: f64,
    /// The mean amount spent.
    pub mean_actual: f64,
    /// Share of the group that spent anything.
    pub payer_share: f64,
    /// Share of all money held by this and the better groups.
    pub cumulative_revenue_share: Option<f64>,
}

/// The table behind `decile_mape` and the gain curve; with fewer rows than groups, fewer groups.
pub fn decile_stats(observed: &Observations, groups: usize) -> Result<Vec<DecileRow>> {
    check(observed)?;
    if groups == 0 {
        return Err(Error::invalid("the number of groups must be at least 1"));
    }
    Ok(decile_rows(
        &Ranking::new(&Order::new(observed.prediction), observed.actual),
        observed.actual,
        observed.prediction,
        groups,
    ))
}

fn decile_rows(
    ranking: &Ranking,
    actual: &[f64],
    prediction: &[f64],
    groups: usize,
) -> Vec<DecileRow> {
    let paid: Vec<f64> = actual
        .iter()
        .map(|&y| f64::from(u8::from(y > 0.0)))
        .collect();
    let payers = Ranking::new(ranking.order, &paid);
    let mut running = 0.0;
    ranking
        .parts(groups)
        .map(|(group, start, end)| {
            let rows = (end - start) as f64;
            let money: f64 = ranking.outcome[start..end].iter().sum();
            running += money;
            let mean = |values: &[f64]| values.iter().sum::<f64>() / rows;
            let predicted: Vec<f64> = ranking.order.rows[start..end]
                .iter()
                .map(|&row| prediction[row as usize])
                .collect();
            DecileRow {
                decile: group + 1,
                rows: end - start,
                min_prediction: predicted.last().copied().unwrap_or_default(),
                max_prediction: predicted.first().copied().unwrap_or_default(),
                mean_prediction: mean(&predicted),
                mean_actual: money / rows,
                payer_share: mean(&payers.outcome[start..end]),
                cumulative_revenue_share: (ranking.total > 0.0).then(|| running / ranking.total),
            }
        })
        .collect()
}

/// Mean over the groups with money of |mean prediction - mean y| / mean y.
fn decile_mape(deciles: &[DecileRow]) -> Option<f64> {
    let errors: Vec<f64> = deciles
        .iter()
        .filter(|group| group.mean_actual > 0.0)
        .map(|group| (group.mean_prediction - group.mean_actual).abs() / group.mean_actual)
        .collect();
    (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
}

fn normalized_gini(ideal: &Ranking, ranking: &Ranking) -> Option<f64> {
    let ideal = ideal.gini()?;
    let gini = ranking.gini()?;
    (ideal > 0.0).then(|| gini / ideal)
}

/// Mean binary cross entropy of y > 0; probabilities are kept 1e-7 away from 0 and 1.
fn log_loss(actual: &[f64], probability: &[f64]) -> f64 {
    let sum: f64 = actual
        .iter()
        .zip(probability)
        .map(|(&y, &p)| {
            let p = p.clamp(1e-7, 1.0 - 1e-7);
            if y > 0.0 { -p.ln() } else { -(1.0 - p).ln() }
        })
        .sum();
    sum / actual.len() as f64
}

fn check(observed: &Observations) -> Result<()> {
    let rows = observed.actual.len();
    if rows == 0 {
        return Err(Error::data("no rows to evaluate")
            .hint("The query must return customers whose target is known (not NULL)."));
    }
    let columns = [
        ("prediction", Some(observed.prediction)),
        ("purchase probability", observed.purchase_probability),
        ("whale probability", observed.whale_probability),
        ("lower quantile", observed.band.map(|b| b.0)),
        ("upper quantile", observed.band.map(|b| b.1)),
    ];
    for (name, column) in columns
        .into_iter()
        .filter_map(|(name, column)| Some((name, column?)))
    {
        if column.len() != rows {
            return Err(Error::internal(format!(
                "{rows} actual values, but {} of {name}",
                column.len()
            )));
        }
        if let Some(row) = column.iter().position(|v| v.is_nan()) {
            return Err(Error::data(format!("the {name} of row {} is NaN", row + 1)));
        }
    }
    if let Some(customers) = observed.customers.map(<[u32]>::len)
        && customers != rows
    {
        return Err(Error::internal(format!(
            "{rows} actual values, but {customers} customers"
        )));
    }
    match observed
        .actual
        .iter()
        .position(|y| !y.is_finite() || *y < 0.0)
    {
        Some(row) => Err(Error::data(format!(
            "the target of row {} is {}",
            row + 1,
            observed.actual[row]
        ))
        .detail("The target is money spent: finite and not negative.")),
        None => Ok(()),
    }
}
