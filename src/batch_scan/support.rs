//! What the planner is told about the functions. Asking also loads the library, and with it the planner hook,
//! during the planning of the first statement that names one of them.

use crate::guc;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// A prediction in a batch, and one by itself, in units of `cpu_operator_cost`: measured with a network
/// 32-128-64-3 against a sequential scan.
const IN_BATCHES: f64 = 100.0;
const ALONE: f64 = 2000.0;

/// What the planner is told that one prediction costs.
pub fn per_row() -> f64 {
    let operators = if guc::ENABLE_BATCH_SCAN.get() {
        IN_BATCHES
    } else {
        ALONE
    };
    // SAFETY: a setting.
    operators * unsafe { pg_sys::cpu_operator_cost }
}

/// `ltv.predict_support(internal)`.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_predict_support(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the planner calls it with one request, whose tag says what it is.
    unsafe {
        let request = (*(*fcinfo).args.as_ptr())
            .value
            .cast_mut_ptr::<pg_sys::Node>();
        if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestCost {
            return pg_sys::Datum::from(0);
        }
        let cost = request.cast::<pg_sys::SupportRequestCost>();
        (*cost).startup = 0.0;
        (*cost).per_tuple = per_row();
        pg_sys::Datum::from(request)
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ltv_predict_support() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}
