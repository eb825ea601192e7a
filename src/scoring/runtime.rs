//! Loads ONNX Runtime into the backend when the first model is scored.
//!
//! A failure is an error of that call only: the next call tries again, with whatever the settings then say.

use super::memory;
use super::tensor::MemoryInfo;
use crate::error::{Reportable, log};
use crate::guc;
use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::{AsPointer, LoadDynamicError, ortsys};
use pgrx::pg_sys;
use pgrx::prelude::PgSqlErrorCode;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Never dropped: ONNX Runtime does not expect its environment to go before the process does.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("could not load ONNX Runtime")]
    Missing { path: PathBuf, reason: String },
    #[error("the ONNX Runtime library is too old")]
    TooOld { path: PathBuf, found: String },
    #[error("could not load ONNX Runtime")]
    NotOnnxRuntime { path: PathBuf },
    #[error("could not start ONNX Runtime")]
    Start { reason: String },
}

impl Reportable for RuntimeError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Missing { .. } | Self::NotOnnxRuntime { .. } => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_FILE
            }
            Self::TooOld { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Start { .. } => PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Missing { path, reason } => format!("Tried \"{}\": {reason}.", path.display()),
            Self::TooOld { path, found } => format!(
                "\"{}\" is version {found}, but at least 1.{}.0 is needed.",
                path.display(),
                ort::MINOR_VERSION
            ),
            Self::NotOnnxRuntime { path } => {
                format!("\"{}\" is not an ONNX Runtime library.", path.display())
            }
            Self::Start { reason } => format!("It says: {reason}"),
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Start { .. } => "Check the server's memory and its log.".to_owned(),
            _ => format!(
                "Install ONNX Runtime 1.{} or newer (a release from https://github.com/microsoft/onnxruntime/releases, or the \
                 library inside the Python package onnxruntime), then put libonnxruntime.so into {} or set \
                 ltv.onnxruntime_library to its path.",
                ort::MINOR_VERSION,
                bundled_path().parent().unwrap_or(&PathBuf::new()).display()
            ),
        })
    }
}

/// The environment that sessions are made in; loads the library at the first call.
pub fn environment() -> Result<&'static Environment, RuntimeError> {
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    disable_telemetry();
    let path = library_path();
    let environment = ort::init_from(&path)
        .map_err(|e| load_error(e, path))?
        .with_name("pg_ltv")
        .with_telemetry(false)
        .build()
        .map_err(|e| RuntimeError::Start {
            reason: e.message().to_owned(),
        })?;
    // Whatever goes wrong is reported as an error; ONNX Runtime's own log would land raw in the server's.
    environment.set_log_level(LogLevel::Fatal);
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

/// Bytes that the allocator of the environment was made for; 0: there is none yet.
static BOUND: AtomicUsize = AtomicUsize::new(0);

/// Gives sessions to come an allocator that hands out `ltv.scoring_memory` at most, to all of them together. Sessions
/// that are there keep theirs.
pub fn bound_memory(environment: &Environment) -> Result<(), RuntimeError> {
    let bound = memory::bound();
    let before = BOUND.load(Ordering::Relaxed);
    if before == bound {
        return Ok(());
    }
    let memory = MemoryInfo::cpu().map_err(|e| RuntimeError::Start {
        reason: e.detail().unwrap_or_default(),
    })?;
    let registered: ort::Result<()> = (|| {
        let environment = environment.ptr().cast_mut();
        if before != 0 {
            ortsys![unsafe UnregisterAllocator(environment, memory.pointer())?];
            BOUND.store(0, Ordering::Relaxed);
        }
        let mut arena = ptr::null_mut();
        ortsys![unsafe CreateArenaCfgV2([c"max_mem".as_ptr()].as_ptr(), [bound].as_ptr(), 1, &mut arena)?];
        let made = (|| {
            ortsys![unsafe CreateAndRegisterAllocator(environment, memory.pointer(), arena)?];
            Ok(())
        })();
        ortsys![unsafe ReleaseArenaCfg(arena)];
        made
    })();
    registered.map_err(|e| RuntimeError::Start {
        reason: e.message().to_owned(),
    })?;
    BOUND.store(bound, Ordering::Relaxed);
    Ok(())
}

/// Builds by Microsoft otherwise start a thread that writes a database under the home directory and sends usage
/// data out. Data must not leave the server, the setting of the environment comes too late for that, and a second thread
/// in the postmaster would not survive its forks. To be called while the process has one thread.
pub fn disable_telemetry() {
    const NAME: &str = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(NAME).is_none_or(|value| value != "1") {
        // SAFETY: whoever has other threads has called this before they began.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

/// In the postmaster (shared_preload_libraries) the library is loaded at once, so that backends inherit it: their
/// first prediction comes sooner, and they share its memory. It starts no threads. If it fails, each backend tries
/// again when it needs it, and tells its user what is wrong.
pub fn preload() {
    // SAFETY: a plain variable of the server.
    if unsafe { pg_sys::process_shared_preload_libraries_in_progress }
        && let Err(error) = environment()
    {
        let detail = error.detail().unwrap_or_default();
        log(format!("pg_ltv: {error}: {detail}"));
    }
}

fn load_error(error: LoadDynamicError, tried: PathBuf) -> RuntimeError {
    match error {
        LoadDynamicError::BadVersion { version_str, path } => RuntimeError::TooOld {
            path,
            found: version_str,
        },
        LoadDynamicError::MissingApi { path } => RuntimeError::NotOnnxRuntime { path },
        LoadDynamicError::InvalidVersionString => RuntimeError::NotOnnxRuntime { path: tried },
        LoadDynamicError::Dlopen { error, path } => {
            let reason = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string);
            RuntimeError::Missing { path, reason }
        }
    }
}

fn library_path() -> PathBuf {
    if let Some(path) = guc::ONNXRUNTIME_LIBRARY.get()
        && !path.is_empty()
    {
        return OsStr::from_bytes(path.to_bytes()).into();
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH")
        && !path.is_empty()
    {
        return PathBuf::from(path);
    }
    let bundled = bundled_path();
    if bundled.exists() {
        return bundled;
    }
    PathBuf::from("libonnxruntime.so")
}

/// `$libdir/pg_ltv/libonnxruntime.so`.
fn bundled_path() -> PathBuf {
    library_directory().join("libonnxruntime.so")
}

/// `pg_ltv` beside this library, wherever that was loaded from: libraries that are opened when they are needed.
pub fn library_directory() -> PathBuf {
    loaded_from()
        .and_then(|library| Some(library.parent()?.join("pg_ltv")))
        .unwrap_or_else(|| {
            // SAFETY: PostgreSQL fills pkglib_path, NUL-terminated, at process start.
            let libdir = unsafe { CStr::from_ptr((&raw const pg_sys::pkglib_path).cast()) };
            Path::new(OsStr::from_bytes(libdir.to_bytes())).join("pg_ltv")
        })
}

/// The file that this code is in.
fn loaded_from() -> Option<PathBuf> {
    let mut found = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let here: fn() -> Option<PathBuf> = loaded_from;
    // SAFETY: any address may be asked for; the record is read only if the call filled it, and its name lives as long as the library.
    let name = unsafe {
        if libc::dladdr(here as *const libc::c_void, found.as_mut_ptr()) == 0 {
            return None;
        }
        CStr::from_ptr(found.assume_init().dli_fname)
    };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    path.is_absolute().then(|| path.to_path_buf())
}
