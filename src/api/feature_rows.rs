//! `ltv.feature_rows`, `ltv.feature_sequence`: the features of a customer out of the logs that `ltv.collect` made.

use super::export::export;
use crate::error::{Report, Result};
use crate::value::sql::{self, argument_datum};
use crate::value::{ArrayReader, scratch, varlena};
use ltv_core::features::plan::Plan;
use ltv_core::features::walk::{Customer, Walker};
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

// The arguments are declared in sql/26_collect.sql.
export! {
    ltv_feature_rows / pg_finfo_ltv_feature_rows => feature_rows;
    ltv_feature_sequence / pg_finfo_ltv_feature_sequence => feature_sequence;
}

/// What one place of a plan remembers from call to call.
struct Place {
    /// The text of the plan that the walker is for.
    plan: Vec<u8>,
    walker: Walker,
    instants: bool,
    /// The walker is at a customer who may have more rows.
    under_way: bool,
}

/// `ltv.feature_rows(plan, log_end, start, orders, events)`.
fn feature_rows(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: a valid call info.
    let result = unsafe { (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>() };
    // SAFETY: nodes begin with their tag.
    let takes_sets = !result.is_null()
        && unsafe {
            (*result).type_ == pg_sys::NodeTag::T_ReturnSetInfo
                && (*result).allowedModes as u32 & pg_sys::SetFunctionReturnMode::SFRM_ValuePerCall
                    != 0
        };
    if !takes_sets {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "ltv.feature_rows was called where no set of rows can be taken",
        ));
    }
    pgrx::check_for_interrupts!();
    // SAFETY: declared as (text, date or timestamptz, date, bytea, bytea[]); the place is ours until the statement ends.
    unsafe {
        let Some(place) = place(fcinfo)? else {
            return Ok(end(fcinfo, result));
        };
        if !(*place).under_way {
            let (instants, walker) = ((*place).instants, &mut (*place).walker);
            let log_end = argument_datum(fcinfo, 1).map(|datum| time(datum, instants));
            begin(fcinfo, walker, 2, log_end)?;
            (*place).under_way = true;
            pg_sys::RegisterExprContextCallback(
                (*result).econtext,
                Some(forget),
                place.cast::<Place>().into(),
            );
        }
        let walker = &mut (*place).walker;
        Ok(match walker.next_row()? {
            Some(row) => {
                (*result).isDone = pg_sys::ExprDoneCond::ExprMultipleResult;
                array(pg_sys::FLOAT8OID, &[row.len()], row, |number| {
                    number.is_nan()
                })
            }
            None => {
                (*place).under_way = false;
                pg_sys::UnregisterExprContextCallback(
                    (*result).econtext,
                    Some(forget),
                    place.cast::<Place>().into(),
                );
                end(fcinfo, result)
            }
        })
    }
}

/// `ltv.feature_sequence(plan, moment, start, orders, events)`.
fn feature_sequence(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (text, float8, date, bytea, bytea[]); the place is ours until the statement ends.
    unsafe {
        let moment = sql::argument::<f64>(fcinfo, 1)?;
        let (Some(place), Some(moment)) = (place(fcinfo)?, moment) else {
            return Ok(sql::result(fcinfo, None));
        };
        let walker = &mut (*place).walker;
        begin(fcinfo, walker, 2, None)?;
        let steps = walker.sequence(moment)?.map(|steps| {
            let size = [steps.numbers.len() / steps.width, steps.width];
            array(pg_sys::FLOAT4OID, &size, &steps.numbers, |_| false)
        });
        Ok(sql::result(fcinfo, steps))
    }
}

