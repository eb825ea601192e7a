//! Layers against PyTorch in float64, and the gradients of every backbone against differences.

mod common;

use candle_core::{DType, Device, Tensor};
use common::{TestResult, assert_close, check_gradients, numbers, random_batch, reference, values};
use ltv_core::backbone::{self, CrossKind};
use ltv_core::batch::{Batch, InputShape, Mode, SequenceShape};
use ltv_core::kernels::functions;
use ltv_core::layers::batch_norm::BatchNorm;
use ltv_core::layers::cross::Cross;
use ltv_core::layers::dropout::dropout;
use ltv_core::layers::fm::FactorizationMachine;
use ltv_core::params::Params;
use serde_json::Value as Json;

fn params() -> Params {
    Params::new(1, DType::F64, Device::Cpu)
}

/// Gives the weight `name` the numbers of the reference.
fn set(params: &Params, name: &str, reference: &Json) -> TestResult {
    let (_, var) = params
        .weights()
        .iter()
        .find(|(existing, _)| existing == name)
        .unwrap_or_else(|| panic!("no weight {name}"));
    let (values, _) = numbers(reference);
    var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
    Ok(())
}

#[test]
fn factorisation_machine_equals_pytorch() -> TestResult {
    let case = &reference("layers.json")?["fm_second_order"];
    for row in 0..case["values"].as_array().expect("rows").len() {
        let (x, shape) = numbers(&case["values"][row]);
        let fields = shape[0];
        let size = numbers(&case["embeddings"][row]).1[1];
        let mut params = params();
        let input = InputShape {
            numeric: fields,
            ..InputShape::default()
        };
        let fm = FactorizationMachine::new(&mut params, "fm", &input, size)?;
        set(&params, "fm.numeric.second", &case["embeddings"][row])?;
        let batch = Batch {
            rows: 1,
            numeric: Tensor::from_vec(x, (1, fields), &Device::Cpu)?,
            categories: Vec::new(),
            sequence: None,
        };
        let second = fm.forward(&batch)?.second;
        let expected = numbers(&case["per_channel"][row]).0;
        assert_close("channels", &values(&second)?, &expected, 1e-12, 1e-14);
        let total = numbers(&case["sum"][row]).0;
        assert_close("sum", &values(&second.sum_all()?)?, &total, 1e-12, 1e-14);
    }
    Ok(())
}

#[test]
fn categories_enter_the_factorisation_machine_as_fields_of_value_one() -> TestResult {
    let shape = InputShape {
        numeric: 2,
        cardinalities: vec![3, 4],
        ..InputShape::default()
    };
    let mut params = params();
    let fm = FactorizationMachine::new(&mut params, "fm", &shape, 3)?;
    common::perturb(&params, 1.0, 4)?;
    let batch = random_batch(&shape, 5, 1.0, 6, DType::F64)?;
    let output = fm.forward(&batch)?;
    let second = output.second.to_vec2::<f64>()?;
    let numbers = batch.numeric.to_vec2::<f64>()?;
    let vectors = |name: &str| -> TestResult<Vec<Vec<f64>>> {
        let found = params.weights().iter().find(|(other, _)| other == name);
        Ok(found.expect("a weight").1.to_vec2()?)
    };
    let of_numbers = vectors("fm.numeric.second")?;
    let mut of_categories = Vec::new();
    for (field, ids) in batch.categories.iter().enumerate() {
        let name = format!("fm.category.{field}.second.weight");
        of_categories.push((vectors(&name)?, ids.to_vec1::<u32>()?));
    }
    for row in 0..5 {
        // By the definition: all pairs of fields.
        for channel in 0..3 {
            let field = |i: usize| match i.checked_sub(2) {
                None => numbers[row][i] * of_numbers[i][channel],
                Some(i) => {
                    let (vectors, ids) = &of_categories[i];
                    vectors[ids[row] as usize][channel]
                }
            };
            let mut pairs = 0.0;
            for i in 0..4 {
                for j in i + 1..4 {
                    pairs += field(i) * field(j);
                }
            }
            assert_close("pairs", &[second[row][channel]], &[pairs], 1e-12, 1e-14);
        }
    }
    Ok(())
}

#[test]
fn cross_layers_equal_pytorch() -> TestResult {
    let all = reference("layers.json")?;
    for (name, kind) in [("cross_v1", CrossKind::V1), ("cross_v2", CrossKind::V2)] {
        let case = &all[name];
        let x_0 = common::tensor(&case["x0"])?;
        let mut params = params();
        let mut x = x_0.clone();
        for layer in 0..case["weight"].as_array().expect("layers").len() {
            let cross = Cross::new(&mut params, &format!("c{layer}"), x_0.dim(1)?, kind)?;
            set(&params, &format!("c{layer}.weight"), &case["weight"][layer])?;
            set(&params, &format!("c{layer}.bias"), &case["bias"][layer])?;
            x = cross.forward(&x_0, &x)?;
        }
        assert_close(name, &values(&x)?, &numbers(&case["out"]).0, 1e-12, 1e-13);
    }
    Ok(())
}

