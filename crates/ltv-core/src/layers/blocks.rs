//! What operations over whole sequences are written with: rows are worked on in blocks that stay in the cache, and the
//! loops over their numbers are compiled for wide vector instructions too.

use super::kernel::{self, Real};
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

/// Compiles a function a second time for the wider vector instructions of newer processors, and takes that one where
/// they exist. Both do the same operations in the same order, so the bits of the result do not depend on the processor.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident<T: $bound:ident>(
        $($argument:ident: $type:ty),* $(,)?
    ) $body:block) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name<T: $bound>($($argument: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn common<T: $bound>($($argument: $type),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                #[allow(clippy::too_many_arguments)]
                fn wide<T: $bound>($($argument: $type),*) {
                    common($($argument),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has been asked.
                    return unsafe { wide($($argument),*) };
                }
            }
            common($($argument),*)
        }
    };
}
pub(super) use vectorised;

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
    let total = T::one() / kernel::sum(x.len(), |k| x[k]);
    for x in x.iter_mut() {
        *x *= total;
    }
}

/// From the gradient of what a softmax put out to that of what went in.
#[inline(always)]
pub fn softmax_back<T: Real>(shares: &[T], by: &mut [T], scale: T) {
    let mixed = kernel::sum(by.len(), |k| by[k] * shares[k]);
    for (by, share) in by.iter_mut().zip(shares) {
        *by = *share * (*by - mixed) * scale;
    }
}
