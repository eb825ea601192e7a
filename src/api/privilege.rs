//! `ltv.has_privilege`, `ltv.check_model`, `ltv.check_role`: what the catalog's functions and views ask before they act.
//!
//! Each takes the role as its first argument, or asks about the current one.

use super::export::export;
use crate::catalog::CatalogError;
use crate::catalog::privilege::{self, Privilege};
use crate::error::{Report, Result};
use crate::value::sql::argument;
use pgrx::pg_sys;
use pgrx::prelude::*;

export! {
    ltv_has_privilege / pg_finfo_ltv_has_privilege => has_privilege;
    ltv_check_model / pg_finfo_ltv_check_model => check_model;
    ltv_check_role / pg_finfo_ltv_check_role => check_role;
}

/// The role that is asked about, the model and the privilege.
fn arguments(fcinfo: pg_sys::FunctionCallInfo) -> Result<(pg_sys::Oid, String, Privilege)> {
    // SAFETY: declared as (text, text) or (regrole, text, text).
    let (role, model, name) = unsafe {
        let with_role = (*fcinfo).nargs == 3;
        let at = usize::from(with_role);
        let role = if with_role {
            argument(fcinfo, 0)?
        } else {
            Some(pg_sys::GetUserId())
        };
        let model: Option<String> = argument(fcinfo, at)?;
        let name: Option<String> = argument(fcinfo, at + 1)?;
        (role, model, name)
    };
    let role = role.unwrap_or(pg_sys::InvalidOid);
    let model = model.ok_or(CatalogError::NullModel)?;
    let name = name.unwrap_or_default();
    let privilege = Privilege::parse(&name).ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("unknown privilege \"{name}\""),
        )
        .hint("Possible values are: predict, read, owner.")
    })?;
    Ok((role, model, privilege))
}

fn has_privilege(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    let (role, model, privilege) = arguments(fcinfo)?;
    Ok(privilege::holds(&model, privilege, role).into())
}

fn check_model(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    let (role, model, privilege) = arguments(fcinfo)?;
    privilege::check(&model, privilege, role)?;
    Ok(pg_sys::Datum::null())
}

/// `ltv.check_role(caller, role)`.
fn check_role(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as two regrole.
    let (caller, role): (Option<pg_sys::Oid>, Option<pg_sys::Oid>) =
        unsafe { (argument(fcinfo, 0)?, argument(fcinfo, 1)?) };
    let (caller, role) = (
        caller.unwrap_or(pg_sys::InvalidOid),
        role.unwrap_or(pg_sys::InvalidOid),
    );
    if !privilege::role_exists(role) {
        return Err(no_such_role(role));
    }
    if !privilege::may_become(caller, role) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!(
                "must be able to SET ROLE \"{}\"",
                privilege::role_name(role)
            ),
        ));
    }
    Ok(pg_sys::Datum::null())
}

pub fn no_such_role(role: pg_sys::Oid) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
        format!("role with OID {role} does not exist"),
    )
    .detail("It was dropped; what belonged to it belongs to nobody but superusers.")
    .hint("A superuser can give a model to another role with ltv_set_owner.")
}
