//! `ltv.report_page(document)`: what SQL has gathered on a version, as a page.

use super::export::export;
use crate::error::Result;
use crate::value::sql::{Json, argument, text_datum};
use ltv_core::report::Report;
use pgrx::pg_sys;
use serde_json::Value;

export! {
    ltv_report_page / pg_finfo_ltv_report_page => page;
}

fn page(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as jsonb.
    let document = unsafe { argument(fcinfo, 0) }?.map_or(Value::Null, |Json(document)| document);
    text_datum(&Report::from_json(document)?.html())
}
