//! Finding and opening the library that trains on GPUs, and asking it for devices.

use crate::error::{Report, Reportable, Result};
use crate::guc;
use crate::scoring::library_directory;
use libloading::os::unix::{Library as Opened, RTLD_LOCAL, RTLD_NOW, Symbol};
use ltv_core::error::Error;
use ltv_core::interface::{self, Failure, Found, symbols};
use parking_lot::Mutex;
use pgrx::prelude::PgSqlErrorCode;
use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const FILE_NAME: &str = "libltv_cuda.so";

pub struct Device {
    pub index: u32,
    pub name: String,
    pub free_memory: u64,
}

impl Device {
    pub fn title(&self) -> String {
        format!("cuda:{}, {}", self.index, self.name)
    }
}

pub struct Library {
    devices: symbols::Devices,
    pub train: symbols::Train,
}

/// Named by the setting, or beside the extension.
fn path() -> PathBuf {
    match guc::CUDA_LIBRARY.get() {
        Some(path) if !path.is_empty() => OsStr::from_bytes(path.to_bytes()).into(),
        _ => library_directory().join(FILE_NAME),
    }
}

pub fn is_installed() -> bool {
    let named = guc::CUDA_LIBRARY.get().is_some_and(|path| !path.is_empty());
    named || path().exists()
}

