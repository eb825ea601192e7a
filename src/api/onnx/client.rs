//! `ltv.client_graph`: a graph as it goes out.

use crate::api::export::export;
use crate::error::Result;
use crate::scoring::limits;
use crate::value::sql::{Json, Sql, argument};
use ltv_core::client::{Wishes, for_client};
use ltv_core::schema::Schema;
use pgrx::pg_sys;
use serde_json::Value;

export! {
    ltv_client_graph / pg_finfo_ltv_client_graph => client_graph;
}

/// `ltv.client_graph(onnx, schema, opset, floats_only, facts)`.
fn client_graph(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (bytea, jsonb, int, boolean, jsonb).
    unsafe {
        let onnx: Vec<u8> = argument(fcinfo, 0)?.unwrap_or_default();
        let schema = argument(fcinfo, 1)?.map_or(Value::Null, |Json(schema)| schema);
        let opset: Option<i32> = argument(fcinfo, 2)?;
        let floats_only: Option<bool> = argument(fcinfo, 3)?;
        let facts = argument(fcinfo, 4)?.map_or(Value::Null, |Json(facts)| facts);
        let wishes = Wishes {
            opset: opset.map(i64::from),
            floats_only: floats_only.unwrap_or_default(),
        };
        let schema = Schema::from_json(&schema)?;
        let none = serde_json::Map::new();
        let facts = facts.as_object().unwrap_or(&none);
        for_client(&onnx, &schema, wishes, facts, &limits())?.into_datum()
    }
}
