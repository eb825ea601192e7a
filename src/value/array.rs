//! Arrays, read in place.

use super::scalar::{Scalar, finite};
use super::varlena;
use pgrx::pg_sys;
use std::convert::Infallible;

/// How arrays of one element type are read.
#[derive(Clone, Copy, Debug)]
pub struct ArrayReader {
    pub element: Scalar,
    length: i16,
    by_value: bool,
    align: usize,
}

/// PostgreSQL's MAXDIM.
const MOST_DIMENSIONS: usize = 6;

/// An array in memory.
pub struct ArrayView<'a> {
    lengths: [usize; MOST_DIMENSIONS],
    rank: usize,
    pub count: usize,
    /// One bit per element, 0 = NULL; `None`: no NULLs.
    present: Option<&'a [u8]>,
    data: &'a [u8],
}

/// A `float8[]`, allocated in the current memory context.
pub fn float8_array(values: &[f64]) -> pg_sys::Datum {
    let mut elements: Vec<pg_sys::Datum> = values
        .iter()
        .map(|value| pg_sys::Datum::from(value.to_bits()))
        .collect();
    // SAFETY: as many elements as it says, of a type that is passed by value and aligned like a double.
    unsafe {
        let array = pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as i32,
            pg_sys::FLOAT8OID,
            8,
            true,
            b'd' as std::ffi::c_char,
        );
        pg_sys::Datum::from(array)
    }
}

impl ArrayReader {
    /// `None`: not an array. `type_oid`: of an existing type; a domain is what it is over.
    pub fn of(type_oid: pg_sys::Oid) -> Option<Self> {
        // SAFETY: OIDs of existing types.
        unsafe {
            let element = pg_sys::get_element_type(pg_sys::getBaseType(type_oid));
            if element == pg_sys::InvalidOid {
                return None;
            }
            let (mut length, mut by_value, mut align) = (0, false, 0);
            pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
            Some(Self {
                element: Scalar::of(element),
                length,
                by_value,
                align: match align as u8 {
                    b'd' => 8,
                    b'i' => 4,
                    b's' => 2,
                    _ => 1,
                },
            })
        }
    }

    /// # Safety
    /// `datum` is an array of this element type that outlives the use of the result.
    pub unsafe fn view<'a>(&self, datum: pg_sys::Datum) -> ArrayView<'a> {
        // Elements by reference are handed to functions that expect them aligned.
        // SAFETY: as the caller promises.
        let body: &[u8] = unsafe { varlena::content(datum, !self.by_value) };
        let word = |at: usize| -> i32 {
            body.get(at..at + 4)
                .map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        };
        // Offsets in the header count from the length word, which `body` lacks.
        let rank = word(0).clamp(0, MOST_DIMENSIONS as i32) as usize;
        let mut lengths = [0; MOST_DIMENSIONS];
        for (d, length) in lengths[..rank].iter_mut().enumerate() {
            *length = word(12 + 4 * d).max(0) as usize;
        }
        let count = if rank == 0 {
            0
        } else {
            lengths[..rank].iter().product()
        };
        let header = 12 + 8 * rank;
        let (present, start) = match word(4) {
            0 => (None, (header + 4).next_multiple_of(8) - 4),
            offset => (body.get(header..), (offset as usize).saturating_sub(4)),
        };
        ArrayView {
            lengths,
            rank,
            count,
            present,
            data: body.get(start..).unwrap_or(&[]),
        }
    }

    /// Appends the elements of the commonest array there is, one-dimensional real[] of `count` elements without NULL that
    /// lies in the row as it is; whether it was one. It is what [`ArrayReader::view`] and [`ArrayReader::numbers`]
    /// would make of it.
    ///
    /// # Safety
    /// `datum` is an array of this element type.
    #[inline]
    pub unsafe fn append_plain(
        &self,
        datum: pg_sys::Datum,
        count: usize,
        out: &mut Vec<f32>,
    ) -> bool {
        if !matches!(self.element, Scalar::Float4) {
            return false;
        }
        // SAFETY: as the caller promises.
        let Some(body) = (unsafe { varlena::in_place(datum) }) else {
            return false;
        };
        // Rank, offset of the data (0: no NULLs), element type, length, lower bound; then, aligned as if behind a long
        // length word, the elements.
        let word = |at: usize| {
            body.get(at..at + 4)
                .map_or(-1, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        };
        if word(0) != 1 || word(4) != 0 || word(12) != count as i32 {
            return false;
        }
        let Some(data) = body.get(20..20 + 4 * count) else {
            return false;
        };
        out.extend(
            data.chunks_exact(4)
                .map(|b| finite(f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))),
        );
        true
    }

