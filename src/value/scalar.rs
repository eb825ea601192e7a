//! One SQL value -> a number or a text.

use super::{numeric, scratch, varlena};
use crate::text;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt::Write;

/// How a type is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Money,
    Interval,
    Date,
    /// Microseconds since 2000-01-01.
    Timestamp,
    /// The same in UTC.
    TimestampTz,
    Text,
    /// Blank-padded: trailing blanks do not count.
    Bpchar,
    Name,
    Enum,
    Uuid,
    /// A string type of an extension, by its output function.
    String(pg_sys::Oid),
    /// Any other type, by its output function: for ids.
    Other(pg_sys::Oid),
}

/// 2000-01-01 in days since 1970-01-01.
const EPOCH_DAYS: f64 = 10_957.0;
const MICROSECONDS_PER_DAY: f64 = 86_400e6;
/// As `extract(epoch FROM interval)` has it.
const DAYS_PER_YEAR: f64 = 365.25;
const DAYS_PER_MONTH: f64 = 30.0;

impl Scalar {
    /// `type_oid`: of an existing type; a domain is what it is over.
    pub fn of(type_oid: pg_sys::Oid) -> Self {
        // SAFETY: looks a type up in the system catalog.
        match unsafe { pg_sys::getBaseType(type_oid) } {
            pg_sys::BOOLOID => Self::Bool,
            pg_sys::INT2OID => Self::Int2,
            pg_sys::INT4OID => Self::Int4,
            pg_sys::INT8OID => Self::Int8,
            pg_sys::FLOAT4OID => Self::Float4,
            pg_sys::FLOAT8OID => Self::Float8,
            pg_sys::NUMERICOID => Self::Numeric,
            pg_sys::MONEYOID => Self::Money,
            pg_sys::INTERVALOID => Self::Interval,
            pg_sys::DATEOID => Self::Date,
            pg_sys::TIMESTAMPOID => Self::Timestamp,
            pg_sys::TIMESTAMPTZOID => Self::TimestampTz,
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Self::Text,
            pg_sys::BPCHAROID => Self::Bpchar,
            pg_sys::NAMEOID => Self::Name,
            pg_sys::UUIDOID => Self::Uuid,
            other => Self::by_category(other),
        }
    }

    fn by_category(base: pg_sys::Oid) -> Self {
        let (mut category, mut is_preferred) = (0, false);
        // SAFETY: looks an existing type up in the system catalog.
        unsafe {
            if pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_ENUM {
                return Self::Enum;
            }
            pg_sys::get_type_category_preferred(base, &mut category, &mut is_preferred);
            if category as u8 == pg_sys::TYPCATEGORY_STRING && pg_sys::get_typlen(base) == -1 {
                Self::String(output_function(base))
            } else {
                Self::Other(output_function(base))
            }
        }
    }

    /// Whether it is a number in the sense of a model: [`Scalar::number`] can read it, and it is no time.
    pub fn is_number(self) -> bool {
        self.is_whole_number()
            || matches!(
                self,
                Self::Bool
                    | Self::Float4
                    | Self::Float8
                    | Self::Numeric
                    | Self::Money
                    | Self::Interval
            )
    }

