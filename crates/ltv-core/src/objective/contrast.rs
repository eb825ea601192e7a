//! The contrasts of `cmltv`: terms that compare rows of a batch with each other.

use crate::error::Result;
use crate::kernels::dispatch::has_custom_operations;
use crate::kernels::functions::{scalar, softplus};
use crate::kernels::operation::{Given, Operation, apply2};
use crate::kernels::real::Real;
use candle_core::Tensor;

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
        return Ok(apply2(pairs, [log_value, probability], ())?);
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

fn wide<T: Real>(numbers: &[T]) -> Vec<f64> {
    numbers.iter().map(|x| x.to_f64()).collect()
}

/// In one pass, with the gradient by hand, in float64 whatever the inputs are.
impl Operation<2> for Pairs {
    const NAME: &'static str = "regression contrast";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, inputs: [&[T]; 2]) -> candle_core::Result<(Vec<T>, ())> {
        let [l, p] = inputs.map(wide);
        let mut sum = 0.0;
        self.for_each(|i, j| {
            if l[i] != l[j] {
                sum += scalar::softplus(-(l[i] - l[j]) * (p[i] - p[j]));
            }
        });
        Ok((vec![T::from_f64(sum / self.different(&l))], ()))
    }

    fn backward<T: Real>(
        &self,
        given: Given<T, (), 2>,
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        let [l, p] = given.inputs.map(wide);
        let upstream = given.gradient[0].to_f64() / self.different(&l);
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
        let narrow = |values: Vec<f64>| Some(values.into_iter().map(T::from_f64).collect());
        Ok([narrow(by_l), narrow(by_p)])
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
