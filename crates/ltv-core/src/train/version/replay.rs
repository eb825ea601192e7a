//! A version replayed from its stored weights.

use super::{trees, weights};
use crate::data::TrainingTable;
use crate::error::Result;
use crate::preprocess::Preprocessing;
use crate::train::device::Hardware;
use crate::train::fit::network::Predictions;
use crate::train::rows::Rows;
use crate::trees::{Binned, Forest};
use candle_core::Device;

/// What a model with these stored weights predicts, by name, one value per row of `table`, without any ONNX: the
/// reference that the graph is held against.
pub fn predict(weights: &[u8], table: TrainingTable) -> Result<Vec<(&'static str, Vec<f32>)>> {
    if trees::are_trees(weights) {
        return predict_trees(weights, &table);
    }
    let stored = weights::Stored::read(weights)?;
    let networks = stored.networks(&Device::Cpu, usize::MAX)?;
    let aside = stored.finish.aside(&table);
    let trees = match &stored.forest {
        Some(forest) => of_trees(&stored.preprocessing, forest, &table)?,
        None => Vec::new(),
    };
    let data = stored.preprocessing.encode(table)?;
    let rows: Vec<u32> = (0..data.rows as u32).collect();
    let hardware = Hardware::cpu();
    let memory = Rows::Memory(&data, &hardware);
    let mut members = Vec::with_capacity(networks.len());
    for network in &networks {
        members.push(network.predict_rows(&memory, &rows, hardware.evaluation_batch())?);
    }
    let combined = stored.finish.combine(members, trees, &aside);
    Ok(combined.columns)
}

fn predict_trees(weights: &[u8], table: &TrainingTable) -> Result<Vec<(&'static str, Vec<f32>)>> {
    let trees::Stored {
        preprocessing,
        forest,
        finish,
    } = trees::Stored::read(weights)?;
    let members = of_trees(&preprocessing, &forest, table)?;
    let combined = finish.combine(members, Vec::new(), &finish.aside(table));
    Ok(combined.columns)
}

/// What each member of a forest predicts for the rows of a table.
fn of_trees(
    preprocessing: &Preprocessing,
    forest: &Forest,
    table: &TrainingTable,
) -> Result<Vec<Predictions>> {
    let ids = preprocessing.ids(table);
    let mut data = Binned::new(table.rows());
    for (column, bins) in forest.features.iter().enumerate() {
        data.push(bins.clone(), preprocessing.raw_values(table, &ids, column))?;
    }
    let member = |member: usize| Predictions {
        columns: forest.predict(member, &data),
    };
    Ok((0..forest.members.len()).map(member).collect())
}
