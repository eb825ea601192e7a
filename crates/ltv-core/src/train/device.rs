//! Where networks are trained: the CPU, or a GPU, which wants large batches, rows that lie there, and no questions.

use crate::error::{Error, ErrorKind, Result};
use candle_core::Device;

pub struct Hardware {
    pub device: Device,
    is_gpu: bool,
    /// Free memory to be assumed instead of asking for it.
    free_memory: Option<usize>,
}

/// Rows per step where no gradient is needed.
const EVALUATION_BATCH: usize = 1024;
/// Enough to keep a GPU busy with a small network.
const EVALUATION_BATCH_GPU: usize = 16_384;

/// Of the free memory of a GPU, what is left to the driver and to others.
const SPARE: f64 = 0.1;

impl Hardware {
    pub fn cpu() -> Self {
        Self {
            device: Device::Cpu,
            is_gpu: false,
            free_memory: None,
        }
    }

    /// The device of the option `device`.
    pub fn open(name: &str, seed: u64) -> Result<Self> {
        if matches!(name, "auto" | "cpu") {
            return Ok(Self::cpu());
        }
        let index = match name.strip_prefix("cuda") {
            Some("") => Some(0),
            Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
            None => None,
        };
        let index =
            index.ok_or_else(|| Error::invalid(format!("device \"{name}\" is not known")))?;
        let device = gpu(index)?;
        device.set_seed(seed)?;
        Ok(Self {
            device,
            is_gpu: true,
            free_memory: None,
        })
    }

    /// The CPU, treated as if it were a GPU with so much free memory: tensor operations only, rows that lie there.
    pub fn like_a_gpu(free_memory: usize) -> Self {
        Self {
            device: Device::Cpu,
            is_gpu: true,
            free_memory: Some(free_memory),
        }
    }

    pub fn is_gpu(&self) -> bool {
        self.is_gpu
    }

    /// Whether layers have to be kept from their fast paths.
    pub fn computes_plainly(&self) -> bool {
        self.is_gpu && self.device.is_cpu()
    }

    pub fn evaluation_batch(&self) -> usize {
        match self.is_gpu {
            true => EVALUATION_BATCH_GPU,
            false => EVALUATION_BATCH,
        }
    }

    /// Bytes of a GPU that a training may take.
    pub fn usable_memory(&self) -> Result<usize> {
        let free = match self.free_memory {
            Some(free) => free,
            None => free_memory(&self.device)?,
        };
        Ok((free as f64 * (1.0 - SPARE)) as usize)
    }
}

/// What a training that needs more than there is ends with.
pub fn too_small(usable: usize, needed: usize) -> Error {
    Error::new(
        ErrorKind::Resources,
        "the device has not enough free memory for the training",
    )
    .detail(format!(
        "{} MB can be used, and the network with its batches is estimated to need {} MB.",
        usable >> 20,
        needed.div_ceil(1 << 20)
    ))
    .hint("Lower the option \"batch_size\", wait until other work on the device has ended, or set the option \"device\" to \"cpu\".")
}

#[cfg(feature = "cuda")]
fn gpu(index: usize) -> Result<Device> {
    Device::new_cuda(index).map_err(|error| {
        Error::new(
            ErrorKind::Device,
            format!("could not open the CUDA device {index}"),
        )
        .detail(error.to_string())
        .hint("nvidia-smi shows which devices there are and who uses them.")
    })
}

#[cfg(not(feature = "cuda"))]
fn gpu(_index: usize) -> Result<Device> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this build computes on the CPU only",
    )
    .hint("Set the option \"device\" to \"auto\" or \"cpu\"."))
}

#[cfg(feature = "cuda")]
fn free_memory(device: &Device) -> Result<usize> {
    let device = device.as_cuda_device()?;
    let stream = device.cuda_stream();
    let (free, _) = stream.context().mem_get_info().map_err(|error| {
        Error::new(
            ErrorKind::Device,
            "could not ask the device for its free memory",
        )
        .detail(format!("{error}."))
    })?;
    Ok(free)
}

#[cfg(not(feature = "cuda"))]
fn free_memory(_device: &Device) -> Result<usize> {
    Ok(usize::MAX)
}
