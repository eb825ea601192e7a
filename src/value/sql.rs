//! Arguments and results of our SQL functions, parameters and columns of our own statements.
//!
//! What pgrx converts by itself takes every text for UTF-8. Only what is [`Sql`] passes here, and texts as they should be.

use super::{ArrayReader, varlena};
use crate::error::{Report, Result, unexpected};
use crate::text;
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use pgrx::spi::SpiTupleTable;

/// A JSON document, as `jsonb` outside.
#[derive(Clone, Debug)]
pub struct Json(pub serde_json::Value);

/// A jsonb as it is, copied into the current memory context: it may be deeper, and its numbers larger, than ours.
pub struct Document(pub pg_sys::Datum);

/// A type that has one in SQL.
pub trait Sql: Sized {
    const TYPE: pg_sys::Oid;

    /// Whether values of a type are read as this.
    fn reads(type_oid: pg_sys::Oid) -> bool {
        type_oid == Self::TYPE
    }

    /// In the current memory context, where it is not passed by value.
    fn into_datum(self) -> Result<pg_sys::Datum>;

    /// # Safety
    /// `datum` is a value of a type that is read as this, not NULL.
    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self>;
}

macro_rules! by_value {
    ($($rust:ty, $oid:ident, $datum:ident => $read:expr;)*) => {$(
        impl Sql for $rust {
            const TYPE: pg_sys::Oid = pg_sys::$oid;

            fn into_datum(self) -> Result<pg_sys::Datum> {
                Ok(self.into())
            }

            unsafe fn of_datum($datum: pg_sys::Datum) -> Result<Self> {
                Ok($read)
            }
        }
    )*};
}

by_value! {
    bool, BOOLOID, datum => datum.value() as u8 != 0;
    i32, INT4OID, datum => datum.value() as i32;
    i64, INT8OID, datum => datum.value() as i64;
}

impl Sql for pg_sys::Oid {
    const TYPE: pg_sys::Oid = pg_sys::OIDOID;

    fn reads(type_oid: pg_sys::Oid) -> bool {
        matches!(
            type_oid,
            pg_sys::OIDOID | pg_sys::REGROLEOID | pg_sys::REGCLASSOID
        )
    }

    fn into_datum(self) -> Result<pg_sys::Datum> {
        Ok(self.into())
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        Ok(Self::from(datum.value() as u32))
    }
}

impl Sql for f64 {
    const TYPE: pg_sys::Oid = pg_sys::FLOAT8OID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        Ok(self.to_bits().into())
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        Ok(Self::from_bits(datum.value() as u64))
    }
}

impl Sql for String {
    const TYPE: pg_sys::Oid = pg_sys::TEXTOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        text_datum(&self)
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        Ok(text::from_server(unsafe { varlena::detoasted(datum) }).into_owned())
    }
}

impl Sql for Vec<u8> {
    const TYPE: pg_sys::Oid = pg_sys::BYTEAOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        Ok(varlena::of_bytes(&self))
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        Ok(unsafe { varlena::detoasted(datum) }.to_vec())
    }
}

/// As `text[]`.
impl Sql for Vec<String> {
    const TYPE: pg_sys::Oid = pg_sys::TEXTARRAYOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        let mut datums = self
            .iter()
            .map(|text| text_datum(text))
            .collect::<Result<Vec<_>>>()?;
        // SAFETY: elements of type text.
        Ok(unsafe {
            pg_sys::construct_array(
                datums.as_mut_ptr(),
                datums.len() as i32,
                pg_sys::TEXTOID,
                -1,
                false,
                b'i' as std::ffi::c_char,
            )
        }
        .into())
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        unsafe { elements(datum) }
    }
}

/// As `oid[]`.
impl Sql for Vec<pg_sys::Oid> {
    const TYPE: pg_sys::Oid = pg_sys::OIDARRAYOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        let mut datums: Vec<pg_sys::Datum> = self.into_iter().map(Into::into).collect();
        // SAFETY: elements of four bytes, passed by value.
        Ok(unsafe {
            pg_sys::construct_array(
                datums.as_mut_ptr(),
                datums.len() as i32,
                pg_sys::OIDOID,
                4,
                true,
                b'i' as std::ffi::c_char,
            )
        }
        .into())
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        unsafe { elements(datum) }
    }
}

/// The elements of an array of the type of `T`, of which none may be NULL.
///
/// # Safety
/// `datum` is such an array, not NULL.
pub unsafe fn elements<T: Sql>(datum: pg_sys::Datum) -> Result<Vec<T>> {
    let mut found = Vec::new();
    // SAFETY: as the caller promises; the array type of a type that exists.
    unsafe {
        let Some(reader) = ArrayReader::of(pg_sys::get_array_type(T::TYPE)) else {
            return Ok(found);
        };
        reader.for_each(&reader.view(datum), |_, element| {
            found.push(T::of_datum(element.ok_or_else(null_element)?)?);
            Ok::<_, Report>(())
        })?;
    }
    Ok(found)
}

fn null_element() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        "the elements of the array must not be null",
    )
}

/// JSON as it is written, as jsonb.
pub fn jsonb(written: &str) -> Result<pg_sys::Datum> {
    let written = text::to_c(written)?;
    // SAFETY: the input function of jsonb, which copies what it reads.
    Ok(unsafe {
        pg_sys::OidInputFunctionCall(
            pg_sys::F_JSONB_IN.into(),
            written.as_ptr().cast_mut(),
            pg_sys::InvalidOid,
            -1,
        )
    })
}

