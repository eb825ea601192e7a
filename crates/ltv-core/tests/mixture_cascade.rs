//! The objectives `mixture` and `cascade` against the plain sums that they are, and on outputs that no network should have.

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{TestResult, assert_close, statistics, values};
use ltv_core::backbone::{self, BackboneConfig};
use ltv_core::batch::{InputShape, Mode};
use ltv_core::objective::{
    self, CascadeConfig, MixtureConfig, Objective, ObjectiveConfig, TargetStatistics, ZilnConfig,
};
use ltv_core::params::Params;

const TARGETS: [f64; 7] = [0.0, 12.0, 0.0, 0.02, 41.5, 300.0, 7.0];

fn build(
    config: &ObjectiveConfig,
    statistics: &TargetStatistics,
) -> TestResult<Box<dyn Objective>> {
    let mut params = Params::new(1, DType::F64, Device::Cpu);
    let shape = InputShape {
        numeric: 3,
        ..InputShape::default()
    };
    let backbone = backbone::build(&BackboneConfig::Linear, &shape, &mut params)?;
    Ok(objective::build(
        config,
        backbone.as_ref(),
        statistics,
        &mut params,
    )?)
}

fn mixture(laws: usize) -> TestResult<Box<dyn Objective>> {
    let config = MixtureConfig {
        laws,
        ..MixtureConfig::default()
    };
    build(&ObjectiveConfig::Mixture(config), &statistics())
}

/// Edges at 10, 20, 40, 80: with half of the payers beyond the first, a quarter beyond the second, and so on.
fn cascade() -> TestResult<Box<dyn Objective>> {
    let amount = |percent: f64| match percent {
        p if p < 50.0 => 10.0 * p / 50.0,
        p if p < 75.0 => 10.0 + 10.0 * (p - 50.0) / 25.0,
        // Between whole percentages the quantiles are straight lines: 20 at 75, 40 at 87.5, 80 at 93.75.
        p if p <= 88.0 => 20.0 + 20.0 * (p - 75.0) / 12.5,
        p => 40.8 + 39.2 * (p - 88.0) / 5.75,
    };
    let statistics = TargetStatistics {
        payer_quantiles: (0..=100).map(|p| amount(f64::from(p))).collect(),
        ..statistics()
    };
    build(
        &ObjectiveConfig::Cascade(CascadeConfig::default()),
        &statistics,
    )
}

const EDGES: [f64; 5] = [0.0, 10.0, 20.0, 40.0, 80.0];

/// Unlike numbers around those that heads start from.
fn outputs(columns: usize) -> Vec<Vec<f64>> {
    let value = |row: usize, column: usize| 2.0 * ((row * columns + column) as f64 * 1.7).sin();
    (0..TARGETS.len())
        .map(|row| (0..columns).map(|column| value(row, column)).collect())
        .collect()
}

fn tensor(rows: &[Vec<f64>]) -> TestResult<Tensor> {
    Ok(Tensor::new(rows.to_vec(), &Device::Cpu)?)
}

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn softplus(z: f64) -> f64 {
    z.exp().ln_1p()
}

fn density(y: f64, mu: f64, sigma: f64) -> f64 {
    let distance = (y.ln() - mu) / sigma;
    (-0.5 * distance * distance).exp() / (y * sigma * std::f64::consts::TAU.sqrt())
}

fn total(objective: &dyn Objective, output: &Tensor, target: &Tensor) -> TestResult<f64> {
    let loss = objective.loss(&vec![output.clone()], target, &Mode::Evaluate)?;
    Ok(loss.total.to_scalar::<f64>()?)
}

fn column(objective: &dyn Objective, output: &Tensor, name: &str) -> TestResult<Vec<f64>> {
    let prediction = objective.predict(&vec![output.clone()])?;
    let found = prediction.iter().find(|(other, _)| *other == name);
    values(&found.expect("an output").1)
}

#[test]
fn a_mixture_is_the_sum_of_its_laws() -> TestResult {
    let rows = outputs(12);
    let (mixture, output) = (mixture(3)?, tensor(&rows)?);
    let mut expected = 0.0;
    let (mut ltv, mut probability, mut log_mean) = (Vec::new(), Vec::new(), Vec::new());
    for (row, &y) in rows.iter().zip(&TARGETS) {
        let whole: f64 = row[..3].iter().map(|share| share.exp()).sum();
        let (mut likelihood, mut value, mut buys, mut log) = (0.0, 0.0, 0.0, 0.0);
        for law in 0..3 {
            let (share, p) = (row[law].exp() / whole, sigmoid(row[3 + law]));
            let (mu, sigma) = (row[6 + law], softplus(row[9 + law]));
            likelihood += share
                * if y > 0.0 {
                    p * density(y, mu, sigma)
                } else {
                    1.0 - p
                };
            value += share * p * (mu + 0.5 * sigma * sigma).exp();
            buys += share * p;
            log += share * p * mu;
        }
        expected -= likelihood.ln() / TARGETS.len() as f64;
        ltv.push(value);
        probability.push(buys);
        log_mean.push(log / buys);
    }
    let found = total(
        mixture.as_ref(),
        &output,
        &Tensor::new(&TARGETS, &Device::Cpu)?,
    )?;
    assert_close("loss", &[found], &[expected], 1e-12, 0.0);
    let of = |name: &str| column(mixture.as_ref(), &output, name);
    assert_close("ltv", &of("ltv")?, &ltv, 1e-12, 0.0);
    assert_close("p", &of("purchase_probability")?, &probability, 1e-12, 0.0);
    // The lognormal that stands for it has its mean, and its mean of the logarithm.
    assert_close("mu", &of("mu")?, &log_mean, 1e-12, 1e-12);
    let means: Vec<f64> = (of("mu")?.iter().zip(of("sigma")?))
        .zip(&probability)
        .map(|((mu, sigma), p)| p * (mu + 0.5 * sigma * sigma).exp())
        .collect();
    assert_close("mean", &means, &ltv, 1e-12, 0.0);
    Ok(())
}

