//! BG/NBD and Gamma-Gamma against published parameters, mpmath (60 digits) and ONNX Runtime.

mod common;

use ltv_core::btyd::{
    BgNbd, Btyd, Customer, CustomerValues, Dropout, GammaGamma, export, rows, turned,
};
use ltv_core::onnx::{Axis, BATCH, ElementType, GraphBuilder};
use ltv_core::params::standard_normal;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The 1/10 CDNOW sample of Fader and Hardie, in weeks: x, t_x, T, mean repeat purchase value.
fn cdnow_sample() -> Vec<Customer> {
    include_str!("reference/cdnow_sample_rfm.csv")
        .lines()
        .skip(1)
        .map(|line| {
            let field: Vec<f64> = line
                .split(',')
                .skip(1)
                .map(|f| f.parse().unwrap())
                .collect();
            Customer {
                frequency: field[0],
                recency: field[1],
                age: field[2],
                monetary: field[3],
            }
        })
        .collect()
}

fn close(ours: f64, theirs: f64, relative: f64, what: &str) {
    assert!(
        (ours - theirs).abs() <= relative * theirs.abs(),
        "{what}: {ours} instead of {theirs}"
    );
}

/// `expected` and `alive` come from mpmath's hypergeometric function at 60 digits: for BG/NBD equation 10 of the paper, for
/// MBG/NBD the formula of Batislam and others; those of `btyd_domain.json` lie all over what parameters and customers can be.
fn reference() -> Vec<(serde_json::Value, Dropout)> {
    let of = |text: &str, dropout| {
        let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        cases.into_iter().map(move |case| (case, dropout))
    };
    let repeats = of(include_str!("reference/btyd.json"), Dropout::AfterRepeats);
    let every = of(include_str!("reference/mbgnbd.json"), Dropout::AfterEvery);
    let domain = include_str!("reference/btyd_domain.json");
    let domain = of(domain, Dropout::AfterRepeats).map(|(case, _)| {
        let every = case["first"] == 1;
        let dropout = [Dropout::AfterRepeats, Dropout::AfterEvery][usize::from(every)];
        (case, dropout)
    });
    repeats.chain(every).chain(domain).collect()
}

fn model_of(case: &serde_json::Value, dropout: Dropout) -> (BgNbd, Customer, f64) {
    let get = |key: &str| case[key].as_f64().unwrap();
    let model = BgNbd {
        r: get("r"),
        alpha: get("alpha"),
        a: get("a"),
        b: get("b"),
        dropout,
    };
    let customer = Customer {
        frequency: get("x"),
        recency: get("t_x"),
        age: get("T"),
        monetary: 20.0,
    };
    (model, customer, get("t"))
}

#[test]
fn published_parameters_are_recovered() {
    let customers = cdnow_sample();
    assert_eq!(customers.len(), 2357);
    let fitted = BgNbd::fit(&customers).unwrap();
    close(fitted.r, 0.2426, 1e-3, "r");
    close(fitted.alpha, 4.4135, 1e-3, "alpha");
    close(fitted.a, 0.7929, 1e-3, "a");
    close(fitted.b, 2.4258, 1e-3, "b");
    let spend = GammaGamma::fit(&customers).unwrap();
    close(spend.p, 6.2488, 1e-3, "p");
    close(spend.q, 3.7446, 1e-3, "q");
    close(spend.v, 15.4477, 1e-3, "v");
}

/// MBG/NBD on the same sample, as published with the package lifetimes.
#[test]
fn published_parameters_of_the_modified_model_are_recovered() {
    let fitted = BgNbd::fit_with(&cdnow_sample(), Dropout::AfterEvery).unwrap();
    close(fitted.r, 0.525, 1e-3, "r");
    close(fitted.alpha, 6.183, 1e-3, "alpha");
    close(fitted.a, 0.891, 1e-3, "a");
    close(fitted.b, 1.614, 1e-3, "b");
}

