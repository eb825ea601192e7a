//! Which graphs are let into a server: those whose work can be told from the file and the number of rows.
//!
//! ONNX Runtime can be stopped between two operators. So no operator may run for ever, and what one does must not
//! depend on a value in a row: the rows that a graph is tried with say nothing about the next ones otherwise.

use super::decode::Limits;
use super::functions::{Functions, called, depends};
use super::proto::{FunctionProto, GraphProto, ModelProto, NodeProto};
use super::{dependence, trees};
use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;

/// Operators and their inputs and outputs, once functions are put in place of their calls.
pub const MOST_PARTS: u64 = 1_000_000;

/// Functions that call functions.
const DEEPEST: usize = 32;

/// Operators of ONNX Runtime's own set that its optimiser and its quantiser write.
const MICROSOFT: &[&str] = &[
    "Attention",
    "BiasGelu",
    "CDist",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "EmbedLayerNormalization",
    "FastGelu",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gelu",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinearAdd",
    "QLinearConcat",
    "QLinearMul",
    "QLinearReduceMean",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QuickGelu",
    "SkipLayerNormalization",
    "TransposeMatMul",
];

/// An error if the graph is not let in.
pub fn admit(model: &ModelProto, graph: &GraphProto, limits: &Limits) -> Result<()> {
    // ONNX Runtime would take its own operator of that name, not the function.
    if let Some(function) = model.functions.iter().find(|f| is_known(&f.domain)) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the ONNX graph brings along a function in the name of a standard operator",
        )
        .detail(format!("It is named \"{}\".", function.name)));
    }
    let functions: Functions = model
        .functions
        .iter()
        .map(|f| ((f.domain.as_str(), f.name.as_str(), f.overload.as_str()), f))
        .collect();
    let mut sizes = Sizes {
        functions: &functions,
        known: HashMap::new(),
        limits,
    };
    let parts = sizes.of_nodes(&graph.node, 0)?;
    for function in &model.functions {
        sizes.of_nodes(&function.node, 0)?;
    }
    if parts > MOST_PARTS {
        return Err(too_many());
    }
    if limits.control_flow {
        return Ok(());
    }
    dependence::check(graph, &functions)
}

fn is_known(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx" | "ai.onnx.ml") || domain.starts_with("com.microsoft")
}

fn too_many() -> Error {
    Error::new(ErrorKind::TooLarge, "the ONNX graph has too many operators").detail(format!(
        "Operators with their inputs and outputs, functions put in place of their calls, may be {MOST_PARTS} at most."
    ))
}

struct Sizes<'a> {
    functions: &'a Functions<'a>,
    known: HashMap<*const FunctionProto, u64>,
    limits: &'a Limits,
}

impl<'a> Sizes<'a> {
    /// How many parts nodes have once functions are put in place; refuses operators on the way.
    fn of_nodes(&mut self, nodes: &'a [NodeProto], depth: usize) -> Result<u64> {
        if depth > DEEPEST {
            return Err(
                Error::new(ErrorKind::TooLarge, "the ONNX graph is nested too deeply").detail(
                    format!("Functions and graphs may lie in each other {DEEPEST} deep at most."),
                ),
            );
        }
        let mut total = 0_u64;
        for node in nodes {
            let own = 1 + node.input.len() as u64 + node.output.len() as u64;
            let inner = match called(self.functions, node) {
                Some(function) => self.of_function(function, depth)?,
                None => {
                    operator(node, self.limits)?;
                    trees::check(node)?;
                    0
                }
            };
            total = total.saturating_add(own).saturating_add(inner);
            for graph in subgraphs(node) {
                total = total.saturating_add(self.of_nodes(&graph.node, depth + 1)?);
            }
        }
        Ok(total)
    }

    fn of_function(&mut self, function: &'a FunctionProto, depth: usize) -> Result<u64> {
        let key: *const FunctionProto = function;
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let size = self.of_nodes(&function.node, depth + 1)?;
        self.known.insert(key, size);
        Ok(size)
    }
}

fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

fn operator(node: &NodeProto, limits: &Limits) -> Result<()> {
    let name = &node.op_type;
    let is_control = matches!(name.as_str(), "If" | "Loop" | "Scan" | "SequenceMap")
        || subgraphs(node).next().is_some();
    match node.domain.as_str() {
        "" | "ai.onnx" | "ai.onnx.ml" if is_control && !limits.control_flow => Err(depends(
            format!("Operator {name} runs a graph of its own as often as its inputs say."),
        )),
        "" | "ai.onnx" | "ai.onnx.ml" => Ok(()),
        "com.microsoft" if limits.control_flow || MICROSOFT.contains(&name.as_str()) => Ok(()),
        domain => Err(Error::new(
            ErrorKind::Unsupported,
            "the ONNX graph has an operator that is not of the ONNX standard",
        )
        .detail(format!("Operator {name} is of domain \"{domain}\"."))
        .hint("Export the model with standard operators only.")),
    }
}
