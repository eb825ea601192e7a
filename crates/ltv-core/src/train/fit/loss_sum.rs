//! The loss of an epoch, in all and by its terms.

use crate::error::Result;
use crate::kernels::dispatch;
use crate::objective::Loss;
use candle_core::{DType, Tensor};
use serde_json::{Map, Value, json};

/// Losses that are left on a device before they are asked for.
const MOST_PENDING: usize = 1024;

/// Sums over batches, weighted by rows.
#[derive(Default)]
pub struct LossSum {
    rows: f64,
    total: f64,
    terms: Vec<(&'static str, f64)>,
    /// The losses of batches, total first, that still lie on a device: asking for each would make it wait each time.
    pending: Vec<(Tensor, f64)>,
}

impl LossSum {
    pub fn add(&mut self, loss: &Loss, rows: usize) -> Result<()> {
        let rows = rows as f64;
        self.rows += rows;
        for (name, _) in loss.terms.iter().skip(self.terms.len()) {
            self.terms.push((name, 0.0));
        }
        let float = |tensor: &Tensor| tensor.detach().to_dtype(DType::F32);
        if dispatch::has_custom_operations(&loss.total) {
            self.total += f64::from(float(&loss.total)?.to_scalar::<f32>()?) * rows;
            for ((_, term), (_, sum)) in loss.terms.iter().zip(&mut self.terms) {
                *sum += f64::from(float(term)?.to_scalar::<f32>()?) * rows;
            }
            return Ok(());
        }
        let mut all = vec![float(&loss.total)?];
        for (_, term) in &loss.terms {
            all.push(float(term)?);
        }
        self.pending.push((Tensor::stack(&all, 0)?, rows));
        match self.pending.len() < MOST_PENDING {
            true => Ok(()),
            false => self.settle(),
        }
    }

    /// To be called before the sums are looked at.
    pub fn settle(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (losses, rows): (Vec<Tensor>, Vec<f64>) = self.pending.drain(..).unzip();
        for (loss, rows) in Tensor::stack(&losses, 0)?
            .to_vec2::<f32>()?
            .into_iter()
            .zip(rows)
        {
            let mut loss = loss.into_iter().map(|value| f64::from(value) * rows);
            self.total += loss.next().unwrap_or_default();
            for ((_, sum), term) in self.terms.iter_mut().zip(loss) {
                *sum += term;
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
