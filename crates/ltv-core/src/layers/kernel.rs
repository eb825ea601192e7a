//! What the fast paths of layers are written with: matrix products into given memory, and access to the numbers of a
//! tensor on the CPU; and whether they are to be taken.

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};
use gemm::Parallelism;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::cell::Cell;

/// A matrix inside a slice: element (i, j) is at `i * row + j * column`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows of `width` numbers, one after the other.
    pub fn rows(data: &'a [T], width: usize) -> Self {
        Self {
            data,
            row: width,
            column: 1,
        }
    }

    pub fn transposed(self) -> Self {
        Self {
            data: self.data,
            row: self.column,
            column: self.row,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0
            || columns == 0
            || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `out = a b`, or `out += a b` if `add`; `a` is `m` x `k`, `b` is `k` x `n`, `out` `m` rows of `n` numbers.
/// On the calling thread only: whoever wants more threads splits the rows.
pub fn product<T: WithDType>(
    out: &mut [T],
    (m, n, k): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    add: bool,
) {
    assert!(out.len() == m * n, "matrix sizes do not fit");
    product_spaced(out, n, (m, n, k), a, b, add);
}

/// As [`product`], into rows that begin `stride` numbers apart.
pub fn product_spaced<T: WithDType>(
    out: &mut [T],
    stride: usize,
    (m, n, k): (usize, usize, usize),
    a: Matrix<T>,
    b: Matrix<T>,
    add: bool,
) {
    let fits = m == 0 || n == 0 || (n <= stride && (m - 1) * stride + n <= out.len());
    assert!(
        fits && a.holds(m, k) && b.holds(k, n),
        "matrix sizes do not fit"
    );
    // SAFETY: the assertion above keeps all accesses within the three slices, `out` is borrowed mutably and so
    // does not overlap the others, and T is f32 or f64, plain numbers.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            if add { T::one() } else { T::zero() },
            T::one(),
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The numbers of a contiguous tensor.
pub fn slice<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    refuse_plain()?;
    let data = T::cpu_storage_as_slice(storage)?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&data[from..to]),
        None => bail!("a fast path needs contiguous input"),
    }
}

/// Keeps the storage of a contiguous CPU tensor readable.
pub struct Numbers<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Numbers<'a> {
    pub fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    pub fn get<T: WithDType>(&self) -> Result<&[T]> {
        refuse_plain()?;
        match &*self.storage {
            Storage::Cpu(storage) => slice(storage, self.layout),
            _ => bail!("a fast path needs a tensor on the CPU"),
        }
    }
}

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
    static PLAIN: Cell<bool> = const { Cell::new(false) };
}

/// From now on layers on this thread compute by tensor operations only, as they do on a GPU, whatever the device.
pub fn keep_plain() {
    PLAIN.set(true);
}

/// An error where a fast path is taken although only tensor operations would work.
pub fn refuse_plain() -> Result<()> {
    if PLAIN.get() {
        bail!("a fast path was taken where only tensor operations work");
    }
    Ok(())
}

/// How many threads a layer may split its rows among: those of the pool that training runs in, one outside of any.
pub fn threads() -> usize {
    match rayon::current_thread_index() {
        Some(_) if !ALONE.get() => rayon::current_num_threads(),
        _ => 1,
    }
}

/// Runs `work` on this thread only: the others have work of their own.
pub fn alone<T>(work: impl FnOnce() -> T) -> T {
    let before = ALONE.replace(true);
    let done = work();
    ALONE.set(before);
    done
}

/// Rows below which a thread of its own is not worth it.
const ROWS_PER_THREAD: usize = 128;

/// How many of `rows` each part gets that a thread works on; the last one may get fewer.
pub fn rows_per_part(rows: usize) -> usize {
    let parts = threads().min(rows / ROWS_PER_THREAD).max(1);
    rows.div_ceil(parts).max(1)
}

/// Applies `work` to all items, on the pool's threads where they have nothing else to do; results in the items' order.
pub fn each<I: Send, O: Send>(items: Vec<I>, work: impl Fn(I) -> O + Send + Sync) -> Vec<O> {
    if threads() < 2 || items.len() < 2 {
        items.into_iter().map(work).collect()
    } else {
        items.into_par_iter().map(work).collect()
    }
}

/// Whether custom operations, which are written for the CPU, may be used on the tensor.
pub fn has_custom_operations(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && !PLAIN.get()
}

/// Runs `work` compiled for wider vector instructions where the processor has them. They do the same operations in the same
/// order, so that the bits of the result do not depend on the processor. For short loops over one slice: longer ones are
/// not inlined, and lose more than they win.
#[inline]
fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn wide<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has been asked.
            return unsafe { wide(work) };
        }
    }
    work()
}

/// Adds up eight sums side by side, which the compiler turns into vector instructions.
#[inline(always)]
pub fn sum<T: WithDType>(count: usize, term: impl Fn(usize) -> T) -> T {
    const LANES: usize = 8;
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

/// Whether fast paths apply: on the CPU, with plain floats.
pub fn applies(tensor: &Tensor) -> bool {
    has_custom_operations(tensor)
        && matches!(
            tensor.dtype(),
            candle_core::DType::F32 | candle_core::DType::F64
        )
}

/// `a b` by tensor operations. The product on a GPU takes matrices without gaps only, as they are or transposed.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if has_custom_operations(a) {
        return a.matmul(b);
    }
    let packed = |x: &Tensor| match x.is_contiguous() || x.t()?.is_contiguous() {
        true => Ok(x.clone()),
        false => x.contiguous(),
    };
    packed(a)?.matmul(&packed(b)?)
}

