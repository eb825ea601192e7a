//! `ltv.number_of`, `ltv.element_of`, `ltv.category_of`: values as models see them, for monitoring;
//! `ltv.customer_fraction`: the hash by which shares of customers are drawn.

use super::export::export;
use crate::error::{Report, Result};
use crate::text;
use crate::value::sql::{self, Sql};
use crate::value::{ArrayReader, Scalar, scratch, varlena};
use ltv_core::data::customer_hash;
use pgrx::prelude::PgSqlErrorCode;
use pgrx::{PgMemoryContexts, pg_sys};

// The arguments are declared in sql/70_monitor.sql and sql/15_sources.sql.
export! {
    ltv_number_of / pg_finfo_ltv_number_of => number_of;
    ltv_element_of / pg_finfo_ltv_element_of => element_of;
    ltv_category_of / pg_finfo_ltv_category_of => category_of;
    ltv_customer_fraction / pg_finfo_ltv_customer_fraction => customer_fraction;
}

/// `ltv.number_of(value)`: in single precision; NULL where it is missing.
fn number_of(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: the first argument is of the type that the reader is made for.
    unsafe {
        let scalar = *reader(fcinfo, Scalar::of)?;
        if !(scalar.is_number() || scalar.is_time()) {
            return Err(wrong_type(fcinfo, "a number"));
        }
        let number = sql::argument_datum(fcinfo, 0).map(|datum| scalar.number(datum));
        float8(fcinfo, number)
    }
}

/// `ltv.element_of(array, index)`: the same of an element, counted from 1 whatever the bounds of the array are.
fn element_of(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: the first argument is of the type that the reader is made for, the second is declared as int.
    unsafe {
        let array = reader(fcinfo, ArrayReader::of)?.filter(|array| array.element.is_number());
        let array = array.ok_or_else(|| wrong_type(fcinfo, "an array of numbers"))?;
        let index =
            sql::argument::<i32>(fcinfo, 1)?.and_then(|i| usize::try_from(i.checked_sub(1)?).ok());
        let number = sql::argument_datum(fcinfo, 0)
            .zip(index)
            .and_then(|(datum, index)| array.element(&array.view(datum), index))
            .map(|element| array.element.number(element));
        float8(fcinfo, number)
    }
}

/// `ltv.category_of(value)`: its text; NULL where it is missing.
fn category_of(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: the first argument is of the type that the reader is made for.
    unsafe {
        let scalar = *reader(fcinfo, Scalar::of)?;
        let mut buffer = String::new();
        let category = sql::argument_datum(fcinfo, 0)
            .map(|datum| scalar.text(datum, &mut buffer))
            .filter(|text| !text.is_empty());
        let category = category.map(sql::text_datum).transpose()?;
        Ok(sql::result(fcinfo, category))
    }
}

/// `ltv.customer_fraction(salt, id)`, strict.
fn customer_fraction(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as two texts.
    let [salt, id] = [0, 1].map(|at| unsafe {
        sql::argument_datum(fcinfo, at).map_or(&[][..], |datum| varlena::detoasted(datum))
    });
    customer_hash::fraction(&text::from_server(salt), &text::from_server(id)).into_datum()
}

/// How the type of the first argument is read, found out at the first call from a place and kept there.
///
/// # Safety
/// `fcinfo` is a call of a function of this file, and `T` the same in each.
unsafe fn reader<'a, T>(
    fcinfo: pg_sys::FunctionCallInfo,
    of: impl FnOnce(pg_sys::Oid) -> T,
) -> Result<&'a T> {
    scratch::reset();
    // SAFETY: as the caller promises; `fn_extra` is ours alone, and lives as long as its memory context.
    unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            let type_oid = pg_sys::get_fn_expr_argtype(flinfo, 0);
            if type_oid == pg_sys::InvalidOid {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_INDETERMINATE_DATATYPE,
                    "could not determine the type of the value",
                ));
            }
            (*flinfo).fn_extra = PgMemoryContexts::For((*flinfo).fn_mcxt)
                .leak_and_drop_on_delete(of(type_oid))
                .cast();
        }
        Ok(&*(*flinfo).fn_extra.cast::<T>())
    }
}

/// # Safety
/// `fcinfo` is valid.
unsafe fn float8(fcinfo: pg_sys::FunctionCallInfo, number: Option<f32>) -> Result<pg_sys::Datum> {
    let number = number.filter(|number| !number.is_nan());
    let number = number.map(|number| f64::from(number).into_datum());
    // SAFETY: as the caller promises; declared to return float8.
    Ok(unsafe { sql::result(fcinfo, number.transpose()?) })
}

/// # Safety
/// `fcinfo` is valid.
unsafe fn wrong_type(fcinfo: pg_sys::FunctionCallInfo, expected: &str) -> Report {
    // SAFETY: as the caller promises.
    let found = text::type_name(unsafe { pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, 0) });
    Report::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        format!("a value of type {found} is not {expected}"),
    )
    .hint("Cast it to the type that the model was trained on.")
}
