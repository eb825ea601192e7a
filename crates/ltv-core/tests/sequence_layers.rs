//! Recurrent layers and the encoder block against PyTorch in float64; what padding must and must not do.

mod common;

use candle_core::{DType, Device, Tensor};
use common::{TestResult, assert_close, numbers, reference, values};
use ltv_core::backbone::{self, BackboneConfig, RecurrentConfig, TftConfig, TransformerConfig};
use ltv_core::batch::{Batch, InputShape, Mode, SequenceBatch, SequenceShape};
use ltv_core::error::ErrorKind;
use ltv_core::layers::encoder::EncoderBlock;
use ltv_core::layers::recurrent::{Cell, Recurrent};
use ltv_core::params::Params;
use serde_json::Value as Json;

fn params() -> Params {
    Params::new(1, DType::F64, Device::Cpu)
}

fn set(params: &Params, name: &str, values: &Tensor) -> TestResult {
    let found = params.weights().iter().find(|(other, _)| other == name);
    let (_, var) = found.unwrap_or_else(|| panic!("no weight {name}"));
    Ok(var.set(&values.reshape(var.shape())?)?)
}

fn recurrent(cell: Cell, case: &Json) -> TestResult<Recurrent> {
    let tensor = |name: &str| common::tensor(&case[name]);
    let input_weight = tensor("weight_ih_l0")?;
    let hidden = tensor("weight_hh_l0")?.dim(1)?;
    let mut params = params();
    let layer = Recurrent::new(&mut params, "l", cell, input_weight.dim(1)?, hidden)?;
    set(&params, "l.input.weight", &input_weight)?;
    set(&params, "l.state.weight", &tensor("weight_hh_l0")?)?;
    let (input_bias, state_bias) = (tensor("bias_ih_l0")?, tensor("bias_hh_l0")?);
    match cell {
        // PyTorch's two biases of an LSTM only ever appear as their sum.
        Cell::Lstm => set(&params, "l.input.bias", &(input_bias + state_bias)?)?,
        Cell::Gru => {
            set(&params, "l.input.bias", &input_bias)?;
            set(&params, "l.state.bias", &state_bias)?;
        }
    }
    Ok(layer)
}

#[test]
fn recurrent_layers_equal_pytorch() -> TestResult {
    let all = reference("layers.json")?;
    for (name, cell) in [("lstm", Cell::Lstm), ("gru", Cell::Gru)] {
        let case = &all[name];
        let layer = recurrent(cell, case)?;
        let x = common::tensor(&case["x"])?;
        let (batch, steps, _) = x.dims3()?;
        let mask = Tensor::ones((batch, steps), DType::F64, &Device::Cpu)?;
        let out = layer.forward(&x, &mask, None)?;
        let expected = numbers(&case["out"]).0;
        assert_close(name, &values(&out)?, &expected, 1e-12, 1e-13);
        let newest = values(&out.narrow(1, steps - 1, 1)?.contiguous()?)?;
        assert_eq!(values(&layer.newest(&x, &mask)?)?, newest);
    }
    Ok(())
}

#[test]
fn padding_in_front_changes_nothing() -> TestResult {
    let all = reference("layers.json")?;
    for (name, cell) in [("lstm", Cell::Lstm), ("gru", Cell::Gru)] {
        let layer = recurrent(cell, &all[name])?;
        let x = common::tensor(&all[name]["x"])?;
        let (batch, steps, channels) = x.dims3()?;
        let ones = Tensor::ones((batch, steps), DType::F64, &Device::Cpu)?;
        let plain = layer.newest(&x, &ones)?;
        // Whatever stands in the padding.
        let noise = Tensor::full(123.0, (batch, 3, channels), &Device::Cpu)?;
        let padded = Tensor::cat(&[&noise, &x], 1)?;
        let mask = Tensor::cat(&[&ones.narrow(1, 0, 3)?.zeros_like()?, &ones], 1)?;
        let states = layer.forward(&padded, &mask, None)?;
        let step = |step: usize| values(&states.narrow(1, step, 1)?.contiguous()?);
        assert_close(name, &step(steps + 2)?, &values(&plain)?, 1e-14, 1e-15);
        let early = step(2)?;
        assert!(early.iter().all(|&v| v == 0.0), "{name}: {early:?}");
    }
    Ok(())
}

