//! A whole sequence of LSTM or GRU steps as one operation, forward and back. Everything is time-major, as in
//! `recurrent`, whose step by step definition this equals.

use super::kernel::{self, Matrix, Numbers, Real, product, slice};
use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};
use parking_lot::Mutex;

/// `projected` `[steps, batch, 4 hidden]`, state weights `[4 hidden, hidden]`, start `[2, batch, hidden]` (h, c) ->
/// `[steps, batch, hidden]`. Gates in the order i f g o.
pub struct Lstm {
    pub hidden: usize,
    /// `[steps, batch]`.
    pub mask: Tensor,
    pub kept: Mutex<Kept>,
}

/// `projected` `[steps, batch, 3 hidden]`, state weights `[3 hidden, hidden]` and bias `[3 hidden]` ->
/// `[steps, batch, hidden]`, from zero. Gates in the order r z n.
pub struct Gru {
    pub hidden: usize,
    pub mask: Tensor,
    pub kept: Mutex<Kept>,
}

/// What the way back needs.
#[derive(Default)]
pub enum Kept {
    #[default]
    Nothing,
    F32(Trace<f32>),
    F64(Trace<f64>),
}

pub struct Trace<T> {
    /// The gates after their functions, `[steps, batch, gates * hidden]`.
    gates: Vec<T>,
    /// The states before each step.
    before: Vec<T>,
    /// LSTM: the cells before each step, and those after the last one.
    cells: Vec<T>,
    /// GRU: what the state gave the third gate before the reset.
    memory: Vec<T>,
}

/// Sizes of one run.
#[derive(Clone, Copy)]
struct Size {
    batch: usize,
    hidden: usize,
}

impl Size {
    fn state(self) -> usize {
        self.batch * self.hidden
    }
}

impl Lstm {
    fn forward<T: Real>(
        &self,
        projected: &[T],
        weight: &[T],
        start: &[T],
        size: Size,
    ) -> Result<(Vec<T>, Trace<T>)> {
        let Size { batch, hidden } = size;
        let state = size.state();
        let (wide, steps) = (4 * hidden, projected.len() / (4 * state).max(1));
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let mut gates = projected.to_vec();
        let mut before = Vec::with_capacity(steps * state);
        let mut cells = Vec::with_capacity((steps + 1) * state);
        let mut states = Vec::with_capacity(steps * state);
        let (h, c) = start.split_at(state);
        let (mut h, mut c) = (h.to_vec(), c.to_vec());
        for (step, gates) in gates.chunks_exact_mut(batch * wide).enumerate() {
            before.extend_from_slice(&h);
            cells.extend_from_slice(&c);
            product(
                gates,
                (batch, wide, hidden),
                Matrix::rows(&h, hidden),
                Matrix::rows(weight, hidden).transposed(),
                true,
            );
            for (row, gates) in gates.chunks_exact_mut(wide).enumerate() {
                let kept = mask[step * batch + row];
                let (i, rest) = gates.split_at_mut(hidden);
                let (f, rest) = rest.split_at_mut(hidden);
                let (g, o) = rest.split_at_mut(hidden);
                T::sigmoids(i);
                T::sigmoids(f);
                T::tanhs(g);
                T::sigmoids(o);
                let c = &mut c[row * hidden..][..hidden];
                let h = &mut h[row * hidden..][..hidden];
                for k in 0..hidden {
                    let forget = f[k] * kept + (T::one() - kept);
                    c[k] = forget * c[k] + i[k] * kept * g[k];
                    h[k] = c[k];
                }
                T::tanhs(h);
                for k in 0..hidden {
                    h[k] *= o[k];
                }
            }
            states.extend_from_slice(&h);
        }
        cells.extend(c);
        let trace = Trace {
            gates,
            before,
            cells,
            memory: Vec::new(),
        };
        Ok((states, trace))
    }

