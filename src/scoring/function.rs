//! What the SQL functions `ltv_predict*` have in common: which argument is what, and what they return.

use pgrx::pg_sys;

/// The number of a version that was given as a bigint; `None`: no version can have it.
pub fn version_number(version: pg_sys::Datum) -> Option<i32> {
    i32::try_from(version.value() as i64).ok()
}

/// What a call asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// `ltv_predict`: float8.
    Ltv,
    /// `ltv_predict_proba`: float8.
    Probability,
    /// `ltv_predict_quantile`: float8; its level q is an argument of each row.
    Quantile,
    /// `ltv_predict_horizon`: float8; the days are an argument of each row.
    Horizon,
    /// `ltv_predict_curve`: float8[].
    Curve,
    /// `ltv_predict_interval`: float8[], the low and the high end; its coverage is an argument of each row.
    Interval,
    /// `ltv_predict_all`: composite type `ltv.prediction`.
    All,
    /// `ltv_predict_state`: composite type `ltv.customer_state`; its days are an argument of each row.
    State,
    /// `ltv_predict_churn`: float8; its days are an argument of each row.
    Churn,
}

impl Output {
    /// Whether it is an output of the graph. The others are computed from the inputs alone.
    pub fn needs_inference(self) -> bool {
        !matches!(self, Self::State | Self::Churn)
    }
}

/// One C function behind `ltv_predict*`. Plans are searched for its address, never for a name.
/// Arguments are counted from 0.
#[derive(Debug)]
pub struct ScoringFunction {
    pub address: unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum,
    pub output: Output,
    /// `text`; `None`: the model is `ltv.default_model`.
    pub model: Option<usize>,
    /// `bigint`; `None`: the champion.
    pub version: Option<usize>,
    /// Array, composite or jsonb, as the expression's type says.
    pub input: usize,
    /// `float8`: the level of a quantile, days, the coverage of an interval.
    pub argument: Option<usize>,
}
