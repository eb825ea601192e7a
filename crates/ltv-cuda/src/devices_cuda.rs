//! The CUDA devices of this machine.

use crate::Device;
use candle_core::cuda_backend::cudarc::driver::{self, CudaContext, DriverError, sys};
use ltv_core::error::{Error, ErrorKind, Result};

const NEWER_DRIVER: &str = "Install a newer NVIDIA driver, or build the library with an older CUDA toolkit (cargo xtask build-cuda).";

pub fn list() -> Result<Vec<Device>> {
    driver::result::init().map_err(unusable)?;
    check_driver()?;
    let count = CudaContext::device_count().map_err(unusable)?;
    let count = usize::try_from(count).unwrap_or(0);
    if count == 0 {
        return Err(Error::new(ErrorKind::Device, "there is no CUDA device")
            .detail("The driver is there, and reports no device.")
            .hint("nvidia-smi shows which devices there are; CUDA_VISIBLE_DEVICES of the server may hide them."));
    }
    // One that cannot be asked, because it is broken or belongs to somebody else alone, is not there.
    let devices: Vec<_> = (0..count).map(ask).collect();
    if devices.iter().all(std::result::Result::is_err)
        && let Some(Err(error)) = devices.into_iter().next()
    {
        return Err(unusable(error));
    }
    Ok((0..count).filter_map(|index| ask(index).ok()).collect())
}

fn ask(index: usize) -> std::result::Result<Device, DriverError> {
    let context = CudaContext::new(index)?;
    let (free, total) = context.mem_get_info()?;
    Ok(Device {
        index: index as u32,
        name: context.name()?,
        free_memory: free as u64,
        total_memory: total as u64,
    })
}

/// The driver compiles the kernels, and knows only those of its own time.
fn check_driver() -> Result<()> {
    let mut version = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(unusable)?;
    let needed = sys::CUDA_VERSION as i32;
    if version >= needed {
        return Ok(());
    }
    let spelled = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
    Err(
        Error::new(ErrorKind::Device, "the NVIDIA driver is too old")
            .detail(format!(
                "It supports CUDA {}, and the library was built with CUDA {}.",
                spelled(version),
                spelled(needed)
            ))
            .hint(NEWER_DRIVER),
    )
}

fn unusable(error: DriverError) -> Error {
    let text = format!("The driver says: {error}.");
    match error.0 {
        sys::CUresult::CUDA_ERROR_NO_DEVICE => {
            Error::new(ErrorKind::Device, "there is no CUDA device")
                .detail(text)
                .hint("nvidia-smi shows which devices there are; CUDA_VISIBLE_DEVICES of the server may hide them.")
        }
        sys::CUresult::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH
        | sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            Error::new(ErrorKind::Device, "the NVIDIA driver does not fit")
                .detail(text)
                .hint(NEWER_DRIVER)
        }
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            Error::new(ErrorKind::Resources, "the device is out of memory")
                .detail(text)
                .hint("Wait until other work on the device has ended, or set the option \"device\" to \"cpu\".")
        }
        _ => Error::new(ErrorKind::Device, "the NVIDIA driver cannot be used")
            .detail(text)
            .hint("nvidia-smi, run as the server's user, shows whether the driver works."),
    }
}

/// What the trainer calls the device.
pub fn name(asked: &str) -> String {
    asked.to_owned()
}
