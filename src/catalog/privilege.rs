//! Who may do what with a model: decided here, for scoring and for every SQL function.
//!
//! Roles are oids, so a new role of an old name inherits nothing. Whoever has the rights of the owner, by a membership
//! that hands rights on, may do what the owner may; superusers may do everything, also where the owner was dropped.

use super::error::CatalogError;
use super::table::{self, Key, MODELS, PRIVILEGES};
use crate::text;
use pgrx::pg_sys;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// To score.
    Predict,
    /// To look into versions as well.
    Read,
    /// To change and drop.
    Owner,
}

impl Privilege {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "predict" => Some(Self::Predict),
            "read" => Some(Self::Read),
            "owner" => Some(Self::Owner),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Read => "read",
            Self::Owner => "owner",
        }
    }
}

/// Whether `role` has the privilege; not on a model that does not exist.
pub fn holds(model: &str, privilege: Privilege, role: pg_sys::Oid) -> bool {
    let Some(owner) = table::scan(&MODELS, &[Key::Text(model)], |row| row.oid("owner")) else {
        return false;
    };
    if has_rights_of(role, owner) {
        return true;
    }
    if privilege == Privilege::Owner {
        return false;
    }
    table::scan(&PRIVILEGES, &[Key::Text(model)], |row| {
        let covers = privilege == Privilege::Predict || row.is_text("privilege", b"read");
        let grantee = row.oid("grantee")?;
        let everybody = grantee == pg_sys::InvalidOid;
        (covers && (everybody || has_rights_of(role, grantee))).then_some(())
    })
    .is_some()
}

/// An error unless `role` has the privilege. Who may not even score is told what is told of a model that does not exist.
pub fn check(model: &str, privilege: Privilege, role: pg_sys::Oid) -> Result<(), CatalogError> {
    if holds(model, privilege, role) {
        return Ok(());
    }
    let known = privilege != Privilege::Predict && holds(model, Privilege::Predict, role);
    let model = model.to_owned();
    Err(if known && privilege == Privilege::Owner {
        CatalogError::NotOwner {
            model,
            role: role_name(role),
        }
    } else if known {
        CatalogError::Denied {
            model,
            role: role_name(role),
            privilege: privilege.name(),
        }
    } else {
        // SAFETY: looks up an attribute of a role.
        let sees_all = unsafe { pg_sys::superuser_arg(role) };
        CatalogError::NoModel {
            model,
            role: (!sees_all).then(|| role_name(role)),
        }
    })
}

/// Whether `role` has, without SET ROLE, the rights of another one.
pub fn has_rights_of(role: pg_sys::Oid, of: pg_sys::Oid) -> bool {
    // SAFETY: looks up memberships; a role that is gone is nobody's.
    unsafe { pg_sys::superuser_arg(role) || pg_sys::has_privs_of_role(role, of) }
}

/// Whether `role` could become another one with SET ROLE.
pub fn may_become(role: pg_sys::Oid, of: pg_sys::Oid) -> bool {
    // SAFETY: looks up memberships.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::superuser_arg(role) || pg_sys::is_member_of_role(role, of);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::superuser_arg(role) || pg_sys::member_can_set_role(role, of);
    }
}

pub fn role_exists(role: pg_sys::Oid) -> bool {
    // SAFETY: a look into the system catalog.
    unsafe {
        pg_sys::SearchSysCacheExists(
            pg_sys::SysCacheIdentifier::AUTHOID as i32,
            role.into(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    }
}

pub fn role_name(role: pg_sys::Oid) -> String {
    // SAFETY: NULL for a role that is gone, else NUL-terminated.
    unsafe { text::from_nullable(pg_sys::GetUserNameFromId(role, true)) }
        .unwrap_or_else(|| role.to_string())
}
