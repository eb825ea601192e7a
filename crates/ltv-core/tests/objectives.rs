//! Every objective against PyTorch autograd in float64 and against differences.

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{TestResult, assert_close, check_gradients, numbers, reference, statistics, values};
use ltv_core::backbone::{self, Backbone, BackboneConfig};
use ltv_core::batch::{InputShape, Mode};
use ltv_core::objective::{
    self, CmltvConfig, Distribution, ExpltvConfig, HeadOutput, Objective, ObjectiveConfig,
    RegressionConfig, TargetStatistics, TargetTransform, TweedieConfig, ZilnConfig, cmltv,
};
use ltv_core::params::Params;
use serde_json::Value as Json;

type Built = (Box<dyn Objective>, Params, Box<dyn Backbone>);

fn build(config: &ObjectiveConfig, statistics: &TargetStatistics) -> TestResult<Built> {
    let mut params = Params::new(1, DType::F64, Device::Cpu);
    let shape = InputShape {
        numeric: 5,
        ..InputShape::default()
    };
    let backbone = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
    let objective = objective::build(config, backbone.as_ref(), statistics, &mut params)?;
    Ok((objective, params, backbone))
}

/// The objective of a reference case.
fn configured(case: &Json) -> TestResult<Box<dyn Objective>> {
    let number = |key: &str| case[key].as_f64().expect("a number");
    let mut statistics = statistics();
    let config = match case["objective"].as_str() {
        Some("ziln") => ObjectiveConfig::Ziln(ZilnConfig::default()),
        Some("cmltv") => {
            statistics.payer_mean = number("scale");
            // The largest amount in class `classes - 1`.
            statistics.max = 2f64.powf(number("classes")) - 2.0;
            ObjectiveConfig::Cmltv(CmltvConfig {
                class_contrast_weight: 1.0,
                regression_contrast_weight: 1.0,
                ..CmltvConfig::default()
            })
        }
        Some("expltv") => ObjectiveConfig::Expltv(ExpltvConfig {
            whale_threshold: Some(number("R")),
            ltv_weight: number("lam"),
            ..ExpltvConfig::default()
        }),
        other => panic!("unknown objective {other:?}"),
    };
    Ok(build(&config, &statistics)?.0)
}

/// The case's inputs as variables, in the reference's names, and the head output they make up.
fn head_output(case: &Json) -> TestResult<(Vec<(String, Var)>, HeadOutput)> {
    let order: &[&str] = match case["objective"].as_str() {
        Some("ziln") => &["z", "mu", "r"],
        Some("cmltv") => &["z", "a", "b", "o", "c"],
        _ => &["z", "g", "mu", "r"],
    };
    let variables = order
        .iter()
        .map(|&name| {
            let input = common::tensor(&case["inputs"][name])?;
            Ok((name.to_owned(), Var::from_tensor(&input)?))
        })
        .collect::<TestResult<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables
        .iter()
        .map(|(_, var)| var.as_tensor().clone())
        .collect();
    let output = match case["objective"].as_str() {
        Some("ziln") => vec![Tensor::stack(&tensors, 1)?],
        _ => tensors,
    };
    Ok((variables, output))
}

/// Our name of a reference term.
fn term_name(name: &str) -> &str {
    match name {
        "gamma" => "distribution",
        "kl" => "whale",
        other => other,
    }
}

#[test]
fn losses_gradients_and_predictions_equal_pytorch() -> TestResult {
    let cases = reference("heads.json")?;
    for case in cases.as_array().expect("a list") {
        let label = format!("{} {}", case["objective"], case["case"]);
        let objective = configured(case)?;
        let (variables, output) = head_output(case)?;
        let target = common::tensor(&case["y"])?;
        let loss = objective.loss(&output, &target, &Mode::Evaluate)?;
        for (name, expected) in case["terms"].as_object().expect("terms") {
            let (_, term) = loss
                .terms
                .iter()
                .find(|(ours, _)| *ours == term_name(name))
                .unwrap_or_else(|| panic!("{label}: no term {name}"));
            let expected = numbers(expected).0;
            assert_close(
                &format!("{label} {name}"),
                &values(term)?,
                &expected,
                1e-11,
                1e-14,
            );
        }
        let total = values(&loss.total)?;
        assert_close(&label, &total, &numbers(&case["loss"]).0, 1e-11, 0.0);
        let gradients = loss.total.backward()?;
        for (name, var) in &variables {
            let expected = numbers(&case["grad"][name]).0;
            let actual = match gradients.get(var) {
                Some(gradient) => values(gradient)?,
                None => vec![0.0; expected.len()],
            };
            assert_close(
                &format!("{label} d/d{name}"),
                &actual,
                &expected,
                1e-9,
                1e-13,
            );
        }
        let prediction = objective.predict(&output)?;
        for (name, actual) in &prediction {
            if let Some(expected) = case.get(*name) {
                assert_close(
                    &format!("{label} {name}"),
                    &values(actual)?,
                    &numbers(expected).0,
                    1e-11,
                    1e-14,
                );
            }
        }
        if let Some(expected) = case.get("quantiles") {
            check_quantiles(&label, &prediction, expected)?;
        }
    }
    Ok(())
}

