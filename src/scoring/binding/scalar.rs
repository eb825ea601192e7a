//! One SQL value -> a number or a category.

use super::varlena;
use crate::scoring::scratch;
use pgrx::pg_sys;
use std::ffi::CStr;

/// How a base type is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Date,
    /// With or without time zone: both count microseconds since 2000-01-01, the former in UTC.
    Timestamp,
    Text,
    /// Blank-padded: trailing blanks do not count.
    Bpchar,
    Name,
    Enum,
    Uuid,
    /// Any other type, by its output function.
    Other(pg_sys::Oid),
}

/// 2000-01-01 in days since 1970-01-01.
const EPOCH_DAYS: f64 = 10_957.0;
const MICROSECONDS_PER_DAY: f64 = 86_400e6;

impl Scalar {
    /// `type_oid`: not a domain.
    pub fn of(type_oid: pg_sys::Oid) -> Self {
        match type_oid {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMESTAMPOID | pg_sys::TIMESTAMPTZOID => Self::Timestamp,
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Self::Text,
            pg_sys::BPCHAROID => Self::Bpchar,
            pg_sys::NAMEOID => Self::Name,
            pg_sys::UUIDOID => Self::Uuid,
            other => {
                let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
                // SAFETY: an OID of an existing type.
                unsafe {
                    if pg_sys::get_typtype(other) as u8 == pg_sys::TYPTYPE_ENUM {
                        return Self::Enum;
                    }
                    pg_sys::getTypeOutputInfo(other, &mut output, &mut is_varlena);
                }
                Self::Other(output)
            }
        }
    }

    /// Whether [`Scalar::number`] can read it.
    pub fn is_number(self) -> bool {
        matches!(
            self,
            Self::Bool
                | Self::Int2
                | Self::Int4
                | Self::Int8
                | Self::Float4
                | Self::Float8
                | Self::Numeric
        )
    }

    /// Whether [`Scalar::days`] can read it.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp)
    }

    /// A number; NaN for what is not finite.
    ///
    /// # Safety
    /// `datum` is a value of the type, and not NULL.
    #[inline]
    pub unsafe fn number(self, datum: pg_sys::Datum) -> f32 {
        let bits = datum.value();
        let value = match self {
            Self::Bool => f64::from(u8::from(bits as u8 != 0)),
            Self::Int2 => f64::from(bits as i16),
            Self::Int4 => f64::from(bits as i32),
            Self::Int8 => bits as i64 as f64,
            Self::Float4 => return finite(f32::from_bits(bits as u32)),
            Self::Float8 => f64::from_bits(bits as u64),
            // SAFETY: as the caller promises.
            Self::Numeric => crate::numeric::to_f64(unsafe { varlena::content(datum, false) }),
            Self::Date | Self::Timestamp => self.days_f64(datum),
            _ => f64::NAN,
        };
        finite(value as f32)
    }

    /// Days since 1970-01-01; NaN for infinity.
    #[inline]
    pub fn days(self, datum: pg_sys::Datum) -> f32 {
        finite(self.days_f64(datum) as f32)
    }

    fn days_f64(self, datum: pg_sys::Datum) -> f64 {
        let bits = datum.value();
        match self {
            Self::Date => match bits as i32 {
                i32::MIN | i32::MAX => f64::NAN,
                days => f64::from(days) + EPOCH_DAYS,
            },
            Self::Timestamp => match bits as i64 {
                i64::MIN | i64::MAX => f64::NAN,
                microseconds => microseconds as f64 / MICROSECONDS_PER_DAY + EPOCH_DAYS,
            },
            _ => f64::NAN,
        }
    }

    /// The text of a category, as `::text` gives it, except that booleans are `true` and `false` (as in JSON and
    /// in the graph). `buffer` is used where the text does not lie there already.
    ///
    /// # Safety
    /// `datum` is a value of the type, and not NULL; it and the scratch context outlive the use of the result.
    pub unsafe fn text(self, datum: pg_sys::Datum, buffer: &mut Vec<u8>) -> &[u8] {
        use std::io::Write;
        buffer.clear();
        let bits = datum.value();
        // Writing into a Vec cannot fail.
        let _ = match self {
            // SAFETY: as the caller promises.
            Self::Text => return unsafe { varlena::content(datum, false) },
            Self::Bpchar => {
                // SAFETY: as the caller promises.
                let text: &[u8] = unsafe { varlena::content(datum, false) };
                let end = text.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1);
                return &text[..end];
            }
            // SAFETY: a Datum of type name points to its NUL-terminated characters.
            Self::Name => return unsafe { CStr::from_ptr(datum.cast_mut_ptr()) }.to_bytes(),
            Self::Bool => write!(buffer, "{}", bits as u8 != 0),
            Self::Int2 => write!(buffer, "{}", bits as i16),
            Self::Int4 => write!(buffer, "{}", bits as i32),
            Self::Int8 => write!(buffer, "{}", bits as i64),
            Self::Uuid => {
                // SAFETY: a Datum of type uuid points to 16 bytes.
                let bytes = unsafe { datum.cast_mut_ptr::<[u8; 16]>().read_unaligned() };
                for (i, byte) in bytes.iter().enumerate() {
                    if matches!(i, 4 | 6 | 8 | 10) {
                        buffer.push(b'-');
                    }
                    let _ = write!(buffer, "{byte:02x}");
                }
                Ok(())
            }
            Self::Enum | Self::Numeric | Self::Float4 | Self::Float8 => {
                let function = match self {
                    Self::Enum => pg_sys::F_ENUM_OUT,
                    Self::Numeric => pg_sys::F_NUMERIC_OUT,
                    Self::Float4 => pg_sys::F_FLOAT4OUT,
                    _ => pg_sys::F_FLOAT8OUT,
                };
                // SAFETY: as the caller promises; the output function of the type.
                return unsafe { output(pg_sys::Oid::from(function), datum) };
            }
            Self::Date | Self::Timestamp => {
                write!(buffer, "{}", self.days_f64(datum))
            }
            // SAFETY: as above.
            Self::Other(function) => return unsafe { output(function, datum) },
        };
        buffer
    }
}

/// The result of an output function, in the scratch context.
///
/// # Safety
/// `function` is the output function of the type of `datum`.
unsafe fn output<'a>(function: pg_sys::Oid, datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: as the caller promises.
    unsafe {
        let text = scratch::within(|| pg_sys::OidOutputFunctionCall(function, datum));
        CStr::from_ptr(text).to_bytes()
    }
}

/// NaN and infinities are missing values.
#[inline]
pub fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { f32::NAN }
}
