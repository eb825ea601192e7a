//! What is kept with a version to judge it: metrics on held-out rows, and what has to be said of their total.

use crate::data::Horizons;
use crate::error::Result;
use crate::metrics::{self, Observations, TotalRatio};
use crate::objective::horizons::ENDS;
use crate::objective::{Distribution, quantile};
use crate::train::fit::network::Predictions;
use serde_json::{Map, Value, json};

pub fn evaluate(
    actual: &[f64],
    predictions: &Predictions,
    customers: &[u32],
    distribution: Option<Distribution>,
    whale_threshold: f64,
) -> Result<Map<String, Value>> {
    let widen = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    let prediction = widen(predictions.value());
    let purchase = predictions.get("purchase_probability").map(widen);
    let whale = predictions.get("whale_probability").map(widen);
    let band = distribution.and_then(|law| {
        let names = law.parameters();
        let columns = [
            predictions.get(names[0])?,
            predictions.get(names[1])?,
            predictions.get(names[2])?,
        ];
        let at = |q: f64| -> Vec<f64> {
            (0..actual.len())
                .map(|row| quantile(law, columns.map(|column| f64::from(column[row])), q))
                .collect()
        };
        Some((at(0.1), at(0.9)))
    });
    let all = metrics::evaluate(&Observations {
        actual,
        prediction: &prediction,
        purchase_probability: purchase.as_deref(),
        whale_probability: whale.as_deref(),
        whale_threshold: (whale_threshold > 0.0).then_some(whale_threshold),
        band: band
            .as_ref()
            .map(|(low, high)| (low.as_slice(), high.as_slice())),
        without_value: predictions.get("ltv").is_none(),
        customers: Some(customers),
    })?;
    Ok(all
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect())
}

/// The metrics of each of several horizons, over the rows that know it.
pub fn by_horizon(horizons: &Horizons, rows: &[u32], predictions: &Predictions) -> Result<Value> {
    let mut all = Vec::with_capacity(horizons.count());
    for (index, days) in horizons.days().iter().enumerate() {
        let is_longest = index + 1 == horizons.count();
        let output = if is_longest { "ltv" } else { ENDS[index] };
        let values = predictions.get(output).unwrap_or_default();
        let spent = |row: u32| -> f64 {
            let intervals = &horizons.row(row as usize)[..=index];
            intervals.iter().map(|&spent| f64::from(spent)).sum()
        };
        let known = rows.iter().zip(values);
        let known = known.filter(|(row, _)| !spent(**row).is_nan());
        let (actual, prediction): (Vec<f64>, Vec<f64>) = known
            .map(|(row, value)| (spent(*row), f64::from(*value)))
            .unzip();
        let mut metrics = Map::new();
        metrics.insert("days".into(), json!(days));
        metrics.insert("rows".into(), json!(actual.len()));
        let found = metrics::evaluate(&Observations {
            actual: &actual,
            prediction: &prediction,
            ..Observations::default()
        })?;
        metrics.extend(found.into_iter().map(|(name, value)| (name, json!(value))));
        all.push(Value::Object(metrics));
    }
    Ok(all.into())
}

/// The total is uncertain where the upper limit is more than so many times the lower one.
const UNCERTAIN: f64 = 2.0;
/// A total that is so many times too high or low, and not by chance, is wrong.
const WRONG: f64 = 1.25;

/// What has to be said of the total of predictions for customers who were held out: that it is wrong, or that they cannot tell. `largest`: the
/// share of all that was spent which one customer holds, of whom only a part counted in the calibration.
pub fn remark_on_total(ratio: Option<TotalRatio>, largest: Option<f64>) -> Option<String> {
    let Some(found) = ratio else {
        return Some("none of the customers held out paid, so that nothing says how right the total of the predictions is".to_owned());
    };
    let by_chance = found.low <= 1.0 && found.high >= 1.0;
    let is_wrong = !by_chance && found.ratio.ln().abs() > WRONG.ln();
    if !is_wrong && found.width() <= UNCERTAIN && largest.is_none() {
        return None;
    }
    let limits = match found.width() < ENDLESS {
        true => format!("between {} and {}", times(found.low), times(found.high)),
        false => format!("anything from {}", times(found.low)),
    };
    let mut text = format!(
        "predictions for customers held out add up to {} times what they spent; of {} who paid, chance leaves open {limits} (95 %)",
        times(found.ratio),
        found.payers,
    );
    if let Some(share) = largest {
        text.push_str(&format!(
            "; one of them spent {:.0} % of it all, of which the calibration counts a part",
            100.0 * share
        ));
    }
    Some(text)
}

/// Beyond this there is no upper limit worth a number.
const ENDLESS: f64 = 1000.0;

fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2}"),
        ratio => format!("{ratio:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Customers;

    /// Of a thousand customers `payers` spend 10 each, and the first one `first` more; the predictions add up to `times` that.
    fn remark(payers: usize, first: f64, times: f64, largest: Option<f64>) -> Option<String> {
        let mut actual = vec![0.0; 1000];
        actual[..payers].fill(10.0);
        actual[0] += first;
        let mean = times * actual.iter().sum::<f64>() / 1000.0;
        let customers = Customers::one_per_row(1000);
        let ratio = TotalRatio::of(&[mean; 1000], &actual, &customers);
        remark_on_total(ratio, largest)
    }

    #[test]
    fn a_total_that_is_right_and_known_is_not_remarked_on() {
        assert_eq!(remark(200, 0.0, 1.0, None), None);
        // Off by what chance may do, or by little.
        assert_eq!(remark(200, 0.0, 1.1, None), None);
        assert_eq!(remark(900, 0.0, 1.2, None), None);
    }

    #[test]
    fn what_cannot_be_told_or_is_wrong_is_said_with_its_limits() {
        let few = remark(10, 0.0, 1.0, None);
        let expected = "predictions for customers held out add up to 1.00 times what they spent; of 10 who paid, chance leaves open \
                        between 0.55 and 2.08 (95 %)";
        assert_eq!(few.as_deref(), Some(expected));
        let wrong = remark(200, 0.0, 15.0, None).unwrap_or_default();
        assert!(wrong.contains("add up to 15 times"), "{wrong}");
        let whale = remark(200, 2000.0, 0.6, Some(0.5)).unwrap_or_default();
        assert!(
            whale.ends_with(
                "one of them spent 50 % of it all, of which the calibration counts a part"
            ),
            "{whale}"
        );
        assert!(remark_on_total(None, None).is_some_and(|text| text.starts_with("none of")));
    }
}
