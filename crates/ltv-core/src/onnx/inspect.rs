//! What an ONNX file, whoever made it, takes and gives; refusing what cannot be stored in a database.

use super::admit::admit;
use super::decode::{Limits, decode, not_onnx};
use super::proto::{
    DimensionValue, GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto,
    data_type,
};
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashSet;

/// What a file takes, gives, and was made by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The inputs, initialisers left out.
    pub inputs: Vec<Port>,
    /// The outputs.
    pub outputs: Vec<Port>,
    /// Version of the default operator set.
    pub opset: i64,
    /// Name and version of the program that wrote the file.
    pub producer: String,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// `None`: not a tensor.
    pub element: Option<i32>,
    /// `None`: the file does not say. Axes of `None` have any length.
    pub shape: Option<Vec<Option<usize>>>,
}

impl Port {
    /// As in messages: `float [?, 32]`.
    pub fn describe(&self) -> String {
        let element = match self.element {
            None => "not a tensor",
            Some(data_type::FLOAT) => "float",
            Some(data_type::DOUBLE) => "double",
            Some(data_type::INT64) => "int64",
            Some(data_type::STRING) => "string",
            Some(data_type::BOOL) => "bool",
            Some(_) => "another type",
        };
        let Some(shape) = &self.shape else {
            return element.to_owned();
        };
        let axes: Vec<String> = shape
            .iter()
            .map(|axis| axis.map_or_else(|| "?".to_owned(), |size| size.to_string()))
            .collect();
        format!("{element} [{}]", axes.join(", "))
    }
}

/// Reads the file's description of itself; whether ONNX Runtime knows its operators shows when it is loaded.
pub fn inspect(onnx: &[u8], limits: &Limits) -> Result<Inspection> {
    let model = decode(onnx, limits.memory)?;
    let Some(graph) = &model.graph else {
        return Err(not_onnx().detail("The bytes hold no graph."));
    };
    if graph.output.is_empty() || graph.node.is_empty() {
        return Err(not_onnx().detail("The graph computes nothing."));
    }
    let mut functions = model.functions.iter().flat_map(|function| &function.node);
    if let Some(name) = external(graph).or_else(|| functions.find_map(external_in_node)) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the ONNX model keeps weights in another file",
        )
        .detail(format!("Tensor \"{name}\" refers to external data."))
        .hint("Save the model as one file: onnx.save_model(model, path, save_as_external_data=False), or torch.onnx.export(..., external_data=False)."));
    }
    admit(&model, graph, limits)?;
    // Files of old versions list their weights among the inputs.
    let weights: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let is_weight = |port: &ValueInfoProto| weights.contains(port.name.as_str());
    let opset = model
        .opset_import
        .iter()
        .find(|set| set.domain.is_empty() || set.domain == "ai.onnx")
        .map_or(0, |set| set.version);
    Ok(Inspection {
        inputs: graph
            .input
            .iter()
            .filter(|input| !is_weight(input))
            .map(port)
            .collect(),
        outputs: graph.output.iter().map(port).collect(),
        opset,
        producer: format!("{} {}", model.producer_name, model.producer_version)
            .trim()
            .to_owned(),
    })
}

fn port(info: &ValueInfoProto) -> Port {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    Port {
        name: info.name.clone(),
        element: tensor.map(|tensor| tensor.elem_type),
        shape: tensor
            .and_then(|tensor| tensor.shape.as_ref())
            .map(|shape| {
                shape
                    .dim
                    .iter()
                    .map(|dimension| match dimension.value {
                        Some(DimensionValue::Size(size)) => size.try_into().ok(),
                        _ => None,
                    })
                    .collect()
            }),
    }
}

/// The name of a tensor whose data are elsewhere, in this graph or in one inside it.
fn external(graph: &GraphProto) -> Option<&str> {
    let sparse = graph.sparse_initializer.iter().flat_map(sparse_parts);
    graph
        .initializer
        .iter()
        .chain(sparse)
        .find_map(outside)
        .or_else(|| graph.node.iter().find_map(external_in_node))
}

fn external_in_node(node: &NodeProto) -> Option<&str> {
    node.attribute.iter().find_map(|attribute| {
        let sparse = attribute
            .sparse_tensor
            .iter()
            .chain(&attribute.sparse_tensors);
        let mut tensors = attribute
            .t
            .iter()
            .chain(&attribute.tensors)
            .chain(sparse.flat_map(sparse_parts));
        let mut graphs = attribute.g.iter().chain(&attribute.graphs);
        tensors
            .find_map(outside)
            .or_else(|| graphs.find_map(external))
    })
}

fn sparse_parts(sparse: &SparseTensorProto) -> impl Iterator<Item = &TensorProto> {
    sparse.values.iter().chain(&sparse.indices)
}

fn outside(tensor: &TensorProto) -> Option<&str> {
    (tensor.data_location != 0 || !tensor.external_data.is_empty()).then_some(tensor.name.as_str())
}