    pub fn is_whole_number(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8)
    }

    /// Whether [`Scalar::number`] reads it as days since 1970-01-01.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::TimestampTz)
    }

    /// Whether it is a category unless somebody says otherwise.
    pub fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Bpchar | Self::Name | Self::Enum | Self::Uuid | Self::String(_)
        )
    }

    /// A number, or a time in days since 1970-01-01; NaN where it is missing.
    ///
    /// # Safety
    /// `datum` is a value of the type, and not NULL.
    #[inline]
    pub unsafe fn number(self, datum: pg_sys::Datum) -> f32 {
        match self {
            Self::Float4 => finite(f32::from_bits(datum.value() as u32)),
            // SAFETY: as the caller promises.
            _ => finite(unsafe { self.double(datum) } as f32),
        }
    }

    /// The same before it is put into single precision; an infinity of a floating-point type is still one.
    ///
    /// # Safety
    /// `datum` is a value of the type, and not NULL.
    #[inline]
    pub unsafe fn double(self, datum: pg_sys::Datum) -> f64 {
        let bits = datum.value();
        match self {
            Self::Bool => f64::from(u8::from(bits as u8 != 0)),
            Self::Int2 => f64::from(bits as i16),
            Self::Int4 => f64::from(bits as i32),
            Self::Int8 => bits as i64 as f64,
            Self::Float4 => f64::from(f32::from_bits(bits as u32)),
            Self::Float8 => f64::from_bits(bits as u64),
            // SAFETY: as the caller promises.
            Self::Numeric => numeric::to_f64(unsafe { varlena::content(datum, false) }),
            Self::Date => match bits as i32 {
                i32::MIN | i32::MAX => f64::NAN,
                days => f64::from(days) + EPOCH_DAYS,
            },
            Self::Timestamp | Self::TimestampTz => match bits as i64 {
                i64::MIN | i64::MAX => f64::NAN,
                microseconds => microseconds as f64 / MICROSECONDS_PER_DAY + EPOCH_DAYS,
            },
            Self::Money => bits as i64 as f64 / money_unit(),
            // SAFETY: as the caller promises.
            Self::Interval => interval_days(unsafe { &*datum.cast_mut_ptr::<pg_sys::Interval>() }),
            _ => f64::NAN,
        }
    }

    /// The text of a value, as `::text` gives it. `buffer` is used where the text does not lie there already.
    ///
    /// # Safety
    /// `datum` is a value of the type, and not NULL; it and the scratch context outlive the use of the result.
    pub unsafe fn text(self, datum: pg_sys::Datum, buffer: &mut String) -> &str {
        // SAFETY: as the caller promises.
        unsafe { self.written(datum, buffer, |text| text, text::utf8) }
    }

    /// The same without a look at each character: UTF-8, unless a page of a database in UTF-8 is damaged.
    ///
    /// # Safety
    /// See [`Scalar::text`].
    pub unsafe fn category(self, datum: pg_sys::Datum, buffer: &mut String) -> &[u8] {
        // SAFETY: as the caller promises.
        unsafe { self.written(datum, buffer, str::as_bytes, text::utf8_bytes) }
    }

    /// Hands over a text that is ours, or one in the encoding of the database.
    ///
    /// # Safety
    /// See [`Scalar::text`].
    #[inline]
    unsafe fn written<'a, T>(
        self,
        datum: pg_sys::Datum,
        buffer: &'a mut String,
        ours: impl FnOnce(&'a str) -> T,
        servers: impl FnOnce(&'a [u8], &'a mut String) -> T,
    ) -> T {
        let bits = datum.value();
        // SAFETY: as the caller promises, for all that follows.
        let bytes: &[u8] = unsafe {
            match self {
                Self::Text => varlena::content(datum, false),
                Self::Bpchar => {
                    let text: &[u8] = varlena::content(datum, false);
                    let end = text.iter().rposition(|&b| b != b' ').map_or(0, |i| i + 1);
                    &text[..end]
                }
                Self::Name => CStr::from_ptr(datum.cast_mut_ptr()).to_bytes(),
                Self::Bool if bits as u8 != 0 => return ours("true"),
                Self::Bool => return ours("false"),
                Self::Int2 => return ours(written(bits as i16, buffer)),
                Self::Int4 => return ours(written(bits as i32, buffer)),
                Self::Int8 => return ours(written(bits as i64, buffer)),
                Self::Uuid => {
                    let bytes = datum.cast_mut_ptr::<[u8; 16]>().read_unaligned();
                    return ours(uuid(bytes, buffer));
                }
                Self::Enum => output(pg_sys::F_ENUM_OUT, datum),
                Self::Numeric => output(pg_sys::F_NUMERIC_OUT, datum),
                Self::Float4 => output(pg_sys::F_FLOAT4OUT, datum),
                Self::Float8 => output(pg_sys::F_FLOAT8OUT, datum),
                Self::Money => output(pg_sys::F_CASH_OUT, datum),
                Self::Interval => output(pg_sys::F_INTERVAL_OUT, datum),
                Self::Date => output(pg_sys::F_DATE_OUT, datum),
                Self::Timestamp => output(pg_sys::F_TIMESTAMP_OUT, datum),
                Self::TimestampTz => output(pg_sys::F_TIMESTAMPTZ_OUT, datum),
                Self::String(function) | Self::Other(function) => output(function, datum),
            }
        };
        servers(bytes, buffer)
    }
}

