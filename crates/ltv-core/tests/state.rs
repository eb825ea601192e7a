//! The state of customers against sums over rates and probabilities (numpy, `reference/state.py`) and at all corners.

use ltv_core::btyd::{BgNbd, CustomerState, Dropout, HistoryFeatures, State, history};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

fn state([r, alpha, a, b]: [f64; 4]) -> State {
    let purchases = BgNbd {
        r,
        alpha,
        a,
        b,
        dropout: Dropout::AfterEvery,
    };
    let features = HistoryFeatures {
        frequency: "frequency".into(),
        recency: "recency".into(),
        t: "t".into(),
    };
    State::new(purchases, features, Some(30.0)).unwrap()
}

#[test]
fn a_history_needs_a_first_purchase() {
    let nan = f32::NAN;
    assert_eq!(history([0.0, nan, nan]), None);
    assert_eq!(history([nan, 3.0, 9.0]), None);
    assert_eq!(history([2.0, nan, 9.0]), None);
    assert_eq!(history([2.0, 3.0, f32::INFINITY]), None);
    let of = |values| history(values).map(|c| (c.frequency, c.recency, c.age));
    assert_eq!(of([0.0, nan, 9.0]), Some((0.0, 0.0, 9.0)));
    assert_eq!(of([0.0, 9.0, 9.0]), Some((0.0, 0.0, 9.0)));
    assert_eq!(of([2.0, 3.0, 9.0]), Some((2.0, 6.0, 9.0)));
    // What cannot be is put in order, as it is in the graph.
    assert_eq!(of([2.0, 30.0, 9.0]), Some((2.0, 0.0, 9.0)));
    assert_eq!(of([-2.0, -3.0, -9.0]), Some((0.0, 0.0, 0.0)));
}

#[test]
fn a_document_is_read_as_it_was_written_or_refused() {
    let state = state([0.5, 6.0, 0.9, 1.6]);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    for (from, to) in [
        ("0.5", "0.0"),
        ("0.5", "-1"),
        ("30.0", "0"),
        ("6.0", "1e999"),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text);
        assert!(serde_json::from_str::<State>(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn it_is_what_the_story_of_the_model_says() {
    let text = include_str!("reference/state.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    assert!(cases.len() > 20);
    for case in cases {
        let get = |key: &str| case[key].as_f64().unwrap();
        let customer = ltv_core::btyd::Customer {
            frequency: get("x"),
            recency: get("t_x"),
            age: get("T"),
            monetary: f64::NAN,
        };
        let state = state(["r", "alpha", "a", "b"].map(get));
        let CustomerState {
            p_alive,
            expected_orders,
            churn_probability,
            next_order_days,
        } = state.of(&customer, get("days"));
        for (ours, key) in [
            (p_alive, "p_alive"),
            (expected_orders, "expected_orders"),
            (churn_probability, "churn_probability"),
            (next_order_days, "next_order_days"),
        ] {
            let theirs = get(key);
            let gap = (ours - theirs).abs();
            assert!(gap <= 1e-9 * theirs, "{key} {ours} of {case}");
        }
        assert_eq!(
            state.churn_probability(&customer, get("days")),
            churn_probability
        );
    }
}

/// Any number that a feature may be, the awkward ones more often than chance would have them.
fn feature() -> impl Strategy<Value = f32> {
    prop_oneof![
        any::<f32>(),
        0f32..400.0,
        0f32..2e6,
        Just(0.0),
        Just(f32::MAX),
        Just(f32::MIN_POSITIVE)
    ]
}

fn days() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..36_525.0, 0.0..1.0, Just(0.0), Just(36_525.0)]
}

/// Probabilities between 0 and 1, nothing that is no number, and what is expected of more days is not less: with parameters
/// from where fits end, and further out.
#[test]
fn nothing_breaks_at_any_corner() {
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: 4000,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let logs = [-6.0..6.0, -6.0..9.0, -6.0..6.0, -6.0..6.0];
    let strategy = (logs, [feature(), feature(), feature()], days(), days());
    let outcome = runner.run(&strategy, |(logs, features, one, other)| {
        let state = state(logs.map(|log: f64| 10f64.powf(log)));
        let Some(customer) = history(features) else {
            return Ok(());
        };
        let (few, many) = (one.min(other), one.max(other));
        let (early, late) = (state.of(&customer, few), state.of(&customer, many));
        let check = |holds: bool, what: &str| match holds {
            true => Ok(()),
            false => Err(TestCaseError::fail(format!("{what}: {early:?} {late:?}"))),
        };
        for of in [early, late] {
            check((0.0..=1.0).contains(&of.p_alive), "alive")?;
            check((0.0..=1.0).contains(&of.churn_probability), "churn")?;
            let orders = of.expected_orders;
            check(orders.is_finite() && orders >= 0.0, "orders")?;
            check(of.next_order_days >= 0.0, "wait")?;
            // Whoever does not order is not expected to, and whoever is gone does not order.
            let orders_at_all = 1.0 - of.churn_probability;
            check(orders_at_all <= of.p_alive + 1e-15, "alive orders")?;
            check(
                orders_at_all <= orders * (1.0 + 1e-9) + 1e-15,
                "one or more",
            )?;
        }
        // To rounding errors.
        let more = late.expected_orders - early.expected_orders;
        check(more >= -1e-9 * late.expected_orders, "more orders")?;
        check(
            late.churn_probability <= early.churn_probability + 1e-15,
            "less churn",
        )
    });
    outcome.unwrap();
}
