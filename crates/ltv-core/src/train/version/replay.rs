//! A version replayed from its stored weights.

use super::weights;
use crate::data::TrainingTable;
use crate::error::Result;
use crate::train::device::Hardware;
use crate::train::rows::Rows;
use candle_core::Device;

/// What a model with these stored weights predicts, by name, one value per row of `table`, without any ONNX: the
/// reference that the graph is held against.
pub fn predict(weights: &[u8], table: TrainingTable) -> Result<Vec<(&'static str, Vec<f32>)>> {
    let stored = weights::Stored::read(weights)?;
    let networks = stored.networks(&Device::Cpu, usize::MAX)?;
    let mbgnbd = stored
        .finish
        .blend
        .as_ref()
        .map(|blend| blend.values(&table));
    let silence = stored.finish.silence.as_ref();
    let left = silence.map(|silence| silence.factors(&table));
    let data = stored.preprocessing.encode(table)?;
    let rows: Vec<u32> = (0..data.rows as u32).collect();
    let hardware = Hardware::cpu();
    let memory = Rows::Memory(&data, &hardware);
    let mut members = Vec::with_capacity(networks.len());
    for network in &networks {
        members.push(network.predict_rows(&memory, &rows, hardware.evaluation_batch())?);
    }
    let combined = (stored.finish).combine(members, mbgnbd.as_deref(), left.as_deref());
    Ok(combined.columns)
}
