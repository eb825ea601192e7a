//! A graph of ours in an older or newer operator set.

use super::builder::{OPSET, PRODUCER};
use super::decode::{not_onnx, room};
use super::parts::{bytes, integer};
use super::proto::{ModelProto, NodeProto, TensorProto, data_type};
use crate::error::{Error, ErrorKind, Result};
use prost::Message;

/// The oldest and the newest operator set that a graph of ours is written in.
const RANGE: std::ops::RangeInclusive<i64> = 13..=21;

/// From here on the axes of a reduction are an input, and the number of parts of a split is an attribute.
const AXES_AS_INPUT: i64 = 18;

/// Operators that graphs of ours have and that mean the same from the oldest to the newest set, but for what [`renew`] does.
const KNOWN: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Div",
    "Elu",
    "Equal",
    "Exp",
    "Floor",
    "GRU",
    "Gather",
    "Gemm",
    "Greater",
    "Identity",
    "LSTM",
    "Less",
    "LessOrEqual",
    "Log",
    "MatMul",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Shape",
    "Sigmoid",
    "Sign",
    "Slice",
    "Softmax",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Those that came later, with the set that they came with.
const LATER: &[(&str, i64)] = &[("LayerNormalization", 17)];

/// The graph in operator set `wanted`. `onnx` has been inspected.
pub fn in_opset(onnx: &[u8], wanted: i64) -> Result<Vec<u8>> {
    room(onnx.len().saturating_mul(3))?;
    let mut model = ModelProto::decode(onnx).map_err(|_| not_onnx())?;
    let standard = |domain: &str| matches!(domain, "" | "ai.onnx");
    let sets = &model.opset_import;
    let own = sets.iter().find(|set| standard(&set.domain));
    let own = own.map_or(0, |set| set.version);
    if own == wanted {
        return Ok(onnx.to_vec());
    }
    let is_ours = own == OPSET && model.producer_name == PRODUCER && model.encode_to_vec() == onnx;
    let (oldest, newest) = match oldest(&model) {
        Some(oldest) if is_ours => (oldest, *RANGE.end()),
        _ => {
            return Err(out_of_range(wanted).detail(format!(
                "It was made elsewhere, and stays in the operator set that it was made in: {own}."
            )));
        }
    };
    if !(oldest..=newest).contains(&wanted) {
        return Err(out_of_range(wanted).detail(format!(
            "It can be written in the operator sets {oldest} to {newest}."
        )));
    }
    let graph = model.graph.get_or_insert_default();
    let mut constants = Vec::new();
    if wanted >= AXES_AS_INPUT {
        for node in &mut graph.node {
            constants.extend(renew(node));
        }
    }
    graph.initializer.extend(constants);
    for set in &mut model.opset_import {
        if standard(&set.domain) {
            set.version = wanted;
        }
    }
    model.ir_version = match wanted {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    };
    Ok(model.encode_to_vec())
}

/// The oldest set that the graph can be written in; `None` if not all of its operators are known.
fn oldest(model: &ModelProto) -> Option<i64> {
    let mut oldest = *RANGE.start();
    for node in &model.graph.as_ref()?.node {
        let name = node.op_type.as_str();
        let later = LATER.iter().find(|(later, _)| *later == name);
        match (node.domain.as_str(), later) {
            ("", Some((_, since))) => oldest = oldest.max(*since),
            ("", None) if KNOWN.contains(&name) => {}
            ("ai.onnx.ml", None) if matches!(name, "LabelEncoder" | "TreeEnsembleRegressor") => {}
            _ => return None,
        }
    }
    Some(oldest)
}

/// Writes a node as sets since [`AXES_AS_INPUT`] want it; the constant that it then needs.
fn renew(node: &mut NodeProto) -> Option<TensorProto> {
    match node.op_type.as_str() {
        "ReduceMean" | "ReduceMax" => {
            let at = node.attribute.iter().position(|a| a.name == "axes")?;
            let axes = node.attribute.remove(at).ints;
            let name = format!("{}.axes", node.output.first()?);
            node.input.push(name.clone());
            let raw = axes.iter().flat_map(|v| v.to_le_bytes()).collect();
            let dims = vec![axes.len() as i64];
            Some(bytes(&name, dims, data_type::INT64, raw))
        }
        "Split" if node.input.len() == 1 => {
            let parts = integer("num_outputs", node.output.len() as i64);
            node.attribute.push(parts);
            None
        }
        _ => None,
    }
}

fn out_of_range(wanted: i64) -> Error {
    Error::new(
        ErrorKind::InvalidParameter,
        format!("the graph cannot be written in operator set {wanted}"),
    )
    .hint("Leave opset out to have it as it is stored.")
}
