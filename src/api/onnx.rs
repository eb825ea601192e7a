//! `ltv.inspect_onnx`: the schema of a graph that somebody else made, once it has proved that it can score.

use crate::error::{Report, Reportable, Result, guard};
use crate::scoring::{Batch, Graph, Input, Kind, Model, Port, Schema, Session};
use ltv_core::objective::Distribution;
use ort::value::TensorElementType;
use pgrx::JsonB;
use pgrx::prelude::*;
use std::collections::BTreeMap;
use std::rc::Rc;

#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("input \"{name}\" of the graph is of {found}")]
    ElementType { name: String, found: String },
    #[error("input \"{name}\" of the graph has shape {shape}")]
    InputShape { name: String, shape: String },
    #[error("the number of columns of input \"{name}\" is unknown")]
    FreeWidth { name: String },
    #[error("{given} features are named, but input \"{name}\" has {expected} columns")]
    FeatureCount {
        name: String,
        expected: usize,
        given: usize,
    },
    #[error("features cannot be named for a graph with {inputs} inputs")]
    NamedInputs { inputs: usize },
    #[error("feature \"{name}\" is named twice")]
    DuplicateFeature { name: String },
    #[error("the graph has no inputs")]
    NoInputs,
    #[error("the graph has no output \"{name}\"")]
    NoOutput { name: String, available: String },
    #[error("the graph has no output that could be a prediction")]
    NoPrediction { available: String },
    #[error("output \"{name}\" of the graph is {found}")]
    OutputShape { name: String, found: String },
    #[error("unknown output \"{name}\"")]
    UnknownOutput { name: String },
    #[error("the graph mixes the rows of a batch")]
    MixedRows { alone: f32, together: f32 },
}

/// What a prediction may be called.
const OUTPUTS: [&str; 7] = [
    "ltv",
    "purchase_probability",
    "whale_probability",
    "mu",
    "sigma",
    "alpha",
    "rate",
];

impl Reportable for ImportError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::FreeWidth { .. }
            | Self::FeatureCount { .. }
            | Self::NamedInputs { .. }
            | Self::DuplicateFeature { .. }
            | Self::NoOutput { .. }
            | Self::UnknownOutput { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            _ => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::ElementType { .. } => "Numbers must come in as float (32 bits), categories as string.".to_owned(),
            Self::InputShape { .. } => "The first axis must be the batch, of any length; numbers have shape [batch, width], \
                                        categories [batch, 1], sequences [batch, steps, channels]."
                .to_owned(),
            Self::OutputShape { .. } => "A prediction is a float tensor of shape [batch] or [batch, 1].".to_owned(),
            Self::NoOutput { available, .. } | Self::NoPrediction { available } => {
                format!("Its outputs are: {available}.")
            }
            Self::MixedRows { alone, together } => {
                format!("The same row scored {alone} on its own and {together} together with others.")
            }
            Self::UnknownOutput { .. } => format!("Known outputs are: {}.", OUTPUTS.join(", ")),
            _ => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ElementType { .. } => "Convert the input inside the graph, with a Cast node after a float input.".to_owned(),
            Self::InputShape { .. } => {
                "Export it with a dynamic first axis (in PyTorch: dynamic_axes={'input': {0: 'batch'}}).".to_owned()
            }
            Self::FreeWidth { .. } | Self::FeatureCount { .. } => {
                "Name the columns in their order: features => array['recency', 'frequency', ...].".to_owned()
            }
            Self::NamedInputs { .. } => "Leave features out; its inputs have names of their own.".to_owned(),
            Self::NoOutput { .. } | Self::OutputShape { .. } | Self::NoPrediction { .. } => {
                "Say which output is what: outputs => '{\"ltv\": \"name in the graph\"}'.".to_owned()
            }
            Self::MixedRows { .. } => "Export the graph in inference mode.".to_owned(),
            _ => return None,
        })
    }
}

/// The schema of a foreign graph. `features` names the columns of its only input; `outputs` says which of its outputs
/// is what, by public name.
#[pg_extern(sql = false)]
fn ltv_inspect_onnx(onnx: &[u8], features: Option<Vec<String>>, outputs: Option<JsonB>) -> JsonB {
    guard(|| {
        ltv_core::onnx::inspect(onnx)?;
        let session = Session::new(onnx, true)?;
        let (inputs, packed) = inputs(&session.inputs, features)?;
        let graph_outputs = choose_outputs(&session.outputs, outputs)?;
        drop(session);
        let has = |name: &str| graph_outputs.contains_key(name);
        let distribution = if !has("purchase_probability") {
            None
        } else if has("mu") && has("sigma") {
            Some(Distribution::ZeroInflatedLognormal)
        } else if has("alpha") && has("rate") {
            Some(Distribution::ZeroInflatedGamma)
        } else {
            None
        };
        let schema = Schema {
            inputs,
            outputs: OUTPUTS
                .iter()
                .filter(|name| has(name))
                .map(|name| (*name).to_owned())
                .collect(),
            distribution,
            packed,
            graph_outputs: graph_outputs
                .into_iter()
                .filter(|(public, name)| public != name)
                .collect(),
        };
        let json = serde_json::to_value(&schema).unwrap_or_default();
        test_run(onnx, schema)?;
        Ok(JsonB(json))
    })
}

