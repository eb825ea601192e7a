//! Graphs as they go out: with what a program that scores elsewhere has to know in the metadata of the file.

mod packed;

use crate::error::Result;
use crate::onnx::decode::Fields;
use crate::onnx::proto::{ModelProto, StringStringEntryProto};
use crate::onnx::{Derived, Limits, in_opset, inspect};
use crate::schema::{ColumnKind, Schema};
use packed::{MATRIX, Packed, pack};
use prost::Message;
use serde_json::{Map, Value, json};

/// The keys of ours in the metadata of a file begin like this.
const PREFIX: &str = "pg_ltv.";

/// The version of what the keys mean.
const FORMAT: u32 = 1;

const MISSING: &str = "NULL and every number that is not finite are NaN, a missing category is the empty string (NaN where it \
                       is a number), a sequence is padded in front with steps of NaN";

/// How a client wants the graph.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// The operator set; `None`: as it is stored.
    pub opset: Option<i64>,
    /// Whether inputs must be floats, all columns in one matrix.
    pub floats_only: bool,
}

/// The graph of a version, with `facts` about it and its columns and outputs in the metadata. Facts that are NULL are left out.
pub fn for_client(
    onnx: &[u8],
    schema: &Schema,
    wishes: Wishes,
    facts: &Map<String, Value>,
    limits: &Limits,
) -> Result<Vec<u8>> {
    inspect(onnx, limits)?;
    let packed = match wishes.floats_only {
        true => pack(onnx, &schema.inputs)?,
        false => None,
    };
    let graph = packed.as_ref().map_or(onnx, |packed| &packed.onnx);
    let turned = wishes.opset.map(|opset| in_opset(graph, opset));
    let turned = turned.transpose()?;
    let mut entries: Vec<(String, String)> = vec![
        (key("format"), FORMAT.to_string()),
        (key("schema"), schema.to_json().to_string()),
        (key("columns"), columns(schema, packed.as_ref()).to_string()),
        (key("outputs"), outputs(schema).to_string()),
        (key("missing"), MISSING.to_owned()),
    ];
    for (name, value) in facts {
        match value {
            Value::Null => {}
            Value::String(text) => entries.push((key(name), text.clone())),
            other => entries.push((key(name), other.to_string())),
        }
    }
    with_metadata(turned.as_deref().unwrap_or(graph), entries)
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// One entry for each column, in the order of an array that gives them all.
fn columns(schema: &Schema, packed: Option<&Packed>) -> Value {
    let mut first = 0;
    let columns = schema.inputs.iter().enumerate().map(|(at, column)| {
        let in_matrix = packed.and_then(|packed| packed.places[at]);
        let (input, place) = match (&schema.packed, in_matrix) {
            (Some(input), _) => (input.as_str(), Some(first)),
            (None, Some(place)) => (MATRIX, Some(place)),
            (None, None) => (column.name.as_str(), None),
        };
        first += column.kind.width().unwrap_or(0);
        let ids = packed.and_then(|packed| packed.ids.get(&column.name));
        let is_text = column.kind == ColumnKind::Categorical && ids.is_none();
        let mut entry = json!(column);
        entry["input"] = input.into();
        entry["element"] = if is_text { "string" } else { "float" }.into();
        entry["missing"] = if is_text { "" } else { "NaN" }.into();
        if let Some(place) = place {
            entry["place"] = place.into();
        }
        if let Some(ids) = ids {
            entry["categories"] = json!(ids);
        }
        entry
    });
    columns.collect()
}

/// Public name -> output of the graph, or how it is made of one.
fn outputs(schema: &Schema) -> Value {
    let mut outputs = Map::new();
    for name in &schema.outputs {
        let found = schema.derived.iter().find_map(|derived| match derived {
            Derived::Ziln { ziln } => Some(json!({"ziln": ziln})),
            Derived::Number {
                output,
                tensor,
                column,
            } if output == name => Some(json!({"output": tensor, "column": column})),
            Derived::Number { .. } => None,
        });
        let plain = || json!(schema.graph_outputs.get(name).unwrap_or(name));
        outputs.insert(name.clone(), found.unwrap_or_else(plain));
    }
    outputs.into()
}

/// The file with these entries instead of those of ours that it has, and byte by byte otherwise.
fn with_metadata(onnx: &[u8], entries: Vec<(String, String)>) -> Result<Vec<u8>> {
    const METADATA: u64 = 14;
    let mut file = Vec::with_capacity(onnx.len() + 1024);
    for field in Fields(onnx) {
        let field = field?;
        let is_ours = field.tag == METADATA
            && StringStringEntryProto::decode(field.content)
                .is_ok_and(|entry| entry.key.starts_with(PREFIX));
        if !is_ours {
            file.extend_from_slice(field.bytes);
        }
    }
    let metadata_props = entries
        .into_iter()
        .map(|(key, value)| StringStringEntryProto { key, value });
    let more = ModelProto {
        metadata_props: metadata_props.collect(),
        ..ModelProto::default()
    };
    file.extend(more.encode_to_vec());
    Ok(file)
}
