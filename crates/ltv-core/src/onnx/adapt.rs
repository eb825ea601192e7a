//! Outputs that somebody else's graph does not have as they are wanted: one class of several, numbers of another type, the
//! parameters of a distribution.
//!
//! The file is not decoded and written again, which would lose what is not known here. What is added is put behind it: a
//! message that comes in two parts is both of them together.

use super::decode::{Fields, not_onnx, room};
use super::proto::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorType, TypeProto, ValueInfoProto,
    data_type,
};
use crate::error::Result;
use prost::Message;
use serde::{Deserialize, Serialize};

/// What is computed from a tensor of the graph. Its outputs are named by [`derived_name`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Derived {
    /// The three logits of a zero-inflated lognormal head: of the probability, mean, scale before softplus. Gives `ltv`,
    /// `purchase_probability`, `mu` and `sigma`.
    Ziln {
        /// The tensor with the logits, `[batch, 3]`.
        ziln: String,
    },
    /// A number per row, as float.
    Number {
        /// The name of the output, without [`derived_name`].
        output: String,
        /// The tensor that it comes from.
        tensor: String,
        /// Which column; `None`: the tensor has one number per row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        column: Option<i64>,
    },
}

/// The name that an output has in the graph once it is derived.
pub fn derived_name(output: &str) -> String {
    format!("ltv.derived.{output}")
}

/// An operator that turns class probabilities into a list of dictionaries, which nobody can fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZipMap {
    /// The list, an output of the graph.
    pub output: String,
    /// The tensor of probabilities.
    pub tensor: String,
    /// How many classes the dictionaries have.
    pub classes: usize,
}

impl ZipMap {
    fn of(node: &NodeProto) -> Option<Self> {
        if node.op_type != "ZipMap" || node.domain != "ai.onnx.ml" {
            return None;
        }
        let labels = |a: &AttributeProto| a.ints.len().max(a.strings.len());
        Some(Self {
            output: node.output.first()?.clone(),
            tensor: node.input.first()?.clone(),
            classes: node.attribute.iter().map(labels).max().unwrap_or(0),
        })
    }
}

/// The graph with what is derived as further outputs, the tensors of `shown` too, and without ZipMaps. `onnx` has been
/// inspected.
pub fn adapt(onnx: &[u8], derived: &[Derived], shown: &[String]) -> Result<Vec<u8>> {
    room(onnx.len().saturating_mul(4))?;
    let mut adapted = without_zip_maps(onnx)?;
    let mut graph = GraphProto::default();
    for name in shown {
        graph.output.push(float(name, false));
    }
    for one in derived {
        add(&mut graph, one);
    }
    // Trees may know no operators but their own.
    let model = ModelProto::decode(onnx).map_err(|_| not_onnx())?;
    let standard = |set: &OperatorSetIdProto| matches!(set.domain.as_str(), "" | "ai.onnx");
    let sets = if model.opset_import.iter().any(standard) {
        Vec::new()
    } else {
        vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }]
    };
    let more = ModelProto {
        opset_import: sets,
        graph: Some(graph),
        ..ModelProto::default()
    };
    adapted.extend(more.encode_to_vec());
    Ok(adapted)
}

/// The ZipMaps whose lists the graph puts out.
pub fn zip_maps(onnx: &[u8]) -> Result<Vec<ZipMap>> {
    let model = ModelProto::decode(onnx).map_err(|_| not_onnx())?;
    let graph = model.graph.unwrap_or_default();
    let found = graph.node.iter().filter_map(ZipMap::of);
    Ok(found
        .filter(|map| graph.output.iter().any(|port| port.name == map.output))
        .collect())
}

/// The file without its ZipMaps and their outputs, byte by byte otherwise.
fn without_zip_maps(onnx: &[u8]) -> Result<Vec<u8>> {
    const GRAPH: u64 = 7;
    const NODE: u64 = 1;
    const OUTPUT: u64 = 12;
    let maps = zip_maps(onnx)?;
    if maps.is_empty() {
        return Ok(onnx.to_vec());
    }
    let mut file = Vec::with_capacity(onnx.len());
    for field in Fields(onnx) {
        let field = field?;
        if field.tag != GRAPH {
            file.extend_from_slice(field.bytes);
            continue;
        }
        let mut graph = Vec::with_capacity(field.content.len());
        for part in Fields(field.content) {
            let part = part?;
            let gone = match part.tag {
                NODE => NodeProto::decode(part.content)
                    .is_ok_and(|node| ZipMap::of(&node).is_some_and(|map| maps.contains(&map))),
                OUTPUT => ValueInfoProto::decode(part.content)
                    .is_ok_and(|port| maps.iter().any(|map| map.output == port.name)),
                _ => false,
            };
            if !gone {
                graph.extend_from_slice(part.bytes);
            }
        }
        prost::encoding::encode_key(
            GRAPH as u32,
            prost::encoding::WireType::LengthDelimited,
            &mut file,
        );
        prost::encoding::encode_varint(graph.len() as u64, &mut file);
        file.extend(graph);
    }
    Ok(file)
}

