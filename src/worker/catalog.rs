//! Whether this database has a catalog to trust: tables that belong to the extension and to a superuser.
//!
//! Anybody who may create a schema can name one `ltv` and put tables into it, with triggers of their own.

use crate::error::{Report, Result};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// The table of the queue; `None` where the extension is not installed in this database, or is not to be trusted.
pub fn jobs_table() -> Option<pg_sys::Oid> {
    // SAFETY: inside a transaction; a missing schema or table gives InvalidOid.
    unsafe {
        let extension = pg_sys::get_extension_oid(c"pg_ltv".as_ptr(), true);
        let schema = pg_sys::get_namespace_oid(c"ltv".as_ptr(), true);
        if extension == pg_sys::InvalidOid || schema == pg_sys::InvalidOid {
            return None;
        }
        let jobs = relation(c"jobs", schema)?;
        let belongs = |class, object| pg_sys::getExtensionOfObject(class, object) == extension;
        let ours = belongs(pg_sys::NamespaceRelationId, schema)
            && belongs(pg_sys::RelationRelationId, jobs)
            && owner_of(jobs).is_some_and(|owner| pg_sys::superuser_arg(owner));
        ours.then_some(jobs)
    }
}

/// Who owns the catalog.
pub fn owner() -> Result<pg_sys::Oid> {
    jobs_table().and_then(owner_of).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            "extension pg_ltv is not installed in this database",
        )
        .detail("Its tables must belong to the extension and to a superuser.")
        .hint("Run as a superuser: CREATE EXTENSION pg_ltv;")
    })
}

fn relation(name: &CStr, schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: inside a transaction.
    let oid = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

fn owner_of(table: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: inside a transaction; the tuple is used before it is released.
    unsafe {
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, table.into());
        if tuple.is_null() {
            return None;
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Some(owner)
    }
}
