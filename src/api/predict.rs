//! `ltv_predict`, `ltv_predict_proba`, `ltv_predict_quantile`, `ltv_predict_horizon`, `ltv_predict_curve`, `ltv_predict_interval`, `ltv_predict_all`: one C function for each set of
//! arguments; SQL declares each of them for arrays, records and jsonb.

use super::call_site::score;
use crate::error::guard;
use crate::scoring::{Output, ScoringFunction};
use pgrx::{pg_guard, pg_sys};

/// The function behind an address, if it is one of ours.
pub fn recognise(address: pg_sys::PGFunction) -> Option<&'static ScoringFunction> {
    let address = address? as usize;
    FUNCTIONS.iter().find(|f| f.address as usize == address)
}

macro_rules! scoring_functions {
    ($($symbol:ident / $finfo:ident: $output:ident, $model:expr, $version:expr, $input:expr, $argument:expr;)*) => {
        static FUNCTIONS: &[ScoringFunction] = &[$(ScoringFunction {
            address: $symbol,
            output: Output::$output,
            model: $model,
            version: $version,
            input: $input,
            argument: $argument,
        }),*];
        $(
            #[pg_guard]
            #[unsafe(no_mangle)]
            pub extern "C-unwind" fn $symbol(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
                static FUNCTION: ScoringFunction = ScoringFunction {
                    address: $symbol,
                    output: Output::$output,
                    model: $model,
                    version: $version,
                    input: $input,
                    argument: $argument,
                };
                guard(|| score(fcinfo, &FUNCTION))
            }

            #[unsafe(no_mangle)]
            pub extern "C" fn $finfo() -> &'static pg_sys::Pg_finfo_record {
                const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        )*
    };
}

scoring_functions! {
    ltv_predict / pg_finfo_ltv_predict: Ltv, None, None, 0, None;
    ltv_predict_model / pg_finfo_ltv_predict_model: Ltv, Some(0), None, 1, None;
    ltv_predict_version / pg_finfo_ltv_predict_version: Ltv, Some(0), Some(1), 2, None;
    ltv_predict_proba / pg_finfo_ltv_predict_proba: Probability, None, None, 0, None;
    ltv_predict_proba_model / pg_finfo_ltv_predict_proba_model: Probability, Some(0), None, 1, None;
    ltv_predict_proba_version / pg_finfo_ltv_predict_proba_version: Probability, Some(0), Some(1), 2, None;
    ltv_predict_quantile / pg_finfo_ltv_predict_quantile: Quantile, None, None, 0, Some(1);
    ltv_predict_quantile_model / pg_finfo_ltv_predict_quantile_model: Quantile, Some(0), None, 1, Some(2);
    ltv_predict_quantile_version / pg_finfo_ltv_predict_quantile_version: Quantile, Some(0), Some(1), 2, Some(3);
    ltv_predict_horizon / pg_finfo_ltv_predict_horizon: Horizon, None, None, 0, Some(1);
    ltv_predict_horizon_model / pg_finfo_ltv_predict_horizon_model: Horizon, Some(0), None, 1, Some(2);
    ltv_predict_horizon_version / pg_finfo_ltv_predict_horizon_version: Horizon, Some(0), Some(1), 2, Some(3);
    ltv_predict_curve / pg_finfo_ltv_predict_curve: Curve, None, None, 0, None;
    ltv_predict_curve_model / pg_finfo_ltv_predict_curve_model: Curve, Some(0), None, 1, None;
    ltv_predict_curve_version / pg_finfo_ltv_predict_curve_version: Curve, Some(0), Some(1), 2, None;
    ltv_predict_interval / pg_finfo_ltv_predict_interval: Interval, None, None, 0, Some(1);
    ltv_predict_interval_model / pg_finfo_ltv_predict_interval_model: Interval, Some(0), None, 1, Some(2);
    ltv_predict_interval_version / pg_finfo_ltv_predict_interval_version: Interval, Some(0), Some(1), 2, Some(3);
    ltv_predict_all / pg_finfo_ltv_predict_all: All, None, None, 0, None;
    ltv_predict_all_model / pg_finfo_ltv_predict_all_model: All, Some(0), None, 1, None;
    ltv_predict_all_version / pg_finfo_ltv_predict_all_version: All, Some(0), Some(1), 2, None;
}
