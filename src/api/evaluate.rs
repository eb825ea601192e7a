//! The aggregates `ltv.evaluation` and `ltv.deciles`, on which `ltv_evaluate` and `ltv_decile_stats` are built.

use crate::error::{Report, Result, guard};
use crate::value::sql::{Json, Sql};
use ltv_core::metrics::{self, Observations};
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};
use serde_json::json;

/// As many groups as ltv_decile_stats allows; the aggregate can be called by itself.
const MAX_GROUPS: f64 = 1000.0;

/// Rows collected so far. A column in which any value is NULL is left out.
#[derive(Default)]
struct Collected {
    actual: Vec<f64>,
    prediction: Vec<f64>,
    purchase: Column,
    whale: Column,
    low: Column,
    high: Column,
    /// The same in every row.
    whale_threshold: Option<f64>,
    groups: Option<i32>,
    without_value: bool,
}

#[derive(Default)]
struct Column {
    values: Vec<f64>,
    incomplete: bool,
}

impl Column {
    fn push(&mut self, value: Option<f64>) {
        match value {
            Some(value) if !self.incomplete => self.values.push(value),
            Some(_) => {}
            None => {
                self.incomplete = true;
                self.values = Vec::new();
            }
        }
    }

    /// The column, if it is complete: a value for each of `rows` rows.
    fn get(&self, rows: usize) -> Option<&[f64]> {
        (!self.incomplete && self.values.len() == rows).then_some(&self.values)
    }
}

impl Collected {
    fn observations(&self) -> Observations<'_> {
        let rows = self.actual.len();
        Observations {
            actual: &self.actual,
            prediction: &self.prediction,
            purchase_probability: self.purchase.get(rows),
            whale_probability: self.whale.get(rows),
            whale_threshold: self.whale_threshold.filter(|threshold| *threshold > 0.0),
            band: self.low.get(rows).zip(self.high.get(rows)),
            without_value: self.without_value,
            customers: None,
        }
    }
}

/// `ltv.evaluation_add(internal, actual, prediction, purchase, whale, low, high, whale_threshold)`.
/// Rows whose actual value is NULL do not count; where the prediction is NULL the purchase probability stands in.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_evaluation_add(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    guard(|| {
        // SAFETY: PostgreSQL calls with the declared arguments.
        let (state, [actual, prediction, purchase, whale, low, high, threshold]) =
            unsafe { (state(fcinfo)?, float_arguments::<7>(fcinfo)) };
        if let Some(actual) = actual {
            let Some(value) = prediction.or(purchase) else {
                return Err(no_prediction());
            };
            state.actual.push(actual);
            state.prediction.push(value);
            state.without_value |= prediction.is_none();
            state.purchase.push(purchase);
            state.whale.push(whale);
            state.low.push(low);
            state.high.push(high);
            state.whale_threshold = threshold;
        }
        Ok(pg_sys::Datum::from(std::ptr::from_mut(state)))
    })
}

/// `ltv.deciles_add(internal, actual, prediction, groups)`.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_deciles_add(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    guard(|| {
        // SAFETY: PostgreSQL calls with the declared arguments.
        let (state, [actual, prediction, groups]) =
            unsafe { (state(fcinfo)?, float_arguments::<3>(fcinfo)) };
        if let Some(actual) = actual {
            state.actual.push(actual);
            state.prediction.push(prediction.ok_or_else(no_prediction)?);
            state.groups = groups.map(|groups| groups.clamp(1.0, MAX_GROUPS) as i32);
        }
        Ok(pg_sys::Datum::from(std::ptr::from_mut(state)))
    })
}

/// `ltv.evaluation_metrics(internal)`: an array of `{"metric", "value"}` in the order in which they are shown.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_evaluation_metrics(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    finish(fcinfo, |collected| {
        let metrics = metrics::evaluate(&collected.observations())?;
        let rows = metrics
            .into_iter()
            .map(|(metric, value)| json!({"metric": metric, "value": value}));
        Ok(rows.collect())
    })
}

/// `ltv.deciles_table(internal)`: an array of the groups, best first.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_deciles_table(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    finish(fcinfo, |collected| {
        let groups = usize::try_from(collected.groups.unwrap_or(10)).unwrap_or(0);
        let deciles = metrics::decile_stats(&collected.observations(), groups)?;
        let rows = deciles.into_iter().map(|group| {
            json!({
                "decile": group.decile,
                "customers": group.rows,
                "min_prediction": group.min_prediction,
                "max_prediction": group.max_prediction,
                "mean_prediction": group.mean_prediction,
                "mean_actual": group.mean_actual,
                "payer_share": group.payer_share,
                "cumulative_revenue_share": group.cumulative_revenue_share,
            })
        });
        Ok(rows.collect())
    })
}

fn finish(
    fcinfo: pg_sys::FunctionCallInfo,
    table: impl FnOnce(&Collected) -> Result<serde_json::Value>,
) -> pg_sys::Datum {
    guard(|| {
        let empty = Collected::default();
        // SAFETY: the state is ours, or NULL where there was no row.
        let collected = unsafe {
            let argument = *(*fcinfo).args.as_ptr();
            let state = argument.value.cast_mut_ptr::<Collected>();
            if argument.isnull { &empty } else { &*state }
        };
        let table = table(collected)?;
        Json(table).into_datum()
    })
}

fn no_prediction() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        "a prediction must not be null",
    )
}

/// The state of the aggregate, made at its first row.
///
/// # Safety
/// `fcinfo` is the call of a transition function whose first argument is ours.
unsafe fn state<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Result<&'a mut Collected> {
    // SAFETY: as the caller promises; the state lives in the context of the aggregate.
    unsafe {
        let argument = *(*fcinfo).args.as_ptr();
        if !argument.isnull {
            return Ok(&mut *argument.value.cast_mut_ptr::<Collected>());
        }
        let mut context = std::ptr::null_mut();
        if pg_sys::AggCheckCallContext(fcinfo, &mut context) == 0 {
            return Err(Report::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "this function is only for use in aggregates",
            ));
        }
        Ok(&mut *PgMemoryContexts::For(context).leak_and_drop_on_delete(Collected::default()))
    }
}

/// The arguments after the first, all of type float8.
///
/// # Safety
/// `fcinfo` has that many.
unsafe fn float_arguments<const N: usize>(fcinfo: pg_sys::FunctionCallInfo) -> [Option<f64>; N] {
    std::array::from_fn(|i| {
        // SAFETY: as the caller promises.
        let argument = unsafe { *(*fcinfo).args.as_ptr().add(i + 1) };
        (!argument.isnull).then(|| f64::from_bits(argument.value.value() as u64))
    })
}

macro_rules! version_1 {
    ($($finfo:ident)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $finfo() -> &'static pg_sys::Pg_finfo_record {
            const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
            &V1
        }
    )*};
}

version_1! {
    pg_finfo_ltv_evaluation_add pg_finfo_ltv_evaluation_metrics
    pg_finfo_ltv_deciles_add pg_finfo_ltv_deciles_table
}
