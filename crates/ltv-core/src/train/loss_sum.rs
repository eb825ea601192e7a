//! The loss of an epoch, in all and by its terms.

use crate::error::Result;
use crate::objective::Loss;
use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};

/// Sums over batches, weighted by rows.
#[derive(Default)]
pub(super) struct LossSum {
    rows: f64,
    total: f64,
    terms: Vec<(&'static str, f64)>,
}

impl LossSum {
    pub fn add(&mut self, loss: &Loss, rows: usize) -> Result<()> {
        let rows = rows as f64;
        let scalar = |tensor: &Tensor| -> Result<f64> {
            Ok(f64::from(tensor.to_dtype(DType::F32)?.to_scalar::<f32>()?))
        };
        let total = scalar(&loss.total)?;
        self.rows += rows;
        self.total += total * rows;
        for (index, (name, term)) in loss.terms.iter().enumerate() {
            let term = scalar(term)? * rows;
            match self.terms.get_mut(index) {
                Some((_, sum)) => *sum += term,
                None => self.terms.push((name, term)),
            }
        }
        Ok(())
    }

    pub fn merge(&mut self, other: Self) {
        self.rows += other.rows;
        self.total += other.total;
        for (index, (name, term)) in other.terms.into_iter().enumerate() {
            match self.terms.get_mut(index) {
                Some((_, sum)) => *sum += term,
                None => self.terms.push((name, term)),
            }
        }
    }

    pub fn mean(&self) -> f64 {
        self.total / self.rows.max(1.0)
    }

    pub fn to_json(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("loss".into(), json!(self.mean()));
        if self.terms.len() > 1 {
            for (name, sum) in &self.terms {
                object.insert((*name).to_owned(), json!(sum / self.rows.max(1.0)));
            }
        }
        object
    }
}