fn check_quantiles(label: &str, prediction: &[(&str, Tensor)], expected: &Json) -> TestResult {
    let distribution = Distribution::ZeroInflatedLognormal;
    let column = |wanted: &str| -> TestResult<Vec<f64>> {
        let found = prediction.iter().find(|(name, _)| *name == wanted);
        values(&found.expect("a parameter").1)
    };
    let parameters = distribution.parameters().map(column);
    let [p, mu, sigma] = parameters;
    let (p, mu, sigma) = (p?, mu?, sigma?);
    for (q, expected) in expected.as_object().expect("quantiles") {
        let q: f64 = q.parse()?;
        let actual: Vec<f64> = (0..p.len())
            .map(|i| objective::quantile(distribution, [p[i], mu[i], sigma[i]], q))
            .collect();
        assert_close(
            &format!("{label} quantile {q}"),
            &actual,
            &numbers(expected).0,
            1e-9,
            1e-12,
        );
    }
    Ok(())
}

fn all_objectives() -> Vec<ObjectiveConfig> {
    let log = RegressionConfig {
        target_transform: TargetTransform::Log1p,
        delta: 0.5,
    };
    let lognormal_views = CmltvConfig {
        distribution: cmltv::Law::Lognormal,
        ..CmltvConfig::default()
    };
    let one_view = CmltvConfig {
        views: vec![cmltv::View::Classes],
        class_contrast_weight: 0.0,
        regression_contrast_weight: 0.0,
        ..CmltvConfig::default()
    };
    let one_expert = ExpltvConfig {
        experts: 1,
        ..ExpltvConfig::default()
    };
    vec![
        ObjectiveConfig::Mse(RegressionConfig::default()),
        ObjectiveConfig::Mse(log.clone()),
        ObjectiveConfig::Huber(RegressionConfig::default()),
        ObjectiveConfig::Huber(log),
        ObjectiveConfig::Tweedie(TweedieConfig::default()),
        ObjectiveConfig::Tweedie(TweedieConfig { power: 1.1 }),
        ObjectiveConfig::Purchase,
        ObjectiveConfig::Ziln(ZilnConfig::default()),
        ObjectiveConfig::Cmltv(CmltvConfig::default()),
        ObjectiveConfig::Cmltv(lognormal_views),
        ObjectiveConfig::Cmltv(one_view),
        ObjectiveConfig::Expltv(ExpltvConfig::default()),
        ObjectiveConfig::Expltv(one_expert),
    ]
}

#[test]
fn parameter_gradients_equal_differences() -> TestResult {
    let targets: [&[f64]; 3] = [
        &[0.0, 12.0, 0.0, 0.5, 300.0, 0.0, 41.0, 7.0],
        &[0.0; 8],
        &[3.0, 8.0, 90.0, 2.5, 7.0, 15.0, 22.0, 150.0],
    ];
    for config in all_objectives() {
        let (objective, params, backbone) = build(&config, &statistics())?;
        common::perturb(&params, 0.3, 5)?;
        let shape = InputShape {
            numeric: 5,
            ..InputShape::default()
        };
        let batch = common::random_batch(&shape, 8, 1.0, 2, DType::F64)?;
        for target in targets {
            let target = Tensor::new(target, &Device::Cpu)?;
            check_gradients(params.weights(), 6, |mode| {
                let hidden = backbone.forward(&batch, mode)?;
                let output = objective.forward(&hidden, mode)?;
                Ok(objective.loss(&output, &target, mode)?.total)
            })
            .map_err(|error| format!("{config:?}: {error}"))?;
        }
    }
    Ok(())
}

