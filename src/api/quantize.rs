//! `ltv.quantize_graph`: a graph with 8-bit weights, and what that costs and brings, measured on sample rows.

use super::export::export;
use crate::error::{Report, Result};
use crate::scoring::{Batch, Binding, Graph, Model};
use crate::value::sql::{Document, Json, Sql, argument, argument_datum, elements, record};
use ltv_core::onnx::{self, Range};
use ltv_core::schema::Schema;
use pgrx::pg_sys;
use pgrx::prelude::*;
use serde_json::Value;
use std::rc::Rc;
use std::time::Instant;

export! {
    ltv_quantize_graph / pg_finfo_ltv_quantize_graph => quantize_graph;
}

/// Rows of an inference while speed is measured, as in a batch scan.
const BATCH: usize = 1024;
/// Inferences of each graph, in turn; the fastest counts.
const TURNS: usize = 15;

/// `ltv.quantize_graph(model, onnx, schema of the version, rows as objects, OUT quantized, OUT report)`.
fn quantize_graph(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (text, bytea, jsonb, jsonb[]), strict, with a result of (bytea, jsonb).
    unsafe {
        let model: String = argument(fcinfo, 0)?.unwrap_or_default();
        let onnx: Vec<u8> = argument(fcinfo, 1)?.unwrap_or_default();
        let schema = argument(fcinfo, 2)?.map_or(Value::Null, |Json(schema)| schema);
        let rows: Vec<Document> = match argument_datum(fcinfo, 3) {
            Some(sample) => elements(sample)?,
            None => Vec::new(),
        };
        let sample: Vec<pg_sys::Datum> = rows.into_iter().map(|Document(row)| row).collect();
        let (quantised, report) = quantize(&model, &onnx, &schema, &sample)?;
        let mut result = [Sql::into_datum(quantised)?, report.into_datum()?];
        record(fcinfo, &mut result)
    }
}

fn quantize(
    model: &str,
    onnx: &[u8],
    schema: &Value,
    sample: &[pg_sys::Datum],
) -> Result<(Vec<u8>, Json)> {
    let schema = Schema::from_json(schema)?;
    if sample.is_empty() {
        return Err(unsuitable("It has no rows.".to_owned())
            .hint("Give a relation or a query with rows like those to be scored."));
    }
    let activations = onnx::activations(onnx)?;
    let observed = onnx::observed(onnx, &activations)?;
    let mut ranges = Vec::with_capacity(activations.len());
    for (index, name) in activations.into_iter().enumerate() {
        let (low, high) = range(model, &observed, &schema, index, sample)?;
        ranges.push(Range { name, low, high });
    }
    let quantised = onnx::quantise(onnx, &ranges)?;
    let mut plain = scorer(model, onnx, schema.clone(), sample)?;
    let mut small = scorer(model, &quantised, schema, sample)?;
    let mut report = compare(&plain, &small);
    let (before, after) = speed(&mut plain, &mut small, sample.len())?;
    for (key, value) in [
        ("layers", ranges.len() as f64),
        ("sample_rows", sample.len() as f64),
        ("bytes", quantised.len() as f64),
        ("original_bytes", onnx.len() as f64),
        ("nanoseconds_per_row", after),
        ("original_nanoseconds_per_row", before),
        ("speedup", before / after),
    ] {
        report.insert(key.to_owned(), serde_json::json!(value));
    }
    Ok((quantised, Json(Value::Object(report))))
}

/// A batch that holds the sample, computed.
fn scorer(model: &str, onnx: &[u8], schema: Schema, sample: &[pg_sys::Datum]) -> Result<Batch> {
    let model = Rc::new(Model {
        name: model.to_owned(),
        version: 0,
        checksum: String::new(),
        graph: Rc::new(Graph::load(onnx, schema)?),
    });
    let mut binding = Binding::for_type(&model, pg_sys::JSONBOID)?;
    let mut batch = Batch::new(model);
    for row in sample {
        // SAFETY: values of type jsonb.
        unsafe { batch.push_datum(&mut binding, *row) }?;
    }
    batch.run()?;
    Ok(batch)
}

/// Least and greatest value of an activation on the sample.
fn range(
    model: &str,
    observed: &[u8],
    schema: &Schema,
    index: usize,
    sample: &[pg_sys::Datum],
) -> Result<(f32, f32)> {
    let (low, high) = onnx::range_outputs(index);
    let mut schema = schema.clone();
    schema.distribution = None;
    schema.graph_outputs.clear();
    schema.derived.clear();
    schema.graph_outputs.insert("ltv".to_owned(), low);
    schema
        .graph_outputs
        .insert("purchase_probability".to_owned(), high);
    let batch = scorer(model, observed, schema, sample)?;
    let lows = batch.ltv().unwrap_or_default().iter().copied();
    let highs = batch.probability().unwrap_or_default().iter().copied();
    Ok((
        lows.filter(|v| v.is_finite()).fold(0.0, f32::min),
        highs.filter(|v| v.is_finite()).fold(0.0, f32::max),
    ))
}

/// How far the predictions are apart.
fn compare(plain: &Batch, small: &Batch) -> serde_json::Map<String, serde_json::Value> {
    let mut report = serde_json::Map::new();
    let columns = [
        ("ltv", plain.ltv(), small.ltv()),
        (
            "purchase_probability",
            plain.probability(),
            small.probability(),
        ),
    ];
    for (name, before, after) in columns {
        let (Some(before), Some(after)) = (before, after) else {
            continue;
        };
        let pairs = || {
            before
                .iter()
                .zip(after)
                .map(|(a, b)| (f64::from(*a), f64::from(*b)))
        };
        let count = before.len() as f64;
        let size = pairs().map(|(a, _)| a.abs()).sum::<f64>();
        let off = pairs().map(|(a, b)| (a - b).abs()).sum::<f64>();
        let most = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let sums = pairs().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        report.insert(
            name.to_owned(),
            serde_json::json!({
                "mean": sums.0 / count,
                "mean_absolute_difference": off / count,
                "relative_difference": off / size.max(f64::MIN_POSITIVE),
                "greatest_difference": most,
                "total_changes_by": sums.1 / sums.0 - 1.0,
            }),
        );
    }
    report
}

/// Nanoseconds per row of both.
fn speed(plain: &mut Batch, small: &mut Batch, rows: usize) -> Result<(f64, f64)> {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        for (batch, best) in [&mut *plain, &mut *small].into_iter().zip(&mut best) {
            let start = Instant::now();
            for _ in 0..BATCH.div_ceil(rows) {
                batch.run()?;
            }
            let runs = BATCH.div_ceil(rows) * rows;
            *best = best.min(start.elapsed().as_secs_f64() * 1e9 / runs as f64);
        }
    }
    Ok((best[0], best[1]))
}

fn unsuitable(detail: String) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "the sample cannot be scored",
    )
    .detail(detail)
}
