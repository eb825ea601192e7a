//! Datums -> numbers, texts and arrays, by type.

use crate::numeric;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::fmt::Write;

/// How the values of a (base) type are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// text, varchar and whatever an extension declares as a string.
    Text,
    /// Blank-padded: trailing blanks do not count.
    Bpchar,
    Name,
    Enum,
    Uuid,
    Date,
    Timestamp,
    TimestampTz,
    /// An array of numbers.
    Array(Element),
    /// Only its text is of use, for ids.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
}

/// 2000-01-01, PostgreSQL's epoch, in days since 1970-01-01.
const EPOCH: f64 = 10_957.0;
const MICROSECONDS_PER_DAY: f64 = 86_400e6;
/// Characters of the smallest bigint.
const LONGEST_INTEGER: usize = 20;

impl Type {
    pub fn of(oid: pg_sys::Oid) -> Self {
        // SAFETY: looks types up in the system catalog.
        unsafe {
            let base = pg_sys::getBaseTypeAndTypmod(oid, &mut -1);
            match base {
                pg_sys::BOOLOID => Self::Bool,
                pg_sys::INT2OID => Self::Int2,
                pg_sys::INT4OID => Self::Int4,
                pg_sys::INT8OID => Self::Int8,
                pg_sys::FLOAT4OID => Self::Float4,
                pg_sys::FLOAT8OID => Self::Float8,
                pg_sys::NUMERICOID => Self::Numeric,
                pg_sys::BPCHAROID => Self::Bpchar,
                pg_sys::NAMEOID => Self::Name,
                pg_sys::UUIDOID => Self::Uuid,
                pg_sys::DATEOID => Self::Date,
                pg_sys::TIMESTAMPOID => Self::Timestamp,
                pg_sys::TIMESTAMPTZOID => Self::TimestampTz,
                pg_sys::INT2ARRAYOID => Self::Array(Element::Int2),
                pg_sys::INT4ARRAYOID => Self::Array(Element::Int4),
                pg_sys::INT8ARRAYOID => Self::Array(Element::Int8),
                pg_sys::FLOAT4ARRAYOID => Self::Array(Element::Float4),
                pg_sys::FLOAT8ARRAYOID => Self::Array(Element::Float8),
                pg_sys::NUMERICARRAYOID => Self::Array(Element::Numeric),
                _ if pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_ENUM => Self::Enum,
                _ => {
                    let (mut category, mut preferred) = (0, false);
                    pg_sys::get_type_category_preferred(base, &mut category, &mut preferred);
                    let string = category as u8 == pg_sys::TYPCATEGORY_STRING
                        && pg_sys::get_typlen(base) == -1;
                    if string { Self::Text } else { Self::Other }
                }
            }
        }
    }

    pub fn is_whole_number(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    pub fn is_number(self) -> bool {
        self.is_whole_number() || matches!(self, Self::Float4 | Self::Float8 | Self::Numeric)
    }

    pub fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::TimestampTz)
    }

    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Bpchar | Self::Name | Self::Enum | Self::Uuid
        )
    }
}

/// A number, a boolean (0 or 1), or a time in days since 1970-01-01; NaN where the value is missing or infinite.
///
/// # Safety
/// `datum` is a value of type `kind`, not null.
#[inline]
pub unsafe fn number(kind: Type, datum: pg_sys::Datum) -> f64 {
    let value = match kind {
        Type::Int4 => f64::from(datum.value() as i32),
        Type::Float8 => f64::from_bits(datum.value() as u64),
        Type::Float4 => f64::from(f32::from_bits(datum.value() as u32)),
        Type::Int8 => datum.value() as i64 as f64,
        Type::Int2 => f64::from(datum.value() as i16),
        Type::Bool => f64::from(u8::from(datum.value() as u8 != 0)),
        // SAFETY: a numeric, as the caller promises.
        Type::Numeric => numeric::to_f64(unsafe { varlena(datum) }),
        Type::Date => match datum.value() as i32 {
            i32::MIN | i32::MAX => f64::NAN,
            days => f64::from(days) + EPOCH,
        },
        Type::Timestamp | Type::TimestampTz => match datum.value() as i64 {
            i64::MIN | i64::MAX => f64::NAN,
            microseconds => microseconds as f64 / MICROSECONDS_PER_DAY + EPOCH,
        },
        _ => f64::NAN,
    };
    // The model computes in single precision: what does not fit counts as infinite.
    if (value as f32).is_finite() {
        value
    } else {
        f64::NAN
    }
}