/// Inputs of the schema and, where they are the columns of one tensor, its name.
fn inputs(
    ports: &[Port],
    features: Option<Vec<String>>,
) -> Result<(Vec<Input>, Option<String>), ImportError> {
    let Some(features) = features else {
        let inputs = ports.iter().map(input).collect::<Result<Vec<_>, _>>()?;
        return if inputs.is_empty() {
            Err(ImportError::NoInputs)
        } else {
            Ok((inputs, None))
        };
    };
    let [port] = ports else {
        return Err(ImportError::NamedInputs {
            inputs: ports.len(),
        });
    };
    let name = port.name.clone();
    if port.element != TensorElementType::Float32 {
        return Err(ImportError::ElementType {
            name,
            found: element_name(port.element),
        });
    }
    match port.shape.as_slice() {
        [-1, -1] => {}
        [-1, width] if *width == features.len() as i64 => {}
        [-1, width] => {
            return Err(ImportError::FeatureCount {
                name,
                expected: *width as usize,
                given: features.len(),
            });
        }
        shape => {
            return Err(ImportError::InputShape {
                name,
                shape: format!("{shape:?}"),
            });
        }
    }
    for (i, feature) in features.iter().enumerate() {
        if features[..i].contains(feature) {
            return Err(ImportError::DuplicateFeature {
                name: feature.clone(),
            });
        }
    }
    let inputs = features
        .into_iter()
        .map(|name| Input {
            name,
            kind: Kind::Numeric,
            sql_type: None,
        })
        .collect();
    Ok((inputs, Some(name)))
}

fn input(port: &Port) -> Result<Input, ImportError> {
    let name = port.name.clone();
    let kind = match (port.element, port.shape.as_slice()) {
        (TensorElementType::Float32, [-1, 1]) => Kind::Numeric,
        (TensorElementType::Float32, [-1, -1]) => return Err(ImportError::FreeWidth { name }),
        (TensorElementType::Float32, [-1, width]) => Kind::Vector {
            len: *width as usize,
        },
        (TensorElementType::Float32, [-1, _, channels]) if *channels > 0 => Kind::Sequence {
            channels: *channels as usize,
        },
        (TensorElementType::String, [-1, 1]) => Kind::Categorical,
        (TensorElementType::Float32 | TensorElementType::String, shape) => {
            return Err(ImportError::InputShape {
                name,
                shape: format!("{shape:?}"),
            });
        }
        (other, _) => {
            return Err(ImportError::ElementType {
                name,
                found: element_name(other),
            });
        }
    };
    Ok(Input {
        name,
        kind,
        sql_type: None,
    })
}

/// Public name -> name in the graph.
fn choose_outputs(
    ports: &[Port],
    given: Option<JsonB>,
) -> Result<BTreeMap<String, String>, Report> {
    let available = || {
        let names: Vec<String> = ports.iter().map(|p| format!("\"{}\"", p.name)).collect();
        names.join(", ")
    };
    let mut chosen = BTreeMap::new();
    if let Some(JsonB(given)) = given {
        let given: BTreeMap<String, String> = serde_json::from_value(given).map_err(|_| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "outputs must be an object of names",
            )
            .hint("For example: outputs => '{\"ltv\": \"variable\"}'.")
        })?;
        for (public, name) in given {
            if !OUTPUTS.contains(&public.as_str()) {
                return Err(ImportError::UnknownOutput { name: public }.into());
            }
            let port =
                ports
                    .iter()
                    .find(|p| p.name == name)
                    .ok_or_else(|| ImportError::NoOutput {
                        name: name.clone(),
                        available: available(),
                    })?;
            if !is_prediction(port) {
                return Err(ImportError::OutputShape {
                    found: described(port),
                    name,
                }
                .into());
            }
            chosen.insert(public, name);
        }
    } else {
        for name in OUTPUTS {
            if ports.iter().any(|p| p.name == name && is_prediction(p)) {
                chosen.insert(name.to_owned(), name.to_owned());
            }
        }
        if chosen.is_empty() {
            let first = ports
                .iter()
                .find(|p| is_prediction(p))
                .ok_or_else(|| match ports {
                    [port] => ImportError::OutputShape {
                        name: port.name.clone(),
                        found: described(port),
                    },
                    _ => ImportError::NoPrediction {
                        available: available(),
                    },
                })?;
            chosen.insert("ltv".to_owned(), first.name.clone());
        }
    }
    Ok(chosen)
}

fn described(port: &Port) -> String {
    format!("{} of shape {:?}", element_name(port.element), port.shape)
}

/// The name that ONNX itself uses.
fn element_name(element: TensorElementType) -> String {
    let name = format!("{element:?}").to_lowercase();
    match name.as_str() {
        "float32" => "float".to_owned(),
        "float64" => "double".to_owned(),
        _ => name,
    }
}

fn is_prediction(port: &Port) -> bool {
    port.element == TensorElementType::Float32
        && matches!(port.shape.as_slice(), [-1] | [-1, 1 | -1])
}

/// Scores one row alone and several together: the graph must run, and rows must not depend on each other.
fn test_run(onnx: &[u8], schema: Schema) -> Result<()> {
    const ROWS: usize = 3;
    let model = Rc::new(Model {
        name: "(imported)".to_owned(),
        version: 0,
        checksum: String::new(),
        graph: Rc::new(Graph::load(onnx, schema)?),
    });
    let mut batch = Batch::new(model, ROWS)?;
    batch.push_example(0);
    batch.run()?;
    let alone = batch.first_output()[0];
    batch.clear();
    for row in 0..ROWS {
        batch.push_example(row);
    }
    batch.run()?;
    let together = batch.first_output()[0];
    let same = (alone - together).abs() <= 1e-3 * alone.abs().max(1e-3)
        || (alone.is_nan() && together.is_nan())
        || alone == together;
    if same {
        Ok(())
    } else {
        Err(ImportError::MixedRows { alone, together }.into())
    }
}
