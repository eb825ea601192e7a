//! How an error becomes what the user reads.
//!
//! Each area has its own `thiserror` enum and says, by [`Reportable`], which SQLSTATE, detail and hint each of
//! its cases has. `?` turns any of them into a [`Report`]; [`guard`] at the top of each SQL function raises it.
//! Nothing else in the extension raises errors.

use crate::text::{self, TextError};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportWithLevel};
use pgrx::prelude::*;
use std::any::Any;
use std::cell::RefCell;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub type Result<T, E = Report> = std::result::Result<T, E>;

/// An error of one area of the extension. Its `Display` is the message: lower case, no full stop.
pub trait Reportable: std::error::Error {
    fn sqlstate(&self) -> PgSqlErrorCode;
    /// What exactly was wrong, in full sentences.
    fn detail(&self) -> Option<String> {
        None
    }
    /// What to do about it, in full sentences.
    fn hint(&self) -> Option<String> {
        None
    }
}

/// What the user reads.
#[derive(Clone, Debug)]
pub struct Report {
    pub sqlstate: PgSqlErrorCode,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Report {
    pub fn new(sqlstate: PgSqlErrorCode, message: impl Into<String>) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Raises it as an ERROR. Only below [`guard`] or a `#[pg_guard]` function.
    pub fn raise(self) -> ! {
        self.report(PgLogLevel::ERROR);
        unreachable!("an ERROR does not return")
    }

    /// Shown as a NOTICE, written to the log, or whatever the level says. In the encoding of the database, which
    /// PostgreSQL expects; what it lacks becomes a question mark.
    pub fn report(self, level: PgLogLevel) {
        let message = text::to_c_readable(&self.message);
        let detail = self.detail.as_deref().map(text::to_c_readable);
        let hint = self.hint.as_deref().map(text::to_c_readable);
        let pointer = |text: &Option<CString>| match text {
            Some(text) => text.as_ptr().cast_mut(),
            None => std::ptr::null_mut(),
        };
        let mut error = pg_sys::ErrorData {
            elevel: level as i32,
            sqlerrcode: self.sqlstate as i32,
            message: message.as_ptr().cast_mut(),
            detail: pointer(&detail),
            hint: pointer(&hint),
            filename: c"pg_ltv".as_ptr(),
            funcname: c"report".as_ptr(),
            ..Default::default()
        };
        let holds = level < PgLogLevel::ERROR;
        // SAFETY: on the main thread; the strings are copied. Below an ERROR nothing may be raised, so interrupts wait.
        unsafe {
            pg_sys::InterruptHoldoffCount += u32::from(holds);
            pg_sys::ThrowErrorData(&raw mut error);
            pg_sys::InterruptHoldoffCount -= u32::from(holds);
        }
    }

    /// What PostgreSQL raised, while it is the newest error on its stack.
    pub fn of_postgres() -> Self {
        // SAFETY: a copy of the newest error, whose strings are null or end with a zero. They are converted once the
        // error is off the stack.
        unsafe {
            let error = pg_sys::CopyErrorData();
            pg_sys::FlushErrorState();
            let report = Self {
                sqlstate: PgSqlErrorCode::from((*error).sqlerrcode),
                message: text::from_nullable((*error).message).unwrap_or_default(),
                detail: text::from_nullable((*error).detail),
                hint: text::from_nullable((*error).hint),
            };
            pg_sys::FreeErrorData(error);
            report
        }
    }
}

/// A line in the server's log.
pub fn log(message: impl Into<String>) {
    Report::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message).report(PgLogLevel::LOG);
}

/// What should not have happened, whatever the user did.
pub fn unexpected(error: impl std::fmt::Display) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("internal error in pg_ltv: {error}"),
    )
    .hint("This is a bug in pg_ltv. Please report it.")
}

impl<E: Reportable> From<E> for Report {
    fn from(error: E) -> Self {
        Self {
            sqlstate: error.sqlstate(),
            message: error.to_string(),
            detail: error.detail(),
            hint: error.hint(),
        }
    }
}

impl Reportable for TextError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NoEquivalent(_) => PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
            Self::ZeroByte => PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Self::NoEquivalent(character) => Some(format!(
                "It is U+{:04X}, and the encoding is {}.",
                u32::from(*character),
                text::encoding_name()
            )),
            Self::ZeroByte => Some("PostgreSQL's texts hold none.".to_owned()),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoEquivalent(_) => Some(
                "Use a database whose encoding is UTF8, or names without the character.".to_owned(),
            ),
            Self::ZeroByte => None,
        }
    }
}

impl Reportable for ltv_core::error::Error {
    fn sqlstate(&self) -> PgSqlErrorCode {
        use ltv_core::error::ErrorKind;
        match self.kind {
            ErrorKind::InvalidParameter => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            ErrorKind::InvalidData => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            ErrorKind::InvalidModel => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            ErrorKind::Unsupported => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            ErrorKind::Cancelled => PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            ErrorKind::Resources => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            ErrorKind::TooLarge => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            ErrorKind::Device => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            ErrorKind::Internal => PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        }
    }
    fn detail(&self) -> Option<String> {
        self.detail.clone()
    }
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Runs the body of a SQL function: an `Err` becomes an ERROR, and so does a panic, without a Rust backtrace.
/// Errors that PostgreSQL itself raised pass through unchanged.
pub fn guard<T>(body: impl FnOnce() -> Result<T>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(report)) => report.raise(),
        Err(payload) => match panic_report(payload.as_ref()) {
            Some(report) => report.raise(),
            None => resume_unwind(payload),
        },
    }
}

/// What a panic tells the user; `None` if the payload is an error on its way to PostgreSQL, not a panic.
pub fn panic_report(payload: &(dyn Any + Send)) -> Option<Report> {
    if payload.is::<CaughtError>()
        || payload.is::<ErrorReportWithLevel>()
        || payload.is::<ErrorReport>()
    {
        return None;
    }
    let message = payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    let place = PANIC_PLACE.with(|place| place.borrow_mut().take());
    Some(
        Report::new(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("internal error in pg_ltv: {message}"),
        )
        .detail(format!(
            "It happened at {}.",
            place.as_deref().unwrap_or("an unknown place")
        ))
        .hint("This is a bug in pg_ltv; the session goes on. Please report it with the statement that led to it."),
    )
}

thread_local! {
    static PANIC_PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces pgrx's panic hook, which collects a backtrace into DETAIL.
pub fn init() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        if payload.is::<&str>() || payload.is::<String>() {
            let place = info
                .location()
                .map(|l| format!("{}:{}", l.file(), l.line()));
            PANIC_PLACE.with(|p| *p.borrow_mut() = place);
        }
    }));
}
