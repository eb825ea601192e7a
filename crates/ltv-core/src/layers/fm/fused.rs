//! The two parts of a factorisation machine that take time, as one operation each; [`fm`](super) defines them by
//! tensor operations. The numbers are data: there is no gradient by them.

use crate::error;
use crate::kernels::operation::{Given, Operation, apply2, apply3};
use crate::kernels::real::Real;
use crate::kernels::{blocks, threads};
use candle_core::{Result, Tensor};
use std::ops::Range;

/// See [`fm::second_order`](super::fm::second_order).
pub fn second_order(
    x: &Tensor,
    embedding: &Tensor,
    categories: Option<&Tensor>,
) -> error::Result<Tensor> {
    let (rows, (fields, size)) = (x.dim(0)?, embedding.dims2()?);
    let categories = match categories {
        Some(vectors) => vectors.clone(),
        None => Tensor::zeros((rows, 0), x.dtype(), x.device())?,
    };
    let operation = SecondOrder {
        fields,
        size,
        width: categories.dim(1)?,
    };
    Ok(apply3(
        operation,
        [x, embedding, &categories],
        (rows, size),
    )?)
}

/// See [`fm::folded`](super::fm::folded).
pub fn folded(matrix: &Tensor, embedding: &Tensor) -> error::Result<Tensor> {
    let (outputs, inputs) = matrix.dims2()?;
    let (fields, size) = embedding.dims2()?;
    let width = inputs - fields * size;
    Ok(apply2(
        Folded {
            inputs,
            fields,
            size,
        },
        [matrix, embedding],
        (outputs, width),
    )?)
}

/// Channels that are worked on side by side.
const LANES: usize = 8;

struct SecondOrder {
    fields: usize,
    size: usize,
    /// Of the embeddings of all categories of a row.
    width: usize,
}

/// The same channels of each field, zero beyond the last one.
type Vectors<T> = Vec<[T; LANES]>;

impl SecondOrder {
    /// Block by block of channels.
    fn blocks<T: Real>(&self, embedding: &[T]) -> Vec<Vectors<T>> {
        (0..self.size)
            .step_by(LANES)
            .map(|start| {
                let channels = start..(start + LANES).min(self.size);
                let vectors = embedding.chunks_exact(self.size);
                vectors
                    .map(|vector| padded(&vector[channels.clone()]))
                    .collect()
            })
            .collect()
    }

    /// Per channel of one block the sum over the fields of a row, and the sum of the squares.
    #[inline(always)]
    fn sums<T: Real>(
        &self,
        vectors: &Vectors<T>,
        x: &[T],
        categories: &[T],
        channels: Range<usize>,
    ) -> ([T; LANES], [T; LANES]) {
        let mut sum = [T::zero(); LANES];
        let mut squares = [T::zero(); LANES];
        let mut add = |field: [T; LANES]| {
            for lane in 0..LANES {
                sum[lane] += field[lane];
                squares[lane] += field[lane] * field[lane];
            }
        };
        for (&x, vector) in x.iter().zip(vectors) {
            add(vector.map(|v| x * v));
        }
        for vector in categories.chunks_exact(self.size) {
            add(padded(&vector[channels.clone()]));
        }
        (sum, squares)
    }

    fn rows<T>(&self, x: &[T]) -> Vec<Range<usize>> {
        let rows = x.len() / self.fields;
        let at_once = threads::rows_per_part(rows);
        (0..rows)
            .step_by(at_once)
            .map(|start| start..(start + at_once).min(rows))
            .collect()
    }

    fn row<'a, T>(&self, x: &'a [T], categories: &'a [T], row: usize) -> (&'a [T], &'a [T]) {
        (
            &x[row * self.fields..][..self.fields],
            &categories[row * self.width..][..self.width],
        )
    }
}

fn padded<T: Real>(values: &[T]) -> [T; LANES] {
    let mut lanes = [T::zero(); LANES];
    lanes[..values.len()].copy_from_slice(values);
    lanes
}

