//! `ltv_predict_state` and `ltv_predict_churn`: one C function for each set of arguments; SQL declares each of them for
//! arrays, records and jsonb. They cost no inference, so plans are not searched for them.

use super::call_site::score;
use super::export::export;
use crate::error::Result;
use crate::scoring::{Output, ScoringFunction};
use pgrx::pg_sys;

export! {
    ltv_predict_state_model / pg_finfo_ltv_predict_state_model => state;
    ltv_predict_state_version / pg_finfo_ltv_predict_state_version => state_of_version;
    ltv_predict_churn_model / pg_finfo_ltv_predict_churn_model => churn;
    ltv_predict_churn_version / pg_finfo_ltv_predict_churn_version => churn_of_version;
}

/// Arguments `(model, input, days)`.
static STATE: ScoringFunction = ScoringFunction {
    address: ltv_predict_state_model,
    output: Output::State,
    model: Some(0),
    version: None,
    input: 1,
    argument: Some(2),
};

/// Arguments `(model, version, input, days)`.
static STATE_OF_VERSION: ScoringFunction = ScoringFunction {
    address: ltv_predict_state_version,
    version: Some(1),
    input: 2,
    argument: Some(3),
    ..STATE
};

static CHURN: ScoringFunction = ScoringFunction {
    address: ltv_predict_churn_model,
    output: Output::Churn,
    ..STATE
};

static CHURN_OF_VERSION: ScoringFunction = ScoringFunction {
    address: ltv_predict_churn_version,
    output: Output::Churn,
    ..STATE_OF_VERSION
};

fn state(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    score(fcinfo, &STATE)
}

fn state_of_version(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    score(fcinfo, &STATE_OF_VERSION)
}

fn churn(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    score(fcinfo, &CHURN)
}

fn churn_of_version(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    score(fcinfo, &CHURN_OF_VERSION)
}
