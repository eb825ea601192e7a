//! The numbers of a tensor on the CPU, as a slice.

use super::dispatch::refuse_plain;
use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};

/// The numbers of a contiguous tensor.
pub fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    refuse_plain()?;
    let data = T::cpu_storage_as_slice(storage)?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&data[from..to]),
        None => bail!("a fast path needs contiguous input"),
    }
}

/// Keeps the storage of a contiguous CPU tensor readable.
pub struct Numbers<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Numbers<'a> {
    /// Borrows the storage of the tensor.
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    /// The numbers; an error if the tensor is not on the CPU, not contiguous, or of another type.
    pub fn get<T: WithDType>(&self) -> Result<&[T]> {
        refuse_plain()?;
        match &*self.storage {
            Storage::Cpu(storage) => slice(storage, self.layout),
            _ => bail!("a fast path needs a tensor on the CPU"),
        }
    }
}
