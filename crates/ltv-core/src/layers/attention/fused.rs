//! Attention over the steps of a sequence as one operation, forward and back; equal to the definitions in `attention`.
//! Rows are independent of each other, and the scores of one never leave the cache.

use super::mask::HIDDEN;
use crate::kernels::blocks::{self, LANES, softmax, softmax_back, total};
use crate::kernels::matrix::{Matrix, product_spaced};
use crate::kernels::operation::{Given, Operation};
use crate::kernels::real::Real;
use crate::kernels::storage::Numbers;
use crate::kernels::threads::each;
use crate::kernels::vectorised::vectorised;
use candle_core::{Result, Tensor};

/// Rows of a block.
const ROWS: usize = 64;

/// `out += factor x`.
#[inline(always)]
fn add_times<T: Real>(out: &mut [T], factor: T, x: &[T]) {
    let ((out, out_rest), (x, x_rest)) = (out.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>());
    for (out, x) in out.iter_mut().zip(x) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += factor * *x;
        }
    }
    for (out, x) in out_rest.iter_mut().zip(x_rest) {
        *out += factor * *x;
    }
}

/// `out += factors rows`, the rows as long as `out`; a sum stays in its register until it is whole.
#[inline(always)]
fn add_mixed<T: Real>(out: &mut [T], factors: &[T], rows: &[T]) {
    let width = out.len();
    let (chunks, rest) = out.as_chunks_mut::<LANES>();
    for (index, chunk) in chunks.iter_mut().enumerate() {
        let mut sums = *chunk;
        for (factor, row) in factors.iter().zip(rows.chunks_exact(width)) {
            for (sum, x) in sums.iter_mut().zip(&row[index * LANES..][..LANES]) {
                *sum += *factor * *x;
            }
        }
        *chunk = sums;
    }
    let first = width - rest.len();
    for (index, sum) in rest.iter_mut().enumerate() {
        for (factor, row) in factors.iter().zip(rows.chunks_exact(width)) {
            *sum += *factor * row[first + index];
        }
    }
}

/// One head's part of each step, of `size` numbers, `stride` apart: as rows.
#[inline(always)]
fn head_rows<T: Real>(x: &[T], stride: usize, rows: &mut [T], size: usize) {
    for (row, x) in rows.chunks_exact_mut(size).zip(x.chunks(stride)) {
        row.copy_from_slice(&x[..size]);
    }
}

/// The same as columns, one row of `columns.len() / size` numbers for each of the `size`.
#[inline(always)]
fn head_columns<T: Real>(x: &[T], stride: usize, columns: &mut [T], size: usize) {
    let lanes = columns.len() / size;
    for (step, x) in x.chunks(stride).enumerate() {
        for (k, &value) in x[..size].iter().enumerate() {
            columns[k * lanes + step] = value;
        }
    }
}

vectorised! {
/// One row: `x` `[steps, 3, heads, size]`, penalties `[lanes]` -> `out` `[steps, heads, size]`, shares `[heads, steps, lanes]`.
fn attend<T: Real>(
    x: &[T], penalty: &[T], heads: usize, scale: T, out: &mut [T], shares: &mut [T], scratch: &mut [T],
) {
    let lanes = penalty.len();
    let steps = shares.len() / (heads * lanes);
    let width = out.len() / steps;
    let size = width / heads;
    let (keys, values) = scratch.split_at_mut(size * lanes);
    let values = &mut values[..steps * size];
    for head in 0..heads {
        let at = head * size;
        head_columns(&x[width + at..], 3 * width, keys, size);
        head_rows(&x[2 * width + at..], 3 * width, values, size);
        for step in 0..steps {
            let shares = &mut shares[(head * steps + step) * lanes..][..lanes];
            shares.fill(T::zero());
            add_mixed(shares, &x[step * 3 * width + at..][..size], keys);
            for (share, penalty) in shares.iter_mut().zip(penalty) {
                *share = *share * scale + *penalty;
            }
            softmax(shares);
            add_mixed(&mut out[step * width + at..][..size], shares, values);
        }
    }
}
}

