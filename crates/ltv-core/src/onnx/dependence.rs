//! Whether the size of a tensor depends on the values of a graph's inputs, not only on their shapes.
//!
//! Two things are followed through the graph: values that come from an input, and shapes that come from such values.

use super::functions::{Functions, called, depends};
use super::proto::{GraphProto, NodeProto};
use crate::error::Result;
use std::collections::HashMap;

/// What is known of a tensor.
#[derive(Clone, Copy, Default, PartialEq)]
struct Origin {
    /// Its values come from an input.
    value: bool,
    /// Its shape comes from such values.
    shape: bool,
}

impl Origin {
    fn with(self, other: Self) -> Self {
        Self {
            value: self.value || other.value,
            shape: self.shape || other.shape,
        }
    }
}

/// An operator between tensors that have numbers.
struct Step<'a> {
    node: &'a NodeProto,
    inputs: Vec<Option<usize>>,
    outputs: Vec<usize>,
}

/// Functions are put in place of their calls; there are few enough parts for that.
struct Flat<'a> {
    functions: &'a Functions<'a>,
    steps: Vec<Step<'a>>,
    tensors: usize,
}

impl<'a> Flat<'a> {
    fn tensor(&mut self) -> usize {
        self.tensors += 1;
        self.tensors - 1
    }

    fn nodes(&mut self, nodes: &'a [NodeProto], scope: &mut HashMap<&'a str, usize>) {
        for node in nodes {
            let inputs: Vec<Option<usize>> = node
                .input
                .iter()
                .map(|name| self.named(name, scope))
                .collect();
            let outputs: Vec<Option<usize>> = node
                .output
                .iter()
                .map(|name| self.named(name, scope))
                .collect();
            match called(self.functions, node) {
                Some(function) => {
                    let mut inner: HashMap<&str, usize> = HashMap::new();
                    let formal = function.input.iter().zip(&inputs);
                    let results = function.output.iter().zip(&outputs);
                    for (name, tensor) in formal.chain(results) {
                        if let Some(tensor) = tensor {
                            inner.insert(name, *tensor);
                        }
                    }
                    self.nodes(&function.node, &mut inner);
                }
                None => self.steps.push(Step {
                    node,
                    inputs,
                    outputs: outputs.into_iter().flatten().collect(),
                }),
            }
        }
    }

    /// `None`: an optional input or output that is left out.
    fn named(&mut self, name: &'a str, scope: &mut HashMap<&'a str, usize>) -> Option<usize> {
        if name.is_empty() {
            return None;
        }
        if let Some(&tensor) = scope.get(name) {
            return Some(tensor);
        }
        let tensor = self.tensor();
        scope.insert(name, tensor);
        Some(tensor)
    }
}

/// An error if the size of a tensor depends on the values of the graph's inputs.
pub fn check(graph: &GraphProto, functions: &Functions) -> Result<()> {
    let mut flat = Flat {
        functions,
        steps: Vec::new(),
        tensors: 0,
    };
    let mut scope = HashMap::new();
    let mut inputs = Vec::new();
    for input in &graph.input {
        inputs.extend(flat.named(&input.name, &mut scope));
    }
    flat.nodes(&graph.node, &mut scope);
    let origins = spread(&flat, &inputs);
    for step in &flat.steps {
        let at = |position: usize| step.inputs.get(position).copied().flatten();
        let sizes = sizes(&step.node.op_type).unwrap_or_default();
        if sizes
            .iter()
            .filter_map(|position| at(*position))
            .any(|tensor| origins[tensor].value)
        {
            return Err(depends(format!(
                "Operator {} makes a tensor whose size is computed from values of the inputs.",
                step.node.op_type
            )));
        }
    }
    Ok(())
}

/// Follows what comes from `inputs` until nothing new is found.
fn spread(flat: &Flat, inputs: &[usize]) -> Vec<Origin> {
    let mut origins = vec![Origin::default(); flat.tensors];
    let mut readers: Vec<Vec<usize>> = vec![Vec::new(); flat.tensors];
    for (at, step) in flat.steps.iter().enumerate() {
        for tensor in step.inputs.iter().flatten() {
            readers[*tensor].push(at);
        }
    }
    for input in inputs {
        origins[*input].value = true;
    }
    let random = |step: &Step| {
        let name = step.node.op_type.as_str();
        name.starts_with("Random") || matches!(name, "Bernoulli" | "Multinomial")
    };
    let mut waiting: Vec<usize> = (0..flat.steps.len())
        .filter(|at| {
            let step = &flat.steps[*at];
            random(step) || step.inputs.iter().flatten().any(|t| origins[*t].value)
        })
        .collect();
    while let Some(at) = waiting.pop() {
        let step = &flat.steps[at];
        let mut found = result(step, &origins);
        found.value |= random(step);
        for output in &step.outputs {
            let origin = origins[*output].with(found);
            if origin != origins[*output] {
                origins[*output] = origin;
                waiting.extend(&readers[*output]);
            }
        }
    }
    origins
}

/// What an operator makes of where its inputs come from.
fn result(step: &Step, origins: &[Origin]) -> Origin {
    let name = step.node.op_type.as_str();
    let all = step
        .inputs
        .iter()
        .flatten()
        .fold(Origin::default(), |all, t| all.with(origins[*t]));
    if matches!(name, "Shape" | "Size") {
        return Origin {
            value: all.shape,
            shape: false,
        };
    }
    let value_at = |position: usize| {
        step.inputs
            .get(position)
            .copied()
            .flatten()
            .is_some_and(|tensor| origins[tensor].value)
    };
    let cut = match name {
        "NonZero" | "Unique" | "Compress" | "NonMaxSuppression" | "StringSplit" => all.value,
        "Reshape" | "TopK" | "Split" | "SplitToSequence" | "Squeeze" | "Unsqueeze" => value_at(1),
        "Slice" => (1..5).any(value_at),
        name if name.starts_with("Reduce") => value_at(1),
        _ => false,
    };
    Origin {
        value: all.value,
        shape: all.shape || cut,
    }
}

/// The inputs of an operator that say how large its output is, where that can be larger than its input.
fn sizes(operator: &str) -> Option<&'static [usize]> {
    Some(match operator {
        "ConstantOfShape" | "HannWindow" | "HammingWindow" | "BlackmanWindow" => &[0],
        "Expand" | "Tile" | "OneHot" | "Upsample" | "CenterCropPad" | "AffineGrid" | "DFT" => &[1],
        "Pad" => &[1, 3],
        "Col2Im" => &[1, 2],
        "MaxUnpool" => &[2],
        "STFT" => &[1, 3],
        "Resize" => &[1, 2, 3],
        "Range" => &[0, 1, 2],
        "MelWeightMatrix" => &[0, 1, 2, 3, 4],
        _ => return None,
    })
}
