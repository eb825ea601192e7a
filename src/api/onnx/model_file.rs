//! `ltv.write_model_file` and `ltv.read_model_file`: a version as one file.

use super::{inspect, test_run};
use crate::api::export::export;
use crate::error::{Report, Result};
use crate::scoring::limits;
use crate::value::sql::{Sql, argument, argument_datum, json_text, jsonb, record};
use ltv_core::error::Error;
use ltv_core::model_file::{self, Document, Source};
use ltv_core::onnx::Derived;
use ltv_core::schema::Schema;
use pgrx::pg_sys;
use serde_json::{Map, Value};

export! {
    ltv_write_model_file / pg_finfo_ltv_write_model_file => write;
    ltv_read_model_file / pg_finfo_ltv_read_model_file => read;
}

/// `ltv.write_model_file(document, onnx)`.
fn write(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (jsonb, bytea), strict.
    unsafe {
        let document = argument_datum(fcinfo, 0).map(|document| json_text(document));
        let onnx: Vec<u8> = argument(fcinfo, 1)?.unwrap_or_default();
        model_file::join(&document.unwrap_or_default(), &onnx)?.into_datum()
    }
}

/// `ltv.read_model_file(file, OUT document, OUT onnx)`: both have been checked like what `ltv_import_onnx` takes.
fn read(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (bytea), strict, with a result of (jsonb, bytea).
    unsafe {
        let file: Vec<u8> = argument(fcinfo, 0)?.unwrap_or_default();
        let parts = model_file::split(&file, limits().memory)?;
        let (document, schema) = Document::read(parts.document)?;
        check_graph(parts.graph, document.source, schema)?;
        // The text itself, because reading and writing numbers may change their last digit.
        let mut result = [jsonb(parts.document)?, parts.graph.to_vec().into_datum()?];
        record(fcinfo, &mut result)
    }
}

/// The graph must score by the schema. That of an imported graph must be the one that importing it gives.
fn check_graph(onnx: &[u8], source: Source, schema: Schema) -> Result<()> {
    if source == Source::Imported {
        let features = schema.packed.is_some().then(|| {
            let names = schema.inputs.iter().map(|input| input.name.clone());
            names.collect()
        });
        let found = inspect(onnx, features, Some(&outputs(&schema).to_string()))?;
        if found != schema {
            return Err(mismatch());
        }
    }
    test_run(onnx, schema)
}

/// The argument `outputs` that an imported graph was given, or could have been.
fn outputs(schema: &Schema) -> Value {
    let mut outputs = Map::new();
    let mut known = Vec::new();
    for derived in &schema.derived {
        match derived {
            Derived::Ziln { ziln } => {
                outputs.insert("ziln".to_owned(), ziln.as_str().into());
                known.extend(["ltv", "purchase_probability", "mu", "sigma"]);
            }
            Derived::Number { output, tensor, .. } => {
                outputs.insert(output.clone(), tensor.as_str().into());
                known.push(output);
            }
        }
    }
    for name in &schema.outputs {
        if !known.contains(&name.as_str()) {
            let in_graph = schema.graph_outputs.get(name).unwrap_or(name);
            outputs.insert(name.clone(), in_graph.as_str().into());
        }
    }
    outputs.into()
}

fn mismatch() -> Report {
    Error::model("the graph of the model file does not match its schema")
        .detail("Importing the graph gives another schema.")
        .hint("Pass what ltv_export_model returned, as it is.")
        .into()
}
