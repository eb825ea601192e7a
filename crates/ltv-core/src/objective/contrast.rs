//! The contrasts of `cmltv`: terms that compare rows of a batch with each other.

use crate::error::Result;
use crate::kernels::dispatch::{has_custom_operations, refuse_plain};
use crate::kernels::functions::{scalar, softplus};
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Tensor};

/// `-log sigmoid(mean probability of payers - mean probability of the others)`; 0 in a batch with only one kind.
pub fn class_contrast(probability: &Tensor, paying: &Tensor, payers: usize) -> Result<Tensor> {
    let others = probability.elem_count() - payers;
    let sum = (probability * paying)?.sum_all()?;
    if payers == 0 || others == 0 {
        return Ok(sum.zeros_like()?);
    }
    let rest = (probability.sum_all()? - &sum)?;
    let gap = (sum.affine(1.0 / payers as f64, 0.0)? - rest.affine(1.0 / others as f64, 0.0)?)?;
    Ok(softplus(&gap.neg()?)?)
}

/// Whoever is given the higher value must have the higher purchase probability: the mean over pairs of different
/// value of `-log sigmoid((l_i - l_j) (p_i - p_j))`, where `l = log1p(value)`. The term is the same for (i, j) and
/// (j, i), so each pair is taken once. All pairs where there are at most about `limit`, otherwise those at the
/// distances 1, 2, ... in the (shuffled) batch that fit: the cost stays linear in the rows.
pub fn regression_contrast(
    log_value: &Tensor,
    probability: &Tensor,
    limit: usize,
) -> Result<Tensor> {
    let pairs = Pairs::new(log_value.elem_count(), limit);
    if pairs.distances == 0 {
        return Ok(log_value.sum_all()?.zeros_like()?);
    }
    if has_custom_operations(log_value) {
        let (log_value, probability) = (log_value.contiguous()?, probability.contiguous()?);
        return Ok(log_value.apply_op2(&probability, pairs)?);
    }
    definition(log_value, probability, pairs)
}

/// The pairs (i, i + distance) that are compared, indices modulo `rows`.
#[derive(Clone, Copy)]
struct Pairs {
    rows: usize,
    distances: usize,
}

impl Pairs {
    fn new(rows: usize, limit: usize) -> Self {
        let half = rows / 2;
        let distances = (limit / rows.max(1)).max(1).min(half);
        Self { rows, distances }
    }

    /// At half the rows of an even count each pair would come twice.
    fn at(self, distance: usize) -> usize {
        if 2 * distance == self.rows {
            distance
        } else {
            self.rows
        }
    }

    fn for_each(self, mut visit: impl FnMut(usize, usize)) {
        for distance in 1..=self.distances {
            for i in 0..self.at(distance) {
                let j = i + distance;
                visit(i, if j < self.rows { j } else { j - self.rows });
            }
        }
    }

    /// How many of the pairs differ in value.
    fn different(self, log_value: &[f64]) -> f64 {
        let mut count = 0usize;
        self.for_each(|i, j| count += usize::from(log_value[i] != log_value[j]));
        count.max(1) as f64
    }
}

/// By tensor operations.
fn definition(log_value: &Tensor, probability: &Tensor, pairs: Pairs) -> Result<Tensor> {
    let mut sum = log_value.sum_all()?.zeros_like()?;
    let mut count = sum.clone();
    for distance in 1..=pairs.distances {
        let gap = |x: &Tensor| -> Result<Tensor> {
            let wrapped = x.narrow(0, 0, distance)?;
            let rest = x.narrow(0, distance, pairs.rows - distance)?;
            let rotated = Tensor::cat(&[rest, wrapped], 0)?;
            Ok((x - rotated)?.narrow(0, 0, pairs.at(distance))?)
        };
        let value_gap = gap(log_value)?;
        let different = value_gap.ne(0.0)?.to_dtype(value_gap.dtype())?;
        let product = (value_gap * gap(probability)?)?;
        sum = (sum + (softplus(&product.neg()?)? * &different)?.sum_all()?)?;
        count = (count + different.sum_all()?)?;
    }
    Ok((sum / count.maximum(1.0)?)?)
}

fn numbers(storage: &CpuStorage, layout: &Layout) -> candle_core::Result<Vec<f64>> {
    refuse_plain()?;
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("the contrast needs contiguous input");
    };
    Ok(match storage {
        CpuStorage::F32(data) => data[from..to].iter().map(|&x| x.into()).collect(),
        CpuStorage::F64(data) => data[from..to].to_vec(),
        _ => candle_core::bail!("the contrast needs float input"),
    })
}

/// In one pass, with the gradient by hand.
impl CustomOp2 for Pairs {
    fn name(&self) -> &'static str {
        "regression_contrast"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (l, p) = (numbers(s1, l1)?, numbers(s2, l2)?);
        let mut sum = 0.0;
        self.for_each(|i, j| {
            if l[i] != l[j] {
                sum += scalar::softplus(-(l[i] - l[j]) * (p[i] - p[j]));
            }
        });
        let mean = sum / self.different(&l);
        let storage = match s1 {
            CpuStorage::F32(_) => CpuStorage::F32(vec![mean as f32]),
            _ => CpuStorage::F64(vec![mean]),
        };
        Ok((storage, Shape::from(())))
    }

    fn bwd(
        &self,
        log_value: &Tensor,
        probability: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let l = log_value.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let p = probability.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        let upstream = gradient.to_dtype(DType::F64)?.to_scalar::<f64>()? / self.different(&l);
        let (mut by_l, mut by_p) = (vec![0.0; self.rows], vec![0.0; self.rows]);
        self.for_each(|i, j| {
            let (dl, dp) = (l[i] - l[j], p[i] - p[j]);
            if dl != 0.0 {
                let slope = -scalar::sigmoid(-dl * dp) * upstream;
                by_l[i] += slope * dp;
                by_l[j] -= slope * dp;
                by_p[i] += slope * dl;
                by_p[j] -= slope * dl;
            }
        });
        let tensor = |values: Vec<f64>| {
            Tensor::from_vec(values, self.rows, gradient.device())?.to_dtype(gradient.dtype())
        };
        Ok((Some(tensor(by_l)?), Some(tensor(by_p)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn one_pass_equals_the_definition() -> Result<()> {
        for (rows, limit) in [(2, 100), (7, 100), (8, 100), (40, 90), (41, 5)] {
            let draw = |k: f64| -> Vec<f64> { (0..rows).map(|i| (i as f64 * k).sin()).collect() };
            let mut values = draw(1.7);
            values[0] = values[1];
            let l = Var::from_vec(values, rows, &Device::Cpu)?;
            let p = Var::from_vec(draw(0.9), rows, &Device::Cpu)?;
            let fast = regression_contrast(&l, &p, limit)?;
            let plain = definition(&l, &p, Pairs::new(rows, limit))?;
            let gap = (fast.to_scalar::<f64>()? - plain.to_scalar::<f64>()?).abs();
            assert!(gap < 1e-14, "{rows} rows: {gap}");
            let (fast, plain) = (fast.backward()?, plain.backward()?);
            for var in [&l, &p] {
                let (Some(a), Some(b)) = (fast.get(var), plain.get(var)) else {
                    panic!("a gradient is missing");
                };
                let gap = (a - b)?.abs()?.max_all()?.to_scalar::<f64>()?;
                assert!(gap < 1e-14, "{rows} rows: gradients differ by {gap}");
            }
        }
        Ok(())
    }
}
