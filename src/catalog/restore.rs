//! Stored predictions while a dump is restored: generated columns and checks that score with a version which is not there yet.
//!
//! A dump fills tables in the order of their schemas, a parallel restore in any order, so a table may come before the model that its
//! generated column needs. In a session that restores a dump such a prediction is NULL for the time being. When models and
//! versions arrive, a trigger (`ltv.complete_restore`) computes what is missing. A lock settles the race between the two:
//! who stores such a NULL holds it until the transaction ends, and the trigger waits for them.

use pgrx::pg_sys;
use std::ffi::CStr;

/// Whether this session restores a dump: pg_dump and pg_restore set both, and nobody else has reason to. Never with rights that
/// a function lent, for what follows touches tables of users.
pub fn in_progress() -> bool {
    // SAFETY: plain settings, and the text of one, which lives until it is changed.
    unsafe {
        if pg_sys::check_function_bodies
            || pg_sys::InLocalUserIdChange()
            || pg_sys::InSecurityRestrictedOperation()
        {
            return false;
        }
        let path = pg_sys::GetConfigOption(c"search_path".as_ptr(), true, false);
        !path.is_null() && matches!(CStr::from_ptr(path).to_bytes(), b"" | b"\"\"")
    }
}

/// Takes the lock that says: this transaction stores predictions that are missing.
pub fn store_missing() {
    lock(pg_sys::ShareLock as i32);
}

/// Waits for all transactions that store missing predictions.
pub fn wait_for_missing() {
    lock(pg_sys::ExclusiveLock as i32);
}

/// A lock on an object that does not exist, of the class of the table of versions: no statement takes it.
fn lock(mode: i32) {
    let Some(versions) = super::table::oid_of(super::table::VERSIONS.name) else {
        return;
    };
    // SAFETY: inside a transaction, whose end releases the lock; the database is set at the start of the session.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.into(),
            locktag_field2: versions.into(),
            locktag_field3: 0,
            locktag_field4: 0,
            locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
            locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
        };
        pg_sys::LockAcquire(&tag, mode, false, false);
    }
}

/// Runs `body` with what has committed by now, whatever the statement saw at its start.
pub fn with_latest_snapshot<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: inside a transaction; an error ends the snapshot with it.
    unsafe {
        pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
        let value = body();
        pg_sys::PopActiveSnapshot();
        value
    }
}
