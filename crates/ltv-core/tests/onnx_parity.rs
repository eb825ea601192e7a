//! Every backbone with every objective: ONNX Runtime against candle, random shapes and extreme inputs.

mod common;

use candle_core::{DType, Device};
use common::{TestResult, backbones, graph_inputs, random_batch, run_onnx, statistics, values};
use ltv_core::backbone::{self, BackboneConfig};
use ltv_core::batch::{Batch, InputShape, Mode, SequenceShape};
use ltv_core::objective::{
    self, CmltvConfig, ExpltvConfig, ObjectiveConfig, RegressionConfig, TargetTransform,
    TweedieConfig, ZilnConfig, cmltv,
};
use ltv_core::onnx::{Axis, BATCH, ElementType, GraphBuilder};
use ltv_core::params::Params;
use proptest::prelude::*;

fn objectives() -> Vec<ObjectiveConfig> {
    let log = RegressionConfig {
        target_transform: TargetTransform::Log1p,
        ..RegressionConfig::default()
    };
    let lognormal = CmltvConfig {
        distribution: cmltv::Law::Lognormal,
        ..CmltvConfig::default()
    };
    let two_views = CmltvConfig {
        views: vec![cmltv::View::Log, cmltv::View::Classes],
        ..CmltvConfig::default()
    };
    let one_expert = ExpltvConfig {
        experts: 1,
        ..ExpltvConfig::default()
    };
    vec![
        ObjectiveConfig::Mse(RegressionConfig::default()),
        ObjectiveConfig::Mse(log.clone()),
        ObjectiveConfig::Huber(log),
        ObjectiveConfig::Tweedie(TweedieConfig { power: 1.3 }),
        ObjectiveConfig::Purchase,
        ObjectiveConfig::Ziln(ZilnConfig::default()),
        ObjectiveConfig::Cmltv(CmltvConfig::default()),
        ObjectiveConfig::Cmltv(lognormal),
        ObjectiveConfig::Cmltv(two_views),
        ObjectiveConfig::Expltv(ExpltvConfig::default()),
        ObjectiveConfig::Expltv(one_expert),
    ]
}

type Outputs = Vec<(String, Vec<f64>, Vec<f64>)>;

/// Per output: its name, candle's values and ONNX Runtime's.
fn both(
    backbone: &BackboneConfig,
    objective: &ObjectiveConfig,
    shape: &InputShape,
    batch: &Batch,
    seed: u64,
) -> TestResult<Outputs> {
    let mut params = Params::new(seed, DType::F32, Device::Cpu);
    let backbone = backbone::build(backbone, shape, &mut params)?;
    let objective = objective::build(objective, backbone.as_ref(), &statistics(), &mut params)?;
    common::perturb(&params, 0.05, seed)?;

    let mut graph = GraphBuilder::new();
    let inputs = graph_inputs(&mut graph, shape);
    let hidden = backbone.export(&mut graph, &inputs)?;
    for (name, value) in objective.export(&mut graph, &hidden)? {
        graph.output(name, &value, ElementType::Float, &[BATCH]);
    }
    let onnx = run_onnx(&graph.finish(&[]), batch)?;

    let hidden = backbone.forward(batch, &Mode::Evaluate)?;
    assert_eq!(hidden.dims(), [batch.rows, backbone.width()]);
    let output = objective.forward(&hidden, &Mode::Evaluate)?;
    let prediction = objective.predict(&output)?;
    let names: Vec<&str> = prediction.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, objective.outputs());
    assert_eq!(onnx.len(), names.len());
    prediction
        .iter()
        .map(|(name, tensor)| Ok(((*name).to_owned(), values(tensor)?, onnx[*name].clone())))
        .collect()
}

fn shape(numeric: usize, cardinalities: Vec<usize>, steps: usize, channels: usize) -> InputShape {
    InputShape {
        numeric,
        cardinalities,
        sequence: Some(SequenceShape { steps, channels }),
        embedding_size: None,
    }
}

type Check = fn(&BackboneConfig, &ObjectiveConfig, &InputShape, &Batch) -> TestResult;

