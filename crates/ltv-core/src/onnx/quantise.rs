//! Graphs with 8-bit weights and activations.
//!
//! The scale of an activation is fixed, from the range it has on a sample of rows. ONNX also knows scales that are found
//! while the graph runs, but those are of the whole batch, so that a row's prediction would depend on its neighbours.
//! Small layers stay as they are: that is where predictions come out, and they cost next to nothing.

use super::decode::{Limits, decode};
use super::parts::{bytes, floats, integer, node};
use super::proto::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, data_type,
};
use crate::error::{Error, ErrorKind, Result};
use prost::Message;
use std::collections::HashSet;

/// Weights of a layer, other than zero, below which it is left alone.
const SMALLEST: usize = 1024;

/// The range of an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The tensor.
    pub name: String,
    /// The smallest value that was seen.
    pub low: f32,
    /// The largest value that was seen.
    pub high: f32,
}

/// The tensors whose ranges [`quantise`] has to know.
pub fn activations(onnx: &[u8]) -> Result<Vec<String>> {
    let model = read(onnx)?;
    let graph = graph(&model)?;
    let mut names: Vec<String> = Vec::new();
    for layer in layers(graph) {
        if !names.contains(&layer.input) {
            names.push(layer.input);
        }
    }
    if names.is_empty() {
        return Err(unsupported("the graph has no layer that can be quantised")
            .detail("Dense layers (Gemm) with 1024 weights and more can."));
    }
    Ok(names)
}

/// Names of the outputs that [`observed`] adds for the `index`th activation: least and greatest value of each row.
pub fn range_outputs(index: usize) -> (String, String) {
    (format!("ltv.low.{index}"), format!("ltv.high.{index}"))
}

/// The graph with the ranges of `activations` as further outputs.
pub fn observed(onnx: &[u8], activations: &[String]) -> Result<Vec<u8>> {
    let mut model = read(onnx)?;
    let opset = opset(&model);
    let graph = model.graph.as_mut().ok_or_else(unreadable)?;
    for (index, name) in activations.iter().enumerate() {
        let (low, high) = range_outputs(index);
        for (operator, output) in [("ReduceMin", low), ("ReduceMax", high)] {
            let mut inputs = vec![name.clone()];
            let mut attributes = vec![integer("keepdims", 0)];
            if opset >= 18 {
                let axes = format!("{output}.axes");
                graph.initializer.push(TensorProto {
                    dims: vec![1],
                    data_type: data_type::INT64,
                    int64_data: vec![1],
                    name: axes.clone(),
                    ..TensorProto::default()
                });
                inputs.push(axes);
            } else {
                attributes.push(AttributeProto {
                    name: "axes".into(),
                    ints: vec![1],
                    r#type: 7,
                    ..AttributeProto::default()
                });
            }
            graph.node.push(node(operator, inputs, &output, attributes));
            graph.output.push(column(&output));
        }
    }
    Ok(model.encode_to_vec())
}

/// The graph with int8 weights, one scale per column, and uint8 activations in these ranges.
pub fn quantise(onnx: &[u8], ranges: &[Range]) -> Result<Vec<u8>> {
    let mut model = read(onnx)?;
    let graph = model.graph.as_mut().ok_or_else(unreadable)?;
    let layers = layers(graph);
    let mut nodes = Vec::with_capacity(graph.node.len());
    let mut quantised: HashSet<String> = HashSet::new();
    for (at, original) in std::mem::take(&mut graph.node).into_iter().enumerate() {
        let layer = layers.iter().find(|layer| layer.at == at);
        let range = layer.and_then(|layer| ranges.iter().find(|r| r.name == layer.input));
        let (Some(layer), Some(range)) = (layer, range) else {
            nodes.push(original);
            continue;
        };
        let activation = format!("{}.q8", layer.input);
        if quantised.insert(layer.input.clone()) {
            quantise_activation(graph, &mut nodes, range, &activation);
        }
        quantise_layer(graph, &mut nodes, layer, &activation, &original);
    }
    graph.node = nodes;
    let used: HashSet<&String> = graph.node.iter().flat_map(|n| &n.input).collect();
    let kept = graph.output.iter().map(|o| &o.name).collect::<HashSet<_>>();
    graph
        .initializer
        .retain(|t| used.contains(&t.name) || kept.contains(&t.name));
    Ok(model.encode_to_vec())
}

/// To 8 bits and back: ONNX Runtime recognises the pair and multiplies integers.
fn quantise_activation(
    graph: &mut GraphProto,
    nodes: &mut Vec<NodeProto>,
    range: &Range,
    name: &str,
) {
    let (low, high) = (range.low.min(0.0), range.high.max(0.0));
    let scale = ((high - low) / 255.0).max(f32::MIN_POSITIVE);
    let zero = (-low / scale).round().clamp(0.0, 255.0) as u8;
    let (scale_name, zero_name) = (format!("{name}.scale"), format!("{name}.zero"));
    graph
        .initializer
        .push(floats(&scale_name, Vec::new(), &[scale]));
    graph
        .initializer
        .push(bytes(&zero_name, Vec::new(), data_type::UINT8, vec![zero]));
    let codes = format!("{name}.codes");
    nodes.push(node(
        "QuantizeLinear",
        vec![range.name.clone(), scale_name.clone(), zero_name.clone()],
        &codes,
        Vec::new(),
    ));
    nodes.push(node(
        "DequantizeLinear",
        vec![codes, scale_name, zero_name],
        name,
        Vec::new(),
    ));
}