vectorised! {
/// Back through [`attend`].
fn attend_back<T: Real>(
    x: &[T], shares: &[T], steps: usize, heads: usize, scale: T, gradient: &[T], by_x: &mut [T], scratch: &mut [T],
) {
    let width = gradient.len() / steps;
    let size = width / heads;
    let lanes = shares.len() / (heads * steps);
    let (values, rest) = scratch.split_at_mut(size * lanes);
    let (keys, by_scores) = rest.split_at_mut(steps * size);
    let by_scores = &mut by_scores[..lanes];
    for head in 0..heads {
        let at = head * size;
        head_columns(&x[2 * width + at..], 3 * width, values, size);
        head_rows(&x[width + at..], 3 * width, keys, size);
        for step in 0..steps {
            let shares = &shares[(head * steps + step) * lanes..][..lanes];
            let by_out = &gradient[step * width + at..][..size];
            by_scores.fill(T::zero());
            add_mixed(by_scores, by_out, values);
            softmax_back(shares, by_scores, scale);
            let query = &x[step * 3 * width + at..][..size];
            for other in 0..steps {
                let from = other * 3 * width + at;
                add_times(&mut by_x[from + 2 * width..][..size], shares[other], by_out);
                add_times(&mut by_x[from + width..][..size], by_scores[other], query);
            }
            add_mixed(&mut by_x[step * 3 * width + at..][..size], by_scores, keys);
        }
    }
}
}

/// Queries, keys and values `[batch, steps, 3 width]` -> what the heads mix, `[batch, steps, width]`.
pub struct AllSteps {
    pub heads: usize,
    pub steps: usize,
    pub width: usize,
    /// `[batch, steps]`.
    pub mask: Tensor,
}

/// What is added to the scores of each step, `lanes` of them; those after the last step are hidden from rows of padding
/// only, too.
fn penalties<T: Real>(mask: &[T], steps: usize, lanes: usize) -> Vec<T> {
    let (hidden, beyond) = (T::from_f64(HIDDEN), T::from_f64(2.0 * HIDDEN));
    let mut penalties = Vec::with_capacity(mask.len() / steps * lanes);
    for mask in mask.chunks_exact(steps) {
        penalties.extend(mask.iter().map(|&kept| hidden - kept * hidden));
        penalties.extend(std::iter::repeat_n(beyond, lanes - steps));
    }
    penalties
}

impl AllSteps {
    fn scale<T: Real>(&self) -> T {
        T::from_f64(1.0 / ((self.width / self.heads) as f64).sqrt())
    }

    fn scratch<T: Real>(&self, lanes: usize) -> Vec<T> {
        vec![T::zero(); 2 * lanes * (self.width / self.heads) + lanes]
    }
}

impl Operation<1> for AllSteps {
    const NAME: &'static str = "attention";
    /// The shares of each block.
    type Kept<T: Real> = Vec<Vec<T>>;

    fn forward<T: Real>(&self, [x]: [&[T]; 1]) -> Result<(Vec<T>, Vec<Vec<T>>)> {
        let (steps, width) = (self.steps, self.width);
        let mask = Numbers::of(&self.mask);
        let mut out = vec![T::zero(); x.len() / 3];
        let blocks = x
            .chunks(ROWS * steps * 3 * width)
            .zip(mask.get::<T>()?.chunks(ROWS * steps))
            .zip(out.chunks_mut(ROWS * steps * width));
        let kept = each(blocks.collect(), |((x, mask), out)| {
            let lanes = steps.next_multiple_of(LANES);
            let mut scratch = self.scratch(lanes);
            let of_row = self.heads * steps * lanes;
            let mut shares = vec![T::zero(); mask.len() / steps * of_row];
            let penalty = penalties(mask, steps, lanes);
            let rows = x
                .chunks_exact(steps * 3 * width)
                .zip(penalty.chunks_exact(lanes))
                .zip(out.chunks_exact_mut(steps * width))
                .zip(shares.chunks_exact_mut(of_row));
            for (((x, penalty), out), shares) in rows {
                let scale = self.scale();
                attend(x, penalty, self.heads, scale, out, shares, &mut scratch);
            }
            shares
        });
        Ok((out, kept))
    }

