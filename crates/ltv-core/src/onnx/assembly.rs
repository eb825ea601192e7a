//! The nodes and constants of a graph that is being written, each of them once.

use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use prost::Message;
use std::collections::{HashMap, HashSet};

/// Bytes of a constant that is looked up among those that are there already.
const SHARED_CONSTANT: usize = 1024;

/// A tensor inside the graph being built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(pub(crate) String);

impl Value {
    /// A tensor that a node elsewhere in the graph gives this name.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name of the tensor in the graph.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The value of an attribute of an operator.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// Text in UTF-8.
    Text(String),
    /// A list of integers.
    Ints(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f32>),
    /// A list of texts.
    Texts(Vec<String>),
}

#[derive(Default)]
pub struct Assembly {
    pub graph: GraphProto,
    counter: usize,
    /// Small ones, by what defines them.
    constants: HashMap<Vec<u8>, Value>,
    /// The outputs of nodes whose names nobody chose, by what defines them and how many there are.
    nodes: HashMap<(Vec<u8>, usize), Vec<Value>>,
    /// Names that others rely on.
    kept: Vec<String>,
    /// The outputs of the graph and their names.
    outputs: Vec<(Value, String)>,
}

impl Assembly {
    pub fn constant(&mut self, data_type: i32, raw_data: Vec<u8>, shape: &[usize]) -> Value {
        let mut tensor = TensorProto {
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type,
            raw_data,
            ..TensorProto::default()
        };
        let is_small = tensor.raw_data.len() <= SHARED_CONSTANT;
        let definition = is_small.then(|| tensor.encode_to_vec());
        let known = definition.as_ref().and_then(|key| self.constants.get(key));
        if let Some(value) = known {
            return value.clone();
        }
        let value = Value(self.fresh("c"));
        tensor.name.clone_from(&value.0);
        self.graph.initializer.push(tensor);
        if let Some(definition) = definition {
            self.constants.insert(definition, value.clone());
        }
        value
    }

    /// A node of the default operator set with so many outputs.
    pub fn node(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
        outputs: usize,
    ) -> Vec<Value> {
        let node = unnamed(op_type, "", inputs, attributes);
        let definition = (node.encode_to_vec(), outputs);
        if let Some(known) = self.nodes.get(&definition) {
            return known.clone();
        }
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(op_type)).collect();
        let values: Vec<Value> = names.iter().cloned().map(Value).collect();
        self.push(node, names);
        self.nodes.insert(definition, values.clone());
        values
    }

    /// A node whose output has a name that others rely on.
    pub fn named_node(
        &mut self,
        op_type: &str,
        domain: &str,
        inputs: &[&Value],
        name: &str,
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let node = unnamed(op_type, domain, inputs, attributes);
        self.push(node, vec![name.to_owned()]);
        self.kept.push(name.to_owned());
        Value(name.to_owned())
    }

    pub fn output(&mut self, value: &Value, name: &str) {
        self.outputs.push((value.clone(), name.to_owned()));
    }

    /// Gives values that are outputs their public names; of those that have another name already, a copy.
    fn name_outputs(&mut self) {
        let made: HashSet<&String> = self.graph.node.iter().flat_map(|n| &n.output).collect();
        let mut names: HashMap<String, String> = HashMap::new();
        let mut copies = Vec::new();
        for (value, name) in std::mem::take(&mut self.outputs) {
            let is_free = made.contains(&value.0)
                && !self.kept.contains(&value.0)
                && !names.contains_key(&value.0);
            if is_free {
                names.insert(value.0, name.clone());
            } else {
                copies.push((value, name.clone()));
            }
            self.kept.push(name);
        }
        for (value, name) in copies {
            let node = unnamed("Identity", "", &[&value], &[]);
            self.push(node, vec![name]);
        }
        let nodes = self.graph.node.iter_mut();
        for old in nodes.flat_map(|node| node.input.iter_mut().chain(&mut node.output)) {
            if let Some(name) = names.get(old) {
                old.clone_from(name);
            }
        }
    }

    /// The graph without what nobody reads.
    pub fn finish(mut self) -> GraphProto {
        self.name_outputs();
        let mut needed: HashSet<String> = self.kept.into_iter().collect();
        let mut nodes = Vec::with_capacity(self.graph.node.len());
        for node in self.graph.node.into_iter().rev() {
            if node.output.iter().any(|name| needed.contains(name)) {
                needed.extend(node.input.iter().cloned());
                nodes.push(node);
            }
        }
        nodes.reverse();
        self.graph.node = nodes;
        let constants = &mut self.graph.initializer;
        constants.retain(|tensor| needed.contains(&tensor.name));
        self.graph
    }

    fn fresh(&mut self, stem: &str) -> String {
        self.counter += 1;
        format!("ltv.{stem}.{}", self.counter)
    }

    fn push(&mut self, node: NodeProto, output: Vec<String>) {
        self.graph.node.push(NodeProto {
            name: output.first().cloned().unwrap_or_default(),
            output,
            ..node
        });
    }
}

/// Without a name, and without those of its outputs.
fn unnamed(
    op_type: &str,
    domain: &str,
    inputs: &[&Value],
    attributes: &[(&str, Attribute)],
) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(|v| v.0.clone()).collect(),
        op_type: op_type.to_owned(),
        attribute: attributes
            .iter()
            .map(|(name, value)| attribute(name, value))
            .collect(),
        domain: domain.to_owned(),
        ..NodeProto::default()
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Float(f) => (proto.r#type, proto.f) = (1, *f),
        Attribute::Int(i) => (proto.r#type, proto.i) = (2, *i),
        Attribute::Text(s) => (proto.r#type, proto.s) = (3, s.clone().into_bytes()),
        Attribute::Floats(f) => (proto.r#type, proto.floats) = (6, f.clone()),
        Attribute::Ints(i) => (proto.r#type, proto.ints) = (7, i.clone()),
        Attribute::Texts(s) => {
            (proto.r#type, proto.strings) = (8, s.iter().map(|t| t.clone().into_bytes()).collect());
        }
    }
    proto
}
