//! `ltv.run_as`: SQL that a model or a relation of features keeps, run with the rights of the role that it belongs to.
//!
//! Whoever asks for it must be able to become that role. It runs in a security-restricted operation, out of which there is no
//! way back to the rights of the session: no SET ROLE, no cursor or trigger that outlives it, no temporary object.

use super::export::{export, text_argument};
use super::privilege::no_such_role;
use super::source;
use crate::catalog::privilege;
use crate::error::{Report, Result};
use crate::value::sql;
use crate::worker::session::{set_option, unexpected};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::{Spi, pg_sys};
use std::ffi::CStr;

export! {
    ltv_run_as / pg_finfo_ltv_run_as => run_as;
}

/// The rights of another role and settings of our own, until dropped.
struct Restricted {
    user: pg_sys::Oid,
    context: i32,
    nesting: i32,
}

impl Restricted {
    fn enter(role: pg_sys::Oid) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: inside a transaction, whose abort restores identity and settings, too.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let restricted =
                pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION;
            pg_sys::SetUserIdAndSecContext(role, context | restricted as i32);
            Self {
                user,
                context,
                nesting: pg_sys::NewGUCNestLevel(),
            }
        }
    }
}

impl Drop for Restricted {
    fn drop(&mut self) {
        // On an error the end of the (sub)transaction does this.
        if !std::thread::panicking() {
            // SAFETY: what `enter` saved in this transaction.
            unsafe {
                pg_sys::AtEOXact_GUC(false, self.nesting);
                pg_sys::SetUserIdAndSecContext(self.user, self.context);
            }
        }
    }
}

/// `ltv.run_as(role, path, source, statement, argument)`: runs the statement, whose `$1` is the source, bound in the search_path
/// `path`, and `$2` the argument; returns the first column of its first row. Without a source the statement itself runs in `path`.
fn run_as(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (regrole, text, text, text, jsonb).
    let (role, path, source, statement, argument) = unsafe {
        (
            sql::argument(fcinfo, 0)?.unwrap_or(pg_sys::InvalidOid),
            text_argument(fcinfo, 1),
            text_argument(fcinfo, 2),
            text_argument(fcinfo, 3).unwrap_or_default(),
            sql::argument_datum(fcinfo, 4),
        )
    };
    if !privilege::role_exists(role) {
        return Err(no_such_role(role));
    }
    // SAFETY: inside a transaction.
    if !privilege::may_become(unsafe { pg_sys::GetUserId() }, role) {
        return Err(not_allowed(role));
    }
    let outcome = {
        let _restricted = Restricted::enter(role);
        set_path(path.as_deref().unwrap_or(OWN_PATH));
        let bound = source.map(|source| source::bind(&source)).transpose()?;
        if bound.is_some() {
            set_path(OWN_PATH);
        }
        execute(&statement, bound.as_deref(), argument)?
    };
    // SAFETY: a valid call info; the outcome is a jsonb, as is declared.
    Ok(unsafe { sql::result(fcinfo, outcome) })
}

const OWN_PATH: &CStr = c"pg_catalog, pg_temp";

/// Documents go in and out as they are: what PostgreSQL takes for JSON may be deeper, and its numbers larger, than ours.
fn execute(
    statement: &CStr,
    source: Option<&CStr>,
    argument: Option<pg_sys::Datum>,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the characters are copied into a text; the argument is declared as jsonb and outlives the statement.
    let (source, argument) = unsafe {
        let parameter = |value: Option<pg_sys::Datum>, of| match value {
            Some(value) => DatumWithOid::new(value, of),
            None => DatumWithOid::null_oid(of),
        };
        let source = source.map(|source| pg_sys::cstring_to_text(source.as_ptr()).into());
        (
            parameter(source, pg_sys::TEXTOID),
            parameter(argument, pg_sys::JSONBOID),
        )
    };
    Spi::connect_mut(|client| {
        let rows = client
            .update(statement, Some(1), &[source, argument])
            .map_err(unexpected)?;
        // Whoever may become the role may call this, with any statement.
        if !rows
            .column_type_oid(1)
            .is_ok_and(|of| of.value() == pg_sys::JSONBOID)
        {
            return Err(no_document());
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let rows = rows.first();
        let found = rows.get_datum_by_ordinal(1).map_err(unexpected)?;
        // SAFETY: a jsonb, as was looked at, which is copied out of SPI's memory.
        Ok(found.map(|datum| unsafe { pg_sys::SPI_datumTransfer(datum, false, -1) }))
    })
}

fn no_document() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        "the statement gives no jsonb",
    )
    .hint("Its first column must be of type jsonb.")
}

fn set_path(path: &CStr) {
    set_option(c"search_path", path, pg_sys::GucAction::GUC_ACTION_SAVE);
}

fn not_allowed(role: pg_sys::Oid) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        "permission denied to run a stored query",
    )
    .detail(format!(
        "It belongs to role \"{}\" and runs with the rights of that role only, never with those of whoever asks.",
        privilege::role_name(role)
    ))
    .hint("Give the rows yourself: query => 'SELECT ...'.")
}
