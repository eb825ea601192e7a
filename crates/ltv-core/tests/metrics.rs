//! Metrics against an independent implementation (`reference/metrics.json`, NumPy/SciPy, float64) and by hand.

use ltv_core::metrics::{Metric, Observations, decile_stats, evaluate, named};

fn value(metrics: &[Metric], name: &str) -> f64 {
    named(metrics, name).unwrap().unwrap()
}

fn of(actual: &[f64], prediction: &[f64]) -> Vec<Metric> {
    evaluate(&Observations {
        actual,
        prediction,
        ..Observations::default()
    })
    .unwrap()
}

#[test]
fn agree_with_the_independent_implementation() {
    let cases: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("reference/metrics.json")).unwrap();
    let numbers = |v: &serde_json::Value| -> Vec<f64> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    assert!(cases.len() >= 3);
    for case in &cases {
        let (actual, prediction) = (numbers(&case["y"]), numbers(&case["prediction"]));
        let metrics = of(&actual, &prediction);
        let mean = actual.iter().sum::<f64>() / actual.len() as f64;
        let ours = [
            ("norm_gini", value(&metrics, "normalized_gini")),
            ("spearman", value(&metrics, "spearman")),
            ("auc", value(&metrics, "auc")),
            ("decile_mape", value(&metrics, "decile_mape")),
            ("rev_ratio", value(&metrics, "total_ratio")),
            ("mae", value(&metrics, "mae")),
            ("rmse_over_mean", value(&metrics, "rmse") / mean),
            ("top1", value(&metrics, "revenue_capture_1")),
            ("top5", value(&metrics, "revenue_capture_5")),
            ("top10", value(&metrics, "revenue_capture_10")),
        ];
        for (name, ours) in ours {
            let Some(theirs) = case["metrics"][name].as_f64() else {
                continue;
            };
            assert!(
                (ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0),
                "{name}: {ours} instead of {theirs}"
            );
        }
    }
}

#[test]
fn hand_computed_with_ties() {
    // Descending: the pair tied at 3 shares (4 + 0) / 2, then 0, then 2. Cumulative shares of 6: 2/6, 4/6, 4/6, 1.
    let metrics = of(&[0.0, 4.0, 0.0, 2.0], &[3.0, 3.0, 2.0, 1.0]);
    let gini = 2.0 * (2.0 + 4.0 + 4.0 + 6.0) / (6.0 * 4.0) - 1.0;
    let ideal = 2.0 * (4.0 + 6.0 + 6.0 + 6.0) / (6.0 * 4.0) - 1.0;
    assert!((value(&metrics, "normalized_gini") - gini / ideal).abs() < 1e-15);
    // Payers score 3 and 1, the others 3 and 2: pairs (3,3) half, (3,2) won, (1,3) and (1,2) lost.
    assert!((value(&metrics, "auc") - 1.5 / 4.0).abs() < 1e-15);
    // Ranks of y: 1.5 4 1.5 3; of the prediction: 3.5 3.5 2 1; covariance about 2.5 by hand.
    let (covariance, variance) = (-1.0 + 1.5 + 0.5 - 0.75, 4.5);
    assert!((value(&metrics, "spearman") - covariance / variance).abs() < 1e-15);
}

#[test]
fn the_order_of_equal_predictions_changes_nothing() {
    let actual = [5.0, 0.0, 1.0, 0.0, 7.0, 2.0, 0.0, 0.0, 3.0, 0.0, 1.0, 9.0];
    let prediction = [1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 3.0, 3.0, 3.0, 1.0, 1.0, 2.0];
    let forward = of(&actual, &prediction);
    let reversed = of(
        &actual.iter().rev().copied().collect::<Vec<_>>(),
        &prediction.iter().rev().copied().collect::<Vec<_>>(),
    );
    for ((name, a), (_, b)) in forward.iter().zip(&reversed) {
        assert!(
            (a.unwrap_or(0.0) - b.unwrap_or(0.0)).abs() < 1e-12,
            "{name}: {a:?} and {b:?}"
        );
    }
}

