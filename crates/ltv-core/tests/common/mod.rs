//! Shared by the tests of models: reference numbers, batches, gradients by differences, ONNX Runtime.
#![allow(dead_code)]

use candle_core::{DType, Device, Tensor, Var};
use ltv_core::backbone::{
    BackboneConfig, CrossKind, DcnConfig, DeepFmConfig, MlpConfig, RecurrentConfig, TftConfig,
    TransformerConfig,
};
use ltv_core::batch::GraphInputs;
use ltv_core::batch::{Batch, InputShape, Mode, SequenceBatch};
use ltv_core::objective::TargetStatistics;
use ltv_core::onnx::{Axis, BATCH, ElementType, GraphBuilder};
use ltv_core::params::{Params, standard_normal};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub type TestResult<T = ()> = Result<T, Box<dyn Error>>;

pub fn reference(file: &str) -> TestResult<Json> {
    let path = format!("{}/tests/reference/{file}", env!("CARGO_MANIFEST_DIR"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// All numbers below `json`, in order, with the shape of the nesting.
pub fn numbers(json: &Json) -> (Vec<f64>, Vec<usize>) {
    match json {
        Json::Array(items) => {
            let mut values = Vec::new();
            let mut inner = Vec::new();
            for item in items {
                let (more, shape) = numbers(item);
                values.extend(more);
                inner = shape;
            }
            let mut shape = vec![items.len()];
            shape.extend(inner);
            (values, shape)
        }
        other => (vec![other.as_f64().expect("a number")], Vec::new()),
    }
}

pub fn tensor(json: &Json) -> TestResult<Tensor> {
    let (values, shape) = numbers(json);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

pub fn values(tensor: &Tensor) -> TestResult<Vec<f64>> {
    Ok(tensor
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1::<f64>()?)
}

pub fn assert_close(what: &str, actual: &[f64], expected: &[f64], relative: f64, absolute: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let gap = (a - e).abs();
        assert!(
            gap <= absolute + relative * e.abs(),
            "{what}[{index}]: {a} instead of {e} (gap {gap:e})"
        );
    }
}

/// Statistics of lognormal payers, good enough to build heads.
pub fn statistics() -> TargetStatistics {
    TargetStatistics {
        rows: 1000,
        payers: 400,
        mean: 24.0,
        payer_mean: 60.0,
        payer_log_mean: 3.5,
        payer_log_std: 1.1,
        max: 900.0,
        payer_quantiles: (0..=100).map(|q| 2.0 * 1.063f64.powi(q)).collect(),
    }
}

pub fn random_batch(
    shape: &InputShape,
    rows: usize,
    spread: f64,
    seed: u64,
    dtype: DType,
) -> TestResult<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = |count: usize, dims: &[usize]| -> TestResult<Tensor> {
        let values: Vec<f64> = (0..count)
            .map(|_| standard_normal(&mut rng) * spread)
            .collect();
        Ok(Tensor::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)?)
    };
    let numeric = normal(rows * shape.numeric, &[rows, shape.numeric])?;
    let sequence = match shape.sequence {
        None => None,
        Some(s) => {
            let raw = normal(rows * s.steps * s.channels, &[rows, s.steps, s.channels])?;
            let mut mask = Vec::with_capacity(rows * s.steps);
            for row in 0..rows {
                // Row 0 is full and row 1 has no step at all.
                let length = match row {
                    0 => s.steps,
                    1 => 0,
                    _ => rng.random_range(0..=s.steps),
                };
                mask.extend((0..s.steps).map(|step| f64::from(step >= s.steps - length)));
            }
            let mask = Tensor::from_vec(mask, (rows, s.steps), &Device::Cpu)?.to_dtype(dtype)?;
            let values = raw.broadcast_mul(&mask.unsqueeze(2)?)?;
            Some(SequenceBatch { values, mask })
        }
    };
    let categories = shape
        .cardinalities
        .iter()
        .map(|&cardinality| {
            let ids: Vec<u32> = (0..rows)
                .map(|_| rng.random_range(0..cardinality as u32))
                .collect();
            Ok(Tensor::from_vec(ids, rows, &Device::Cpu)?)
        })
        .collect::<TestResult<_>>()?;
    Ok(Batch {
        rows,
        numeric,
        categories,
        sequence,
    })
}

/// One of each kind and version, small.
pub fn backbones() -> Vec<BackboneConfig> {
    let deep = MlpConfig {
        hidden: vec![16, 8],
        ..MlpConfig::default()
    };
    let normed = MlpConfig {
        batch_norm: true,
        ..deep.clone()
    };
    let none = MlpConfig {
        hidden: Vec::new(),
        ..deep.clone()
    };
    let dcn = |kind| {
        BackboneConfig::Dcn(DcnConfig {
            cross_layers: 2,
            kind,
            deep: deep.clone(),
        })
    };
    vec![
        BackboneConfig::Linear,
        BackboneConfig::Mlp(deep.clone()),
        BackboneConfig::Mlp(normed.clone()),
        BackboneConfig::DeepFm(DeepFmConfig {
            size: 4,
            deep: normed,
        }),
        BackboneConfig::DeepFm(DeepFmConfig {
            size: 4,
            deep: none.clone(),
        }),
        dcn(CrossKind::V1),
        dcn(CrossKind::V2),
        BackboneConfig::Lstm(RecurrentConfig {
            sizes: vec![5, 3],
            deep: deep.clone(),
        }),
        BackboneConfig::Gru(RecurrentConfig {
            sizes: vec![5, 3],
            deep: none,
        }),
        BackboneConfig::Tft(TftConfig {
            size: 4,
            heads: 2,
            ..TftConfig::default()
        }),
        BackboneConfig::Transformer(TransformerConfig {
            size: 6,
            heads: 2,
            feed_forward: 10,
            deep: deep.clone(),
            ..TransformerConfig::default()
        }),
        dcn(CrossKind::LowRank(3)),
    ]
}

/// Moves every weight and buffer away from its start, so that nothing is hidden by zeros and ones.
pub fn perturb(params: &Params, amount: f64, seed: u64) -> TestResult {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (name, var) in params.weights().iter().chain(params.buffers()) {
        let noise: Vec<f64> = (0..var.elem_count())
            .map(|_| {
                let noise = standard_normal(&mut rng) * amount;
                if name.ends_with("variance") {
                    noise.abs()
                } else {
                    noise
                }
            })
            .collect();
        let noise = Tensor::from_vec(noise, var.shape(), &Device::Cpu)?.to_dtype(var.dtype())?;
        var.set(&(var.as_tensor().detach() + noise)?)?;
    }
    Ok(())
}

pub fn training_rng(seed: u64) -> Mutex<ChaCha8Rng> {
    Mutex::new(ChaCha8Rng::seed_from_u64(seed))
}

/// Compares autograd with differences of fourth order on up to `samples` entries of each variable. `loss` is called
/// with a fresh generator of the same seed each time, so that dropout does not move.
pub fn check_gradients(
    variables: &[(String, Var)],
    samples: usize,
    loss: impl Fn(&Mode) -> TestResult<Tensor>,
) -> TestResult {
    const STEP: f64 = 1e-5;
    let evaluate = || -> TestResult<f64> {
        let rng = training_rng(1);
        Ok(loss(&Mode::Train(&rng))?.to_scalar::<f64>()?)
    };
    let rng = training_rng(1);
    let gradients = loss(&Mode::Train(&rng))?.backward()?;
    let mut picks = ChaCha8Rng::seed_from_u64(3);
    for (name, var) in variables {
        let analytic = match gradients.get(var) {
            Some(gradient) => values(gradient)?,
            None => vec![0.0; var.elem_count()],
        };
        let start = values(var)?;
        for _ in 0..samples.min(start.len()) {
            let index = picks.random_range(0..start.len());
            let at = |offset: f64| -> TestResult<f64> {
                let mut moved = start.clone();
                moved[index] += offset;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu)?)?;
                evaluate()
            };
            let near = at(STEP)? - at(-STEP)?;
            let far = at(2.0 * STEP)? - at(-2.0 * STEP)?;
            let numeric = (8.0 * near - far) / (12.0 * STEP);
            let gap = (numeric - analytic[index]).abs();
            assert!(
                gap <= 1e-6 * (1.0 + numeric.abs()),
                "{name}[{index}]: gradient {} but differences give {numeric}",
                analytic[index]
            );
        }
        var.set(&Tensor::from_vec(start, var.shape(), &Device::Cpu)?)?;
    }
    Ok(())
}

