//! Values of variable length, read in place: headers may be short (one byte) and are then unaligned.

use super::scratch;
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

/// The content of a value that is neither compressed nor stored elsewhere; `None` for others.
///
/// # Safety
/// `datum` points to a varlena that outlives the use of the result.
#[inline]
pub unsafe fn in_place<'a>(datum: pg_sys::Datum) -> Option<&'a [u8]> {
    // SAFETY: as the caller promises.
    unsafe { plain(datum.cast_mut_ptr()) }.map(|(content, _)| content)
}

/// The content of a value that is neither compressed nor stored elsewhere, and whether its header is short.
///
/// # Safety
/// `pointer` points to a varlena.
#[inline]
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

/// Whether a value lies there as it is, with a long header, hence aligned.
///
/// # Safety
/// `datum` points to a varlena.
#[inline]
pub unsafe fn is_whole(datum: pg_sys::Datum) -> bool {
    // SAFETY: as the caller promises.
    unsafe { plain(datum.cast_mut_ptr()) }.is_some_and(|(_, short)| !short)
}

/// Size with header of a value with a long header.
///
/// # Safety
/// `pointer` points to such a varlena.
#[inline]
pub unsafe fn whole_size(pointer: *const u8) -> u32 {
    // SAFETY: as the caller promises.
    let word = unsafe { pointer.cast::<u32>().read_unaligned() };
    if cfg!(target_endian = "little") {
        word >> 2
    } else {
        word & 0x3fff_ffff
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

/// The content of a value, detoasted into the current memory context where it is compressed or stored elsewhere.
///
/// # Safety
/// `datum` points to a varlena that outlives the use of the result, as the current memory context does.
pub unsafe fn detoasted<'a>(datum: pg_sys::Datum) -> &'a [u8] {
    // SAFETY: as the caller promises.
    unsafe {
        let unpacked = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        plain(unpacked.cast::<u8>()).map_or(&[], |(content, _)| content)
    }
}

/// A text or bytea in the current memory context.
pub fn of_bytes(content: &[u8]) -> pg_sys::Datum {
    // SAFETY: the content is copied.
    unsafe {
        pg_sys::cstring_to_text_with_len(content.as_ptr().cast(), content.len() as i32).into()
    }
}
