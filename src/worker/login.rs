//! A worker's session is the job's owner's from its beginning: there is no other identity to go back to.
//!
//! The owner may be a role that cannot log in, as groups are that people SET ROLE to. PostgreSQL 17 and later have a
//! flag for that; before, the session starts the way a parallel worker's does, whose role may not log in either.

use super::session;
use crate::error::{Report, Result};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Connects to a database as a role, for the life of the process; without a role as the server's owner.
pub fn connect(database: pg_sys::Oid, role: pg_sys::Oid) -> Result<()> {
    if role == pg_sys::InvalidOid {
        // SAFETY: the first and only connection of this process.
        unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0) };
        return Ok(());
    }
    begin(database, role);
    session::transaction(|| be_nobody_else(role))
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
fn begin(database: pg_sys::Oid, role: pg_sys::Oid) {
    // SAFETY: the first and only connection of this process, which has been nobody so far. Whether the role is a
    // superuser can be looked up only afterwards.
    unsafe {
        pg_sys::InitializingParallelWorker = true;
        pg_sys::SetAuthenticatedUserId(role, false);
        pg_sys::SetSessionAuthorization(role, false);
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0);
        pg_sys::InitializingParallelWorker = false;
    }
}

#[cfg(not(any(feature = "pg15", feature = "pg16")))]
fn begin(database: pg_sys::Oid, role: pg_sys::Oid) {
    // SAFETY: the first and only connection of this process.
    unsafe {
        pg_sys::BackgroundWorkerInitializeConnectionByOid(
            database,
            role,
            pg_sys::BGWORKER_BYPASS_ROLELOGINCHECK,
        );
    }
}

/// ALTER ROLE ... SET may have made the session somebody else's: it is the owner's, and RESET leads nowhere else.
fn be_nobody_else(role: pg_sys::Oid) -> Result<()> {
    // SAFETY: inside a transaction; the name is a copy. A role that was dropped meanwhile has none.
    let name = unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then(|| CStr::from_ptr(name))
    };
    if let Some(name) = name {
        for (setting, value) in [(c"session_authorization", name), (c"role", c"none")] {
            // SAFETY: both are NUL-terminated; a wrong value raises an error.
            unsafe {
                pg_sys::SetConfigOption(
                    setting.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_BACKEND,
                    pg_sys::GucSource::PGC_S_OVERRIDE,
                )
            };
        }
        // SAFETY: reads what this session is.
        let identities = unsafe {
            [
                pg_sys::GetUserId(),
                pg_sys::GetOuterUserId(),
                pg_sys::GetSessionUserId(),
                pg_sys::GetAuthenticatedUserId(),
            ]
        };
        if identities == [role; 4] {
            return Ok(());
        }
    }
    Err(Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        format!("the worker could not become role {role:?}"),
    ))
}