/// The place of a call, for its plan; `None` where that is NULL.
///
/// # Safety
/// `fcinfo` is a call of a function of this file.
unsafe fn place(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<*mut Place>> {
    scratch::reset();
    // SAFETY: as the caller promises; `fn_extra` is ours alone, and lives as long as its memory context.
    unsafe {
        let Some(plan) = argument_datum(fcinfo, 0) else {
            return Ok(None);
        };
        let plan = varlena::content(plan, false);
        let flinfo = (*fcinfo).flinfo;
        let known = (*flinfo).fn_extra.cast::<Place>();
        if !known.is_null() && ((*known).under_way || (*known).plan == plan) {
            return Ok(Some(known));
        }
        let parsed = Plan::from_json(&crate::text::from_server(plan))?;
        let made = Place {
            plan: plan.to_vec(),
            instants: parsed.instants,
            walker: Walker::new(parsed),
            under_way: false,
        };
        if known.is_null() {
            (*flinfo).fn_extra = PgMemoryContexts::For((*flinfo).fn_mcxt)
                .leak_and_drop_on_delete(made)
                .cast();
        } else {
            *known = made;
        }
        Ok(Some((*flinfo).fn_extra.cast()))
    }
}

/// Goes to the customer of the arguments from `at` on: start, orders, events.
///
/// # Safety
/// `fcinfo` is a call of a function of this file.
unsafe fn begin(
    fcinfo: pg_sys::FunctionCallInfo,
    walker: &mut Walker,
    at: usize,
    log_end: Option<i64>,
) -> Result<()> {
    // SAFETY: declared as date, bytea, bytea[]; what is detoasted lives until the next call.
    unsafe {
        let start = argument_datum(fcinfo, at).map(|datum| datum.value() as i32);
        let orders = argument_datum(fcinfo, at + 1).map(|datum| varlena::content(datum, false));
        let mut events: Vec<Option<&[u8]>> = Vec::new();
        let logs = argument_datum(fcinfo, at + 2);
        if let (Some(logs), Some(reader)) = (logs, ArrayReader::of(pg_sys::BYTEAARRAYOID)) {
            let view = reader.view(logs);
            reader.for_each(&view, |_, log| {
                events.push(log.map(|log| varlena::content(log, false)));
                Ok::<_, Report>(())
            })?;
        }
        let customer = Customer {
            orders,
            // Infinities.
            start: start.filter(|&start| start > i32::MIN && start < i32::MAX),
            log_end,
        };
        Ok(walker.begin(customer, events.into_iter())?)
    }
}

fn time(datum: pg_sys::Datum, instants: bool) -> i64 {
    if instants {
        datum.value() as i64
    } else {
        (datum.value() as i32).into()
    }
}

/// # Safety
/// Both are those of a call.
unsafe fn end(
    fcinfo: pg_sys::FunctionCallInfo,
    result: *mut pg_sys::ReturnSetInfo,
) -> pg_sys::Datum {
    // SAFETY: as the caller promises.
    unsafe {
        (*result).isDone = pg_sys::ExprDoneCond::ExprEndResult;
        sql::result(fcinfo, None)
    }
}

/// The rows of a customer are no longer wanted.
#[pg_guard]
unsafe extern "C-unwind" fn forget(place: pg_sys::Datum) {
    // SAFETY: registered with a place, which outlives the expression.
    unsafe { (*place.cast_mut_ptr::<Place>()).under_way = false };
}

/// An array of numbers passed by value, of one or two dimensions, in the current memory context.
pub fn array<T: Copy>(
    element: pg_sys::Oid,
    size: &[usize],
    numbers: &[T],
    is_null: impl Fn(&T) -> bool,
) -> pg_sys::Datum {
    let header = 16 + 8 * size.len();
    let has_nulls = numbers.iter().any(&is_null);
    let offset = match has_nulls {
        true => (header + numbers.len().div_ceil(8)).next_multiple_of(8),
        false => header.next_multiple_of(8),
    };
    let present = numbers.iter().filter(|number| !is_null(number)).count();
    let bytes = offset + present * size_of::<T>();
    // SAFETY: so many bytes, zeroed and aligned; an array's header, bitmap and elements lie where PostgreSQL's macros look for them.
    unsafe {
        let start = pg_sys::palloc0(bytes).cast::<u8>();
        pgrx::set_varsize_4b(start.cast(), bytes as i32);
        let header = start.cast::<i32>();
        header.add(1).write(size.len() as i32);
        header
            .add(2)
            .write(if has_nulls { offset as i32 } else { 0 });
        header.add(3).cast::<u32>().write(element.to_u32());
        for (at, &size_of_dimension) in size.iter().enumerate() {
            header.add(4 + at).write(size_of_dimension as i32);
            header.add(4 + size.len() + at).write(1);
        }
        let bitmap = start.add(16 + 8 * size.len());
        let mut element = start.add(offset).cast::<T>();
        for (at, number) in numbers.iter().enumerate() {
            if is_null(number) {
                continue;
            }
            if has_nulls {
                *bitmap.add(at / 8) |= 1 << (at % 8);
            }
            element.write(*number);
            element = element.add(1);
        }
        start.into()
    }
}