#[test]
fn a_mixture_of_one_law_is_ziln() -> TestResult {
    let rows = outputs(4);
    let ziln = build(&ObjectiveConfig::Ziln(ZilnConfig::default()), &statistics())?;
    let (mixture, output) = (mixture(1)?, tensor(&rows)?);
    let without_share = output.narrow(1, 1, 3)?.contiguous()?;
    let target = Tensor::new(&TARGETS, &Device::Cpu)?;
    let pair = [
        total(mixture.as_ref(), &output, &target)?,
        total(ziln.as_ref(), &without_share, &target)?,
    ];
    assert_close("loss", &pair[..1], &pair[1..], 1e-12, 0.0);
    for name in ["ltv", "purchase_probability", "mu", "sigma"] {
        let own = column(mixture.as_ref(), &output, name)?;
        let other = column(ziln.as_ref(), &without_share, name)?;
        assert_close(name, &own, &other, 1e-10, 1e-12);
    }
    Ok(())
}

#[test]
fn a_cascade_is_the_product_of_its_steps() -> TestResult {
    let rows = outputs(11);
    let (cascade, output) = (cascade()?, tensor(&rows)?);
    let cross =
        |z: f64, label: f64| -label * sigmoid(z).ln() - (1.0 - label) * (1.0 - sigmoid(z)).ln();
    let (mut expected, mut ltv) = (0.0, Vec::new());
    for (row, &y) in rows.iter().zip(&TARGETS) {
        let (mu, sigma) = (row[9], softplus(row[10]));
        let (mut reach, mut value, mut loss) = (1.0, 0.0, 0.0);
        for (step, &edge) in EDGES.iter().enumerate() {
            let before = if step == 0 { -1.0 } else { EDGES[step - 1] };
            if y > before {
                loss += cross(row[step], f64::from(y > edge));
            }
            if step > 0 {
                let place = row[5 + step - 1];
                if y > before && y <= edge {
                    loss += cross(place, (y - before) / (edge - before));
                }
                let amount = before + (edge - before) * sigmoid(place);
                value += reach * (1.0 - sigmoid(row[step])) * amount;
            }
            reach *= sigmoid(row[step]);
        }
        if y > 80.0 {
            loss -= density(y / 80.0, mu, sigma).ln();
        }
        // Who is beyond the last edge spends no less.
        value += reach * 80.0 * (mu + 0.5 * sigma * sigma).max(0.0).exp();
        expected += loss / TARGETS.len() as f64;
        ltv.push(value);
    }
    let found = total(
        cascade.as_ref(),
        &output,
        &Tensor::new(&TARGETS, &Device::Cpu)?,
    )?;
    assert_close("loss", &[found], &[expected], 1e-10, 0.0);
    assert_close(
        "ltv",
        &column(cascade.as_ref(), &output, "ltv")?,
        &ltv,
        1e-10,
        0.0,
    );
    let probability: Vec<f64> = rows.iter().map(|row| sigmoid(row[0])).collect();
    let found = column(cascade.as_ref(), &output, "purchase_probability")?;
    assert_close("p", &found, &probability, 1e-12, 0.0);
    Ok(())
}

/// In single precision, in every combination of the largest outputs with each other and with amounts.
#[test]
fn no_output_is_too_large() -> TestResult {
    for (objective, columns) in [(mixture(3)?, 12), (cascade()?, 11)] {
        for size in [1e2f32, 1e8, 1e30, f32::MAX] {
            for y in [0.0f32, 1e-30, 5.0, 85.0, 1e30] {
                let rows: Vec<f32> = (0..64 * columns)
                    .map(|place| {
                        let sign = (place as u32).wrapping_mul(2_654_435_761) >> 30;
                        size * [-1.0, 0.0, 1.0, 1e-6][sign as usize]
                    })
                    .collect();
                let output = Var::from_vec(rows, (64, columns), &Device::Cpu)?;
                let target = Tensor::new(vec![y; 64], &Device::Cpu)?;
                let head = vec![output.as_tensor().clone()];
                let loss = objective.loss(&head, &target, &Mode::Evaluate)?.total;
                let gradients = loss.backward()?;
                let gradient = gradients.get(&output).expect("a gradient");
                let label = format!("{} at {size:e}, y {y:e}", objective.name());
                let mut all = values(&loss)?;
                all.extend(values(gradient)?);
                for (_, prediction) in objective.predict(&head)? {
                    all.extend(values(&prediction)?);
                }
                assert!(all.iter().all(|value| value.is_finite()), "{label}");
            }
        }
    }
    Ok(())
}

/// Amounts that are all the same are one level; without any there is none.
#[test]
fn levels_that_fall_together_are_one() -> TestResult {
    let config = ObjectiveConfig::Cascade(CascadeConfig::default());
    let with = |amount: f64| TargetStatistics {
        payer_quantiles: vec![amount; 101],
        ..statistics()
    };
    let one = build(&config, &with(9.99))?;
    assert_eq!(one.scores(), 5);
    let error = build(&config, &with(0.0)).err().expect("an error");
    assert!(error.to_string().contains("finds no level"), "{error}");
    Ok(())
}
