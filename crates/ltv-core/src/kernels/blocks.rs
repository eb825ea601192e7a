//! What operations over whole sequences are written with: rows are worked on in blocks that stay in the cache, and the
//! loops over their numbers are compiled for wide vector instructions too.

use super::real::Real;
use super::vectorised::vectorised;
use candle_core::WithDType;
use std::slice::ChunksMut;

/// The blocks of a gradient, if it is wanted.
pub fn chunks_of<T>(gradient: &mut Option<Vec<T>>, size: usize) -> ChunksMut<'_, T> {
    let numbers = gradient.as_deref_mut();
    numbers.unwrap_or_default().chunks_mut(size)
}

/// The sum of equally long vectors, in their order, if there are any.
pub fn total<T: Real>(parts: impl IntoIterator<Item = Vec<T>>) -> Option<Vec<T>> {
    parts.into_iter().reduce(|mut sum, part| {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
        sum
    })
}

vectorised! {
/// Adds the rows of `x`, `stride` apart, to `sums`.
pub fn add_rows<T: Real>(x: &[T], stride: usize, sums: &mut [T]) {
    let width = sums.len();
    for row in x.chunks(stride) {
        for (sum, value) in sums.iter_mut().zip(&row[..width]) {
            *sum += *value;
        }
    }
}
}

/// Numbers that one vector instruction takes; loops over chunks of so many need no remainder.
pub const LANES: usize = 8;

/// Adds up [`LANES`] sums side by side, which the compiler turns into vector instructions.
#[inline(always)]
pub fn sum<T: WithDType>(count: usize, term: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    for index in whole..count {
        lanes[index - whole] += term(index);
    }
    lanes.into_iter().fold(T::zero(), |total, sum| total + sum)
}

/// Inside a vectorised function.
#[inline(always)]
pub fn softmax<T: Real>(x: &mut [T]) {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut most = [T::from_f64(f64::NEG_INFINITY); LANES];
    for chunk in chunks.iter() {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = larger(*most, *x);
        }
    }
    let all = most.iter().chain(rest.iter());
    let most = all.fold(most[0], |most, &x| larger(most, x));
    for chunk in chunks.iter_mut() {
        for x in chunk {
            *x = T::exp(*x - most);
        }
    }
    for x in rest {
        *x = T::exp(*x - most);
    }
    let total = T::one() / sum(x.len(), |k| x[k]);
    for x in x.iter_mut() {
        *x *= total;
    }
}

/// From the gradient of what a softmax put out to that of what went in.
#[inline(always)]
pub fn softmax_back<T: Real>(shares: &[T], by: &mut [T], scale: T) {
    let mixed = sum(by.len(), |k| by[k] * shares[k]);
    for (by, share) in by.iter_mut().zip(shares) {
        *by = *share * (*by - mixed) * scale;
    }
}
