//! How a backend learns that something it remembers about models may have changed.
//!
//! Statement triggers on the catalog call `ltv.invalidate()`, which sends a relcache invalidation for
//! `ltv.aliases`. PostgreSQL delivers it to every backend when the transaction commits (to the sender itself at
//! its next command, and again if it rolls back), and to standbys through WAL. Here each one bumps a counter.

use pgrx::prelude::*;
use std::cell::Cell;

thread_local! {
    static GENERATION: Cell<u64> = const { Cell::new(1) };
    static ALIASES: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
}

/// Changes whenever something about models, their aliases or the roles that may use them may have changed.
pub fn generation() -> u64 {
    GENERATION.with(Cell::get)
}

fn bump() {
    GENERATION.with(|g| g.set(g.get() + 1));
}

/// A plan may hold the value of a pinned prediction, computed when it was made with rights that are gone by now.
fn forget_plans() {
    // SAFETY: what PostgreSQL itself does in callbacks of this kind.
    unsafe { pg_sys::ResetPlanCache() };
}

pub fn init() {
    // SAFETY: the callbacks are plain functions that live as long as the process.
    unsafe {
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::from(0));
        // Roles and memberships decide who may use a model.
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMMEMROLE,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(role_changed),
                pg_sys::Datum::from(0),
            );
        }
    }
}

/// The OID of `ltv.aliases` in this database, by which [`relation_changed`] knows which message is meant.
pub fn watch(aliases: pg_sys::Oid) {
    ALIASES.with(|a| {
        if a.replace(aliases) != aliases {
            bump();
        }
    });
}

#[pg_guard]
extern "C-unwind" fn relation_changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
    // InvalidOid: everything, after the message queue overflowed.
    if relation == pg_sys::InvalidOid || relation == ALIASES.with(Cell::get) {
        bump();
        forget_plans();
    }
}

#[pg_guard]
extern "C-unwind" fn role_changed(_argument: pg_sys::Datum, _cache: i32, _hash: u32) {
    bump();
    forget_plans();
}

/// `ltv.invalidate()`: the trigger function.
#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn ltv_invalidate(_fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    crate::error::guard(|| {
        if let Some(aliases) = super::table::oid_of(super::table::ALIASES.name) {
            // SAFETY: an OID read from the system catalog just now.
            unsafe { pg_sys::CacheInvalidateRelcacheByRelid(aliases) };
        }
        Ok(pg_sys::Datum::from(0))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ltv_invalidate() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}