impl Operation<3> for SecondOrder {
    const NAME: &'static str = "second-order";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [x, embedding, categories]: [&[T]; 3]) -> Result<(Vec<T>, ())> {
        let half = T::from_f64(0.5);
        let blocks = self.blocks(embedding);
        let parts = threads::each(self.rows(x), |rows| {
            let mut out = vec![T::zero(); rows.len() * self.size];
            for (row, out) in rows.zip(out.chunks_exact_mut(self.size)) {
                let (x, categories) = self.row(x, categories, row);
                for (index, (vectors, out)) in blocks.iter().zip(out.chunks_mut(LANES)).enumerate()
                {
                    let channels = index * LANES..index * LANES + out.len();
                    let (sum, squares) = self.sums(vectors, x, categories, channels);
                    for (lane, out) in out.iter_mut().enumerate() {
                        *out = (sum[lane] * sum[lane] - squares[lane]) * half;
                    }
                }
            }
            out
        });
        Ok((joined(parts), ()))
    }

    fn backward<T: Real>(&self, given: Given<T, (), 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [x, embedding, categories] = given.inputs;
        let blocks = self.blocks(embedding);
        let parts = threads::each(self.rows(x), |rows| {
            let mut by_categories = vec![T::zero(); rows.len() * self.width];
            // Per field the sums over the rows of x s g and of x^2 g, s the sum over the fields and g the gradient.
            let none = [[T::zero(); LANES]; 2];
            let mut by_vectors = vec![vec![none; self.fields]; blocks.len()];
            for (place, row) in rows.enumerate() {
                let gradient = &given.gradient[row * self.size..][..self.size];
                let (x, categories) = self.row(x, categories, row);
                let by_categories = &mut by_categories[place * self.width..][..self.width];
                let all = blocks.iter().zip(&mut by_vectors);
                for (index, (vectors, by_vectors)) in all.enumerate() {
                    let channels = index * LANES..((index + 1) * LANES).min(self.size);
                    let gradient = padded(&gradient[channels.clone()]);
                    let (mut sum, _) = self.sums(vectors, x, categories, channels.clone());
                    let fields = categories.chunks_exact(self.size);
                    for (out, field) in by_categories.chunks_exact_mut(self.size).zip(fields) {
                        for (lane, channel) in channels.clone().enumerate() {
                            out[channel] = gradient[lane] * (sum[lane] - field[channel]);
                        }
                    }
                    for (sum, gradient) in sum.iter_mut().zip(gradient) {
                        *sum *= gradient;
                    }
                    for (&x, [mixed, squares]) in x.iter().zip(by_vectors) {
                        for lane in 0..LANES {
                            mixed[lane] += x * sum[lane];
                            squares[lane] += x * x * gradient[lane];
                        }
                    }
                }
            }
            (by_categories, by_vectors)
        });
        let mut by_embedding = vec![T::zero(); embedding.len()];
        let mut by_categories = Vec::with_capacity(parts.len());
        for (categories, by_vectors) in parts {
            by_categories.push(categories);
            for (index, by_vectors) in by_vectors.iter().enumerate() {
                let fields = by_embedding
                    .chunks_exact_mut(self.size)
                    .zip(embedding.chunks_exact(self.size));
                for ((out, vector), [mixed, squares]) in fields.zip(by_vectors) {
                    let channels = index * LANES..((index + 1) * LANES).min(self.size);
                    for (lane, channel) in channels.enumerate() {
                        out[channel] += mixed[lane] - vector[channel] * squares[lane];
                    }
                }
            }
        }
        let by_categories = given.wanted[2].then(|| joined(by_categories));
        Ok([None, Some(by_embedding), by_categories])
    }
}

fn joined<T>(parts: Vec<Vec<T>>) -> Vec<T> {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    parts.for_each(|part| all.extend(part));
    all
}

struct Folded {
    inputs: usize,
    fields: usize,
    size: usize,
}

impl Folded {
    /// A row of the matrix: what products, categories and numbers are multiplied by.
    fn split<'a, T>(&self, row: &'a [T]) -> [&'a [T]; 3] {
        let (products, rest) = row.split_at(self.fields * self.size);
        let (categories, numbers) = rest.split_at(rest.len() - self.fields);
        [products, categories, numbers]
    }
}

impl Operation<2> for Folded {
    const NAME: &'static str = "folded";
    type Kept<T: Real> = ();

    fn forward<T: Real>(&self, [matrix, embedding]: [&[T]; 2]) -> Result<(Vec<T>, ())> {
        let mut out = Vec::with_capacity(matrix.len());
        for row in matrix.chunks_exact(self.inputs) {
            let [products, categories, numbers] = self.split(row);
            let weights = products.chunks_exact(self.size);
            let vectors = embedding.chunks_exact(self.size);
            for ((weights, vector), &number) in weights.zip(vectors).zip(numbers) {
                out.push(blocks::sum(self.size, |k| weights[k] * vector[k]) + number);
            }
            out.extend_from_slice(categories);
        }
        Ok((out, ()))
    }