/// Zero where the output of a ReLU (with dropout) was not positive, times `scale` elsewhere. `sums` collects the
/// column sums: the gradient of the bias.
fn through_relu<T: WithDType>(gradient: &mut [T], output: &[T], scale: T, sums: &mut [T]) {
    let width = sums.len();
    for (gradient, output) in gradient.chunks_mut(width).zip(output.chunks(width)) {
        for ((gradient, output), sum) in gradient.iter_mut().zip(output).zip(sums.iter_mut()) {
            *gradient = if *output > T::zero() {
                *gradient * scale
            } else {
                T::zero()
            };
            *sum += *gradient;
        }
    }
}

/// Adds the sum of each column of `x` to `sums`.
pub fn column_sums<T: WithDType>(x: &[T], sums: &mut [T]) {
    for row in x.chunks(sums.len().max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += *value;
        }
    }
}

/// `activation(x + bias)` in place; `first` is the index of `x[0]` in the whole tensor, for dropout.
pub fn finish<T: WithDType>(
    x: &mut [T],
    bias: &[T],
    activation: super::activation::Activation,
    first: usize,
) {
    use super::activation::Activation;
    let zero = T::zero();
    let relu = activation != Activation::Identity;
    for row in x.chunks_mut(bias.len().max(1)) {
        for (value, bias) in row.iter_mut().zip(bias) {
            let sum = *value + *bias;
            *value = if relu && sum < zero { zero } else { sum };
        }
    }
    if let Activation::ReluDropout(draw) = activation {
        let scale = T::from_f64(draw.scale());
        draw.for_each(first, x, |value, kept| {
            *value *= if kept { scale } else { zero };
        });
    }
}

/// The way back through [`finish`], given what it put out; `sums` collects the gradient of the bias.
pub fn unfinish<T: WithDType>(
    gradient: &mut [T],
    output: &[T],
    activation: super::activation::Activation,
    sums: &mut [T],
) {
    use super::activation::Activation;
    match activation {
        Activation::Identity => column_sums(gradient, sums),
        Activation::Relu => through_relu(gradient, output, T::one(), sums),
        Activation::ReluDropout(draw) => {
            through_relu(gradient, output, T::from_f64(draw.scale()), sums);
        }
    }
}

/// A float with the functions that recurrent layers spend their time in, one by one for loops that do more, and many at
/// once.
pub trait Real: WithDType {
    fn sigmoid(x: Self) -> Self;
    fn tanh(x: Self) -> Self;
    fn exp(x: Self) -> Self;
    fn root(x: Self) -> Self;
    fn sigmoids(values: &mut [Self]);
    fn tanhs(values: &mut [Self]);
    fn exps(values: &mut [Self]);
}

impl Real for f64 {
    fn sigmoid(x: Self) -> Self {
        super::functions::scalar::sigmoid(x)
    }

    fn tanh(x: Self) -> Self {
        x.tanh()
    }

    fn exp(x: Self) -> Self {
        x.exp()
    }

    fn root(x: Self) -> Self {
        x.sqrt()
    }

    fn sigmoids(values: &mut [Self]) {
        for value in values {
            *value = <Self as Real>::sigmoid(*value);
        }
    }

    fn tanhs(values: &mut [Self]) {
        for value in values {
            *value = value.tanh();
        }
    }

    fn exps(values: &mut [Self]) {
        for value in values {
            *value = value.exp();
        }
    }
}

/// In float32 by polynomials without branches, which the compiler turns into vector instructions; within 2 units in
/// the last place of 1.
impl Real for f32 {
    #[inline(always)]
    fn sigmoid(x: Self) -> Self {
        1.0 / (1.0 + exp_f32(-x))
    }

    #[inline(always)]
    fn tanh(x: Self) -> Self {
        // Near zero 1 - exp(-2x) would cancel; there x (1 - x^2/3 + 2 x^4/15 - 17 x^6/315) is exact.
        let square = x * x;
        let near =
            x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 + square * (-17.0 / 315.0))));
        let e = exp_f32(-2.0 * x.abs());
        let far = ((1.0 - e) / (1.0 + e)).copysign(x);
        if square < 0.04 { near } else { far }
    }

    #[inline(always)]
    fn exp(x: Self) -> Self {
        exp_f32(x)
    }

    #[inline(always)]
    fn root(x: Self) -> Self {
        x.sqrt()
    }

    fn sigmoids(values: &mut [Self]) {
        vectorised(|| {
            for value in values {
                *value = <Self as Real>::sigmoid(*value);
            }
        });
    }

    fn exps(values: &mut [Self]) {
        vectorised(|| {
            for value in values {
                *value = exp_f32(*value);
            }
        });
    }

    fn tanhs(values: &mut [Self]) {
        vectorised(|| {
            for value in values {
                *value = <Self as Real>::tanh(*value);
            }
        });
    }
}

/// exp() for float32: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2] (Cephes' coefficients), limited to where the
/// result is a normal number.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the lowest bits; taking it away leaves it as a float.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 0.5;
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn float32_functions_are_close() {
        for k in -400_000..400_000 {
            let x = k as f32 * 5e-4;
            let mut fast = [x, x];
            f32::sigmoids(&mut fast[..1]);
            f32::tanhs(&mut fast[1..]);
            let exact = [1.0 / (1.0 + (-f64::from(x)).exp()), f64::from(x).tanh()];
            for (fast, exact) in fast.iter().zip(exact) {
                assert!(
                    (f64::from(*fast) - exact).abs() < 2.4e-7,
                    "{x}: {fast} {exact}"
                );
            }
        }
    }
}
