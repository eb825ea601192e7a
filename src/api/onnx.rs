//! `ltv.inspect_onnx`: the schema of a graph that somebody else made, once it has proved that it can score.

mod client;
mod error;
mod model_file;
mod outputs;

use super::export::export;
use crate::error::Result;
use crate::scoring::{Batch, Graph, MOST_WIDTH, Model, Number, Port, Session, copy, limits};
use crate::value::sql::{Json, Sql, argument};
use error::ImportError;
use ltv_core::objective::Distribution;
use ltv_core::schema::{ColumnKind, FeatureColumn, OUTPUTS, Schema};
use ort::value::TensorElementType;
use pgrx::pg_sys;
use std::collections::HashSet;
use std::rc::Rc;

export! {
    ltv_inspect_onnx / pg_finfo_ltv_inspect_onnx => inspect_onnx;
}

/// The name that stands for the three logits of a zero-inflated lognormal head.
const ZILN: &str = "ziln";

/// The schema of a foreign graph. `features` names the columns of its only input; `outputs` says which of its outputs
/// is what, by public name, as the text of a JSON object: PostgreSQL's numbers may be larger than any of ours.
fn inspect_onnx(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (bytea, text[], text).
    let (onnx, features, outputs): (Option<Vec<u8>>, Option<Vec<String>>, Option<String>) = unsafe {
        (
            argument(fcinfo, 0)?,
            argument(fcinfo, 1)?,
            argument(fcinfo, 2)?,
        )
    };
    let onnx = onnx.unwrap_or_default();
    let schema = inspect(&onnx, features, outputs.as_deref())?;
    let json = Json(schema.to_json());
    test_run(&onnx, schema)?;
    json.into_datum()
}

fn inspect(onnx: &[u8], features: Option<Vec<String>>, outputs: Option<&str>) -> Result<Schema> {
    ltv_core::onnx::inspect(onnx, &limits())?;
    let maps = ltv_core::onnx::zip_maps(onnx)?;
    let readable = match maps.is_empty() {
        true => copy(onnx)?,
        false => {
            let tensors: Vec<String> = maps.iter().map(|map| map.tensor.clone()).collect();
            ltv_core::onnx::adapt(onnx, &[], &tensors)?
        }
    };
    let session = Session::new(readable, true)?;
    let (inputs, packed) = inputs(&session.inputs, features)?;
    let available = outputs::available(&session.outputs, &maps);
    let outputs::Chosen {
        graph_outputs,
        derived,
    } = outputs::choose(&available, outputs)?;
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
    Ok(Schema {
        inputs,
        outputs: OUTPUTS
            .iter()
            .filter(|name| has(name))
            .map(|name| (*name).to_owned())
            .collect(),
        distribution,
        horizons: Vec::new(),
        intervals: None,
        packed,
        graph_outputs: graph_outputs
            .into_iter()
            .filter(|(public, name)| public != name)
            .collect(),
        derived,
        state: None,
    })
}

/// Inputs of the schema and, where they are the columns of one tensor, its name.
fn inputs(
    ports: &[Port],
    features: Option<Vec<String>>,
) -> Result<(Vec<FeatureColumn>, Option<String>), ImportError> {
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
    if Number::of(port.element).is_none() {
        return Err(ImportError::ElementType {
            name,
            found: element_name(port.element),
        });
    }
    match port.shape.as_slice() {
        [-1, -1] => {}
        [-1, width] if *width == features.len() as i64 => {}
        [-1, width] if *width >= 0 => {
            return Err(ImportError::FeatureCount {
                name,
                expected: *width,
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
    let mut seen = HashSet::with_capacity(features.len());
    if let Some(name) = features.iter().find(|name| !seen.insert(name.as_str())) {
        return Err(ImportError::DuplicateFeature { name: name.clone() });
    }
    let inputs = features
        .into_iter()
        .map(|name| FeatureColumn::imported(name, ColumnKind::Numeric))
        .collect();
    Ok((inputs, Some(name)))
}

fn input(port: &Port) -> Result<FeatureColumn, ImportError> {
    let name = port.name.clone();
    let is_number = Number::of(port.element).is_some();
    let kind = match port.shape.as_slice() {
        [-1] | [-1, 1] if is_number => ColumnKind::Numeric,
        [-1, -1] if is_number => return Err(ImportError::FreeWidth { name }),
        [-1, len] if is_number && *len > 0 => ColumnKind::Vector {
            len: axis(&name, *len)?,
        },
        [-1, _, channels] if is_number && *channels > 0 => ColumnKind::Sequence {
            channels: axis(&name, *channels)?,
        },
        [-1] | [-1, 1] if port.element == TensorElementType::String => ColumnKind::Categorical,
        shape if is_number || port.element == TensorElementType::String => {
            return Err(ImportError::InputShape {
                name,
                shape: format!("{shape:?}"),
            });
        }
        _ => {
            return Err(ImportError::ElementType {
                name,
                found: element_name(port.element),
            });
        }
    };
    Ok(FeatureColumn::imported(name, kind))
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

/// The length of an axis, if it is one that can be scored.
fn axis(name: &str, length: i64) -> Result<usize, ImportError> {
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= MOST_WIDTH)
        .ok_or_else(|| ImportError::TooWide {
            name: name.to_owned(),
            width: length,
        })
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
    let mut batch = Batch::new(model);
    batch.push_example(0)?;
    batch.run()?;
    let alone = batch.first_output()[0];
    batch.clear();
    for row in 0..ROWS {
        batch.push_example(row)?;
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