    /// Calls `each` with every element in turn, `None` for NULL.
    ///
    /// # Safety
    /// `view` is of an array of this element type.
    pub unsafe fn for_each<E>(
        &self,
        view: &ArrayView,
        mut each: impl FnMut(usize, Option<pg_sys::Datum>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut offset = 0_usize;
        for i in 0..view.count {
            if view.is_null(i) {
                each(i, None)?;
                continue;
            }
            offset = offset.next_multiple_of(self.align);
            // SAFETY: `offset` stays inside the array, which holds `count` elements less the NULLs.
            let datum = unsafe {
                let pointer = view.data.as_ptr().add(offset);
                offset += match self.length {
                    -1 => varlena::size_in_array(pointer),
                    -2 => std::ffi::CStr::from_ptr(pointer.cast())
                        .to_bytes_with_nul()
                        .len(),
                    length => length as usize,
                };
                if self.by_value {
                    self.fetch(pointer)
                } else {
                    pg_sys::Datum::from(pointer)
                }
            };
            each(i, Some(datum))?;
        }
        Ok(())
    }

    /// One element, counted from 0; `None` where it is NULL or there is none.
    ///
    /// # Safety
    /// `view` is of an array of this element type.
    pub unsafe fn element(&self, view: &ArrayView, index: usize) -> Option<pg_sys::Datum> {
        if index >= view.count || view.is_null(index) {
            return None;
        }
        if view.present.is_none() && self.by_value {
            let size = (self.length as usize).next_multiple_of(self.align);
            // SAFETY: inside the array, whose elements lie one behind the other.
            return Some(unsafe { self.fetch(view.data.as_ptr().add(index * size)) });
        }
        // SAFETY: as the caller promises.
        let passed = unsafe {
            self.for_each(view, |i, datum| match i == index {
                true => Err(datum),
                false => Ok(()),
            })
        };
        passed.err().flatten()
    }

    /// # Safety
    /// `pointer` points to an element, which is passed by value.
    unsafe fn fetch(&self, pointer: *const u8) -> pg_sys::Datum {
        // SAFETY: as the caller promises; unaligned where the array's header is short.
        unsafe {
            match self.length {
                1 => pg_sys::Datum::from(pointer.cast::<i8>().read_unaligned()),
                2 => pg_sys::Datum::from(pointer.cast::<i16>().read_unaligned()),
                4 => pg_sys::Datum::from(pointer.cast::<i32>().read_unaligned()),
                _ => pg_sys::Datum::from(pointer.cast::<i64>().read_unaligned()),
            }
        }
    }

    /// All elements as numbers; NaN where NULL or not finite. `out` is as long as the array.
    ///
    /// # Safety
    /// `view` is of an array of this element type, which is a number.
    pub unsafe fn numbers(&self, view: &ArrayView, out: &mut [f32]) {
        if view.present.is_none() {
            match self.element {
                Scalar::Float4 if view.data.len() >= 4 * out.len() => {
                    for (out, bytes) in out.iter_mut().zip(view.data.chunks_exact(4)) {
                        *out = finite(f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
                    }
                    return;
                }
                Scalar::Float8 if view.data.len() >= 8 * out.len() => {
                    for (out, bytes) in out.iter_mut().zip(view.data.chunks_exact(8)) {
                        let mut value = [0; 8];
                        value.copy_from_slice(bytes);
                        *out = finite(f64::from_ne_bytes(value) as f32);
                    }
                    return;
                }
                _ => {}
            }
        }
        // SAFETY: as the caller promises.
        let Ok(()) = unsafe {
            self.for_each(view, |i, datum| {
                if let Some(out) = out.get_mut(i) {
                    *out = datum.map_or(f32::NAN, |datum| self.element.number(datum));
                }
                Ok::<_, Infallible>(())
            })
        };
    }
}

impl ArrayView<'_> {
    /// The length of each dimension.
    pub fn dimensions(&self) -> &[usize] {
        &self.lengths[..self.rank]
    }

    fn is_null(&self, index: usize) -> bool {
        self.present
            .and_then(|bits| bits.get(index / 8))
            .is_some_and(|byte| byte & (1 << (index % 8)) == 0)
    }
}
