//! BG/NBD with Gamma-Gamma as one more voice in the average. Networks do not know how a customer ages beyond what they
//! were shown; BG/NBD is a law of how customers age. Together their totals hold out of time (measured on CDNOW and
//! Online Retail II, fitted at one cut-off and scored at a later one).

use super::calibration::Calibration;
use super::classic::{self, Columns};
use crate::btyd::{BgNbd, Btyd, GammaGamma};
use crate::data::TrainingTable;
use crate::error::{Error, Result};
use crate::onnx::{GraphBuilder, NUMERIC, Value};
use crate::recipe::Recipe;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::{Deserialize, Serialize};

/// Of the networks' value; the rest is BG/NBD's. Weights fitted on held-out rows were no better.
const SHARE: f32 = 0.5;

/// Customers whose histories decide the parameters; with ten times as many they move by a percent or two.
const MOST_FITTED: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Blend {
    pub model: Btyd,
    pub columns: Columns,
    pub calibration: Option<Calibration>,
}

/// A blend that is not yet calibrated, and its values for the rows of the table.
pub(super) struct Classic {
    pub blend: Blend,
    pub values: Vec<f32>,
}

/// Fits BG/NBD if the recipe asks for it, or leaves it open and the data are made for it.
pub(super) fn fit(table: &TrainingTable, rows: &[u32], recipe: &Recipe) -> Result<Option<Classic>> {
    let asked = recipe.options.blend_bgnbd;
    if asked == Some(false) || recipe.objective == "purchase" {
        return Ok(None);
    }
    if asked.is_none() && (!table.has_several_cut_offs() || recipe.options.horizon.is_none()) {
        return Ok(None);
    }
    match attempt(table, rows, recipe) {
        Ok(classic) => Ok(Some(classic)),
        Err(error) if asked == Some(true) => Err(error),
        Err(_) => Ok(None),
    }
}

fn attempt(table: &TrainingTable, rows: &[u32], recipe: &Recipe) -> Result<Classic, Error> {
    let columns = Columns::find(table)?;
    let customers = classic::training_customers(table, &columns, rows.to_vec(), MOST_FITTED);
    let blend = Blend {
        model: Btyd {
            purchases: BgNbd::fit(&customers)?,
            spend: GammaGamma::fit(&customers)?,
            horizon: classic::horizon(recipe)?,
        },
        columns,
        calibration: None,
    };
    let values = blend.values(table);
    Ok(Classic { blend, values })
}

impl Blend {
    /// The expected values of all rows, not calibrated.
    pub fn values(&self, table: &TrainingTable) -> Vec<f32> {
        (0..table.rows() as u32)
            .into_par_iter()
            .map(|row| {
                let customer = self.columns.customer(table, row);
                self.model.expected_value(&customer) as f32
            })
            .collect()
    }

    pub fn apply(&self, value: f32, classic: f32) -> f32 {
        let classic = match &self.calibration {
            Some(calibration) => calibration.apply(classic),
            None => classic,
        };
        value * SHARE + classic * (1.0 - SHARE)
    }

    pub fn export(&self, graph: &mut GraphBuilder, value: &Value) -> Value {
        let raw = Value::named(NUMERIC);
        let outputs = classic::export(graph, &self.model, &self.columns, &raw);
        let mut classic = outputs
            .into_iter()
            .find(|(name, _)| *name == "ltv")
            .map_or_else(|| value.clone(), |(_, classic)| classic);
        if let Some(calibration) = &self.calibration {
            classic = calibration.export(graph, &classic);
        }
        let share = graph.float(SHARE);
        let rest = graph.float(1.0 - SHARE);
        let value = graph.mul(value, &share);
        let classic = graph.mul(&classic, &rest);
        graph.add(&value, &classic)
    }
}
