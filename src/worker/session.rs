//! Transactions, identities and settings: how code outside a user's statement talks to PostgreSQL.

use super::catalog;
pub use crate::error::unexpected;
use crate::error::{Report, Result, panic_report};
use crate::text;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;

/// Settings that decide what the training query means, besides `ltv.*`.
const SETTINGS: [&str; 7] = [
    "search_path",
    "row_security",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "lc_monetary",
    "standard_conforming_strings",
];

/// Runs `body`; an ERROR or a panic in it becomes an `Err`. The transaction it happened in must then be aborted.
pub fn catch<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    PgTryBuilder::new(AssertUnwindSafe(body))
        .catch_others(|caught| Err(report(caught)))
        .execute()
}

fn report(caught: CaughtError) -> Report {
    match caught {
        CaughtError::PostgresError(_) => Report::of_postgres(),
        CaughtError::ErrorReport(error) => Report {
            sqlstate: error.sql_error_code(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
        },
        CaughtError::RustPanic { ereport, payload } => panic_report(payload.as_ref())
            .unwrap_or_else(|| Report::new(ereport.sql_error_code(), ereport.message().to_owned())),
    }
}

/// What a process does after each transaction that was aborted.
static AFTER_ABORT: OnceLock<fn()> = OnceLock::new();

/// From now on `hook` runs after each [`transaction`] that is aborted.
pub fn after_abort(hook: fn()) {
    AFTER_ABORT.get_or_init(|| hook);
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
        if let Some(hook) = AFTER_ABORT.get() {
            hook();
        }
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

/// Acts as another role until dropped. The settings that change meanwhile are put back with it.
pub struct Identity {
    user: pg_sys::Oid,
    context: i32,
    _settings: Settings,
}

impl Identity {
    /// The owner of the catalog, with a search_path in which nobody can plant anything.
    pub fn catalog_owner() -> Result<Self> {
        let owner = catalog::owner()?;
        let identity = Self::assume(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE);
        Settings::set(c"search_path", c"pg_catalog, pg_temp");
        Ok(identity)
    }

    /// Whose code runs: as inside an index expression it can neither become somebody else nor leave anything behind
    /// that runs later, be it a cursor WITH HOLD, a deferred trigger, a temporary object or a setting.
    pub fn restricted(role: pg_sys::Oid) -> Self {
        Self::assume(
            role,
            pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION,
        )
    }

    fn assume(role: pg_sys::Oid, restrictions: u32) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: inside a transaction, whose abort restores the identity and the settings, too.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            pg_sys::SetUserIdAndSecContext(role, context | restrictions as i32);
        }
        Self {
            user,
            context,
            _settings: Settings::of_function(),
        }
    }
}

impl Drop for Identity {
    fn drop(&mut self) {
        // On an error the end of the (sub)transaction does this.
        if !std::thread::panicking() {
            // SAFETY: what `assume` saved in this transaction.
            unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
        }
    }
}

/// Settings that hold until dropped, as those of a function with a SET clause.
pub struct Settings {
    nesting: i32,
}

impl Settings {
    pub fn of_function() -> Self {
        // SAFETY: given back in `drop`, or by the abort of the transaction.
        let nesting = unsafe { pg_sys::NewGUCNestLevel() };
        Self { nesting }
    }

    pub fn set(name: &CStr, value: &CStr) {
        set_option(name, value, pg_sys::GucAction::GUC_ACTION_SAVE);
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the level that was begun in this transaction.
            unsafe { pg_sys::AtEOXact_GUC(false, self.nesting) };
        }
    }
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

/// The settings of the session that queued the job, inside an [`Identity`]. They are an ordinary user's to set.
pub fn apply_settings(settings: &serde_json::Value) -> Result<()> {
    for (name, value) in settings.as_object().into_iter().flatten() {
        let known = SETTINGS.contains(&name.as_str()) || name.starts_with("ltv.");
        if let (true, Some(value)) = (known, value.as_str()) {
            Settings::set(&text::to_c(name)?, &text::to_c(value)?);
        }
    }
    // The same rows in the same order, so that the same seed gives the same model.
    Settings::set(c"synchronize_seqscans", c"off");
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

/// How many rows it has read, where `pg_stat_progress_copy` shows it: a long transaction can tell nothing by a table.
pub fn report_rows(rows: u64) {
    // SAFETY: counters of this process in shared memory.
    unsafe {
        if rows == 0 {
            pg_sys::pgstat_progress_start_command(
                pg_sys::ProgressCommandType::PROGRESS_COMMAND_COPY,
                pg_sys::InvalidOid,
            );
        }
        pg_sys::pgstat_progress_update_param(
            pg_sys::PROGRESS_COPY_TUPLES_PROCESSED as i32,
            rows as i64,
        );
    }
}

/// It has read all rows.
pub fn end_of_rows() {
    // SAFETY: as above.
    unsafe { pg_sys::pgstat_progress_end_command() };
}

/// What `pg_stat_activity` shows of this worker.
pub fn report_activity(text: &str) {
    let text = text::to_c_readable(text);
    // SAFETY: the text is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()) };
}
