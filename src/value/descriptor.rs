//! Tuple descriptors of our own, and what is read from any.

use pgrx::pg_sys;
use std::ptr;

/// A private copy, freed when dropped.
pub struct Descriptor(pg_sys::TupleDesc);

impl Descriptor {
    /// Of an existing composite type, or of a registered record type.
    pub fn of_type(type_oid: pg_sys::Oid, typmod: i32) -> Self {
        // SAFETY: the type exists; the copy is freed in `drop`, which may come after the current context is gone.
        unsafe {
            let previous = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let desc = pg_sys::lookup_rowtype_tupdesc_copy(type_oid, typmod);
            pg_sys::MemoryContextSwitchTo(previous);
            Self(desc)
        }
    }

    pub fn pointer(&self) -> pg_sys::TupleDesc {
        self.0
    }

    pub fn len(&self) -> usize {
        // SAFETY: a valid descriptor.
        unsafe { (*self.0).natts as usize }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let desc = std::mem::replace(&mut self.0, ptr::null_mut());
        // SAFETY: made by `of_type`, not shared.
        unsafe { pg_sys::FreeTupleDesc(desc) };
    }
}

/// The attributes of a tuple descriptor, dropped ones included.
///
/// # Safety
/// `desc` is a valid tuple descriptor that outlives the use of the result.
#[cfg(not(feature = "pg18"))]
pub unsafe fn attributes<'a>(desc: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: as the caller promises.
    unsafe { (*desc).attrs.as_slice((*desc).natts as usize) }
}

/// The attributes of a tuple descriptor, dropped ones included.
///
/// # Safety
/// `desc` is a valid tuple descriptor that outlives the use of the result.
#[cfg(feature = "pg18")]
pub unsafe fn attributes<'a>(desc: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: the full attributes follow the compact ones.
    unsafe {
        let count = (*desc).natts as usize;
        std::slice::from_raw_parts((*desc).compact_attrs.as_ptr().add(count).cast(), count)
    }
}