/// # Safety
/// `datum` is a varlena; the slice must not outlive the row nor the current memory context.
unsafe fn varlena<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: as the caller promises; the detoasted copy lies in the current memory context.
    unsafe {
        let unpacked = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(unpacked).cast(),
            pgrx::varlena::varsize_any_exhdr(unpacked),
        )
    }
}

/// The text of a value in UTF-8, handed to `use_it` without a copy where the type allows that.
///
/// # Safety
/// `datum` is a value of type `kind` (of the SQL type `oid`), not null.
pub unsafe fn with_text<T>(
    kind: Type,
    oid: pg_sys::Oid,
    datum: pg_sys::Datum,
    use_it: impl FnOnce(&str) -> T,
) -> T {
    match kind {
        // SAFETY: a varlena, as the caller promises.
        Type::Text => use_it(&utf8(unsafe { varlena(datum) })),
        // SAFETY: as above.
        Type::Bpchar => use_it(utf8(unsafe { varlena(datum) }).trim_end_matches(' ')),
        Type::Bool => use_it(if datum.value() as u8 != 0 {
            "true"
        } else {
            "false"
        }),
        Type::Int2 | Type::Int4 | Type::Int8 => {
            let value = match kind {
                Type::Int2 => i64::from(datum.value() as i16),
                Type::Int4 => i64::from(datum.value() as i32),
                _ => datum.value() as i64,
            };
            // Not a String, whose memory is asked for: each row has an id.
            let mut digits = [0; LONGEST_INTEGER];
            let mut rest = digits.as_mut_slice();
            let _ = std::io::Write::write_fmt(&mut rest, format_args!("{value}"));
            let length = LONGEST_INTEGER - rest.len();
            use_it(&utf8(&digits[..length]))
        }
        Type::Uuid => {
            let mut buffer = String::with_capacity(36);
            // SAFETY: sixteen bytes.
            let bytes = unsafe { &*datum.cast_mut_ptr::<[u8; 16]>() };
            for (index, byte) in bytes.iter().enumerate() {
                let _ = write!(
                    buffer,
                    "{}{byte:02x}",
                    if matches!(index, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    }
                );
            }
            use_it(&buffer)
        }
        // SAFETY: calls the type's own output function; the result lies in the current memory context.
        _ => unsafe {
            let (mut function, mut is_varlena) = (pg_sys::InvalidOid, false);
            pg_sys::getTypeOutputInfo(oid, &mut function, &mut is_varlena);
            let text = pg_sys::OidOutputFunctionCall(function, datum);
            use_it(&utf8(CStr::from_ptr(text).to_bytes()))
        },
    }
}

/// From the database's encoding. What is not valid in it becomes a replacement character.
fn utf8(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    // SAFETY: a constant of the database.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if encoding == pg_sys::pg_enc::PG_UTF8 as i32
        || encoding == pg_sys::pg_enc::PG_SQL_ASCII as i32
        || bytes.is_ascii()
    {
        return String::from_utf8_lossy(bytes);
    }
    // SAFETY: the source is copied; the result is NUL-terminated in the current memory context.
    unsafe {
        let copy = std::ffi::CString::new(bytes).unwrap_or_default();
        let converted = pg_sys::pg_server_to_any(
            copy.as_ptr(),
            bytes.len() as i32,
            pg_sys::pg_enc::PG_UTF8 as i32,
        );
        String::from_utf8_lossy(CStr::from_ptr(converted).to_bytes())
            .into_owned()
            .into()
    }
}