/// The inputs of a bare model graph, without preprocessing.
pub fn graph_inputs(graph: &mut GraphBuilder, shape: &InputShape) -> GraphInputs {
    let numeric = graph.input(
        "numeric",
        ElementType::Float,
        &[BATCH, Axis::Fixed(shape.numeric)],
    );
    let categories = (0..shape.cardinalities.len())
        .map(|index| graph.input(&format!("category.{index}"), ElementType::Int64, &[BATCH]))
        .collect();
    let sequence = shape.sequence.map(|s| {
        let steps = Axis::Fixed(s.steps);
        let axes = [BATCH, steps, Axis::Fixed(s.channels)];
        let values = graph.input("sequence", ElementType::Float, &axes);
        let mask = graph.input("mask", ElementType::Float, &[BATCH, steps]);
        (values, mask)
    });
    GraphInputs {
        numeric,
        categories,
        sequence,
    }
}

/// What `cargo xtask` has put into the checkout.
fn fetched() -> Option<PathBuf> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.pg_ltv");
    let mut libraries = std::fs::read_dir(home)
        .ok()?
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("onnxruntime-")
        })
        .map(|entry| entry.path().join("libonnxruntime.so"));
    libraries.find(|library| library.is_file())
}

pub fn environment() -> &'static ort::environment::Environment {
    static ENVIRONMENT: OnceLock<ort::environment::Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let library = std::env::var_os("ORT_DYLIB_PATH")
            .map(PathBuf::from)
            .or_else(fetched)
            .expect(
                "`cargo xtask setup` fetches ONNX Runtime; or set ORT_DYLIB_PATH to its library",
            );
        ort::environment::init_from(library)
            .expect("ONNX Runtime loads")
            .build()
            .expect("ONNX Runtime starts")
    })
}

