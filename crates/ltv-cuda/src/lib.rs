//! The training of `ltv-core` behind the C interface of [`ltv_core::interface`]. Linked against CUDA it does not load
//! where the driver is missing, which is why it is apart from the extension: only the worker of a job that wants a
//! GPU opens it. Without the feature `cuda` it is the same library with the CPU as its only device.

#[cfg_attr(feature = "cuda", path = "devices_cuda.rs")]
#[cfg_attr(not(feature = "cuda"), path = "devices_cpu.rs")]
mod devices;
mod job;

use job::Caller;
use ltv_core::error::{Error, Result};
use ltv_core::interface::{self, Bytes, Failure, Found, Job};
use std::any::Any;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A device that can train.
struct Device {
    index: u32,
    name: String,
    free_memory: u64,
    total_memory: u64,
}

#[unsafe(no_mangle)]
pub extern "C" fn ltv_cuda_version() -> u32 {
    interface::VERSION
}

#[unsafe(no_mangle)]
pub extern "C" fn ltv_cuda_build() -> *const c_char {
    interface::BUILD.as_ptr().cast()
}

/// # Safety
/// As [`interface::symbols::Devices`] says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ltv_cuda_devices(
    caller: *mut c_void,
    found: unsafe extern "C" fn(*mut c_void, *const Found),
    failed: unsafe extern "C" fn(*mut c_void, *const Failure),
) {
    match contained(devices::list) {
        Ok(devices) => {
            for device in devices {
                let one = Found {
                    index: device.index,
                    name: Bytes::of(device.name.as_bytes()),
                    free_memory: device.free_memory,
                    total_memory: device.total_memory,
                };
                // SAFETY: the caller's own function, with what the caller gave for it.
                unsafe { found(caller, &one) };
            }
        }
        // SAFETY: as above.
        Err(error) => unsafe { failed(caller, &Failure::of(&error)) },
    }
}

/// # Safety
/// `job` and all that it points to are there until this returns, and its functions do what [`Job`] says of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ltv_cuda_train(job: *const Job) {
    // SAFETY: the caller's promise.
    let job = unsafe { &*job };
    let caller = Caller::of(job);
    // SAFETY: the caller's promise.
    match contained(|| unsafe { job::run(job, &caller) }) {
        Ok(model) => caller.trained(&model),
        Err(error) => caller.failed(&error),
    }
}

/// A panic must not cross the border: it becomes an error.
fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(panic.as_ref())))
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown".to_owned());
    // The tensor library panics where the driver does: when a symbol or a device is missing.
    Error::internal(format!("the library that trains on a GPU panicked: {text}"))
        .hint("This is a bug in pg_ltv; please report it with what the server log says.")
}
