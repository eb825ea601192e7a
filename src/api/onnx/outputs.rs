//! Which outputs of somebody else's graph are what.

use super::error::ImportError;
use super::{OUTPUTS, ZILN, element_name};
use crate::error::{Report, Result};
use crate::scoring::{Number, Port};
use ltv_core::onnx::{Derived, ZipMap, derived_name};
use ort::value::TensorElementType;
use pgrx::prelude::PgSqlErrorCode;
use std::collections::BTreeMap;

/// An output that can be chosen.
pub struct Output {
    /// As the file names it.
    name: String,
    /// The tensor to take: not the output itself where that is a list of dictionaries.
    tensor: String,
    element: TensorElementType,
    shape: Vec<i64>,
}

/// What was chosen.
#[derive(Default)]
pub struct Chosen {
    /// Public name -> name in the graph, or of what is derived from it.
    pub graph_outputs: BTreeMap<String, String>,
    pub derived: Vec<Derived>,
}

/// How a prediction is read from an output.
enum Reading {
    AsItIs,
    Derived(Option<i64>),
}

impl Output {
    fn described(&self) -> String {
        format!("{} of shape {:?}", element_name(self.element), self.shape)
    }

    /// As one number per row.
    fn number(&self) -> Option<Reading> {
        let is_float = self.element == TensorElementType::Float32;
        Number::of(self.element)?;
        match self.shape.as_slice() {
            [-1] | [-1, 1 | -1] if is_float => Some(Reading::AsItIs),
            [-1, 1] => Some(Reading::Derived(Some(0))),
            [-1] | [-1, -1] => Some(Reading::Derived(None)),
            _ => None,
        }
    }

    fn reading(&self, public: &str) -> Result<Reading, ImportError> {
        let wrong = || self.wrong_shape();
        if public == "purchase_probability"
            && let [-1, classes @ (2..)] = self.shape.as_slice()
        {
            return match classes {
                2 if Number::of(self.element).is_some() => Ok(Reading::Derived(Some(1))),
                2 => Err(wrong()),
                _ => Err(ImportError::Classes {
                    name: self.name.clone(),
                    classes: *classes,
                }),
            };
        }
        self.number().ok_or_else(wrong)
    }

    fn wrong_shape(&self) -> ImportError {
        let may_be = if self.is_ziln() {
            Some(ZILN)
        } else if matches!(self.shape.as_slice(), [-1, 2]) {
            Some("purchase_probability")
        } else {
            None
        };
        ImportError::OutputShape {
            name: self.name.clone(),
            found: self.described(),
            may_be,
        }
    }

    fn is_ziln(&self) -> bool {
        let is_float = matches!(
            self.element,
            TensorElementType::Float32 | TensorElementType::Float64
        );
        is_float && matches!(self.shape.as_slice(), [-1, 3])
    }
}

/// The outputs of a graph that was loaded without its dictionaries.
pub fn available(ports: &[Port], maps: &[ZipMap]) -> Vec<Output> {
    let mut outputs: Vec<Output> = Vec::with_capacity(ports.len());
    for port in ports {
        let map = maps.iter().find(|map| map.tensor == port.name);
        outputs.push(Output {
            name: map.map_or_else(|| port.name.clone(), |map| map.output.clone()),
            tensor: port.name.clone(),
            element: port.element,
            // What the file does not say of the tensor, its operator knows.
            shape: match map {
                Some(map) => vec![-1, map.classes as i64],
                None => port.shape.clone(),
            },
        });
    }
    outputs
}

impl Chosen {
    fn take(&mut self, public: &str, output: &Output) -> Result<(), ImportError> {
        if public == ZILN {
            if !output.is_ziln() {
                return Err(output.wrong_shape());
            }
            self.derived.push(Derived::Ziln {
                ziln: output.tensor.clone(),
            });
            for part in ["ltv", "purchase_probability", "mu", "sigma"] {
                self.graph_outputs
                    .insert(part.to_owned(), derived_name(part));
            }
            return Ok(());
        }
        let name = match output.reading(public)? {
            Reading::AsItIs => output.tensor.clone(),
            Reading::Derived(column) => {
                self.derived.push(Derived::Number {
                    output: public.to_owned(),
                    tensor: output.tensor.clone(),
                    column,
                });
                derived_name(public)
            }
        };
        self.graph_outputs.insert(public.to_owned(), name);
        Ok(())
    }
}

/// `given`: public name -> name in the graph.
pub fn choose(outputs: &[Output], given: Option<&str>) -> Result<Chosen, Report> {
    let list = || {
        let each = outputs
            .iter()
            .map(|output| format!("\"{}\" ({})", output.name, output.described()));
        each.collect::<Vec<_>>().join(", ")
    };
    let mut chosen = Chosen::default();
    if let Some(given) = given {
        let given: BTreeMap<String, String> = serde_json::from_str(given).map_err(|_| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "outputs must be an object of names",
            )
            .hint("For example: outputs => '{\"ltv\": \"variable\"}'.")
        })?;
        for (public, name) in given {
            if public != ZILN && !OUTPUTS.contains(&public.as_str()) {
                return Err(ImportError::UnknownOutput { name: public }.into());
            }
            let output = outputs
                .iter()
                .find(|output| output.name == name || output.tensor == name)
                .ok_or_else(|| ImportError::NoOutput {
                    name,
                    available: list(),
                })?;
            chosen.take(&public, output)?;
        }
        if chosen.graph_outputs.is_empty() {
            return Err(ImportError::Choose { available: list() }.into());
        }
        return Ok(chosen);
    }
    for output in outputs {
        let known = output.name == ZILN && output.is_ziln()
            || OUTPUTS.contains(&output.name.as_str()) && output.number().is_some();
        if known {
            chosen.take(&output.name, output)?;
        }
    }
    match outputs {
        _ if !chosen.graph_outputs.is_empty() => Ok(chosen),
        [only] => {
            chosen.take("ltv", only)?;
            Ok(chosen)
        }
        _ => Err(ImportError::Choose { available: list() }.into()),
    }
}
