//! A graph of ours for clients that know nothing but floats: one matrix instead of an input for each column.

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::decode::{not_onnx, room};
use crate::onnx::parts::{bytes, floats, integer, matrix, node};
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, data_type,
};
use crate::onnx::{CategoryPart, NUMERIC, Specialised, specialise};
use crate::schema::{ColumnKind, FeatureColumn};
use prost::Message;
use std::collections::BTreeMap;

/// The input that has all columns but a sequence.
pub const MATRIX: &str = "ltv.features";

/// Ids up to this are exact as floats.
const LARGEST_ID: i64 = 1 << 24;

/// The graph, and what the columns of its matrix are.
pub struct Packed {
    /// The file.
    pub onnx: Vec<u8>,
    /// Per input of the version its first column; `None`: it is an input of its own.
    pub places: Vec<Option<usize>>,
    /// Per categorical input the number that stands for each value.
    pub ids: BTreeMap<String, BTreeMap<String, i64>>,
}

/// `None`: nothing has to be done, because it takes floats only as it is. `onnx` has been inspected.
pub fn pack(onnx: &[u8], inputs: &[FeatureColumn]) -> Result<Option<Packed>> {
    let Some(special) = specialise(onnx) else {
        let model = ModelProto::decode(onnx).map_err(|_| not_onnx())?;
        floats_only(&model.graph.unwrap_or_default())?;
        return Ok(None);
    };
    room(special.onnx.len().saturating_mul(3))?;
    let mut model = ModelProto::decode(special.onnx.as_slice()).map_err(|_| not_onnx())?;
    let graph = model.graph.get_or_insert_default();
    let mut places = Vec::with_capacity(inputs.len());
    let mut width = 0;
    for input in inputs {
        let is_sequence = matches!(input.kind, ColumnKind::Sequence { .. });
        places.push((!is_sequence).then_some(width));
        width += input.kind.width().unwrap_or(0);
    }
    let place = |name: &str| {
        let at = inputs.iter().position(|input| input.name == name);
        at.and_then(|at| places[at]).ok_or_else(foreign)
    };
    let front = front(graph, &special, place)?;
    graph.node.splice(0..0, front);
    let is_cut =
        |name: &str| name == NUMERIC || special.categories.iter().any(|part| part.name == name);
    graph.input.retain(|input| !is_cut(&input.name));
    graph
        .input
        .insert(0, matrix(MATRIX, data_type::FLOAT, width));
    floats_only(graph)?;
    let ids = special.categories.iter().map(|part| {
        let ids = part.ids.iter().filter(|(_, id)| *id != part.unseen);
        (part.input.clone(), ids.cloned().collect())
    });
    Ok(Some(Packed {
        ids: ids.collect(),
        onnx: model.encode_to_vec(),
        places,
    }))
}

/// The operators that take the matrix apart.
fn front(
    graph: &mut GraphProto,
    special: &Specialised,
    place: impl Fn(&str) -> Result<usize>,
) -> Result<Vec<NodeProto>> {
    let mut nodes = Vec::new();
    let column = || integer("axis", 1);
    if !special.numeric.is_empty() {
        let mut columns = Vec::new();
        for part in &special.numeric {
            let first = place(&part.input)?;
            columns.extend((first..first + part.width).map(|at| at as i64));
        }
        let index = format!("{MATRIX}.numbers");
        let count = columns.len() as i64;
        graph.initializer.push(whole(&index, vec![count], &columns));
        let input = vec![MATRIX.to_owned(), index];
        nodes.push(node("Gather", input, NUMERIC, vec![column()]));
    }
    for part in &special.categories {
        let name = |what: &str| format!("{MATRIX}.{}.{what}", part.name);
        let (low, high) = bounds(part)?;
        graph.initializer.extend([
            whole(&name("at"), vec![1], &[place(&part.input)? as i64]),
            floats(&name("low"), Vec::new(), &[low as f32 - 0.5]),
            floats(&name("high"), Vec::new(), &[high as f32 + 0.5]),
            floats(&name("none"), Vec::new(), &[part.unseen as f32]),
        ]);
        // No comparison holds for NaN.
        for (operator, inputs, output) in [
            ("Gather", vec![MATRIX.to_owned(), name("at")], name("given")),
            ("Greater", vec![name("given"), name("low")], name("above")),
            ("Less", vec![name("given"), name("high")], name("below")),
            ("And", vec![name("above"), name("below")], name("known")),
            (
                "Where",
                vec![name("known"), name("given"), name("none")],
                name("id"),
            ),
            ("Cast", vec![name("id")], part.name.clone()),
        ] {
            let attributes: Vec<AttributeProto> = match operator {
                "Gather" => vec![column()],
                "Cast" => vec![integer("to", i64::from(data_type::INT64))],
                _ => Vec::new(),
            };
            nodes.push(node(operator, inputs, &output, attributes));
        }
    }
    Ok(nodes)
}

/// Least and greatest id; an error unless all between them stand for something.
fn bounds(part: &CategoryPart) -> Result<(i64, i64)> {
    let mut ids: Vec<i64> = part.ids.iter().map(|(_, id)| *id).collect();
    ids.push(part.unseen);
    ids.sort_unstable();
    ids.dedup();
    match (ids.first(), ids.last()) {
        (Some(&low), Some(&high))
            if low >= 0 && high <= LARGEST_ID && high - low + 1 == ids.len() as i64 =>
        {
            Ok((low, high))
        }
        _ => Err(foreign()),
    }
}

fn whole(name: &str, dims: Vec<i64>, values: &[i64]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes(name, dims, data_type::INT64, raw)
}

/// An error if an input or an output is anything else than floats.
fn floats_only(graph: &GraphProto) -> Result<()> {
    let weights: Vec<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs = graph.input.iter().map(|port| ("input", port));
    let outputs = graph.output.iter().map(|port| ("output", port));
    for (what, port) in inputs.chain(outputs) {
        let tensor = port.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let is_float = tensor.is_some_and(|tensor| tensor.elem_type == data_type::FLOAT);
        if !is_float && !weights.contains(&port.name.as_str()) {
            return Err(foreign().detail(format!(
                "Its {what} \"{}\" is no tensor of floats, and the graph was made elsewhere.",
                port.name
            )));
        }
    }
    Ok(())
}

fn foreign() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the graph cannot be rewritten for clients that know floats only",
    )
    .detail("It was made elsewhere.")
    .hint("Convert it with the tools that made it, or export it as it is.")
}
