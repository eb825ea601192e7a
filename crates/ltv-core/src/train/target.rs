//! The training target: what can be learned from, and the facts that heads start from.

use crate::data::TrainingTable;
use crate::error::{Error, Result};
use crate::objective::{TargetStatistics, horizons};
use crate::recipe::Options;

/// Refuses targets that nothing can be learned from.
pub fn check(target: &[f32], objective: &str) -> Result<()> {
    let Some(&first) = target.first() else {
        return Err(Error::data("there are no training rows")
            .detail("The query returned no row with a target, or all of them are for validation.")
            .hint("Check the query, the target column for NULLs, and the split column."));
    };
    let payers = target.iter().filter(|&&y| y > 0.0).count();
    if payers == 0 {
        return Err(
            Error::data("no training row has a target above zero")
                .detail(format!("All {} training rows have the target 0.", target.len()))
                .hint("Check that the horizon after the cut-off has orders, and that the target column is the right one."),
        );
    }
    if target.iter().all(|&y| y == first) {
        return Err(
            Error::data("the target has the same value in every training row")
                .detail(format!(
                    "All {} training rows have the target {first}.",
                    target.len()
                ))
                .hint(
                    "A model needs customers that differ; check the target column and the query.",
                ),
        );
    }
    if objective == "purchase" && payers == target.len() {
        return Err(Error::data("every training row has a target above zero")
            .detail("Objective \"purchase\" tells paying customers from the others.")
            .hint("Include customers who spent nothing, or use objective \"ziln\"."));
    }
    Ok(())
}

/// The facts of each interval between the ends of several horizons, from the rows whose time has come. An error where the objective has no such
/// intervals.
pub fn of_intervals(
    table: &TrainingTable,
    rows: &[u32],
    objective: &str,
) -> Result<Vec<TargetStatistics>> {
    let Some(horizons) = table.horizons() else {
        return Ok(Vec::new());
    };
    if !horizons::OBJECTIVES.contains(&objective) {
        return Err(Error::invalid(format!(
            "objective \"{objective}\" cannot predict several horizons"
        ))
        .detail(format!(
            "Objectives of several horizons are {}.",
            horizons::OF_SEVERAL.join(", ")
        ))
        .hint("Use one of them, or options => '{\"horizons\": false}' for the target alone."));
    }
    let of_interval = |index: usize| {
        let spent = rows.iter().map(|&row| horizons.row(row as usize)[index]);
        statistics(&spent.filter(|spent| !spent.is_nan()).collect::<Vec<f32>>())
    };
    Ok((0..horizons.count()).map(of_interval).collect())
}

/// What is odd about the target, though a model can be trained on it.
pub fn remark(options: &Options, objective: &str, target: &TargetStatistics) -> Option<String> {
    let threshold = options.whale_threshold.filter(|_| objective == "expltv")?;
    (target.max < threshold).then(|| {
        format!(
            "nobody in training is a whale: the most that a customer spends is {}, and whale_threshold is {threshold}",
            target.max as f32
        )
    })
}

pub fn statistics(target: &[f32]) -> TargetStatistics {
    let mut paid: Vec<f32> = target.iter().copied().filter(|&y| y > 0.0).collect();
    paid.sort_unstable_by(f32::total_cmp);
    let rows = target.len().max(1) as f64;
    let payers = paid.len().max(1) as f64;
    let sum: f64 = paid.iter().map(|&y| f64::from(y)).sum();
    let log_mean = paid.iter().map(|&y| f64::from(y).ln()).sum::<f64>() / payers;
    let log_variance = paid
        .iter()
        .map(|&y| (f64::from(y).ln() - log_mean).powi(2))
        .sum::<f64>()
        / payers;
    let quantile = |percent: usize| {
        let position = (paid.len() - 1) as f64 * percent as f64 / 100.0;
        let below = f64::from(paid[position.floor() as usize]);
        let above = f64::from(paid[position.ceil() as usize]);
        below + (above - below) * position.fract()
    };
    let payer_quantiles = if paid.is_empty() {
        Vec::new()
    } else {
        (0..=100).map(quantile).collect()
    };
    TargetStatistics {
        rows: target.len(),
        payers: paid.len(),
        mean: sum / rows,
        payer_mean: sum / payers,
        payer_log_mean: log_mean,
        payer_log_std: log_variance.sqrt(),
        max: paid.last().map_or(0.0, |&y| f64::from(y)),
        payer_quantiles,
    }
}
