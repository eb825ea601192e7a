//! Matrix products into given memory, and sums of columns.

use super::dispatch::has_custom_operations;
use candle_core::{Result, Tensor, WithDType};
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

    /// The same numbers with rows and columns exchanged.
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

/// Adds the sum of each column of `x` to `sums`.
pub fn column_sums<T: WithDType>(x: &[T], sums: &mut [T]) {
    for row in x.chunks(sums.len().max(1)) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += *value;
        }
    }
}