#[test]
fn what_the_data_cannot_define_is_none() {
    let metrics = of(&[0.0, 0.0], &[1.0, 2.0]);
    for name in [
        "normalized_gini",
        "spearman",
        "auc",
        "decile_mape",
        "total_ratio",
        "revenue_capture_10",
    ] {
        assert_eq!(named(&metrics, name).unwrap(), None, "{name}");
    }
    let one = of(&[3.0], &[3.0]);
    assert_eq!(named(&one, "auc").unwrap(), None);
    assert_eq!(value(&one, "decile_mape"), 0.0);
}

#[test]
fn whales_bands_and_probabilities() {
    let actual = [0.0, 0.0, 10.0, 100.0];
    let metrics = evaluate(&Observations {
        actual: &actual,
        prediction: &[1.0, 2.0, 30.0, 20.0],
        purchase_probability: Some(&[0.5, 0.5, 0.5, 0.5]),
        whale_probability: Some(&[0.0, 0.1, 0.2, 0.9]),
        whale_threshold: Some(50.0),
        band: Some((&[0.0, 0.0, 0.0, 0.0], &[0.0, 5.0, 50.0, 50.0])),
        ..Observations::default()
    })
    .unwrap();
    assert!((value(&metrics, "log_loss") - std::f64::consts::LN_2).abs() < 1e-15);
    assert_eq!(value(&metrics, "top_recall_1"), 1.0);
    assert_eq!(value(&metrics, "interval_coverage"), 0.75);
    assert_eq!(value(&metrics, "auc"), 0.5);
}

#[test]
fn bad_input_is_refused() {
    let refuse = |actual: &[f64], prediction: &[f64]| {
        evaluate(&Observations {
            actual,
            prediction,
            ..Observations::default()
        })
        .unwrap_err()
        .message
    };
    assert_eq!(refuse(&[], &[]), "no rows to evaluate");
    assert_eq!(refuse(&[-1.0], &[1.0]), "the target of row 1 is -1");
    assert_eq!(
        refuse(&[1.0], &[f64::NAN]),
        "the prediction of row 1 is NaN"
    );
    let metrics = of(&[1.0, 0.0], &[1.0, 0.0]);
    assert!(
        named(&metrics, "accuracy")
            .unwrap_err()
            .hint
            .unwrap()
            .contains("normalized_gini")
    );
}

#[test]
fn deciles_add_up() {
    let actual: Vec<f64> = (0..95).map(f64::from).collect();
    let prediction: Vec<f64> = actual.iter().map(|y| y * 2.0).collect();
    let observed = Observations {
        actual: &actual,
        prediction: &prediction,
        ..Observations::default()
    };
    let deciles = decile_stats(&observed, 10).unwrap();
    assert_eq!(deciles.iter().map(|d| d.rows).sum::<usize>(), 95);
    assert_eq!(deciles[0].max_prediction, 188.0);
    assert!((deciles[9].cumulative_revenue_share.unwrap() - 1.0).abs() < 1e-12);
    assert!(
        deciles
            .iter()
            .all(|d| (d.mean_prediction - 2.0 * d.mean_actual).abs() < 1e-9)
    );
}

/// Ten of a thousand customers pay 5 each, and half of that is predicted: a count of ten is between 4.80 and 18.39.
#[test]
fn the_limits_of_a_total_ratio_are_those_of_what_was_spent() {
    let mut actual = [0.0; 1000];
    actual[..10].fill(5.0);
    let metrics = of(&actual, &[0.025; 1000]);
    assert!((value(&metrics, "total_ratio") - 0.5).abs() < 1e-12);
    let (low, high) = (
        value(&metrics, "total_ratio_low"),
        value(&metrics, "total_ratio_high"),
    );
    // Of a thousand customers rather than of infinitely many.
    assert!((low * 18.39 / 5.0 - 1.0).abs() < 0.01, "{low}");
    assert!((high * 4.795 / 5.0 - 1.0).abs() < 0.02, "{high}");
    // The same ten in two rows each are ten still.
    let twice: Vec<f64> = actual.iter().chain(&actual).copied().collect();
    let customers: Vec<u32> = (0..1000).chain(0..1000).collect();
    let again = evaluate(&Observations {
        actual: &twice,
        prediction: &[0.025; 2000],
        customers: Some(&customers),
        ..Observations::default()
    })
    .unwrap();
    assert!((value(&again, "total_ratio_low") - low).abs() < 1e-9);
    assert_eq!(
        named(&of(&[0.0; 3], &[1.0; 3]), "total_ratio_low").unwrap(),
        None
    );
}
