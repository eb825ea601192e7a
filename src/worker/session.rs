//! Transactions, identities and settings: how code outside a user's statement talks to PostgreSQL.

use crate::error::{Report, Result, panic_report};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::AssertUnwindSafe;

/// Settings that decide what the training query means, besides `ltv.*`.
const SETTINGS: [&str; 5] = [
    "search_path",
    "row_security",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
];

/// Runs `body`; an ERROR or a panic in it becomes an `Err`. The transaction it happened in must then be aborted.
pub fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    PgTryBuilder::new(AssertUnwindSafe(body))
        .catch_others(|caught| Err(report(caught)))
        .execute()
}

fn report(caught: CaughtError) -> Report {
    match caught {
        CaughtError::PostgresError(error) | CaughtError::ErrorReport(error) => Report {
            sqlstate: error.sql_error_code(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        },
        CaughtError::RustPanic { ereport, payload } => panic_report(payload.as_ref())
            .unwrap_or_else(|| Report::new(ereport.sql_error_code(), ereport.message().to_owned())),
    }
}

/// One transaction of a background worker: committed if `body` succeeds, else rolled back.
pub fn transaction<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let outcome = catch(|| {
        // SAFETY: a background worker that is in no transaction.
        unsafe {
            pg_sys::SetCurrentStatementStartTimestamp();
            pg_sys::StartTransactionCommand();
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        }
        let value = body()?;
        // SAFETY: the snapshot pushed above; `body` leaves the stack as it found it.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(value)
    });
    if outcome.is_err() {
        // SAFETY: ends whatever is left of the transaction; does nothing if there is none.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    // SAFETY: outside a transaction.
    unsafe { pg_sys::pgstat_report_stat(false) };
    outcome
}

/// Serves whatever PostgreSQL asks of every backend; `false` if a cancel was among it.
pub fn serve_interrupts() -> bool {
    catch(|| {
        pg_sys::check_for_interrupts!();
        // SAFETY: outside a transaction, where a configuration may be read.
        unsafe {
            if pg_sys::ConfigReloadPending != 0 {
                pg_sys::ConfigReloadPending = 0;
                pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
            }
        }
        Ok(())
    })
    .is_ok()
}

/// Acts as another role until dropped, with a search_path in which nobody can plant anything.
pub struct Identity {
    user: pg_sys::Oid,
    context: i32,
    nesting: Option<i32>,
}

impl Identity {
    /// The owner of the catalog, whom row level security does not bind.
    pub fn catalog_owner() -> Result<Self> {
        let mut identity = Self::assume(catalog_owner()?);
        // SAFETY: the nesting level is given back in `drop`, or by the abort of the transaction.
        identity.nesting = Some(unsafe { pg_sys::NewGUCNestLevel() });
        set_option(
            c"search_path",
            c"pg_catalog, pg_temp",
            pg_sys::GucAction::GUC_ACTION_SAVE,
        );
        Ok(identity)
    }

    /// The role that queued a job.
    pub fn job_owner(name: &str) -> Result<Self> {
        let role = role(name).ok_or_else(|| {
            Report::new(
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!("role \"{name}\" does not exist"),
            )
            .detail("It was dropped after it had queued the job.")
            .hint("Queue the job again as another role.")
        })?;
        Ok(Self::assume(role))
    }

    /// Like inside a SECURITY DEFINER function of `role`: the way back by SET or RESET ROLE is closed.
    pub fn assume(role: pg_sys::Oid) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: inside a transaction; an abort restores the identity, too.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            pg_sys::SetUserIdAndSecContext(
                role,
                context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
            );
        }
        Self {
            user,
            context,
            nesting: None,
        }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // On an error the end of the (sub)transaction does this.
        if !std::thread::panicking() {
            // SAFETY: what `assume` and `catalog_owner` saved in this transaction.
            unsafe {
                if let Some(nesting) = self.nesting {
                    pg_sys::AtEOXact_GUC(false, nesting);
                }
                pg_sys::SetUserIdAndSecContext(self.user, self.context);
            }
        }
    }
}