/// The shape of an array: `[len]`, or `[steps, channels]`, or nothing where it is empty.
///
/// # Safety
/// `array` points to an array that is not compressed.
pub unsafe fn dimensions<'a>(array: *mut pg_sys::ArrayType) -> &'a [i32] {
    // SAFETY: the dimensions follow the header.
    unsafe { std::slice::from_raw_parts(array.add(1).cast::<i32>(), (*array).ndim.max(0) as usize) }
}

/// # Safety
/// `datum` is an array, not null.
pub unsafe fn array(datum: pg_sys::Datum) -> *mut pg_sys::ArrayType {
    // SAFETY: as the caller promises; a copy lies in the current memory context.
    unsafe { pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast() }
}

/// Appends all elements, row by row; NaN for NULL and infinities.
///
/// # Safety
/// `array` is an array whose elements have type `element`.
pub unsafe fn elements(array: *mut pg_sys::ArrayType, element: Element, into: &mut Vec<f32>) {
    // SAFETY: lengths and offsets are those of the array's own header.
    unsafe {
        let count: usize = dimensions(array).iter().map(|n| *n as usize).product();
        if (*array).ndim == 0 || count == 0 {
            return;
        }
        if (*array).dataoffset != 0 || element == Element::Numeric {
            return elements_one_by_one(array, element, into);
        }
        let header = std::mem::size_of::<pg_sys::ArrayType>() + 8 * (*array).ndim as usize;
        let data = array
            .cast::<u8>()
            .add(header.next_multiple_of(pg_sys::MAXIMUM_ALIGNOF as usize));
        let finite = |value: f32| if value.is_finite() { value } else { f32::NAN };
        match element {
            Element::Float4 => into.extend(
                std::slice::from_raw_parts(data.cast::<f32>(), count)
                    .iter()
                    .map(|v| finite(*v)),
            ),
            Element::Float8 => {
                into.extend(
                    std::slice::from_raw_parts(data.cast::<f64>(), count)
                        .iter()
                        .map(|v| finite(*v as f32)),
                );
            }
            Element::Int2 => into.extend(
                std::slice::from_raw_parts(data.cast::<i16>(), count)
                    .iter()
                    .map(|v| f32::from(*v)),
            ),
            Element::Int4 => into.extend(
                std::slice::from_raw_parts(data.cast::<i32>(), count)
                    .iter()
                    .map(|v| *v as f32),
            ),
            Element::Int8 => into.extend(
                std::slice::from_raw_parts(data.cast::<i64>(), count)
                    .iter()
                    .map(|v| *v as f32),
            ),
            Element::Numeric => {}
        }
    }
}

/// # Safety
/// As for [`elements`].
unsafe fn elements_one_by_one(
    array: *mut pg_sys::ArrayType,
    element: Element,
    into: &mut Vec<f32>,
) {
    let (oid, length, by_value, align, kind) = match element {
        Element::Int2 => (pg_sys::INT2OID, 2, true, b's', Type::Int2),
        Element::Int4 => (pg_sys::INT4OID, 4, true, b'i', Type::Int4),
        Element::Int8 => (pg_sys::INT8OID, 8, true, b'd', Type::Int8),
        Element::Float4 => (pg_sys::FLOAT4OID, 4, true, b'i', Type::Float4),
        Element::Float8 => (pg_sys::FLOAT8OID, 8, true, b'd', Type::Float8),
        Element::Numeric => (pg_sys::NUMERICOID, -1, false, b'i', Type::Numeric),
    };
    // SAFETY: the element type's own layout; results lie in the current memory context.
    unsafe {
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            oid,
            length,
            by_value,
            align as _,
            &mut values,
            &mut nulls,
            &mut count,
        );
        for index in 0..count as usize {
            into.push(if *nulls.add(index) {
                f32::NAN
            } else {
                number(kind, *values.add(index)) as f32
            });
        }
    }
}