    fn backward<T: Real>(&self, given: Given<T, Vec<Vec<T>>, 1>) -> Result<[Option<Vec<T>>; 1]> {
        let [x] = given.inputs;
        let (steps, width) = (self.steps, self.width);
        let mut by_x = vec![T::zero(); x.len()];
        let blocks = x
            .chunks(ROWS * steps * 3 * width)
            .zip(given.kept)
            .zip(given.gradient.chunks(ROWS * steps * width))
            .zip(by_x.chunks_mut(ROWS * steps * 3 * width));
        each(blocks.collect(), |(((x, shares), gradient), by_x)| {
            let lanes = steps.next_multiple_of(LANES);
            let mut scratch = self.scratch(lanes);
            let rows = x
                .chunks_exact(steps * 3 * width)
                .zip(shares.chunks_exact(self.heads * steps * lanes))
                .zip(gradient.chunks_exact(steps * width))
                .zip(by_x.chunks_exact_mut(steps * 3 * width));
            for (((x, shares), gradient), by_x) in rows {
                let scale = self.scale();
                attend_back(
                    x,
                    shares,
                    steps,
                    self.heads,
                    scale,
                    gradient,
                    by_x,
                    &mut scratch,
                );
            }
        });
        Ok([Some(by_x)])
    }
}

vectorised! {
/// One row: `x` `[steps, width]`, of each head the direction that it looks for `[heads, width]` -> `out` `[width]`; `shares`
/// `[heads, steps]`, and after them their mean.
fn look_back<T: Real>(x: &[T], penalty: &[T], sought: &[T], out: &mut [T], shares: &mut [T]) {
    let (steps, width) = (penalty.len(), out.len());
    let heads = sought.len() / width;
    let (shares, mean) = shares.split_at_mut(heads * steps);
    let part = T::one() / T::from_f64(heads as f64);
    mean.fill(T::zero());
    for (sought, shares) in sought.chunks_exact(width).zip(shares.chunks_exact_mut(steps)) {
        for ((share, x), penalty) in shares.iter_mut().zip(x.chunks_exact(width)).zip(penalty) {
            *share = blocks::sum(width, |k| x[k] * sought[k]) + *penalty;
        }
        softmax(shares);
        add_times(mean, part, shares);
    }
    add_mixed(out, mean, x);
}
}

vectorised! {
/// Back through [`look_back`]; adds to `by_x` and `by_sought`. The score of padding is its penalty, which nothing moves.
fn look_back_back<T: Real>(
    x: &[T], mask: &[T], sought: &[T], shares: &[T], gradient: &[T], by_x: &mut [T], by_sought: &mut [T],
    scratch: &mut [T],
) {
    let (steps, width) = (mask.len(), gradient.len());
    let heads = sought.len() / width;
    let (shares, mean) = shares.split_at(heads * steps);
    let part = T::one() / T::from_f64(heads as f64);
    let (by_mean, by_scores) = scratch.split_at_mut(steps);
    let rows = x.chunks_exact(width).zip(by_x.chunks_exact_mut(width));
    for ((x, by_x), (share, by_share)) in rows.zip(mean.iter().zip(by_mean.iter_mut())) {
        *by_share = blocks::sum(width, |k| x[k] * gradient[k]) * part;
        add_times(by_x, *share, gradient);
    }
    let heads = sought.chunks_exact(width).zip(by_sought.chunks_exact_mut(width));
    for ((sought, by_sought), shares) in heads.zip(shares.chunks_exact(steps)) {
        by_scores.copy_from_slice(by_mean);
        softmax_back(shares, by_scores, T::one());
        for (by_score, kept) in by_scores.iter_mut().zip(mask) {
            *by_score *= *kept;
        }
        add_mixed(by_sought, by_scores, x);
        for (by_x, by_score) in by_x.chunks_exact_mut(width).zip(by_scores.iter()) {
            add_times(by_x, *by_score, sought);
        }
    }
}
}

/// `x` `[batch, steps, width]`, queries `[batch, heads * size]`, the keys' matrix `[heads * size, width]` -> the mean of
/// the steps by what the heads look at, `[batch, width]`.
///
/// The product of a query with the keys of all steps is that of the steps with one direction per head, and the keys' bias
/// changes no share: so no key is ever computed.
pub struct NewestStep {
    pub heads: usize,
    pub steps: usize,
    pub mask: Tensor,
}

/// Of a block.
pub struct Looks<T> {
    sought: Vec<T>,
    /// `[rows, heads + 1, steps]`.
    shares: Vec<T>,
    mask: Vec<T>,
}

impl Operation<3> for NewestStep {
    const NAME: &'static str = "attention of the newest step";
    type Kept<T: Real> = Vec<Looks<T>>;