impl Sql for Json {
    const TYPE: pg_sys::Oid = pg_sys::JSONBOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        jsonb(&self.0.to_string())
    }

    /// What PostgreSQL takes and we do not is the user's mistake.
    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        let written = unsafe { json_text(datum) };
        serde_json::from_str(&written).map(Self).map_err(|error| {
            Report::new(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "a JSON document cannot be read",
            )
            .detail(format!("{error}."))
            .hint("Numbers must fit into double precision, and JSON must not be nested deeper than 100 levels.")
        })
    }
}

impl Sql for Document {
    const TYPE: pg_sys::Oid = pg_sys::JSONBOID;

    fn into_datum(self) -> Result<pg_sys::Datum> {
        Ok(self.0)
    }

    unsafe fn of_datum(datum: pg_sys::Datum) -> Result<Self> {
        // SAFETY: as the caller promises.
        let copy = unsafe { pg_sys::pg_detoast_datum_copy(datum.cast_mut_ptr()) };
        Ok(Self(copy.into()))
    }
}

/// A document as text in UTF-8.
///
/// # Safety
/// `datum` is a jsonb, not NULL.
pub unsafe fn json_text(datum: pg_sys::Datum) -> String {
    // SAFETY: the output function of jsonb, whose result ends with a zero.
    unsafe {
        let written = pg_sys::OidOutputFunctionCall(pg_sys::F_JSONB_OUT.into(), datum);
        let read = text::from_pointer(written);
        pg_sys::pfree(written.cast());
        read
    }
}

/// A text in the current memory context.
pub fn text_datum(text: &str) -> Result<pg_sys::Datum> {
    Ok(varlena::of_bytes(&text::to_server(text)?))
}

/// An argument of a function; `None` for NULL.
///
/// # Safety
/// `fcinfo` is valid and has that argument, which is declared with a type that is read as `T`.
pub unsafe fn argument<T: Sql>(fcinfo: pg_sys::FunctionCallInfo, at: usize) -> Result<Option<T>> {
    // SAFETY: as the caller promises.
    unsafe { argument_datum(fcinfo, at).map(|datum| T::of_datum(datum)) }.transpose()
}

/// The same, as it is.
///
/// # Safety
/// `fcinfo` is valid and has that argument.
#[inline]
pub unsafe fn argument_datum(fcinfo: pg_sys::FunctionCallInfo, at: usize) -> Option<pg_sys::Datum> {
    // SAFETY: as the caller promises.
    let argument = unsafe { *(*fcinfo).args.as_ptr().add(at) };
    (!argument.isnull).then_some(argument.value)
}

/// A result that may be NULL.
///
/// # Safety
/// `fcinfo` is valid; the function is declared to return what `value` is.
pub unsafe fn result(
    fcinfo: pg_sys::FunctionCallInfo,
    value: Option<pg_sys::Datum>,
) -> pg_sys::Datum {
    // SAFETY: as the caller promises.
    unsafe { (*fcinfo).isnull = value.is_none() };
    value.unwrap_or(pg_sys::Datum::null())
}

/// The result of a function with OUT arguments.
///
/// # Safety
/// The values are as many and of the types that the function declares.
pub unsafe fn record(
    fcinfo: pg_sys::FunctionCallInfo,
    values: &mut [pg_sys::Datum],
) -> Result<pg_sys::Datum> {
    // SAFETY: as the caller promises; the descriptor is that of the declared result.
    unsafe {
        let mut descriptor = std::ptr::null_mut();
        pg_sys::get_call_result_type(fcinfo, std::ptr::null_mut(), &mut descriptor);
        let descriptor = pg_sys::BlessTupleDesc(descriptor);
        let mut nulls = vec![false; values.len()];
        let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data))
    }
}

/// A parameter of a statement.
pub fn parameter<T: Sql>(value: T) -> Result<DatumWithOid<'static>> {
    nullable_parameter(Some(value))
}

/// The same, perhaps NULL.
pub fn nullable_parameter<T: Sql>(value: Option<T>) -> Result<DatumWithOid<'static>> {
    Ok(match value {
        // SAFETY: a value of that type, in the current memory context, which outlives the statement.
        Some(value) => unsafe { DatumWithOid::new(value.into_datum()?, T::TYPE) },
        None => DatumWithOid::null_oid(T::TYPE),
    })
}

/// A text as a parameter.
pub fn text_parameter<'a>(value: impl Into<Option<&'a str>>) -> Result<DatumWithOid<'static>> {
    nullable_parameter::<String>(value.into().map(str::to_owned))
}

/// The same of what people read, with a question mark for each character that the encoding of the database lacks.
pub fn readable_parameter(value: Option<&str>) -> DatumWithOid<'static> {
    match value {
        Some(value) => {
            let datum = varlena::of_bytes(text::to_c_readable(value).to_bytes());
            // SAFETY: a text, in the current memory context, which outlives the statement.
            unsafe { DatumWithOid::new(datum, pg_sys::TEXTOID) }
        }
        None => DatumWithOid::null_oid(pg_sys::TEXTOID),
    }
}

/// A column, from 1, of the row that the table stands on; `None` for NULL.
pub fn column<T: Sql>(rows: &SpiTupleTable, ordinal: usize) -> Result<Option<T>> {
    let type_oid = rows.column_type_oid(ordinal).map_err(unexpected)?.value();
    if !T::reads(type_oid) {
        return Err(unexpected(format!(
            "column {ordinal} is of type {}",
            text::type_name(type_oid)
        )));
    }
    let datum = rows.get_datum_by_ordinal(ordinal).map_err(unexpected)?;
    // SAFETY: of a type that is read as this.
    datum.map(|datum| unsafe { T::of_datum(datum) }).transpose()
}