impl Library {
    pub fn open() -> Result<Self, LibraryError> {
        let path = path();
        if !is_installed() {
            return Err(LibraryError::NotInstalled { path });
        }
        // All symbols at once: one that is missing must be an error here, not the end of the process later.
        // SAFETY: the file is named by a superuser or was put beside the extension by whoever installed that; what it
        // runs when it is loaded is the start of the libraries of CUDA.
        let opened = unsafe { Opened::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
        let opened = opened.map_err(|error| LibraryError::of(path.clone(), &error))?;
        check(&opened, &path)?;
        // SAFETY: the version of the interface was compared, and with it the types of these two.
        let found = unsafe { (get(&opened, symbols::DEVICES), get(&opened, symbols::TRAIN)) };
        let (Some(devices), Some(train)) = found else {
            return Err(LibraryError::NotOurs { path });
        };
        let library = Self {
            devices: *devices,
            train: *train,
        };
        // Never closed: the driver does not expect its user to go before the process does.
        std::mem::forget(opened);
        Ok(library)
    }

    pub fn devices(&self) -> Result<Vec<Device>> {
        let answer = Mutex::new(Answer::default());
        let caller = (&raw const answer).cast_mut().cast::<c_void>();
        // SAFETY: both functions take what they are given here, and `answer` outlives the call.
        unsafe { (self.devices)(caller, found, failed) };
        let answer = answer.into_inner();
        match answer.failure {
            Some(error) => Err(Report::from(error)),
            None => Ok(answer.devices),
        }
    }
}

/// # Safety
/// `T` must be the type of the symbol.
unsafe fn get<T>(opened: &Opened, name: &str) -> Option<Symbol<T>> {
    // SAFETY: the caller's promise.
    unsafe { opened.get::<T>(name) }.ok()
}

/// A library of other sources may understand a job differently.
fn check(opened: &Opened, path: &Path) -> Result<(), LibraryError> {
    let wanted = interface::BUILD.trim_end_matches('\0');
    // SAFETY: the types of these two never change.
    let (version, build) = unsafe {
        (
            get::<symbols::Version>(opened, symbols::VERSION),
            get::<symbols::Build>(opened, symbols::BUILD),
        )
    };
    let (Some(version), Some(build)) = (version, build) else {
        return Err(LibraryError::NotOurs {
            path: path.to_owned(),
        });
    };
    // SAFETY: the build is a NUL-terminated string that lives as long as the library.
    let (version, build) = unsafe { (version(), CStr::from_ptr(build())) };
    if version == interface::VERSION && build.to_bytes() == wanted.as_bytes() {
        return Ok(());
    }
    Err(LibraryError::OtherBuild {
        path: path.to_owned(),
        found: format!("{}, interface {version}", build.to_bytes().escape_ascii()),
        wanted: format!("{wanted}, interface {}", interface::VERSION),
    })
}

#[derive(Default)]
struct Answer {
    devices: Vec<Device>,
    failure: Option<Error>,
}

/// # Safety
/// `caller` is the answer of [`Library::devices`], `device` is lent.
unsafe extern "C" fn found(caller: *mut c_void, device: *const Found) {
    // SAFETY: the caller's promise.
    let (answer, device) = unsafe { (&*caller.cast::<Mutex<Answer>>(), &*device) };
    answer.lock().devices.push(Device {
        index: device.index,
        // SAFETY: the caller's promise.
        name: unsafe { device.name.text() }.unwrap_or_default(),
        free_memory: device.free_memory,
    });
}

/// # Safety
/// As for [`found`].
unsafe extern "C" fn failed(caller: *mut c_void, failure: *const Failure) {
    // SAFETY: the caller's promise.
    unsafe {
        let answer = &*caller.cast::<Mutex<Answer>>();
        answer.lock().failure = Some((*failure).error());
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("the library that trains on a GPU is not installed")]
    NotInstalled { path: PathBuf },
    #[error("the NVIDIA driver is not installed")]
    NoDriver { reason: String },
    #[error("the NVIDIA driver is too old")]
    OldDriver { reason: String },
    #[error("the libraries of CUDA are not installed")]
    NoCuda { reason: String },
    #[error("could not load the library that trains on a GPU")]
    NotLoaded { path: PathBuf, reason: String },
    #[error("could not load the library that trains on a GPU")]
    NotOurs { path: PathBuf },
    #[error("the library that trains on a GPU is of another build than the extension")]
    OtherBuild {
        path: PathBuf,
        found: String,
        wanted: String,
    },
}

impl LibraryError {
    /// From what the dynamic linker says.
    fn of(path: PathBuf, error: &libloading::Error) -> Self {
        let source = std::error::Error::source(error);
        let reason = source.map_or_else(|| error.to_string(), ToString::to_string);
        let missing = |library: &str| reason.starts_with(library);
        let unknown = |prefix: &str| reason.contains(&format!("undefined symbol: {prefix}"));
        if missing("libcuda.so") {
            Self::NoDriver { reason }
        } else if missing("libcu") || missing("libnvrtc") || unknown("cublas") || unknown("curand")
        {
            Self::NoCuda { reason }
        } else if unknown("cu") {
            Self::OldDriver { reason }
        } else {
            Self::NotLoaded { path, reason }
        }
    }
}

impl Reportable for LibraryError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::OldDriver { .. } | Self::OtherBuild { .. } => {
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            _ => PgSqlErrorCode::ERRCODE_UNDEFINED_FILE,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::NotInstalled { path } => format!("There is no \"{}\".", path.display()),
            Self::NoDriver { reason } | Self::OldDriver { reason } | Self::NoCuda { reason } => {
                format!("The system says: {reason}.")
            }
            Self::NotLoaded { path, reason } => format!("Tried \"{}\": {reason}.", path.display()),
            Self::NotOurs { path } => {
                format!("\"{}\" is not a library of pg_ltv.", path.display())
            }
            Self::OtherBuild {
                path,
                found,
                wanted,
            } => format!(
                "\"{}\" is {found}; the extension is {wanted}.",
                path.display()
            ),
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDriver { .. } => {
                "Install the NVIDIA driver (580 or newer for CUDA 13), or set the option \"device\" to \"cpu\".".to_owned()
            }
            Self::OldDriver { .. } => {
                "Install a newer NVIDIA driver, or build the library with an older CUDA toolkit (cargo xtask build-cuda).".to_owned()
            }
            Self::NoCuda { .. } => format!(
                "Install the runtime libraries of the CUDA toolkit that the library was built with, or put them into {}.",
                library_directory().join("cuda").display()
            ),
            Self::NotInstalled { .. } | Self::NotLoaded { .. } | Self::NotOurs { .. } | Self::OtherBuild { .. } => {
                "Build it with cargo xtask build-cuda and install it with cargo xtask install, set ltv.cuda_library to its path, or set the option \"device\" to \"cpu\".".to_owned()
            }
        })
    }
}
