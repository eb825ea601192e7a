//! A build without CUDA: the CPU stands in for a device, under a name that says so.

use crate::Device;
use ltv_core::error::Result;

pub fn list() -> Result<Vec<Device>> {
    Ok(vec![Device {
        index: 0,
        name: "CPU (the library was built without CUDA)".to_owned(),
        free_memory: u64::MAX,
        total_memory: u64::MAX,
    }])
}

/// What the trainer calls the device.
pub fn name(_asked: &str) -> String {
    "cpu".to_owned()
}