/// Amounts with a heavier tail than the model knows: free parameters expect an infinite amount of a customer of
/// whom nothing is known, those held at the mean do not. On data that fit, both are the same model.
#[test]
fn the_mean_purchase_can_be_held() {
    let spend = GammaGamma::fit_to_mean(&cdnow_sample()).unwrap();
    close(spend.p, 6.2488, 1e-2, "p");
    close(spend.q, 3.7446, 1e-2, "q");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let heavy: Vec<Customer> = (0..2000)
        .map(|i| {
            let purchases = 1 + i % 12;
            let level = 1.6 * standard_normal(&mut random);
            let total: f64 = (0..purchases)
                .map(|_| (level + 0.9 * standard_normal(&mut random)).exp())
                .sum();
            Customer {
                frequency: f64::from(purchases),
                recency: 10.0,
                age: 20.0,
                monetary: total / f64::from(purchases),
            }
        })
        .collect();
    let mean = heavy.iter().map(|c| c.monetary).sum::<f64>() / heavy.len() as f64;
    let free = GammaGamma::fit(&heavy).unwrap();
    assert!(free.expected_value(0.0, 0.0) > 100.0 * mean, "{free:?}");
    let held = GammaGamma::fit_to_mean(&heavy).unwrap();
    close(held.expected_value(0.0, 0.0), mean, 1e-9, "mean");
}

#[test]
fn the_unit_of_time_and_money_only_scales() {
    // In milliseconds and cents the gamma functions of the naive likelihood overflow; ours is the same model.
    let weeks = cdnow_sample();
    let milliseconds = 7.0 * 86_400_000.0;
    let scaled: Vec<Customer> = weeks
        .iter()
        .map(|c| Customer {
            frequency: c.frequency,
            recency: c.recency * milliseconds,
            age: c.age * milliseconds,
            monetary: c.monetary * 100.0,
        })
        .collect();
    let (a, b) = (BgNbd::fit(&weeks).unwrap(), BgNbd::fit(&scaled).unwrap());
    close(b.alpha, a.alpha * milliseconds, 1e-4, "alpha");
    close(b.r, a.r, 1e-4, "r");
    let (a, b) = (
        GammaGamma::fit(&weeks).unwrap(),
        GammaGamma::fit(&scaled).unwrap(),
    );
    close(b.v, a.v * 100.0, 1e-4, "v");
}

#[test]
fn a_thousand_purchases_do_not_overflow() {
    let mut customers = cdnow_sample();
    customers.extend((0..50).map(|i| Customer {
        frequency: 1000.0 + f64::from(i),
        recency: 38.0,
        age: 38.86,
        monetary: 5000.0,
    }));
    let fitted = BgNbd::fit(&customers).unwrap();
    let spend = GammaGamma::fit(&customers).unwrap();
    for value in [
        fitted.r,
        fitted.alpha,
        fitted.a,
        fitted.b,
        spend.p,
        spend.q,
        spend.v,
    ] {
        assert!(value.is_finite() && value > 0.0, "{fitted:?} {spend:?}");
    }
    assert!(
        customers
            .iter()
            .all(|c| fitted.log_likelihood(c).is_finite())
    );
}

#[test]
fn expected_purchases_agree_with_the_hypergeometric_formula() {
    for (case, dropout) in reference() {
        let (model, customer, horizon) = model_of(&case, dropout);
        let what = case.to_string();
        close(
            model.probability_alive(&customer),
            case["alive"].as_f64().unwrap(),
            1e-12,
            &what,
        );
        close(
            model.expected_purchases(&customer, horizon),
            case["expected"].as_f64().unwrap(),
            1e-9,
            &what,
        );
    }
}