/// The OID of a table of the catalog; `None` where the extension is not installed in this database.
pub fn catalog_table(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: inside a transaction; a missing schema or table gives InvalidOid.
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"ltv".as_ptr(), true);
        let oid = pg_sys::get_relname_relid(name.as_ptr(), schema);
        (schema != pg_sys::InvalidOid && oid != pg_sys::InvalidOid).then_some(oid)
    }
}

fn catalog_owner() -> Result<pg_sys::Oid> {
    let missing = || {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            "extension pg_ltv is not installed in this database",
        )
        .hint("Run: CREATE EXTENSION pg_ltv;")
    };
    let table = catalog_table(c"jobs").ok_or_else(missing)?;
    // SAFETY: the tuple is used before it is released.
    unsafe {
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, table.into());
        if tuple.is_null() {
            return Err(missing());
        }
        let owner = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(tuple);
        Ok(owner)
    }
}

/// A role that a worker can log in as; `None` if it is gone or may not log in.
pub fn login_role(name: &str) -> Option<pg_sys::Oid> {
    let role = role(name)?;
    // SAFETY: the tuple is used before it is released.
    unsafe {
        let tuple =
            pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::AUTHOID as i32, role.into());
        if tuple.is_null() {
            return None;
        }
        let login = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_authid>()).rolcanlogin;
        pg_sys::ReleaseSysCache(tuple);
        login.then_some(role)
    }
}

pub fn role(name: &str) -> Option<pg_sys::Oid> {
    let name = CString::new(name).ok()?;
    // SAFETY: a missing role gives InvalidOid.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// Sets an option with the rights of an ordinary user.
pub fn set_option(name: &CStr, value: &CStr, action: pg_sys::GucAction::Type) {
    // SAFETY: both strings are NUL-terminated; a wrong value raises an error.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            action,
            true,
            0,
            false,
        );
    }
}

const WAKING: u32 = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;

/// Waits for a signal or the time to pass; ends the process if the server is gone.
pub fn wait(milliseconds: i64) {
    // SAFETY: the process's own latch.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            WAKING as i32,
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}

/// The same, or for the end of who holds the other side of a socket.
pub fn wait_for(socket: BorrowedFd, milliseconds: i64) {
    // SAFETY: the process's own latch; the socket is open for as long as it is borrowed.
    unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            (WAKING | pg_sys::WL_SOCKET_READABLE) as i32,
            socket.as_raw_fd(),
            milliseconds,
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}

/// The settings of the session that queued the job, for this transaction. They are an ordinary user's to set.
pub fn apply_settings(settings: &serde_json::Value) -> Result<()> {
    let local =
        |name: &CStr, value: &CStr| set_option(name, value, pg_sys::GucAction::GUC_ACTION_LOCAL);
    for (name, value) in settings.as_object().into_iter().flatten() {
        let known = SETTINGS.contains(&name.as_str()) || name.starts_with("ltv.");
        if let (true, Some(value)) = (known, value.as_str())
            && let (Ok(name), Ok(value)) = (CString::new(name.as_str()), CString::new(value))
        {
            local(&name, &value);
        }
    }
    // The same rows in the same order, so that the same seed gives the same model.
    local(c"synchronize_seqscans", c"off");
    Ok(())
}

/// The commit of this transaction does not wait for the disk: for what nobody misses after a crash.
pub fn commit_without_waiting() {
    set_option(
        c"synchronous_commit",
        c"off",
        pg_sys::GucAction::GUC_ACTION_LOCAL,
    );
}

/// What `pg_stat_activity` shows of this worker.
pub fn report_activity(text: &str) {
    if let Ok(text) = CString::new(text) {
        // SAFETY: the text is copied.
        unsafe {
            pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr())
        };
    }
}

/// A `std` or SPI failure that no user can cause.
pub fn unexpected(error: impl std::fmt::Display) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("internal error in pg_ltv: {error}"),
    )
    .hint("This is a bug in pg_ltv. Please report it.")
}
