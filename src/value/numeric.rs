//! `numeric` -> `f64` and exact decimals without a call into the server.
//!
//! The stored form: a header of two or four bytes, then digits of base 10000, two bytes each, the first of which
//! has the weight given in the header. It has been the same since PostgreSQL 9.1.

use ltv_core::features::decimal::Decimal;
use std::fmt::Write;

const SIGN_MASK: u16 = 0xc000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xc000;

/// Up to here a whole number is an exact `f64`.
const EXACT: u64 = 1 << 53;

/// Powers of 10000 that are exact, too.
const POWERS: [f64; 6] = [1.0, 1e4, 1e8, 1e12, 1e16, 1e20];

/// The digits of a finite value.
struct Digits<'a> {
    negative: bool,
    /// What the last digit is a multiple of, as a power of 10000.
    power: i32,
    bytes: &'a [u8],
}

impl Digits<'_> {
    fn iter(&self) -> impl ExactSizeIterator<Item = u16> + Clone {
        let pairs = self.bytes.as_chunks::<2>().0.iter();
        pairs.map(|&pair| u16::from_ne_bytes(pair))
    }
}

/// The stored form whose bytes, after the varlena header, are `content`; `None` for NaN and infinities.
#[inline]
fn digits(content: &[u8]) -> Option<Digits<'_>> {
    let word = |at: usize| match content.get(at..at + 2) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => 0,
    };
    let header = word(0);
    let (negative, weight, start) = match header & SIGN_MASK {
        SPECIAL => return None,
        SHORT => {
            // A seven-bit weight in two's complement.
            let weight = i32::from(header & 0x3f) - if header & 0x40 != 0 { 0x40 } else { 0 };
            (header & 0x2000 != 0, weight, 2)
        }
        sign => (sign == NEGATIVE, i32::from(word(2) as i16), 4),
    };
    let bytes = content.get(start..).unwrap_or_default();
    Some(Digits {
        negative,
        power: weight + 1 - (bytes.len() / 2) as i32,
        bytes,
    })
}

/// The nearest double, as PostgreSQL's own cast gives it. NaN for NaN and infinities.
pub fn to_f64(content: &[u8]) -> f64 {
    let Some(found) = digits(content) else {
        return f64::NAN;
    };
    let magnitude =
        quickly(found.iter(), found.power).unwrap_or_else(|| carefully(found.iter(), found.power));
    if found.negative {
        -magnitude
    } else {
        magnitude
    }
}

/// What a number is, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    Number(Decimal),
    /// NaN or an infinity.
    NotFinite,
    /// It has more digits before the decimal point than a [`Decimal`] may have.
    TooLarge,
}

impl From<Option<Decimal>> for Exact {
    fn from(decimal: Option<Decimal>) -> Self {
        decimal.map_or(Self::TooLarge, Self::Number)
    }
}

/// The value itself.
pub fn to_exact(content: &[u8]) -> Exact {
    let Some(found) = digits(content) else {
        return Exact::NotFinite;
    };
    // Four digits of base 10000 fit into a word. Behind those that fit into two are only digits to round by.
    let (mut whole, mut power) = (0_i128, found.power);
    let length = found.iter().len();
    if length <= 4 {
        let digits = (found.iter()).fold(0_i64, |whole, digit| whole * 10_000 + i64::from(digit));
        whole = digits.into();
    } else {
        for (read, digit) in found.iter().enumerate() {
            let more = whole.checked_mul(10_000);
            let Some(more) = more.and_then(|more| more.checked_add(digit.into())) else {
                power += (length - read) as i32;
                break;
            };
            whole = more;
        }
    }
    let mantissa = if found.negative { -whole } else { whole };
    Decimal::new(mantissa, 4 * power).into()
}

/// Both operands exact, so that one rounding gives the nearest double.
fn quickly(digits: impl Iterator<Item = u16>, power: i32) -> Option<f64> {
    let mut whole: u64 = 0;
    for digit in digits {
        whole = whole.checked_mul(10_000)?.checked_add(u64::from(digit))?;
    }
    if whole > EXACT {
        return None;
    }
    let factor = *POWERS.get(power.unsigned_abs() as usize)?;
    Some(if power < 0 {
        whole as f64 / factor
    } else {
        whole as f64 * factor
    })
}

/// Through text, which is always rounded right.
fn carefully(digits: impl Iterator<Item = u16>, power: i32) -> f64 {
    let mut text = String::with_capacity(4 * digits.size_hint().0 + 8);
    for digit in digits {
        let _ = write!(text, "{digit:04}");
    }
    let _ = write!(text, "e{}", 4 * power);
    text.parse().unwrap_or(f64::NAN)
}