/// The outputs `ltv` and `purchase_probability` of the exported graph.
fn score(model: &Btyd, customers: &[Customer]) -> [Vec<f32>; 2] {
    let mut graph = GraphBuilder::new();
    let axes = [BATCH, Axis::Fixed(1)];
    let mut input = |name: &str| graph.input(name, ElementType::Float, &axes);
    let columns = ["frequency", "recency", "age", "monetary"].map(&mut input);
    let matrix = graph.concat(&columns.each_ref(), 1);
    let turned = turned(&mut graph, &matrix, columns.len());
    let known = rows(&mut graph, &turned, columns.len());
    let values = CustomerValues {
        frequency: known[0].clone(),
        recency: known[1].clone(),
        age: known[2].clone(),
        monetary: known[3].clone(),
    };
    for (name, value) in export(&mut graph, model, &values) {
        graph.output(name, &value, ElementType::Float, &[BATCH]);
    }
    let mut session = ort::session::Session::builder(common::environment())
        .unwrap()
        .commit_from_memory(&graph.finish(&[]))
        .unwrap();
    let tensor = |of: &dyn Fn(&Customer) -> f64| {
        let values: Vec<f32> = customers.iter().map(|c| of(c) as f32).collect();
        ort::value::Tensor::from_array(([customers.len(), 1], values)).unwrap()
    };
    let outputs = session
        .run(ort::inputs![
            "frequency" => tensor(&|c| c.frequency),
            "recency" => tensor(&|c| c.recency),
            "age" => tensor(&|c| c.age),
            "monetary" => tensor(&|c| c.monetary),
        ])
        .unwrap();
    ["ltv", "purchase_probability"].map(|name| {
        let (_, values) = outputs[name].try_extract_tensor::<f32>().unwrap();
        values.to_vec()
    })
}

const SPEND: GammaGamma = GammaGamma {
    p: 6.25,
    q: 3.74,
    v: 15.44,
};

/// To the digits of its outputs, which are float32.
fn agrees(actual: f32, expected: f64, what: &str) {
    assert!(actual.is_finite() && actual >= 0.0, "{what}: {actual}");
    if expected > f64::from(f32::MIN_POSITIVE) {
        close(f64::from(actual), expected, 1e-7, what);
    } else {
        assert!(actual <= f32::MIN_POSITIVE, "{what}: {actual}");
    }
}

#[test]
fn the_exported_graph_gives_the_same_numbers() {
    for (case, dropout) in reference() {
        let (purchases, customer, horizon) = model_of(&case, dropout);
        let model = Btyd {
            purchases,
            spend: SPEND,
            horizon,
        };
        // The graph reads float32 inputs, so the same rounding is done before computing natively.
        let rounded = Customer {
            recency: f64::from(customer.recency as f32),
            age: f64::from(customer.age as f32),
            ..customer
        };
        let [ltv, probability] = score(&model, &[customer]);
        agrees(ltv[0], model.expected_value(&rounded), &case.to_string());
        let expected = purchases.purchase_probability(&rounded, horizon);
        agrees(probability[0], expected, &case.to_string());
    }
}

