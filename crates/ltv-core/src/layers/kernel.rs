//! What the fast paths of layers are written with: matrix products into given memory, and access to the numbers of a
//! tensor on the CPU.

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, WithDType, bail};
use gemm::Parallelism;

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
    assert!(
        out.len() == m * n && a.holds(m, k) && b.holds(k, n),
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
            n as isize,
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
        match &*self.storage {
            Storage::Cpu(storage) => slice(storage, self.layout),
            _ => bail!("a fast path needs a tensor on the CPU"),
        }
    }
}

/// How many threads a layer may split its rows among: those of the pool that training runs in, one outside of any.
pub fn threads() -> usize {
    match rayon::current_thread_index() {
        Some(_) => rayon::current_num_threads(),
        None => 1,
    }
}

/// Whether fast paths apply: on the CPU, with plain floats.
pub fn applies(tensor: &Tensor) -> bool {
    tensor.device().is_cpu()
        && matches!(
            tensor.dtype(),
            candle_core::DType::F32 | candle_core::DType::F64
        )
}

/// Zero where the output of a ReLU (with dropout) was not positive, times `scale` elsewhere. `sums` collects the
/// column sums: the gradient of the bias.
pub fn through_relu<T: WithDType>(gradient: &mut [T], output: &[T], scale: T, sums: &mut [T]) {
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
    activation: super::dense::Activation,
    first: usize,
) {
    use super::dense::Activation;
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
