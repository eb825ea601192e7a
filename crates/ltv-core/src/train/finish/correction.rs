//! What makes the values up to the end of one horizon right at the time of use. Each of several horizons has a correction of its own, fitted as
//! that of a model of this horizon alone, on the same rows.

use super::blend::Blend;
use super::calibration::Calibration;
use super::silence::Silence;
use crate::data::TrainingTable;
use crate::onnx::{GraphBuilder, NUMERIC, Value};
use serde::{Deserialize, Serialize};

/// Values are lowered after a long silence, then averaged with MBG/NBD's, then calibrated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    #[serde(default, rename = "ageing")]
    pub silence: Option<Silence>,
    pub blend: Option<Blend>,
    pub calibration: Option<Calibration>,
}

/// What corrections read of some rows.
#[derive(Clone, Debug, Default)]
pub struct Aside {
    /// What MBG/NBD expects up to the end of the horizon; empty where it is no part of the model.
    pub mbgnbd: Vec<f32>,
    /// What silence leaves of an expectation; empty where it leaves all.
    pub left: Vec<f32>,
}

impl Correction {
    /// What it reads of the rows of a table. `days`: the end of the horizon, where there are several.
    pub fn aside(&self, table: &TrainingTable, days: Option<f32>) -> Aside {
        let (blend, silence) = (self.blend.as_ref(), self.silence.as_ref());
        Aside {
            mbgnbd: blend.map_or_else(Vec::new, |blend| blend.values(table, days)),
            left: silence.map_or_else(Vec::new, |silence| silence.factors(table)),
        }
    }

    pub fn apply(&self, values: &mut [f32], aside: &Aside) {
        fall(values, aside);
        self.blended(values, aside);
        if let Some(calibration) = &self.calibration {
            values
                .iter_mut()
                .for_each(|value| *value = calibration.apply(*value));
        }
    }

    /// The networks' values with MBG/NBD's share.
    pub fn blended(&self, values: &mut [f32], aside: &Aside) {
        if let Some(blend) = &self.blend {
            for (value, other) in values.iter_mut().zip(&aside.mbgnbd) {
                *value = blend.apply(*value, *other);
            }
        }
    }

    /// The same in a graph.
    pub fn export(&self, graph: &mut GraphBuilder, value: &Value, days: Option<f32>) -> Value {
        let raw = Value::named(NUMERIC);
        let mut value = value.clone();
        if let Some(silence) = &self.silence {
            let left = silence.export(graph, &raw);
            value = graph.mul(&value, &left);
        }
        if let Some(blend) = &self.blend {
            let days = days.map_or(blend.horizon(), f64::from);
            value = blend.export(graph, &value, &raw, days);
        }
        match &self.calibration {
            Some(calibration) => calibration.export(graph, &value),
            None => value,
        }
    }
}

/// What is left after a silence.
pub fn fall(values: &mut [f32], aside: &Aside) {
    for (value, left) in values.iter_mut().zip(&aside.left) {
        *value *= left;
    }
}
