//! Metrics and numbers as people say them.

/// A metric by its name in `ltv_evaluate`: what to call it, and how to read it.
pub(super) struct Words {
    pub name: &'static str,
    pub called: &'static str,
    pub meaning: &'static str,
}

const WORDS: &[Words] = &[
    words("rows", "Customers", ""),
    words("payers", "Customers who spent something", ""),
    words("mean_actual", "Spent by each", ""),
    words("mean_prediction", "Predicted for each", ""),
    words("total_ratio", "Predicted total to real total", "1: equal"),
    words("total_ratio_low", "The least that chance explains", ""),
    words("total_ratio_high", "The most that chance explains", ""),
    words(
        "normalized_gini",
        "Order by value (normalized Gini)",
        "1: perfect, 0: chance",
    ),
    words(
        "spearman",
        "Order of all customers (Spearman)",
        "1: perfect, 0: chance",
    ),
    words("auc", "Telling who spends (AUC)", "1: always, 0.5: chance"),
    words(
        "decile_mape",
        "Error of a tenth's mean (decile MAPE)",
        "0.1: a tenth too high or too low",
    ),
    words("rmse", "Root mean squared error", ""),
    words("mae", "Mean absolute error", ""),
    words("log_loss", "Log loss of the purchase probability", ""),
    words(
        "revenue_capture_1",
        "Revenue of the best 1 %",
        "of all revenue",
    ),
    words(
        "revenue_capture_5",
        "Revenue of the best 5 %",
        "of all revenue",
    ),
    words(
        "revenue_capture_10",
        "Revenue of the best 10 %",
        "of all revenue",
    ),
    words(
        "revenue_capture_20",
        "Revenue of the best 20 %",
        "of all revenue",
    ),
    words(
        "top_recall_1",
        "Largest spenders (whales) found in the best 1 %",
        "of all of them",
    ),
    words(
        "top_recall_5",
        "Largest spenders (whales) found in the best 5 %",
        "of all of them",
    ),
    words(
        "top_recall_10",
        "Largest spenders (whales) found in the best 10 %",
        "of all of them",
    ),
    words(
        "top_recall_20",
        "Largest spenders (whales) found in the best 20 %",
        "of all of them",
    ),
    words(
        "interval_coverage",
        "Inside the 80 % interval",
        "80 % wanted",
    ),
    words("interval_width", "Width of the 80 % interval", "on average"),
];

const fn words(name: &'static str, called: &'static str, meaning: &'static str) -> Words {
    Words {
        name,
        called,
        meaning,
    }
}

/// How to speak of a metric; `None` of one that has no other name.
pub(super) fn of(metric: &str) -> Option<&'static Words> {
    WORDS.iter().find(|words| words.name == metric)
}

/// The place of a metric in a table.
pub(super) fn place(metric: &str) -> usize {
    WORDS
        .iter()
        .position(|words| words.name == metric)
        .unwrap_or(WORDS.len())
}

/// A value of a metric: shares in percent.
pub(super) fn metric_value(metric: &str, value: f64) -> String {
    let is_share = ["revenue_capture_", "top_recall_", "interval_coverage"];
    if is_share.iter().any(|prefix| metric.starts_with(prefix)) {
        percent(value)
    } else {
        number(value)
    }
}

/// 0.473 as `47 %`; of less than a tenth one more digit.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        share if !share.is_finite() => String::new(),
        share if share.abs() < 10.0 => format!("{} %", digits(share, 1)),
        share => format!("{} %", digits(share, 0)),
    }
}

/// Three significant digits, thousands apart: `1,234`, `12.3`, `0.0123`. Nothing where there is no number.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    if value.abs() >= 1e15 {
        return format!("{value:.2e}");
    }
    let before = if value == 0.0 {
        1
    } else {
        value.abs().log10().floor() as i32 + 1
    };
    digits(
        value,
        usize::try_from((3 - before).clamp(0, 6)).unwrap_or(0),
    )
}

/// So many digits after the point, without zeros at the end.
fn digits(value: f64, after: usize) -> String {
    let text = format!("{:.after$}", value.abs());
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let part = part.trim_end_matches('0');
    let is_zero = whole == "0" && part.is_empty();
    let mut out = String::from(if value < 0.0 && !is_zero { "-" } else { "" });
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !part.is_empty() {
        out.push('.');
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_count_and_thousands_apart() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (0.012_345, "0.0123"),
            (0.000_000_1, "0"),
            (-0.000_000_1, "0"),
            (12.345, "12.3"),
            (999.6, "1,000"),
            (1234.5, "1,234"),
            (-1_234_567.0, "-1,234,567"),
            (1e15, "1.00e15"),
            (f64::NAN, ""),
            (f64::NEG_INFINITY, ""),
        ] {
            assert_eq!(number(value), text, "{value}");
        }
    }

    #[test]
    fn shares_are_percents() {
        assert_eq!(percent(0.4731), "47 %");
        assert_eq!(percent(0.0473), "4.7 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(metric_value("top_recall_5", 0.25), "25 %");
        assert_eq!(metric_value("auc", 0.25), "0.25");
    }

    #[test]
    fn every_metric_of_an_evaluation_has_words() {
        let values = [1.0, 0.0, 3.0, 2.0];
        let observations = crate::metrics::Observations {
            actual: &values,
            prediction: &values,
            purchase_probability: Some(&[0.9, 0.1, 0.8, 0.7]),
            whale_probability: None,
            whale_threshold: Some(2.0),
            band: Some((&[0.0; 4], &[5.0; 4])),
            without_value: false,
            customers: None,
        };
        let metrics = crate::metrics::evaluate(&observations).unwrap_or_default();
        assert_eq!(metrics.len(), WORDS.len());
        for (metric, _) in metrics {
            assert!(of(&metric).is_some(), "{metric}");
        }
    }
}
