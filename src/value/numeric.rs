//! `numeric` -> `f64` without a call into the server.
//!
//! The stored form: a header of two or four bytes, then digits of base 10000, two bytes each, the first of which
//! has the weight given in the header. It has been the same since PostgreSQL 9.1.

use std::fmt::Write;

const SIGN_MASK: u16 = 0xc000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xc000;

/// Up to here a whole number is an exact `f64`.
const EXACT: u64 = 1 << 53;

/// Powers of 10000 that are exact, too.
const POWERS: [f64; 6] = [1.0, 1e4, 1e8, 1e12, 1e16, 1e20];

/// The value whose bytes, after the varlena header, are `content`: the nearest double, as PostgreSQL's own cast
/// gives it. NaN for NaN and infinities.
pub fn to_f64(content: &[u8]) -> f64 {
    let word = |at: usize| match content.get(at..at + 2) {
        Some(&[a, b]) => u16::from_ne_bytes([a, b]),
        _ => 0,
    };
    let header = word(0);
    let (negative, weight, start) = match header & SIGN_MASK {
        SPECIAL => return f64::NAN,
        SHORT => {
            // A seven-bit weight in two's complement.
            let weight = i32::from(header & 0x3f) - if header & 0x40 != 0 { 0x40 } else { 0 };
            (header & 0x2000 != 0, weight, 2)
        }
        sign => (sign == NEGATIVE, i32::from(word(2) as i16), 4),
    };
    let count = content.len().saturating_sub(start) / 2;
    let digits = (0..count).map(|i| word(start + 2 * i));
    // What the last digit is a multiple of, as a power of 10000.
    let power = weight + 1 - count as i32;
    let magnitude = quickly(digits.clone(), power).unwrap_or_else(|| carefully(digits, power));
    if negative { -magnitude } else { magnitude }
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
