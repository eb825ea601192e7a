//! `deepfm`: a factorisation machine beside a deep part that shares its embeddings.

use super::Backbone;
use crate::batch::{Batch, GraphInputs, InputShape, Mode};
use crate::error::Result;
use crate::layers::fm::FactorizationMachine;
use crate::layers::mlp::{Mlp, MlpConfig};
use crate::onnx::{GraphBuilder, Value};
use crate::params::Params;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

/// Settings of backbone `deepfm` (Guo et al. 2017).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepFmConfig {
    /// Common width of the field embeddings.
    pub size: usize,
    /// Without hidden layers the numbers and the embeddings of the categories take its place.
    pub deep: MlpConfig,
}

impl Default for DeepFmConfig {
    fn default() -> Self {
        Self {
            size: 8,
            deep: MlpConfig {
                batch_norm: true,
                ..MlpConfig::default()
            },
        }
    }
}

/// `h` = first order, second order per channel, deep part.
pub struct DeepFm {
    fm: FactorizationMachine,
    size: usize,
    numeric: bool,
    /// Over v_i x_i of all fields, then x_i of the numbers.
    deep: Mlp,
}

impl DeepFm {
    /// Adds the weights; an error where there are no columns.
    pub fn new(params: &mut Params, shape: &InputShape, config: &DeepFmConfig) -> Result<Self> {
        let fm = FactorizationMachine::new(params, "fm", shape, config.size)?;
        let inputs = match config.deep.hidden.is_empty() {
            true => fm.folded_width(),
            false => fm.embedding_width() + shape.numeric,
        };
        let deep = Mlp::new(params, "deep", inputs, &config.deep)?;
        Ok(Self {
            fm,
            size: config.size,
            numeric: shape.numeric > 0,
            deep,
        })
    }
}

impl Backbone for DeepFm {
    fn width(&self) -> usize {
        self.unit_columns() + self.deep.width()
    }

    fn unit_columns(&self) -> usize {
        1 + self.size
    }

    fn forward(&self, batch: &Batch, mode: &Mode) -> Result<Tensor> {
        let fm = self.fm.forward(batch)?;
        let numbers = self.numeric.then(|| batch.numeric.clone());
        let input: Vec<Tensor> = numbers.into_iter().chain(fm.categories).collect();
        let input = match input.as_slice() {
            [only] => only.clone(),
            parts => Tensor::cat(parts, 1)?,
        };
        let deep = match self.deep.first_matrix() {
            Some(matrix) => self.deep.forward_by(&input, &self.fm.fold(matrix)?, mode)?,
            None => input,
        };
        Ok(Tensor::cat(&[fm.first, fm.second, deep], 1)?)
    }

    fn export(&self, graph: &mut GraphBuilder, inputs: &GraphInputs) -> Result<Value> {
        let fm = self.fm.export(graph, inputs)?;
        let numbers = self.numeric.then(|| inputs.numeric.clone());
        let input: Vec<Value> = numbers.into_iter().chain(fm.categories).collect();
        let input = graph.concat(&input.iter().collect::<Vec<_>>(), 1);
        let deep = match self.deep.first_matrix() {
            Some(matrix) => self.deep.export_by(graph, &input, &self.fm.fold(matrix)?)?,
            None => input,
        };
        Ok(graph.concat(&[&fm.first, &fm.second, &deep], 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use std::collections::HashMap;

    /// The deep part sees v_i x_i of each field, then the numbers, one by one.
    #[test]
    fn the_deep_part_sees_embeddings_and_numbers() -> Result<()> {
        let (rows, size) = (5, 3);
        let shape = InputShape {
            numeric: 2,
            cardinalities: vec![4, 3],
            ..InputShape::default()
        };
        let config = DeepFmConfig {
            size,
            deep: MlpConfig {
                hidden: vec![6],
                dropout: 0.0,
                batch_norm: false,
            },
        };
        let mut params = Params::new(7, DType::F64, Device::Cpu);
        let backbone = DeepFm::new(&mut params, &shape, &config)?;
        let mut weights: HashMap<&str, Vec<Vec<f64>>> = HashMap::new();
        for (name, var) in params.weights() {
            if var.rank() == 2 {
                weights.insert(name, var.to_vec2()?);
            }
        }
        let x: Vec<f64> = (0..rows * 2).map(|i| (i as f64 * 1.7).sin()).collect();
        let ids = [[0_u32, 3, 1, 2, 3], [2, 1, 0, 1, 2]];
        let batch = Batch {
            rows,
            numeric: Tensor::from_slice(&x, (rows, 2), &Device::Cpu)?,
            categories: ids
                .iter()
                .map(|ids| Tensor::new(ids, &Device::Cpu))
                .collect::<candle_core::Result<_>>()?,
            sequence: None,
        };
        let h = backbone
            .forward(&batch, &Mode::Evaluate)?
            .to_vec2::<f64>()?;
        for (row, h) in h.iter().enumerate() {
            let numbers = &x[row * 2..][..2];
            let mut input = Vec::new();
            for (x, vector) in numbers.iter().zip(&weights["fm.numeric.second"]) {
                input.extend(vector.iter().map(|v| v * x));
            }
            for (field, ids) in ids.iter().enumerate() {
                let vectors = &weights[format!("fm.category.{field}.second.weight").as_str()];
                input.extend(&vectors[ids[row] as usize]);
            }
            input.extend(numbers);
            for (unit, matrix) in weights["deep.0.weight"].iter().enumerate() {
                assert_eq!(matrix.len(), input.len());
                let product: f64 = matrix.iter().zip(&input).map(|(w, x)| w * x).sum();
                let gap = (h[1 + size + unit] - product.max(0.0)).abs();
                assert!(gap < 1e-12, "{row} {unit}: {gap}");
            }
        }
        Ok(())
    }
}