    /// Gradients by `projected`, weights and start.
    fn backward<T: Real>(
        &self,
        weight: &[T],
        trace: &Trace<T>,
        gradient: &[T],
        size: Size,
    ) -> Result<[Vec<T>; 3]> {
        let Size { batch, hidden } = size;
        let (state, wide) = (size.state(), 4 * hidden);
        let steps = gradient.len() / state.max(1);
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let one = T::one();
        let mut by_gates = vec![T::zero(); trace.gates.len()];
        let mut by_h = vec![T::zero(); state];
        let mut by_c = vec![T::zero(); state];
        let mut squashed = vec![T::zero(); hidden];
        for step in (0..steps).rev() {
            let after = &trace.cells[(step + 1) * state..][..state];
            let by_gates = &mut by_gates[step * batch * wide..][..batch * wide];
            for (row, by_gate) in by_gates.chunks_exact_mut(wide).enumerate() {
                let kept = mask[step * batch + row];
                let gates = &trace.gates[(step * batch + row) * wide..][..wide];
                let before = &trace.cells[(step * batch + row) * hidden..][..hidden];
                let gradient = &gradient[(step * batch + row) * hidden..][..hidden];
                squashed.copy_from_slice(&after[row * hidden..][..hidden]);
                T::tanhs(&mut squashed);
                let by_h = &by_h[row * hidden..][..hidden];
                let by_c = &mut by_c[row * hidden..][..hidden];

                for k in 0..hidden {
                    let (i, f) = (gates[k], gates[hidden + k]);
                    let (g, o) = (gates[2 * hidden + k], gates[3 * hidden + k]);
                    let dh = gradient[k] + by_h[k];
                    let dc = by_c[k] + dh * o * (one - squashed[k] * squashed[k]);
                    by_gate[k] = dc * g * kept * i * (one - i);
                    by_gate[hidden + k] = dc * before[k] * kept * f * (one - f);
                    by_gate[2 * hidden + k] = dc * i * kept * (one - g * g);
                    by_gate[3 * hidden + k] = dh * squashed[k] * o * (one - o);
                    by_c[k] = dc * (f * kept + (one - kept));
                }
            }
            product(
                &mut by_h,
                (batch, hidden, wide),
                Matrix::rows(by_gates, wide),
                Matrix::rows(weight, hidden),
                false,
            );
        }
        let by_weight = weight_gradient(&by_gates, &trace.before, wide, hidden);
        by_h.extend(by_c);
        Ok([by_gates, by_weight, by_h])
    }
}

/// All steps at once: `gates^T states`.
fn weight_gradient<T: Real>(by_gates: &[T], before: &[T], wide: usize, hidden: usize) -> Vec<T> {
    let mut by_weight = vec![T::zero(); wide * hidden];
    product(
        &mut by_weight,
        (wide, hidden, before.len() / hidden),
        Matrix::rows(by_gates, wide).transposed(),
        Matrix::rows(before, hidden),
        false,
    );
    by_weight
}

impl Gru {
    fn forward<T: Real>(
        &self,
        projected: &[T],
        weight: &[T],
        bias: &[T],
        size: Size,
    ) -> Result<(Vec<T>, Trace<T>)> {
        let Size { batch, hidden } = size;
        let state = size.state();
        let (wide, steps) = (3 * hidden, projected.len() / (3 * state).max(1));
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let mut gates = projected.to_vec();
        let mut memory = Vec::with_capacity(steps * state);
        let mut before = Vec::with_capacity(steps * state);
        let mut states = Vec::with_capacity(steps * state);
        let mut h = vec![T::zero(); state];
        let mut given = vec![T::zero(); batch * wide];
        for (step, gates) in gates.chunks_exact_mut(batch * wide).enumerate() {
            before.extend_from_slice(&h);
            for row in given.chunks_exact_mut(wide) {
                row.copy_from_slice(bias);
            }
            product(
                &mut given,
                (batch, wide, hidden),
                Matrix::rows(&h, hidden),
                Matrix::rows(weight, hidden).transposed(),
                true,
            );
            for (row, gates) in gates.chunks_exact_mut(wide).enumerate() {
                let kept = mask[step * batch + row];
                let given = &given[row * wide..][..wide];
                let (both, n) = gates.split_at_mut(2 * hidden);
                for (gate, given) in both.iter_mut().zip(given) {
                    *gate += *given;
                }
                T::sigmoids(both);
                let (r, z) = both.split_at(hidden);
                let given = &given[2 * hidden..];
                memory.extend_from_slice(given);
                for k in 0..hidden {
                    n[k] += r[k] * given[k];
                }
                T::tanhs(n);
                let h = &mut h[row * hidden..][..hidden];
                for k in 0..hidden {
                    h[k] += (T::one() - z[k]) * kept * (n[k] - h[k]);
                }
            }
            states.extend_from_slice(&h);
        }
        let trace = Trace {
            gates,
            before,
            cells: Vec::new(),
            memory,
        };
        Ok((states, trace))
    }

