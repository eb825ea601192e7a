//! Values of the composite types in schema `ltv` that scoring functions return.

use crate::error::{Report, Result};
use crate::value::Descriptor;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::ffi::CStr;

/// A composite type of so many columns.
pub struct ResultType<const COLUMNS: usize>(Descriptor);

impl<const COLUMNS: usize> ResultType<COLUMNS> {
    /// What is known already, or else the type of that name.
    pub fn known<'a>(known: &'a mut Option<Self>, name: &CStr) -> Result<&'a Self> {
        Ok(match known {
            Some(known) => known,
            unknown => unknown.insert(Self::find(name)?),
        })
    }

    fn find(name: &CStr) -> Result<Self> {
        // SAFETY: NUL-terminated names; what is missing comes out as InvalidOid.
        let type_oid = unsafe {
            let namespace = pg_sys::get_namespace_oid(c"ltv".as_ptr(), true);
            let relation = pg_sys::get_relname_relid(name.as_ptr(), namespace);
            pg_sys::get_rel_type_id(relation)
        };
        if type_oid != pg_sys::InvalidOid {
            let desc = Descriptor::of_type(type_oid, -1);
            if desc.len() == COLUMNS {
                return Ok(Self(desc));
            }
        }
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("type ltv.{} is not as expected", name.to_string_lossy()),
        )
        .hint("Bring the extension's SQL to the version of its library: ALTER EXTENSION pg_ltv UPDATE."))
    }

    /// A value, allocated in the current memory context; `None` is NULL.
    pub fn form(&self, columns: [Option<pg_sys::Datum>; COLUMNS]) -> pg_sys::Datum {
        let mut nulls = columns.map(|column| column.is_none());
        let mut values = columns.map(|column| column.unwrap_or(pg_sys::Datum::from(0)));
        // SAFETY: a valid descriptor of that many columns.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(self.0.pointer(), values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }
}