impl Scalar {
    /// The number of a value of this type that is written as text: money and intervals. PostgreSQL raises an error where
    /// the text is none.
    pub fn parse(self, written: &str) -> Option<f64> {
        let function = match self {
            Self::Money => pg_sys::F_CASH_IN,
            Self::Interval => pg_sys::F_INTERVAL_IN,
            _ => return None,
        };
        let written = text::to_c(written).ok()?;
        // SAFETY: the input function of the type, whose result lies in the scratch context.
        unsafe {
            let datum = scratch::within(|| {
                pg_sys::OidInputFunctionCall(
                    function.into(),
                    written.as_ptr().cast_mut(),
                    pg_sys::InvalidOid,
                    -1,
                )
            });
            Some(self.double(datum))
        }
    }
}

fn written(value: impl std::fmt::Display, buffer: &mut String) -> &str {
    buffer.clear();
    // Writing into a String cannot fail.
    let _ = write!(buffer, "{value}");
    buffer
}

fn uuid(bytes: [u8; 16], buffer: &mut String) -> &str {
    buffer.clear();
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            buffer.push('-');
        }
        let _ = write!(buffer, "{byte:02x}");
    }
    buffer
}

fn output_function(type_oid: pg_sys::Oid) -> pg_sys::Oid {
    let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
    // SAFETY: looks an existing type up in the system catalog.
    unsafe { pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut is_varlena) };
    output
}

/// The result of an output function, in the scratch context.
///
/// # Safety
/// `function` is the output function of the type of `datum`.
unsafe fn output<'a>(function: impl Into<pg_sys::Oid>, datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: as the caller promises.
    unsafe {
        let text = scratch::within(|| pg_sys::OidOutputFunctionCall(function.into(), datum));
        CStr::from_ptr(text).to_bytes()
    }
}

#[inline(never)]
fn interval_days(interval: &pg_sys::Interval) -> f64 {
    let pg_sys::Interval { time, day, month } = *interval;
    // Infinite intervals, which PostgreSQL 17 brought, are extreme in all three.
    match (month, day, time) {
        (i32::MIN, i32::MIN, i64::MIN) | (i32::MAX, i32::MAX, i64::MAX) => f64::NAN,
        _ => {
            f64::from(month / 12) * DAYS_PER_YEAR
                + f64::from(month % 12) * DAYS_PER_MONTH
                + f64::from(day)
                + time as f64 / MICROSECONDS_PER_DAY
        }
    }
}

thread_local! {
    /// A value of `lc_monetary` and how many units of money are 1 there.
    static MONEY: RefCell<(Vec<u8>, f64)> = const { RefCell::new((Vec::new(), 0.0)) };
}

/// How many of the units that money is stored in are an amount of 1: 100, unless `lc_monetary` says otherwise.
#[inline(never)]
fn money_unit() -> f64 {
    // SAFETY: a setting, which has a value in every backend.
    let locale = unsafe { CStr::from_ptr(pg_sys::locale_monetary) }.to_bytes();
    let known = MONEY.with_borrow(|(of, unit)| (*unit > 0.0 && of == locale).then_some(*unit));
    known.unwrap_or_else(|| {
        const UNITS: f64 = 1e10;
        // SAFETY: a function of one value of type money, passed by value; the numeric lies in the scratch context.
        let amount = unsafe {
            let numeric = scratch::within(|| {
                let units = pg_sys::Datum::from(UNITS as i64);
                pg_sys::OidFunctionCall1Coll(
                    pg_sys::F_NUMERIC_MONEY.into(),
                    pg_sys::InvalidOid,
                    units,
                )
            });
            numeric::to_f64(varlena::content(numeric, false))
        };
        let unit = (UNITS / amount).round().max(1.0);
        MONEY.set((locale.to_vec(), unit));
        unit
    })
}

/// NaN and infinities are missing values.
#[inline]
pub fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { f32::NAN }
}
