//! `numeric` -> `f64` without going through text.
//!
//! The stored form: a header of two or four bytes, then digits of base 10000, two bytes each, the first of which
//! has the weight given in the header. It has been the same since PostgreSQL 9.1.

const SIGN_MASK: u16 = 0xc000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xc000;

/// Up to here a whole number of base-10000 digits is an exact `f64`.
const EXACT: u64 = 1 << 53;

/// Powers of 10000 that are exact, too.
const POWERS: [f64; 6] = [1.0, 1e4, 1e8, 1e12, 1e16, 1e20];

/// The value of the bytes after the varlena header. NaN for NaN and the infinities; `None` where rounding twice
/// could give another result than PostgreSQL's own conversion.
pub fn to_f64(bytes: &[u8]) -> Option<f64> {
    let word = |at: usize| Some(u16::from_ne_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let header = word(0)?;
    let (negative, weight, digits) = match header & SIGN_MASK {
        SPECIAL => return Some(f64::NAN),
        SHORT => {
            // A seven-bit weight in two's complement.
            let weight = i32::from(header & 0x3f) - if header & 0x40 != 0 { 0x40 } else { 0 };
            (header & 0x2000 != 0, weight, 2)
        }
        sign => (sign == NEGATIVE, i32::from(word(2)? as i16), 4),
    };
    let mut whole: u64 = 0;
    let count = bytes.len().saturating_sub(digits) / 2;
    for digit in 0..count {
        whole = whole
            .checked_mul(10_000)?
            .checked_add(u64::from(word(digits + 2 * digit)?))?;
    }
    if whole > EXACT {
        return None;
    }
    // Both operands exact, so that one rounding gives the nearest double.
    let shift = weight + 1 - count as i32;
    let power = || POWERS.get(shift.unsigned_abs() as usize);
    let magnitude = match shift {
        _ if whole == 0 => 0.0,
        ..0 => whole as f64 / power()?,
        _ => whole as f64 * power()?,
    };
    Some(if negative { -magnitude } else { magnitude })
}
