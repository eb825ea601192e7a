//! Values of variable length, read in place: headers may be short (one byte) and are then unaligned.

use crate::scoring::scratch;
use pgrx::pg_sys;

/// The content of a value, detoasted into the scratch context where it is compressed or stored elsewhere.
/// With `aligned`, short values are copied as well, so that what is inside lies as its type wants it.
///
/// # Safety
/// `datum` points to a varlena that outlives the use of the result, as the scratch context does until the next row.
pub unsafe fn content<'a>(datum: pg_sys::Datum, aligned: bool) -> &'a [u8] {
    let pointer = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: as the caller promises.
    unsafe {
        match plain(pointer.cast::<u8>()) {
            Some((content, short)) if !(short && aligned) => content,
            _ => {
                let copy = scratch::within(|| pg_sys::pg_detoast_datum(pointer));
                plain(copy.cast::<u8>()).map_or(&[], |(content, _)| content)
            }
        }
    }
}

/// The content of a value that is neither compressed nor stored elsewhere, and whether its header is short.
///
/// # Safety
/// `pointer` points to a varlena.
unsafe fn plain<'a>(pointer: *const u8) -> Option<(&'a [u8], bool)> {
    // SAFETY: the header says how long the value is.
    unsafe {
        let first = *pointer;
        let (header, size) = if cfg!(target_endian = "little") {
            match first {
                0x01 => return None, // stored elsewhere
                b if b & 1 == 1 => (1, usize::from(b >> 1)),
                b if b & 2 == 2 => return None, // compressed
                _ => (4, (pointer.cast::<u32>().read_unaligned() >> 2) as usize),
            }
        } else {
            match first {
                0x80 => return None,
                b if b & 0x80 != 0 => (1, usize::from(b & 0x7f)),
                b if b & 0x40 != 0 => return None,
                _ => (
                    4,
                    (pointer.cast::<u32>().read_unaligned() & 0x3fff_ffff) as usize,
                ),
            }
        };
        Some((
            std::slice::from_raw_parts(pointer.add(header), size - header),
            header == 1,
        ))
    }
}

/// Size with header of a varlena that is not stored elsewhere, as elements of arrays are.
///
/// # Safety
/// `pointer` points to a varlena.
pub unsafe fn size_in_array(pointer: *const u8) -> usize {
    // SAFETY: as the caller promises.
    unsafe { pgrx::varlena::varsize_any(pointer.cast()) }
}

/// A `numeric` as a float; NaN and infinities come out as NaN. `content` is what follows the header.
///
/// The format is PostgreSQL's on-disk one (utils/adt/numeric.c): digits in base 10000 after a header that packs
/// sign, scale and weight into two or four bytes.
pub fn numeric_to_f64(content: &[u8]) -> f64 {
    let word = |at: usize| -> u16 {
        content
            .get(at..at + 2)
            .map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
    };
    let header = word(0);
    let (negative, weight, digits) = match header & 0xc000 {
        0xc000 => return f64::NAN,
        0x8000 => {
            let magnitude = i32::from(header & 0x003f);
            let weight = if header & 0x0040 != 0 {
                magnitude - 64
            } else {
                magnitude
            };
            (header & 0x2000 != 0, weight, 2)
        }
        sign => (sign == 0x4000, i32::from(word(2) as i16), 4),
    };
    let count = content.len().saturating_sub(digits) / 2;
    let mut mantissa = 0.0;
    for i in 0..count {
        mantissa = mantissa * 10_000.0 + f64::from(word(digits + 2 * i));
    }
    let exponent = weight - count as i32 + 1;
    let value = if exponent >= 0 {
        mantissa * 10_000_f64.powi(exponent)
    } else {
        mantissa / 10_000_f64.powi(-exponent)
    };
    if negative { -value } else { value }
}