/// One model scores new customers and old ones, busy and idle ones, of whom some are surely gone and others surely not.
#[test]
fn one_graph_is_right_for_all_customers() {
    let customers: Vec<Customer> = [0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0, 1e4, 1e6]
        .into_iter()
        .flat_map(|x| [0.0, 0.5, 3.0, 30.0, 400.0, 3000.0, 1e5].map(|age| (x, age)))
        .flat_map(|(x, age)| [0.0, 0.5, 1.0].map(|part| (x, age, part)))
        .map(|(frequency, age, part)| Customer {
            frequency,
            recency: if frequency > 0.0 { part * age } else { 0.0 },
            age,
            monetary: 20.0,
        })
        .collect();
    let parameter = -2.0..3.4;
    let parameters = [(); 4].map(|()| parameter.clone());
    let mut runner = TestRunner::new_with_rng(
        Config {
            cases: 48,
            failure_persistence: None,
            ..Config::default()
        },
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let strategy = (parameters, -2.0..4.0, proptest::bool::ANY);
    let outcome = runner.run(&strategy, |(logs, longest, every)| {
        let [r, alpha, a, b] = logs.map(|log: f64| 10f64.powf(log));
        let model = Btyd {
            purchases: BgNbd {
                r,
                alpha,
                a,
                b,
                dropout: [Dropout::AfterRepeats, Dropout::AfterEvery][usize::from(every)],
            },
            spend: SPEND,
            horizon: alpha * 10f64.powf(longest),
        };
        let [ltv, probability] = score(&model, &customers);
        for ((customer, ltv), probability) in customers.iter().zip(ltv).zip(probability) {
            let what = format!("{model:?} {customer:?}");
            agrees(ltv, model.expected_value(customer), &what);
            let expected = model
                .purchases
                .purchase_probability(customer, model.horizon);
            agrees(probability, expected, &what);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn impossible_histories_are_refused() {
    let customer = Customer {
        frequency: 1.0,
        recency: 5.0,
        age: 3.0,
        monetary: 1.0,
    };
    assert_eq!(
        BgNbd::fit(&[customer]).unwrap_err().message,
        "customer 1 has an impossible purchase history"
    );
    let once = Customer {
        frequency: 0.0,
        recency: 0.0,
        ..customer
    };
    assert_eq!(
        BgNbd::fit(&[once]).unwrap_err().message,
        "no customer bought a second time"
    );
}

fn likelihoods() -> serde_json::Value {
    serde_json::from_str(include_str!("reference/btyd_likelihood.json")).unwrap()
}

/// Ten thousand purchases, a hundred thousand days, parameters far apart: each history against mpmath at 80 digits. The
/// naive product of gamma functions overflows in all of these.
#[test]
fn likelihoods_of_extreme_histories_agree_with_mpmath() {
    let all = likelihoods();
    for case in all["bgnbd"].as_array().unwrap() {
        let get = |key: &str| case[key].as_f64().unwrap();
        let (model, what) = (
            BgNbd {
                r: get("r"),
                alpha: get("alpha"),
                a: get("a"),
                b: get("b"),
                dropout: Dropout::AfterRepeats,
            },
            case.to_string(),
        );
        let customer = Customer {
            frequency: get("x"),
            recency: get("t_x"),
            age: get("T"),
            monetary: 1.0,
        };
        // Sums of log gammas of both signs: what counts is the size of the largest.
        let shapes = get("x") + get("r") + get("a") + get("b");
        let scale = 1.0 + shapes * (shapes + get("alpha") + 1.0 / get("alpha") + get("T")).ln();
        let gap = (model.log_likelihood(&customer) - get("log_likelihood")).abs();
        assert!(gap <= 1e-13 * scale, "{what}: off by {gap:e}");
        let alive = model.probability_alive(&customer);
        assert!(
            (alive - get("alive")).abs() <= 1e-9 * get("alive"),
            "{what}: {alive}"
        );
        for horizon in [1e-3, 365.0, 1e5] {
            let expected = model.expected_purchases(&customer, horizon);
            let probability = model.purchase_probability(&customer, horizon);
            assert!(expected.is_finite() && expected >= 0.0, "{what}");
            assert!((0.0..=1.0).contains(&probability), "{what}: {probability}");
        }
    }
    for case in all["gamma_gamma"].as_array().unwrap() {
        let get = |key: &str| case[key].as_f64().unwrap();
        let model = GammaGamma {
            p: get("p"),
            q: get("q"),
            v: get("v"),
        };
        let (x, m) = (get("x"), get("m"));
        let scale = 1.0 + (get("p") * x + get("q")) * (2.0 + x * m + get("v") + 1.0 / m).ln();
        let gap = (model.log_likelihood(x, m) - get("log_likelihood")).abs();
        assert!(gap <= 1e-13 * scale, "{case}: off by {gap:e}");
        assert!(model.expected_value(x, m).is_finite());
    }
}

/// The log-likelihood of the whole sample at the published parameters; the paper prints -9582.4 for BG/NBD.
#[test]
fn the_likelihood_of_the_sample_is_the_published_one() {
    let (customers, all) = (cdnow_sample(), likelihoods());
    let purchases = BgNbd {
        r: 0.243,
        alpha: 4.414,
        a: 0.793,
        b: 2.426,
        dropout: Dropout::AfterRepeats,
    };
    let spend = GammaGamma {
        p: 6.25,
        q: 3.74,
        v: 15.44,
    };
    let sum: f64 = customers.iter().map(|c| purchases.log_likelihood(c)).sum();
    let expected = all["sample"]["bgnbd"].as_f64().unwrap();
    close(sum, expected, 1e-12, "BG/NBD");
    assert_eq!(format!("{sum:.1}"), "-9582.4");
    let sum: f64 = customers
        .iter()
        .filter(|c| c.frequency > 0.0 && c.monetary > 0.0)
        .map(|c| spend.log_likelihood(c.frequency, c.monetary))
        .sum();
    let expected = all["sample"]["gamma_gamma"].as_f64().unwrap();
    close(sum, expected, 1e-12, "Gamma-Gamma");
}