fn add(graph: &mut GraphProto, derived: &Derived) {
    match derived {
        Derived::Number {
            output,
            tensor,
            column,
        } => {
            let name = derived_name(output);
            let picked = pick(graph, tensor, *column, &name);
            cast(graph, &picked, &name);
        }
        Derived::Ziln { ziln } => {
            let [logit, mu, scale] =
                [(0, "logit"), (1, "mu"), (2, "scale")].map(|(column, part)| {
                    let name = derived_name(part);
                    let picked = pick(graph, ziln, Some(column), &format!("{name}.of"));
                    let float = format!("{name}.float");
                    graph.node.push(to_float(&picked, &float));
                    float
                });
            let out = derived_name;
            let half = derived_name("half");
            let value = TensorProto {
                data_type: data_type::FLOAT,
                float_data: vec![0.5],
                ..TensorProto::default()
            };
            graph.node.push(constant(&half, value));
            let mut node = |operator: &str, inputs: &[&str], output: &str| {
                graph.node.push(NodeProto {
                    input: inputs.iter().map(|name| (*name).to_owned()).collect(),
                    output: vec![output.to_owned()],
                    op_type: operator.to_owned(),
                    ..NodeProto::default()
                });
            };
            node("Sigmoid", &[&logit], &out("purchase_probability"));
            node("Identity", &[&mu], &out("mu"));
            node("Softplus", &[&scale], &out("sigma"));
            // The mean of a lognormal: exp(mu + sigma * sigma / 2).
            let [square, sum, exponent, mean] =
                ["square", "sum", "exponent", "mean"].map(derived_name);
            node("Mul", &[&out("sigma"), &out("sigma")], &square);
            node("Add", &[&mu, &mu], &format!("{sum}.mu"));
            node("Add", &[&format!("{sum}.mu"), &square], &sum);
            node("Mul", &[&sum, &half], &exponent);
            node("Exp", &[&exponent], &mean);
            node("Mul", &[&out("purchase_probability"), &mean], &out("ltv"));
            for name in ["ltv", "purchase_probability", "mu", "sigma"] {
                graph.output.push(float(&out(name), true));
            }
        }
    }
}

/// One number per row: a column, or all there is. Returns the name.
fn pick(graph: &mut GraphProto, tensor: &str, column: Option<i64>, name: &str) -> String {
    let (index, picked) = (format!("{name}.index"), format!("{name}.picked"));
    let integers = |dims: Vec<i64>, value: i64| TensorProto {
        dims,
        data_type: data_type::INT64,
        int64_data: vec![value],
        ..TensorProto::default()
    };
    let mut node = NodeProto {
        input: vec![tensor.to_owned(), index.clone()],
        output: vec![picked.clone()],
        ..NodeProto::default()
    };
    match column {
        Some(column) => {
            graph
                .node
                .push(constant(&index, integers(Vec::new(), column)));
            node.op_type = "Gather".to_owned();
            node.attribute.push(AttributeProto {
                name: "axis".to_owned(),
                i: 1,
                r#type: 2,
                ..AttributeProto::default()
            });
        }
        None => {
            graph.node.push(constant(&index, integers(vec![1], -1)));
            node.op_type = "Reshape".to_owned();
        }
    }
    graph.node.push(node);
    picked
}

fn cast(graph: &mut GraphProto, tensor: &str, name: &str) {
    graph.node.push(to_float(tensor, name));
    graph.output.push(float(name, true));
}

fn to_float(tensor: &str, name: &str) -> NodeProto {
    NodeProto {
        input: vec![tensor.to_owned()],
        output: vec![name.to_owned()],
        op_type: "Cast".to_owned(),
        attribute: vec![AttributeProto {
            name: "to".to_owned(),
            i: i64::from(data_type::FLOAT),
            r#type: 2,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

fn constant(name: &str, value: TensorProto) -> NodeProto {
    NodeProto {
        output: vec![name.to_owned()],
        op_type: "Constant".to_owned(),
        attribute: vec![AttributeProto {
            name: "value".to_owned(),
            t: Some(value),
            r#type: 4,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}

/// An output of floats, one per row if that is known.
fn float(name: &str, column: bool) -> ValueInfoProto {
    let batch = Dimension {
        value: Some(DimensionValue::Name("ltv.rows".to_owned())),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: data_type::FLOAT,
                shape: column.then(|| TensorShapeProto { dim: vec![batch] }),
            }),
        }),
    }
}