    fn backward<T: Real>(&self, given: Given<T, (), 2>) -> Result<[Option<Vec<T>>; 2]> {
        let [matrix, embedding] = given.inputs;
        let mut by_matrix = Vec::with_capacity(matrix.len());
        let mut by_embedding = vec![T::zero(); embedding.len()];
        let width = self.inputs - self.fields * self.size;
        let gradients = given.gradient.chunks_exact(width);
        for (row, gradient) in matrix.chunks_exact(self.inputs).zip(gradients) {
            let (by_numbers, by_categories) = gradient.split_at(self.fields);
            for (&by_number, vector) in by_numbers.iter().zip(embedding.chunks_exact(self.size)) {
                by_matrix.extend(vector.iter().map(|&v| by_number * v));
            }
            by_matrix.extend_from_slice(by_categories);
            by_matrix.extend_from_slice(by_numbers);
            let [products, ..] = self.split(row);
            let sums = by_embedding.chunks_exact_mut(self.size);
            let weights = products.chunks_exact(self.size);
            for ((sums, weights), &by_number) in sums.zip(weights).zip(by_numbers) {
                for (sum, &weight) in sums.iter_mut().zip(weights) {
                    *sum += by_number * weight;
                }
            }
        }
        Ok([Some(by_matrix), Some(by_embedding)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::fm;
    use candle_core::{Device, Var};

    fn wave(rows: usize, columns: usize, k: f64) -> Result<Var> {
        let values = (0..rows * columns).map(|i| (i as f64 * k + 0.3).sin());
        Var::from_vec(values.collect(), (rows, columns), &Device::Cpu)
    }

    /// The values and the gradients by `vars`.
    fn numbers(y: &Tensor, vars: &[&Var]) -> error::Result<Vec<f64>> {
        let (rows, columns) = y.dims2()?;
        let mix = wave(rows, columns, 2.3)?;
        let gradients = (y * mix.as_tensor())?.sum_all()?.backward()?;
        let mut numbers: Vec<f64> = y.flatten_all()?.to_vec1()?;
        for var in vars {
            if let Some(gradient) = gradients.get(var) {
                numbers.extend(gradient.flatten_all()?.to_vec1::<f64>()?);
            }
        }
        Ok(numbers)
    }

    fn assert_equal(fast: &[f64], plain: &[f64]) {
        assert_eq!(fast.len(), plain.len());
        for (a, b) in fast.iter().zip(plain) {
            assert!((a - b).abs() < 1e-12 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    #[test]
    fn second_order_equals_the_definition() -> error::Result<()> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
        let Ok(pool) = pool else {
            panic!("no thread pool");
        };
        for (size, rows, categories) in [(1, 7, 0), (8, 300, 2), (11, 7, 1), (16, 7, 3)] {
            let x = wave(rows, 5, 1.3)?;
            let x = x.as_detached_tensor();
            let embedding = wave(5, size, 0.7)?;
            let vectors = match categories {
                0 => None,
                _ => Some(wave(rows, categories * size, 0.9)?),
            };
            let vars: Vec<&Var> = std::iter::once(&embedding).chain(&vectors).collect();
            let vectors = vectors.as_deref();
            let fast = || numbers(&second_order(&x, &embedding, vectors)?, &vars);
            let plain = fm::second_order(Some((&x, &embedding)), vectors, size)?;
            let plain = numbers(&plain, &vars)?;
            assert_equal(&fast()?, &plain);
            assert_equal(&pool.install(fast)?, &plain);
        }
        Ok(())
    }

    #[test]
    fn folding_equals_the_definition() -> error::Result<()> {
        for (size, categories) in [(1, 0), (8, 2), (11, 1)] {
            let matrix = wave(6, 5 * size + categories * size + 5, 1.3)?;
            let embedding = wave(5, size, 0.7)?;
            let vars = [&matrix, &embedding];
            let fast = numbers(&folded(&matrix, &embedding)?, &vars)?;
            let plain = numbers(&fm::folded(&matrix, &embedding)?, &vars)?;
            assert_equal(&fast, &plain);
        }
        Ok(())
    }
}