fn quantise_layer(
    graph: &mut GraphProto,
    nodes: &mut Vec<NodeProto>,
    layer: &Layer,
    activation: &str,
    original: &NodeProto,
) {
    let output = &original.output[0];
    let name = |part: &str| format!("{output}.q8.{part}");
    let Layer { rows, columns, .. } = *layer;
    let scales: Vec<f32> = (0..columns)
        .map(|c| {
            let largest = (0..rows)
                .map(|r| layer.weights[r * columns + c].abs())
                .fold(0.0, f32::max);
            if largest > 0.0 { largest / 127.0 } else { 1.0 }
        })
        .collect();
    let codes = layer
        .weights
        .iter()
        .enumerate()
        .map(|(i, w)| (w / scales[i % columns]).round().clamp(-127.0, 127.0) as i8 as u8)
        .collect();
    let shape = vec![rows as i64, columns as i64];
    graph.initializer.extend([
        bytes(&name("weights"), shape, data_type::INT8, codes),
        floats(&name("scales"), vec![columns as i64], &scales),
        bytes(
            &name("zeros"),
            vec![columns as i64],
            data_type::INT8,
            vec![0; columns],
        ),
    ]);
    nodes.push(node(
        "DequantizeLinear",
        vec![name("weights"), name("scales"), name("zeros")],
        &name("dequantised"),
        vec![integer("axis", 1)],
    ));
    let factors = vec![activation.to_owned(), name("dequantised")];
    match original.input.get(2).filter(|bias| !bias.is_empty()) {
        Some(bias) => {
            nodes.push(node("MatMul", factors, &name("product"), Vec::new()));
            let terms = vec![name("product"), bias.clone()];
            nodes.push(node("Add", terms, output, Vec::new()));
        }
        None => nodes.push(node("MatMul", factors, output, Vec::new())),
    }
}

/// A dense layer with constant weights.
struct Layer {
    /// Which node.
    at: usize,
    input: String,
    /// Row by row, `rows` inputs and `columns` outputs.
    weights: Vec<f32>,
    rows: usize,
    columns: usize,
}

fn layers(graph: &GraphProto) -> Vec<Layer> {
    let layer = |(at, node): (usize, &NodeProto)| {
        if node.op_type != "Gemm" || !node.domain.is_empty() {
            return None;
        }
        let mut transposed = false;
        for attribute in &node.attribute {
            match attribute.name.as_str() {
                "transB" => transposed = attribute.i != 0,
                "transA" if attribute.i == 0 => {}
                "alpha" | "beta" if attribute.f == 1.0 => {}
                _ => return None,
            }
        }
        let [input, weights, ..] = node.input.as_slice() else {
            return None;
        };
        let tensor = graph.initializer.iter().find(|t| t.name == *weights)?;
        let [first, second] = tensor.dims[..] else {
            return None;
        };
        let (first, second) = (usize::try_from(first).ok()?, usize::try_from(second).ok()?);
        let values = values(tensor)?;
        let weights = values.iter().filter(|weight| **weight != 0.0).count();
        if Some(values.len()) != first.checked_mul(second) || weights < SMALLEST {
            return None;
        }
        if values.iter().any(|w| !w.is_finite()) {
            return None;
        }
        let (rows, columns) = if transposed {
            (second, first)
        } else {
            (first, second)
        };
        let weights = if transposed {
            (0..rows * columns)
                .map(|i| values[(i % columns) * rows + i / columns])
                .collect()
        } else {
            values
        };
        Some(Layer {
            at,
            input: input.clone(),
            weights,
            rows,
            columns,
        })
    };
    graph.node.iter().enumerate().filter_map(layer).collect()
}

fn values(tensor: &TensorProto) -> Option<Vec<f32>> {
    if tensor.data_type != data_type::FLOAT {
        return None;
    }
    if tensor.raw_data.is_empty() {
        return Some(tensor.float_data.clone());
    }
    let words = tensor.raw_data.chunks_exact(4);
    Some(
        words
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
    )
}

/// The file, if it can be written again without losing anything.
fn read(onnx: &[u8]) -> Result<ModelProto> {
    let model = decode(onnx, Limits::default().memory)?;
    if model.encode_to_vec() != onnx {
        return Err(unsupported("the graph cannot be rewritten")
            .detail("It holds parts of the ONNX format that pg_ltv does not know."));
    }
    // Before, weights could not have a scale for each column.
    if opset(&model) < 13 {
        return Err(
            unsupported("the graph is of an operator set that cannot be quantised")
                .detail("Operator set 13 or later is needed.")
                .hint("Export the model anew with a later opset."),
        );
    }
    Ok(model)
}

fn opset(model: &ModelProto) -> i64 {
    let sets = model.opset_import.iter();
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    sets.filter(|s| own(&s.domain))
        .map(|s| s.version)
        .max()
        .unwrap_or(0)
}

fn graph(model: &ModelProto) -> Result<&GraphProto> {
    model.graph.as_ref().ok_or_else(unreadable)
}

fn unreadable() -> Error {
    unsupported("the graph cannot be read")
}

fn unsupported(message: &str) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}

/// A float output `[batch]`.
fn column(name: &str) -> ValueInfoProto {
    let batch = Dimension {
        value: Some(DimensionValue::Name("batch".into())),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: data_type::FLOAT,
                shape: Some(TensorShapeProto { dim: vec![batch] }),
            }),
        }),
    }
}