/// Runs a graph made by [`graph_inputs`] in ONNX Runtime (the library named by ORT_DYLIB_PATH).
pub fn run_onnx(bytes: &[u8], batch: &Batch) -> TestResult<HashMap<String, Vec<f64>>> {
    use ort::session::{Session, SessionInputValue};
    use ort::value::Tensor as OrtTensor;
    fn floats(tensor: &Tensor) -> TestResult<SessionInputValue<'static>> {
        let data = tensor
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        let shape: Vec<i64> = tensor.dims().iter().map(|&d| d as i64).collect();
        Ok(OrtTensor::from_array((shape, data))?.into())
    }
    let mut session = Session::builder(environment())?
        .with_intra_threads(1)
        .map_err(|error| error.to_string())?
        .commit_from_memory(bytes)?;
    let names: Vec<String> = session
        .inputs()
        .iter()
        .map(|input| input.name().to_owned())
        .collect();
    let mut inputs: Vec<(String, SessionInputValue)> = Vec::new();
    for name in names {
        let value = match (name.as_str(), &batch.sequence) {
            ("numeric", _) => floats(&batch.numeric)?,
            ("sequence", Some(sequence)) => floats(&sequence.values)?,
            ("mask", Some(sequence)) => floats(&sequence.mask)?,
            (other, _) => {
                let index: usize = other.trim_start_matches("category.").parse()?;
                let ids = batch.categories[index].to_dtype(DType::I64)?;
                let ids = ids.to_vec1::<i64>()?;
                OrtTensor::from_array((vec![ids.len() as i64], ids))?.into()
            }
        };
        inputs.push((name, value));
    }
    let outputs = session.run(inputs)?;
    let mut result = HashMap::new();
    for (name, value) in &outputs {
        let (shape, data) = value.try_extract_tensor::<f32>()?;
        assert_eq!(
            shape.first().copied(),
            Some(batch.rows as i64),
            "{name}: not one per row"
        );
        result.insert(
            name.to_owned(),
            data.iter().map(|&x| f64::from(x)).collect(),
        );
    }
    Ok(result)
}
