//! Cutting the front off a graph of ours, so that the scorer can feed one float matrix and category ids instead of
//! one tensor per column. Everything behind the cut stays as it is: the numbers are the same.

use super::decode::room;
use super::parts::matrix;
use super::proto::{DimensionValue, GraphProto, ModelProto, NodeProto, data_type};
use super::{NUMERIC, category_name};
use prost::Message;
use std::collections::HashMap;

/// A graph without its front, and how to fill its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specialised {
    /// The graph behind the cut.
    pub onnx: Vec<u8>,
    /// The inputs that make up `ltv.numeric` `[batch, width]`, side by side in this order. Empty: there is no such input.
    pub numeric: Vec<NumericPart>,
    /// The int64 inputs `ltv.category.<i>` `[batch, 1]`.
    pub categories: Vec<CategoryPart>,
}

/// An input of the stored graph that became columns of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumericPart {
    /// Input of the stored graph.
    pub input: String,
    /// Its first column.
    pub offset: usize,
    /// How many columns it has.
    pub width: usize,
}

/// A categorical input of the stored graph that became ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryPart {
    /// Input of the stored graph.
    pub input: String,
    /// Input of the specialised graph that takes its ids.
    pub name: String,
    /// The id of each known value; others have the id `unseen`.
    pub ids: Vec<(String, i64)>,
    /// The id of every other value.
    pub unseen: i64,
}

/// `None` if the graph does not have the front that our exporter writes; it is then scored as it is.
/// `onnx` has been inspected.
pub fn specialise(onnx: &[u8]) -> Option<Specialised> {
    // It is written once to compare and once again; where there is no room for that it is scored as it is.
    room(onnx.len().saturating_mul(3)).ok()?;
    let mut model = ModelProto::decode(onnx).ok()?;
    // A file that does not survive reading and writing holds something that our messages do not know.
    if model.encode_to_vec() != onnx {
        return None;
    }
    let graph = model.graph.as_mut()?;
    let numeric = numeric_front(graph)?;
    let categories = category_front(graph)?;
    if numeric.is_empty() && categories.is_empty() {
        return None;
    }
    graph
        .node
        .retain(|node| !node.output.first().is_some_and(|name| is_front(name)));
    let gone: Vec<&str> = numeric
        .iter()
        .map(|part| part.input.as_str())
        .chain(categories.iter().map(|part| part.input.as_str()))
        .collect();
    if graph
        .node
        .iter()
        .flat_map(|node| &node.input)
        .any(|name| gone.contains(&name.as_str()))
    {
        return None;
    }
    graph
        .input
        .retain(|input| !gone.contains(&input.name.as_str()));
    let mut inputs = Vec::new();
    if let Some(last) = numeric.last() {
        let width = last.offset + last.width;
        inputs.push(matrix(NUMERIC, data_type::FLOAT, width));
    }
    for part in &categories {
        inputs.push(matrix(&part.name, data_type::INT64, 1));
    }
    inputs.append(&mut graph.input);
    graph.input = inputs;
    Some(Specialised {
        onnx: model.encode_to_vec(),
        numeric,
        categories,
    })
}

fn is_front(output: &str) -> bool {
    output == NUMERIC || output.starts_with(&category_name_stem())
}

fn category_name_stem() -> String {
    category_name(0).trim_end_matches('0').to_owned()
}

/// The parts of the Concat named `ltv.numeric`.
fn numeric_front(graph: &GraphProto) -> Option<Vec<NumericPart>> {
    let Some(node) = producer(graph, NUMERIC) else {
        return Some(Vec::new());
    };
    if node.op_type != "Concat" {
        return None;
    }
    let mut offset = 0;
    let mut parts = Vec::with_capacity(node.input.len());
    for input in &node.input {
        let width = fixed_width(graph, input, data_type::FLOAT)?;
        parts.push(NumericPart {
            input: input.clone(),
            offset,
            width,
        });
        offset = offset.checked_add(width)?;
    }
    Some(parts)
}

/// The LabelEncoders named `ltv.category.<i>`.
fn category_front(graph: &GraphProto) -> Option<Vec<CategoryPart>> {
    let mut parts = Vec::new();
    while let Some(node) = producer(graph, &category_name(parts.len())) {
        if node.op_type != "LabelEncoder" {
            return None;
        }
        let attributes: HashMap<&str, _> = node
            .attribute
            .iter()
            .map(|attribute| (attribute.name.as_str(), attribute))
            .collect();
        let keys = &attributes.get("keys_strings")?.strings;
        let values = &attributes.get("values_int64s")?.ints;
        let input = node.input.first()?;
        fixed_width(graph, input, data_type::STRING)?;
        let ids = keys
            .iter()
            .zip(values)
            .map(|(key, id)| Some((String::from_utf8(key.clone()).ok()?, *id)))
            .collect::<Option<_>>()?;
        parts.push(CategoryPart {
            input: input.clone(),
            name: category_name(parts.len()),
            ids,
            unseen: attributes.get("default_int64").map_or(-1, |a| a.i),
        });
    }
    Some(parts)
}

fn producer<'a>(graph: &'a GraphProto, output: &str) -> Option<&'a NodeProto> {
    graph
        .node
        .iter()
        .find(|node| node.output.first().is_some_and(|name| name == output))
}

/// The second axis of the graph's input `name`, if it has this element type and two axes.
fn fixed_width(graph: &GraphProto, name: &str, element: i32) -> Option<usize> {
    let input = graph.input.iter().find(|input| input.name == name)?;
    let tensor = input.r#type.as_ref()?.tensor_type.as_ref()?;
    let [_, width] = tensor.shape.as_ref()?.dim.as_slice() else {
        return None;
    };
    match width.value {
        Some(DimensionValue::Size(size)) if tensor.elem_type == element => size.try_into().ok(),
        _ => None,
    }
}