#[test]
fn low_rank_is_the_product_of_its_factors() -> TestResult {
    let x_0 = Tensor::new(&[[1.0, -2.0, 0.5], [0.3, 4.0, -1.0]], &Device::Cpu)?;
    let mut params = params();
    let low_rank = Cross::new(&mut params, "low", 3, CrossKind::LowRank(2))?;
    let full = Cross::new(&mut params, "full", 3, CrossKind::V2)?;
    let weight = |name: &str| {
        let found = params.weights().iter().find(|(other, _)| other == name);
        found.expect("a weight").1.clone()
    };
    weight("full.weight").set(&weight("low.u").matmul(&weight("low.v"))?)?;
    let expected = values(&full.forward(&x_0, &x_0)?)?;
    let actual = values(&low_rank.forward(&x_0, &x_0)?)?;
    assert_close("low rank", &actual, &expected, 1e-13, 1e-14);
    Ok(())
}

#[test]
fn batch_norm_learns_the_moments() -> TestResult {
    let mut params = params();
    let norm = BatchNorm::new(&mut params, "n", 2)?;
    let x = Tensor::new(&[[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]], &Device::Cpu)?;
    let rng = common::training_rng(1);
    let first = norm.forward(&x, &Mode::Train(&rng))?;
    // Mean 3 and 20, biased variance 8/3 and 200.
    let column = |v: f64, mean: f64, variance: f64| (v - mean) / (variance + 1e-5).sqrt();
    assert_close(
        "row 0",
        &first.get(0)?.to_vec1::<f64>()?,
        &[column(1.0, 3.0, 8.0 / 3.0), column(10.0, 20.0, 200.0)],
        1e-12,
        0.0,
    );
    for _ in 0..400 {
        norm.forward(&x, &Mode::Train(&rng))?;
    }
    // The running variance is the unbiased one: 4 and 300.
    let settled = norm.forward(&x, &Mode::Evaluate)?;
    assert_close(
        "settled",
        &settled.get(2)?.to_vec1::<f64>()?,
        &[column(5.0, 3.0, 4.0), column(40.0, 20.0, 300.0)],
        1e-9,
        0.0,
    );
    Ok(())
}

#[test]
fn dropout_keeps_the_mean_and_repeats_with_the_seed() -> TestResult {
    let x = Tensor::ones((200, 500), DType::F64, &Device::Cpu)?;
    let draw = || -> TestResult<Vec<f64>> {
        let rng = common::training_rng(7);
        values(&dropout(&x, 0.3, &Mode::Train(&rng))?)
    };
    let once = draw()?;
    assert_eq!(once, draw()?);
    let kept = once.iter().filter(|&&v| v != 0.0).count() as f64 / 100_000.0;
    let mean = once.iter().sum::<f64>() / 100_000.0;
    assert!((kept - 0.7).abs() < 0.01, "{kept} kept");
    assert!((mean - 1.0).abs() < 0.015, "mean {mean}");
    assert_eq!(values(&dropout(&x, 0.3, &Mode::Evaluate)?)?, values(&x)?);
    Ok(())
}

#[test]
fn composed_functions_equal_the_exact_ones() -> TestResult {
    let x = Tensor::arange_step(0.01f64, 60.0, 0.37, &Device::Cpu)?;
    let pairs = [
        (
            functions::log_gamma(&x)?,
            functions::composed::log_gamma(&x)?,
        ),
        (functions::softplus(&x)?, functions::composed::softplus(&x)?),
        (functions::sigmoid(&x)?, functions::composed::sigmoid(&x)?),
    ];
    for (exact, composed) in pairs {
        assert_close(
            "composed",
            &values(&composed)?,
            &values(&exact)?,
            1e-10,
            1e-10,
        );
    }
    // gamma(5) = 24, gamma(1/2) = sqrt(pi), digamma(1) = -Euler's constant.
    let var = candle_core::Var::from_vec(vec![5.0, 0.5, 1.0], 3, &Device::Cpu)?;
    let result = functions::log_gamma(&var)?;
    let expected = [24f64.ln(), 0.5 * std::f64::consts::PI.ln(), 0.0];
    assert_close("log gamma", &values(&result)?, &expected, 1e-13, 1e-14);
    let gradients = result.sum_all()?.backward()?;
    let slope = values(gradients.get(&var).expect("a gradient"))?;
    assert_close(
        "digamma",
        &slope[2..],
        &[-0.577_215_664_901_532_9],
        1e-12,
        0.0,
    );
    Ok(())
}

#[test]
fn backbone_gradients_equal_differences() -> TestResult {
    let shape = InputShape {
        numeric: 4,
        cardinalities: vec![3, 5],
        sequence: Some(SequenceShape {
            steps: 4,
            channels: 2,
        }),
        embedding_size: Some(2),
    };
    for config in common::backbones() {
        let mut params = params();
        let backbone = backbone::build(&config, &shape, &mut params)?;
        common::perturb(&params, 0.2, 8)?;
        let batch = random_batch(&shape, 7, 1.0, 2, DType::F64)?;
        // A fixed, uneven combination of the outputs, so that no gradient cancels.
        let weights: Vec<f64> = (0..7 * backbone.width())
            .map(|i| (i as f64 * 0.7).sin() + 0.2)
            .collect();
        let weights = Tensor::from_vec(weights, (7, backbone.width()), &Device::Cpu)?;
        check_gradients(params.weights(), 8, |mode| {
            let hidden = backbone.forward(&batch, mode)?;
            Ok((hidden * &weights)?.sum_all()?)
        })
        .map_err(|error| format!("{config:?}: {error}"))?;
    }
    Ok(())
}