/// On one row and on several.
fn every_pair(check: Check) -> TestResult {
    let shape = shape(6, vec![5, 40], 4, 2);
    for backbone in backbones() {
        for objective in objectives() {
            for rows in [1, 33] {
                let batch = random_batch(&shape, rows, 1.0, 4, DType::F32)?;
                check(&backbone, &objective, &shape, &batch)?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_pair_agrees_with_onnx_runtime() -> TestResult {
    every_pair(|backbone, objective, shape, batch| compare(backbone, objective, shape, batch, 9))
}

/// What the networks of an ensemble predict is computed side by side, where the products are over.
#[test]
fn each_network_of_several_agrees_with_onnx_runtime() -> TestResult {
    every_pair(together)
}

fn together(
    backbone: &BackboneConfig,
    objective: &ObjectiveConfig,
    shape: &InputShape,
    batch: &Batch,
) -> TestResult {
    const NETWORKS: usize = 3;
    let mut graph = GraphBuilder::new();
    let inputs = graph_inputs(&mut graph, shape);
    let (mut heads, mut hidden, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 0..NETWORKS as u64 {
        let mut params = Params::new(seed, DType::F32, Device::Cpu);
        let backbone = backbone::build(backbone, shape, &mut params)?;
        let head = objective::build(objective, backbone.as_ref(), &statistics(), &mut params)?;
        common::perturb(&params, 0.05, seed)?;
        hidden.push(backbone.export(&mut graph, &inputs)?);
        let output = head.forward(&backbone.forward(batch, &Mode::Evaluate)?, &Mode::Evaluate)?;
        expected.push(head.predict(&output)?);
        heads.push(head);
    }
    let heads: Vec<_> = heads.iter().map(|head| head.as_ref()).collect();
    for (name, value) in objective::export_together(&mut graph, &heads, &hidden)? {
        let axes = [BATCH, Axis::Fixed(NETWORKS)];
        graph.output(name, &value, ElementType::Float, &axes);
    }
    let onnx = run_onnx(&graph.finish(&[]), batch)?;
    for (network, prediction) in expected.iter().enumerate() {
        assert_eq!(onnx.len(), prediction.len());
        for (name, tensor) in prediction {
            let label = format!("{backbone:?} {objective:?} {name} of network {network}");
            let candle = values(tensor)?;
            let own = onnx[*name].iter().skip(network).step_by(NETWORKS);
            let own: Vec<f64> = own.copied().collect();
            let size = candle.iter().fold(0f64, |a, b| a.max(b.abs()));
            common::assert_close(&label, &own, &candle, 1e-5, 1e-6 * size);
        }
    }
    Ok(())
}

fn compare(
    backbone: &BackboneConfig,
    objective: &ObjectiveConfig,
    shape: &InputShape,
    batch: &Batch,
    seed: u64,
) -> TestResult {
    for (name, candle, onnx) in both(backbone, objective, shape, batch, seed)? {
        let label = format!("{backbone:?} {objective:?} {name}");
        // A value near 0 is a difference of larger ones; what counts there is the column's own size.
        let size = candle.iter().fold(0f64, |a, b| a.max(b.abs()));
        common::assert_close(&label, &onnx, &candle, 1e-5, 1e-6 * size);
    }
    Ok(())
}

#[test]
fn extreme_inputs_stay_finite() -> TestResult {
    let shape = shape(6, vec![5, 40], 4, 2);
    for backbone in backbones() {
        for objective in objectives() {
            // Preprocessing limits standardised values to 1000 at most.
            for spread in [1e3, 1e6] {
                let batch = random_batch(&shape, 17, spread, 4, DType::F32)?;
                for (name, candle, onnx) in both(&backbone, &objective, &shape, &batch, 3)? {
                    for value in candle.iter().chain(&onnx) {
                        assert!(
                            value.is_finite(),
                            "{backbone:?} {objective:?} {name} at {spread:e}: {value}"
                        );
                    }
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_shapes_agree(
        numeric in 0usize..9,
        cardinalities in prop::collection::vec(1usize..60, 0..4),
        steps in 1usize..7,
        channels in 1usize..4,
        rows in 1usize..40,
        seed in 0u64..1000,
        backbone in 0usize..64,
        objective in 0usize..64,
    ) {
        prop_assume!(numeric > 0 || !cardinalities.is_empty());
        let shape = shape(numeric, cardinalities, steps, channels);
        let backbones = backbones();
        let objectives = objectives();
        let backbone = &backbones[backbone % backbones.len()];
        let objective = &objectives[objective % objectives.len()];
        let batch = random_batch(&shape, rows, 1.0, seed, DType::F32).unwrap();
        compare(backbone, objective, &shape, &batch, seed).unwrap();
    }
}
