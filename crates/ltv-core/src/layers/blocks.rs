//! What operations over whole sequences are written with: rows are worked on in blocks that stay in the cache, and the
//! loops over their numbers are compiled for wide vector instructions too.

use super::kernel::{self, Real};
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Applies `work` to all blocks, on the pool's threads where they have nothing else to do; results in the blocks' order.
pub fn each<I: Send, O: Send>(blocks: Vec<I>, work: impl Fn(I) -> O + Send + Sync) -> Vec<O> {
    if kernel::threads() < 2 || blocks.len() < 2 {
        blocks.into_iter().map(work).collect()
    } else {
        blocks.into_par_iter().map(work).collect()
    }
}

/// The sum of equally long vectors, in their order.
pub fn total<T: Real>(parts: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
    sum
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

/// The traces of all blocks of an operation, for its way back.
pub enum Kept<A, B> {
    Nothing,
    F32(Vec<A>),
    F64(Vec<B>),
}

/// What the operations of this kind share: types of numbers, and traces that wait for the way back. Each has `kept`, and
/// methods `shape` (of the result, from the dimensions of the first argument), `forward` (the result and the blocks' traces)
/// and `backward` (from the arguments, the gradient and the traces; whether the first argument wants a gradient).
macro_rules! meets_candle {
    ($operation:ty, $name:literal) => {
        impl candle_core::CustomOp3 for $operation {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                s1: &candle_core::CpuStorage,
                l1: &candle_core::Layout,
                s2: &candle_core::CpuStorage,
                l2: &candle_core::Layout,
                s3: &candle_core::CpuStorage,
                l3: &candle_core::Layout,
            ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
                let shape = self.shape(l1.dims());
                Ok(match s1 {
                    candle_core::CpuStorage::F64(_) => {
                        let (out, traces) = self.forward(
                            kernel::slice(s1, l1)?,
                            kernel::slice(s2, l2)?,
                            kernel::slice(s3, l3)?,
                        )?;
                        *self.kept.lock() = blocks::Kept::F64(traces);
                        (candle_core::CpuStorage::F64(out), shape)
                    }
                    _ => {
                        let (out, traces) = self.forward(
                            kernel::slice(s1, l1)?,
                            kernel::slice(s2, l2)?,
                            kernel::slice(s3, l3)?,
                        )?;
                        *self.kept.lock() = blocks::Kept::F32(traces);
                        (candle_core::CpuStorage::F32(out), shape)
                    }
                })
            }

            fn bwd(
                &self,
                x: &Tensor,
                other: &Tensor,
                theta: &Tensor,
                _result: &Tensor,
                gradient: &Tensor,
            ) -> candle_core::Result<$crate::layers::blocks::Gradients> {
                let gradient = gradient.contiguous()?;
                let tensors = [x, other, theta];
                let kept = std::mem::replace(&mut *self.kept.lock(), blocks::Kept::Nothing);
                let numbers = [x, other, theta, &gradient].map(kernel::Numbers::of);
                let [a, b, c, d] = &numbers;
                match (kept, x.dtype()) {
                    (blocks::Kept::F64(traces), candle_core::DType::F64) => blocks::gradients(
                        self.backward(
                            [a.get()?, b.get()?, c.get()?, d.get()?],
                            traces,
                            x.track_op(),
                        )?,
                        tensors,
                    ),
                    (blocks::Kept::F32(traces), candle_core::DType::F32) => blocks::gradients(
                        self.backward(
                            [a.get()?, b.get()?, c.get()?, d.get()?],
                            traces,
                            x.track_op(),
                        )?,
                        tensors,
                    ),
                    _ => candle_core::bail!("{} has no values to go back from", $name),
                }
            }
        }
    };
}
pub(super) use meets_candle;

pub type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

/// As tensors; a vector without numbers is no gradient.
pub fn gradients<T: Real>(values: [Vec<T>; 3], tensors: [&Tensor; 3]) -> Result<Gradients> {
    let [a, b, c] = values;
    let tensor = |values: Vec<T>, like: &Tensor| match values.is_empty() {
        true => Ok(None),
        false => Tensor::from_vec(values, like.shape(), like.device()).map(Some),
    };
    Ok((
        tensor(a, tensors[0])?,
        tensor(b, tensors[1])?,
        tensor(c, tensors[2])?,
    ))
}