#[test]
fn one_row_batches_are_finite() -> TestResult {
    for config in all_objectives() {
        let (objective, _params, backbone) = build(&config, &statistics())?;
        let shape = InputShape {
            numeric: 5,
            ..InputShape::default()
        };
        for dtype in [DType::F64] {
            let batch = common::random_batch(&shape, 1, 1.0, 2, dtype)?;
            for y in [0.0, 9.0] {
                let output = objective
                    .forward(&backbone.forward(&batch, &Mode::Evaluate)?, &Mode::Evaluate)?;
                let target = Tensor::new(&[y], &Device::Cpu)?;
                let loss = objective.loss(&output, &target, &Mode::Evaluate)?;
                assert!(loss.total.to_scalar::<f64>()?.is_finite(), "{config:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn huber_is_quadratic_then_linear() -> TestResult {
    let config = ObjectiveConfig::Huber(RegressionConfig::default());
    let (objective, _, _) = build(&config, &statistics())?;
    let scale = statistics().payer_mean;
    // Errors of 0.5 and 3 in units of the mean payer: 0.125 and 3 - 0.5.
    let output = vec![Tensor::new(&[1.5, 4.0], &Device::Cpu)?];
    let target = Tensor::new(&[scale, scale], &Device::Cpu)?;
    let loss = objective.loss(&output, &target, &Mode::Evaluate)?;
    assert_close(
        "huber",
        &values(&loss.total)?,
        &[(0.125 + 2.5) / 2.0],
        1e-14,
        0.0,
    );
    let prediction = objective.predict(&output)?;
    assert_close(
        "ltv",
        &values(&prediction[0].1)?,
        &[1.5 * scale, 4.0 * scale],
        1e-14,
        0.0,
    );
    Ok(())
}

/// Loss, slope and prediction against mpmath, where `o` is the output and the loss is that of one customer.
#[test]
fn tweedie_equals_mpmath() -> TestResult {
    for case in reference("tweedie.json")?.as_array().expect("a list") {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let statistics = TargetStatistics {
            payer_mean: number("scale"),
            ..statistics()
        };
        let power = number("power");
        let config = ObjectiveConfig::Tweedie(TweedieConfig { power });
        let (objective, _, _) = build(&config, &statistics)?;
        let output = Var::from_vec(vec![number("o")], 1, &Device::Cpu)?;
        let target = Tensor::new(&[number("y")], &Device::Cpu)?;
        let head = vec![output.as_tensor().clone()];
        let loss = objective.loss(&head, &target, &Mode::Evaluate)?;
        let gradients = loss.total.backward()?;
        let slope = values(gradients.get(&output).expect("a gradient"))?;
        let ltv = values(&objective.predict(&head)?[0].1)?;
        let label = case.to_string();
        assert_close(
            &label,
            &values(&loss.total)?,
            &[number("loss")],
            1e-13,
            1e-14,
        );
        assert_close(&label, &slope, &[number("slope")], 1e-12, 1e-13);
        assert_close(&label, &ltv, &[number("ltv")], 1e-13, 0.0);
    }
    Ok(())
}

#[test]
fn gamma_quantiles_invert_the_distribution_function() {
    // Exponential and chi-square laws have closed forms; for the rest the distribution function must come back.
    for q in [1e-6, 0.1, 0.5, 0.9, 0.999999] {
        let exponential = objective::inverse_gamma(1.0, q);
        let expected = -(-q).ln_1p();
        assert!((exponential - expected).abs() <= 1e-12 * expected, "{q}");
        for shape in [0.01, 0.3, 0.99, 2.0, 7.5, 120.0, 5000.0] {
            let x = objective::inverse_gamma(shape, q);
            let back = if x < 1e-8 {
                (shape * x.ln() - statrs::function::gamma::ln_gamma(shape + 1.0)).exp()
            } else {
                statrs::function::gamma::gamma_lr(shape, x)
            };
            if x < 1e-300 {
                continue;
            }
            assert!((back - q).abs() <= 1e-9, "shape {shape}, q {q}: {back}");
        }
    }
    // From scipy.special.gammaincinv. Shapes that have no digits left for 1 end, too.
    for (shape, q, expected) in [
        (1e6, 0.025, 998_040.983_340_293_9),
        (1e6, 0.975, 1_001_960.910_965_450_3),
        (1e8, 0.975, 100_019_600.586_981_15),
        (1e300, 0.975, 1e300),
    ] {
        let x = objective::inverse_gamma(shape, q);
        assert!(
            (x / expected - 1.0).abs() < 1e-9,
            "shape {shape}, q {q}: {x}"
        );
    }
    let law = Distribution::ZeroInflatedGamma;
    assert_eq!(objective::quantile(law, [0.4, 2.0, 0.1], 0.6), 0.0);
    let median_of_payers = objective::quantile(law, [0.4, 1.0, 0.1], 0.8);
    assert!((median_of_payers - 10.0 * std::f64::consts::LN_2).abs() < 1e-11);
}

#[test]
fn amount_classes_are_powers_of_two() {
    for (y, class) in [
        (0.0, 0),
        (0.99, 0),
        (1.0, 1),
        (2.999, 1),
        (3.0, 2),
        (126.999, 6),
        (127.0, 7),
        (1e9, 7),
    ] {
        assert_eq!(cmltv::amount_class(y, 8), class, "{y}");
    }
}
