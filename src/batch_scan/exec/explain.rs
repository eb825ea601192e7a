//! What EXPLAIN prints for the node.

use super::State;
use super::counters::Counters;
use crate::batch_scan::functions;
use crate::batch_scan::private::Expressions;
use crate::batch_scan::tree::{Node, cast, iter};
use crate::guc;
use crate::scoring::ScoringFunction;
use crate::text;
use crate::value::sql::Sql;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    css: *mut pg_sys::CustomScanState,
    _ancestors: *mut pg_sys::List,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the executor passes a state of ours and a valid ExplainState.
    unsafe {
        let plan = (*css).ss.ps.plan.cast::<pg_sys::CustomScan>();
        let planned = Expressions::decode((*plan).custom_exprs);
        let mut models: Vec<(String, Option<String>)> = Vec::new();
        let mut challengers: Vec<String> = Vec::new();
        let scan = (*css.cast::<State>()).scan.as_ref();
        for (i, call) in planned.calls.iter().enumerate() {
            let used = scan.and_then(|s| s.calls.get(i)).and_then(|c| c.used());
            if let Some(traffic) = used.and_then(|lanes| lanes.traffic()) {
                let (model, percent) = (&traffic.challenger, traffic.share * 100.0);
                let challenger = format!(
                    "{} version {} for {percent} % of the customers",
                    model.name, model.version
                );
                if !challengers.contains(&challenger) {
                    challengers.push(challenger);
                }
            }
            let model = match used.map(|lanes| lanes.model()) {
                Some(model) => Some((model.name.clone(), Some(model.version.to_string()))),
                None => functions::called_by(call.call).map(|(c, f)| planned_model(c, f)),
            };
            if let Some(model) = model
                && !models.contains(&model)
            {
                models.push(model);
            }
        }
        match &models[..] {
            [(name, version)] => {
                property(c"Model", name, es);
                if let Some(version) = version {
                    property(c"Version", version, es);
                }
            }
            several => {
                let named = several.iter().map(|(name, version)| match version {
                    Some(version) => format!("{name} version {version}"),
                    None => name.clone(),
                });
                property(c"Models", &named.collect::<Vec<_>>().join(", "), es);
            }
        }
        if !challengers.is_empty() {
            property(c"Challenger", &challengers.join(", "), es);
        }
        if (*es).analyze
            && let Some(instrument) = (*css).ss.ps.instrument.as_ref()
        {
            let counters = Counters::of(instrument);
            let average = counters.rows / counters.batches.max(1.0);
            pg_sys::ExplainPropertyFloat(
                c"Rows Predicted".as_ptr(),
                std::ptr::null(),
                counters.rows,
                0,
                es,
            );
            pg_sys::ExplainPropertyFloat(
                c"Batches".as_ptr(),
                std::ptr::null(),
                counters.batches,
                0,
                es,
            );
            pg_sys::ExplainPropertyFloat(
                c"Average Batch".as_ptr(),
                std::ptr::null(),
                average,
                1,
                es,
            );
            if (*es).timing {
                let milliseconds = counters.inference.as_secs_f64() * 1000.0;
                pg_sys::ExplainPropertyFloat(
                    c"Inference Time".as_ptr(),
                    c"ms".as_ptr(),
                    milliseconds,
                    3,
                    es,
                );
            }
        }
    }
}

unsafe fn property(label: &CStr, value: &str, es: *mut pg_sys::ExplainState) {
    let value = text::to_c_readable(value);
    // SAFETY: a valid ExplainState; both strings outlive the call.
    unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) }
}

/// Name and pinned version, as far as the plan tells.
unsafe fn planned_model(
    call: *mut pg_sys::FuncExpr,
    function: &ScoringFunction,
) -> (String, Option<String>) {
    // SAFETY: a call of the function.
    unsafe {
        let args: Vec<*mut Node> = iter((*call).args).collect();
        let constant = |i: Option<usize>| {
            let constant = cast::<pg_sys::Const>(*args.get(i?)?)?;
            (!(*constant).constisnull).then(|| (*constant).constvalue)
        };
        let name = match function.model {
            None => guc::DEFAULT_MODEL
                .get()
                .map(|name| text::from_server(name.to_bytes()).into_owned()),
            Some(i) => constant(Some(i)).and_then(|name| String::of_datum(name).ok()),
        };
        let version = constant(function.version).map(|v| (v.value() as i64).to_string());
        (
            name.unwrap_or_else(|| "(known when it runs)".to_owned()),
            version,
        )
    }
}
