//! `ltv.loaded_models_as_json()`, behind the view `ltv_loaded_models`.

use super::export::export;
use crate::error::Result;
use crate::scoring;
use crate::value::sql::{Json, Sql};
use pgrx::pg_sys;
use serde_json::{Value, json};

export! {
    ltv_loaded_models / pg_finfo_ltv_loaded_models => loaded_models;
}

/// The models that this backend keeps ready, most recently used first.
fn loaded_models(_: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    let models: Value = scoring::loaded()
        .into_iter()
        .map(|loaded| {
            json!({
                "model": loaded.model,
                "version": loaded.version,
                "checksum": loaded.checksum,
                "graph_bytes": loaded.bytes,
                "load_milliseconds": loaded.load_milliseconds,
                "uses": loaded.uses,
            })
        })
        .collect();
    Json(models).into_datum()
}