    /// Gradients by `projected`, weights and bias.
    fn backward<T: Real>(
        &self,
        weight: &[T],
        trace: &Trace<T>,
        gradient: &[T],
        size: Size,
    ) -> Result<[Vec<T>; 3]> {
        let Size { batch, hidden } = size;
        let (state, wide) = (size.state(), 3 * hidden);
        let steps = gradient.len() / state.max(1);
        let mask = Numbers::of(&self.mask);
        let mask = mask.get::<T>()?;
        let one = T::one();
        let mut by_gates = vec![T::zero(); trace.gates.len()];
        let mut by_given = vec![T::zero(); trace.gates.len()];
        let mut by_h = vec![T::zero(); state];
        for step in (0..steps).rev() {
            let rows = step * batch * wide..(step + 1) * batch * wide;
            let (by_gates, by_given) = (&mut by_gates[rows.clone()], &mut by_given[rows]);
            for row in 0..batch {
                let kept = mask[step * batch + row];
                let at = step * batch + row;
                let gates = &trace.gates[at * wide..][..wide];
                let memory = &trace.memory[at * hidden..][..hidden];
                let before = &trace.before[at * hidden..][..hidden];
                let gradient = &gradient[at * hidden..][..hidden];
                let by_gate = &mut by_gates[row * wide..][..wide];
                let by_given = &mut by_given[row * wide..][..wide];
                let by_h = &mut by_h[row * hidden..][..hidden];

                for k in 0..hidden {
                    let (r, z, n) = (gates[k], gates[hidden + k], gates[2 * hidden + k]);
                    let dh = gradient[k] + by_h[k];
                    let change = (one - z) * kept;
                    let by_n = dh * change * (one - n * n);
                    let by_r = by_n * memory[k] * r * (one - r);
                    let by_z = dh * kept * (before[k] - n) * z * (one - z);
                    by_gate[k] = by_r;
                    by_gate[hidden + k] = by_z;
                    by_gate[2 * hidden + k] = by_n;
                    by_given[k] = by_r;
                    by_given[hidden + k] = by_z;
                    by_given[2 * hidden + k] = by_n * r;
                    by_h[k] = dh * (one - change);
                }
            }
            product(
                &mut by_h,
                (batch, hidden, wide),
                Matrix::rows(by_given, wide),
                Matrix::rows(weight, hidden),
                true,
            );
        }
        let by_weight = weight_gradient(&by_given, &trace.before, wide, hidden);
        let mut by_bias = vec![T::zero(); wide];
        kernel::column_sums(&by_given, &mut by_bias);
        Ok([by_gates, by_weight, by_bias])
    }
}

/// Both cells meet candle in the same way.
macro_rules! custom_op {
    ($cell:ty, $name:literal) => {
        impl CustomOp3 for $cell {
            fn name(&self) -> &'static str {
                $name
            }

            fn cpu_fwd(
                &self,
                s1: &CpuStorage,
                l1: &Layout,
                s2: &CpuStorage,
                l2: &Layout,
                s3: &CpuStorage,
                l3: &Layout,
            ) -> Result<(CpuStorage, Shape)> {
                let dims = l1.dims();
                let hidden = self.hidden;
                let size = Size {
                    batch: dims[1],
                    hidden,
                };
                let shape = Shape::from((dims[0], dims[1], hidden));
                Ok(match s1 {
                    CpuStorage::F64(_) => {
                        let (states, trace) =
                            self.forward(slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?, size)?;
                        *self.kept.lock() = Kept::F64(trace);
                        (CpuStorage::F64(states), shape)
                    }
                    _ => {
                        let (states, trace) =
                            self.forward(slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?, size)?;
                        *self.kept.lock() = Kept::F32(trace);
                        (CpuStorage::F32(states), shape)
                    }
                })
            }

            fn bwd(
                &self,
                projected: &Tensor,
                weight: &Tensor,
                third: &Tensor,
                _result: &Tensor,
                gradient: &Tensor,
            ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
                let gradient = gradient.contiguous()?;
                let size = Size {
                    batch: projected.dims3()?.1,
                    hidden: self.hidden,
                };
                let shapes = [projected.shape(), weight.shape(), third.shape()];
                let device = projected.device();
                let kept = self.kept.lock();
                let (weight, gradient) = (Numbers::of(weight), Numbers::of(&gradient));
                let [a, b, c] = match (&*kept, projected.dtype()) {
                    (Kept::F64(trace), DType::F64) => tensors(
                        self.backward(weight.get()?, trace, gradient.get()?, size)?,
                        shapes,
                        device,
                    )?,
                    (Kept::F32(trace), DType::F32) => tensors(
                        self.backward(weight.get()?, trace, gradient.get()?, size)?,
                        shapes,
                        device,
                    )?,
                    _ => candle_core::bail!("a recurrent layer's gradient before its values"),
                };
                Ok((Some(a), Some(b), Some(c)))
            }
        }
    };
}

custom_op!(Lstm, "lstm");
custom_op!(Gru, "gru");

fn tensors<T: Real>(
    values: [Vec<T>; 3],
    shapes: [&Shape; 3],
    device: &candle_core::Device,
) -> Result<[Tensor; 3]> {
    let [a, b, c] = values;
    Ok([
        Tensor::from_vec(a, shapes[0], device)?,
        Tensor::from_vec(b, shapes[1], device)?,
        Tensor::from_vec(c, shapes[2], device)?,
    ])
}
