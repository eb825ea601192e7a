//! Values of the composite type `ltv.prediction`, which `ltv_predict_all` returns.

use crate::error::{Report, Result};
use crate::value::Descriptor;
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;

pub struct PredictionType(Descriptor);

impl PredictionType {
    pub const COLUMNS: usize = 7;

    pub fn find() -> Result<Self> {
        // SAFETY: NUL-terminated names; what is missing comes out as InvalidOid.
        let type_oid = unsafe {
            let namespace = pg_sys::get_namespace_oid(c"ltv".as_ptr(), true);
            let relation = pg_sys::get_relname_relid(c"prediction".as_ptr(), namespace);
            pg_sys::get_rel_type_id(relation)
        };
        if type_oid != pg_sys::InvalidOid {
            let desc = Descriptor::of_type(type_oid, -1);
            if desc.len() == Self::COLUMNS {
                return Ok(Self(desc));
            }
        }
        Err(Report::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "type ltv.prediction is not as expected",
        )
        .hint("Bring the extension's SQL to the version of its library: ALTER EXTENSION pg_ltv UPDATE."))
    }

    /// A value, allocated in the current memory context.
    pub fn form(
        &self,
        mut values: [pg_sys::Datum; Self::COLUMNS],
        mut nulls: [bool; Self::COLUMNS],
    ) -> pg_sys::Datum {
        // SAFETY: a valid descriptor of that many columns.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(self.0.pointer(), values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }
}
