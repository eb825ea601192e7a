//! Labels of shorter horizons beside the target, which one model can learn with it.

use super::column::Column;
use super::error::ReadError;
use crate::value::Scalar;
use ltv_core::objective::horizons::{MOST_HORIZONS, OF_SEVERAL};
use ltv_core::recipe::Recipe;

/// What is spent by some day.
#[derive(Clone, Debug)]
pub struct Label {
    pub days: f32,
    pub column: Column,
}

/// What a customer spends in some horizon, by the names that `ltv_create_features` gives labels: `ltv`, `ltv_30`. A target of
/// another horizon would tell what is to be learnt.
pub fn is_label(name: &str) -> bool {
    name == "ltv" || days_of(name, None).is_some()
}

/// The days of a label by its name; `horizon`: those of `ltv`, if they are known.
pub fn days_of(name: &str, horizon: Option<f64>) -> Option<f64> {
    if name == "ltv" {
        return horizon;
    }
    let days = name.strip_prefix("ltv_")?;
    let is_number = !days.is_empty() && days.len() <= 6 && days.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| days.parse().ok()).flatten()
}

/// The labels that the model learns, ascending, the target last; none where it learns the target alone.
pub fn labels(
    all: &[Column],
    target: &Column,
    recipe: &Recipe,
    exclude: &[String],
    horizon: Option<f64>,
) -> Result<Vec<Label>, ReadError> {
    let asked = recipe.options.horizons;
    if asked == Some(false) {
        return Ok(Vec::new());
    }
    let refuse = |detail: String| match asked {
        Some(true) => Err(ReadError::NoHorizons {
            target: target.name.clone(),
            detail,
        }),
        _ => Ok(Vec::new()),
    };
    if recipe.compare.is_some() || !OF_SEVERAL.contains(&recipe.objective.as_str()) {
        return refuse(format!(
            "The objectives of several horizons are {}.",
            OF_SEVERAL.join(", ")
        ));
    }
    let Some(longest) = days_of(&target.name, horizon) else {
        return refuse("How many days the target looks ahead is not known.".to_owned());
    };
    let is_feature = |name: &String| recipe.features.iter().flatten().any(|f| f == name);
    let mut labels: Vec<Label> = all
        .iter()
        .filter(|column| !exclude.contains(&column.name) && !is_feature(&column.name))
        .filter(|column| column.is(|kind| kind.is_number() && kind != Scalar::Interval))
        .filter_map(|column| {
            let days = days_of(&column.name, horizon)?;
            (days > 0.0 && days < longest).then(|| Label {
                days: days as f32,
                column: column.clone(),
            })
        })
        .collect();
    if labels.is_empty() {
        return refuse(format!(
            "No column ltv_<days> looks less than {longest} days ahead."
        ));
    }
    labels.push(Label {
        days: longest as f32,
        column: target.clone(),
    });
    labels.sort_by(|a, b| a.days.total_cmp(&b.days));
    labels.dedup_by(|later, earlier| later.days == earlier.days);
    if labels.len() > MOST_HORIZONS {
        return Err(ReadError::ManyHorizons {
            found: labels.len(),
            most: MOST_HORIZONS,
        });
    }
    Ok(labels)
}