#[test]
fn encoder_block_equals_pytorch() -> TestResult {
    let all = reference("layers.json")?;
    let case = &all["transformer_block"];
    let tensor = |name: &str| common::tensor(&case[name]);
    let x = tensor("x")?;
    let (batch, steps, width) = x.dims3()?;
    let feed_forward = tensor("linear1.weight")?.dim(0)?;
    let mut params = params();
    let block = EncoderBlock::new(&mut params, "b", width, 2, feed_forward, 0.0)?;
    for (ours, theirs) in [
        ("b.attention.input.weight", "self_attn.in_proj_weight"),
        ("b.attention.input.bias", "self_attn.in_proj_bias"),
        ("b.attention.output.weight", "self_attn.out_proj.weight"),
        ("b.attention.output.bias", "self_attn.out_proj.bias"),
        ("b.inner.weight", "linear1.weight"),
        ("b.inner.bias", "linear1.bias"),
        ("b.outer.weight", "linear2.weight"),
        ("b.outer.bias", "linear2.bias"),
        ("b.norm.0.weight", "norm1.weight"),
        ("b.norm.0.bias", "norm1.bias"),
        ("b.norm.1.weight", "norm2.weight"),
        ("b.norm.1.bias", "norm2.bias"),
    ] {
        set(&params, ours, &tensor(theirs)?)?;
    }
    let padding: Vec<bool> = case["padding_mask"]
        .as_array()
        .expect("rows")
        .iter()
        .flat_map(|row| row.as_array().expect("steps"))
        .map(|step| step.as_bool().expect("a flag"))
        .collect();
    let mask: Vec<f64> = padding.iter().map(|&p| f64::from(!p)).collect();
    let mask = Tensor::from_vec(mask, (batch, steps), &Device::Cpu)?;
    let out = values(&block.forward(&x, &mask, &Mode::Evaluate)?)?;
    let expected = numbers(&case["out"]).0;
    for (index, padded) in padding.iter().enumerate() {
        if !padded {
            let row = index * width..(index + 1) * width;
            assert_close("step", &out[row.clone()], &expected[row], 1e-11, 1e-12);
        }
    }
    Ok(())
}

/// The whole backbone after the equations of the paper, its selection weights included.
#[test]
fn temporal_fusion_transformer_equals_numpy() -> TestResult {
    let case = reference("tft.json")?;
    let tensor = |name: &str| common::tensor(&case[name]);
    let (values_of_steps, mask) = (tensor("sequence")?, tensor("mask")?);
    let (rows, steps, channels) = values_of_steps.dims3()?;
    let numeric = tensor("numeric")?;
    let shape = InputShape {
        numeric: numeric.dim(1)?,
        cardinalities: vec![3],
        sequence: Some(SequenceShape { steps, channels }),
        ..InputShape::default()
    };
    let mut params = params();
    let config = BackboneConfig::Tft(TftConfig {
        size: 4,
        heads: case["heads"].as_u64().expect("a number") as usize,
        dropout: 0.0,
    });
    let backbone = backbone::build(&config, &shape, &mut params)?;
    let weights = case["weights"].as_object().expect("weights");
    assert_eq!(weights.len(), params.weights().len());
    for (name, weight) in weights {
        set(&params, name, &common::tensor(weight)?)?;
    }
    let ids: Vec<u32> = numbers(&case["category"])
        .0
        .iter()
        .map(|&id| id as u32)
        .collect();
    let batch = Batch {
        rows,
        numeric,
        categories: vec![Tensor::from_vec(ids, rows, &Device::Cpu)?],
        sequence: Some(SequenceBatch {
            values: values_of_steps,
            mask: mask.clone(),
        }),
    };
    let out = backbone.forward(&batch, &Mode::Evaluate)?;
    let expected = numbers(&case["out"]).0;
    assert_close("tft", &values(&out)?, &expected, 1e-11, 1e-12);
    let selected = backbone.selection_weights(&batch)?;
    let expected = numbers(&case["static_weights"]).0;
    assert_close("static", &values(&selected[0].1)?, &expected, 1e-11, 1e-13);
    // Whatever the network makes of padding.
    let steps = selected[1].1.broadcast_mul(&mask.unsqueeze(2)?)?;
    let expected = numbers(&case["sequence_weights"]).0;
    assert_close("sequence", &values(&steps)?, &expected, 1e-11, 1e-13);
    Ok(())
}

