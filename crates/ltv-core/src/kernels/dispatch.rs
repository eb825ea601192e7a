//! Fast or plain: whether a layer takes its custom operation or its definition by tensor operations.

use candle_core::{Result, Tensor, bail};
use std::cell::Cell;

thread_local! {
    static PLAIN: Cell<bool> = const { Cell::new(false) };
}

/// From now on layers on this thread compute by tensor operations only, as they do on a GPU, whatever the device.
pub fn keep_plain() {
    PLAIN.set(true);
}

/// An error where a fast path is taken although only tensor operations would work.
pub fn refuse_plain() -> Result<()> {
    if PLAIN.get() {
        bail!("a fast path was taken where only tensor operations work");
    }
    Ok(())
}

/// Whether custom operations, which are written for the CPU, may be used on the tensor.
pub fn has_custom_operations(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && !PLAIN.get()
}

/// Whether fast paths apply: on the CPU, with plain floats.
pub fn applies(tensor: &Tensor) -> bool {
    has_custom_operations(tensor)
        && matches!(
            tensor.dtype(),
            candle_core::DType::F32 | candle_core::DType::F64
        )
}