    fn forward<T: Real>(&self, [x, queries, keys]: [&[T]; 3]) -> Result<(Vec<T>, Vec<Looks<T>>)> {
        let (heads, steps) = (self.heads, self.steps);
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let rows = mask.len() / steps;
        let width = x.len() / mask.len().max(1);
        let inner = queries.len() / rows.max(1);
        let mut out = vec![T::zero(); rows * width];
        let blocks = x
            .chunks(ROWS * steps * width)
            .zip(mask.chunks(ROWS * steps))
            .zip(queries.chunks(ROWS * inner))
            .zip(out.chunks_mut(ROWS * width));
        let size = inner / heads;
        let scale = T::from_f64(1.0 / (size as f64).sqrt());
        let kept = each(blocks.collect(), |(((x, mask), queries), out)| {
            let rows = mask.len() / steps;
            let mut sought = vec![T::zero(); rows * heads * width];
            for head in 0..heads {
                product_spaced(
                    &mut sought[head * width..],
                    heads * width,
                    (rows, width, size),
                    Matrix::rows(&queries[head * size..], inner),
                    Matrix::rows(&keys[head * size * width..], width),
                    false,
                );
            }
            sought.iter_mut().for_each(|value| *value *= scale);
            let mut shares = vec![T::zero(); rows * (heads + 1) * steps];
            let penalty = penalties(mask, steps, steps);
            let of_rows = x
                .chunks_exact(steps * width)
                .zip(penalty.chunks_exact(steps))
                .zip(sought.chunks_exact(heads * width))
                .zip(out.chunks_exact_mut(width))
                .zip(shares.chunks_exact_mut((heads + 1) * steps));
            for ((((x, penalty), sought), out), shares) in of_rows {
                look_back(x, penalty, sought, out, shares);
            }
            Looks {
                sought,
                shares,
                mask: mask.to_vec(),
            }
        });
        Ok((out, kept))
    }

    fn backward<T: Real>(&self, given: Given<T, Vec<Looks<T>>, 3>) -> Result<[Option<Vec<T>>; 3]> {
        let [x, queries, keys] = given.inputs;
        let Given { gradient, kept, .. } = given;
        let (heads, steps) = (self.heads, self.steps);
        let rows: usize = kept.iter().map(|looks| looks.mask.len() / steps).sum();
        let width = gradient.len() / rows.max(1);
        let inner = queries.len() / rows.max(1);
        let size = inner / heads;
        let scale = T::from_f64(1.0 / (size as f64).sqrt());
        let mut by_x = vec![T::zero(); x.len()];
        let mut by_queries = vec![T::zero(); queries.len()];
        let blocks = x
            .chunks(ROWS * steps * width)
            .zip(gradient.chunks(ROWS * width))
            .zip(queries.chunks(ROWS * inner))
            .zip(kept)
            .zip(by_x.chunks_mut(ROWS * steps * width))
            .zip(by_queries.chunks_mut(ROWS * inner));
        let by_keys = each(
            blocks.collect(),
            |(((((x, gradient), queries), looks), by_x), by_queries)| {
                let rows = gradient.len() / width;
                let mut by_sought = vec![T::zero(); looks.sought.len()];
                let mut scratch = vec![T::zero(); 2 * steps];
                for row in 0..rows {
                    let of = |size: usize| row * size..(row + 1) * size;
                    look_back_back(
                        &x[of(steps * width)],
                        &looks.mask[of(steps)],
                        &looks.sought[of(heads * width)],
                        &looks.shares[of((heads + 1) * steps)],
                        &gradient[of(width)],
                        &mut by_x[of(steps * width)],
                        &mut by_sought[of(heads * width)],
                        &mut scratch,
                    );
                }
                by_sought.iter_mut().for_each(|value| *value *= scale);
                let mut by_keys = vec![T::zero(); keys.len()];
                for head in 0..heads {
                    let by_head = Matrix::rows(&by_sought[head * width..], heads * width);
                    let keys = Matrix::rows(&keys[head * size * width..], width);
                    product_spaced(
                        &mut by_queries[head * size..],
                        inner,
                        (rows, size, width),
                        by_head,
                        keys.transposed(),
                        false,
                    );
                    product_spaced(
                        &mut by_keys[head * size * width..],
                        width,
                        (size, width, rows),
                        Matrix::rows(&queries[head * size..], inner).transposed(),
                        by_head,
                        false,
                    );
                }
                by_keys
            },
        );
        Ok([Some(by_x), Some(by_queries), total(by_keys)])
    }
}