/// What a customer did decides, not how many steps there could have been.
#[test]
fn more_room_in_front_changes_no_prediction() -> TestResult {
    let shape = |steps: usize| InputShape {
        numeric: 3,
        cardinalities: vec![4],
        sequence: Some(SequenceShape { steps, channels: 2 }),
        ..InputShape::default()
    };
    let (steps, more) = (5, 4);
    for config in [
        BackboneConfig::Lstm(RecurrentConfig::default()),
        BackboneConfig::Gru(RecurrentConfig::default()),
        BackboneConfig::Transformer(TransformerConfig::default()),
        BackboneConfig::Tft(TftConfig::default()),
    ] {
        let short = common::random_batch(&shape(steps), 9, 1.0, 3, DType::F64)?;
        let mut long = short.clone();
        let sequence = long.sequence.as_mut().expect("a sequence");
        // As rows without steps there and as steps of nothing but NULL arrive.
        sequence.values = sequence.values.pad_with_zeros(1, more, 0)?;
        sequence.mask = sequence.mask.pad_with_zeros(1, more, 0)?;
        let run = |steps: usize, batch: &Batch| -> TestResult<Vec<f64>> {
            let mut params = params();
            let backbone = backbone::build(&config, &shape(steps), &mut params)?;
            common::perturb(&params, 0.3, 5)?;
            values(&backbone.forward(batch, &Mode::Evaluate)?)
        };
        let (short, long) = (run(steps, &short)?, run(steps + more, &long)?);
        assert_close(&format!("{config:?}"), &long, &short, 1e-12, 1e-13);
    }
    Ok(())
}

#[test]
fn selection_weights_can_be_read() -> TestResult {
    let shape = InputShape {
        numeric: 3,
        cardinalities: vec![4],
        sequence: Some(SequenceShape {
            steps: 5,
            channels: 2,
        }),
        ..InputShape::default()
    };
    let mut params = params();
    let config = BackboneConfig::Tft(TftConfig::default());
    let backbone = backbone::build(&config, &shape, &mut params)?;
    let batch = common::random_batch(&shape, 6, 1.0, 3, DType::F64)?;
    let weights = backbone.selection_weights(&batch)?;
    let expected: [(&str, &[usize]); 2] = [("static", &[6, 4]), ("sequence", &[6, 5, 2])];
    assert_eq!(weights.len(), expected.len());
    for ((name, weights), (expected_name, dims)) in weights.iter().zip(expected) {
        assert_eq!(*name, expected_name);
        assert_eq!(weights.dims(), dims);
        for sum in values(&weights.sum(dims.len() - 1)?)? {
            assert!((sum - 1.0).abs() < 1e-12, "{name}: {sum}");
        }
    }
    Ok(())
}

#[test]
fn sequence_backbones_say_what_they_lack() {
    let shape = InputShape {
        numeric: 3,
        ..InputShape::default()
    };
    for config in [
        BackboneConfig::Lstm(RecurrentConfig::default()),
        BackboneConfig::Gru(RecurrentConfig::default()),
        BackboneConfig::Transformer(TransformerConfig::default()),
        BackboneConfig::Tft(TftConfig::default()),
    ] {
        let error = backbone::build(&config, &shape, &mut params())
            .err()
            .expect("an error");
        assert_eq!(error.kind, ErrorKind::InvalidParameter);
        assert!(error.message.contains("needs a sequence column"), "{error}");
        assert!(error.hint.is_some());
    }
}
