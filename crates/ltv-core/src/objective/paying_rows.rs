//! What `cmltv` regresses on: the rows of a batch that paid.

use crate::error::Result;
use candle_core::{DType, Device, Tensor};

/// `clip(floor(log2(1 + y)), 0, classes - 1)`; the floor of the logarithm is the number's binary exponent.
pub fn amount_class(y: f64, classes: usize) -> usize {
    let exponent = ((1.0 + y.max(0.0)).to_bits() >> 52) as usize - 1023;
    exponent.min(classes.saturating_sub(1))
}

/// The paying rows of a batch.
pub struct PayingRows {
    indices: Tensor,
    /// `[rows]`.
    pub amounts: Tensor,
    /// The same.
    pub values: Vec<f64>,
}

impl PayingRows {
    /// None where nobody pays.
    pub fn of(target: &Tensor) -> Result<Option<Self>> {
        let all = target.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let (indices, values): (Vec<u32>, Vec<f64>) = (0u32..)
            .zip(&all)
            .filter(|(_, y)| **y > 0.0)
            .map(|(index, y)| (index, *y))
            .unzip();
        if indices.is_empty() {
            return Ok(None);
        }
        let indices = Tensor::new(indices, target.device())?;
        let amounts = target.index_select(&indices, 0)?;
        Ok(Some(Self {
            indices,
            amounts,
            values,
        }))
    }

    /// These rows of `x`.
    pub fn select(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.contiguous()?.index_select(&self.indices, 0)?)
    }

    /// See [`amount_class`], `[rows, 1]`.
    pub fn classes(&self, classes: usize, device: &Device) -> Result<Tensor> {
        let classes: Vec<u32> = self
            .values
            .iter()
            .map(|&y| amount_class(y, classes) as u32)
            .collect();
        Ok(Tensor::new(classes, device)?.unsqueeze(1)?)
    }
}
