//! What the gates of recurrent layers do with one row in one step, forward and back.

use crate::kernels::real::Real;
use crate::kernels::vectorised::vectorised;

vectorised! {
/// One row's step of the LSTM. `gates` hold the products i f g o, and then the gates.
#[inline]
pub fn lstm_step<T: Real>(
    gates: &mut [T], bias: &[T], kept: T, before: &[T], after: &mut [T], state: &mut [T],
) {
    let hidden = state.len();
    let one = T::one();
    let (i, rest) = gates.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    for (gate, bias) in i.iter_mut().zip(&bias[..hidden]) {
        *gate = T::sigmoid(*gate + *bias);
    }
    for (gate, bias) in f.iter_mut().zip(&bias[hidden..2 * hidden]) {
        *gate = T::sigmoid(*gate + *bias);
    }
    for (gate, bias) in g.iter_mut().zip(&bias[2 * hidden..3 * hidden]) {
        *gate = T::tanh(*gate + *bias);
    }
    for (gate, bias) in o.iter_mut().zip(&bias[3 * hidden..]) {
        *gate = T::sigmoid(*gate + *bias);
    }
    for k in 0..hidden {
        let forget = f[k] * kept + (one - kept);
        after[k] = forget * before[k] + i[k] * kept * g[k];
    }
    for k in 0..hidden {
        state[k] = o[k] * T::tanh(after[k]);
    }
}
}

vectorised! {
/// Back through one row's step of the LSTM: `gates` become the gradients of their products, `by_h` is used up.
#[inline]
pub fn lstm_step_back<T: Real>(
    gates: &mut [T], kept: T, before: &[T], after: &[T], gradient: &[T], by_h: &mut [T], by_c: &mut [T],
) {
    let hidden = before.len();
    let one = T::one();
    let (i, rest) = gates.split_at_mut(hidden);
    let (f, rest) = rest.split_at_mut(hidden);
    let (g, o) = rest.split_at_mut(hidden);
    let (g, o) = (&mut g[..hidden], &mut o[..hidden]);
    let (after, gradient) = (&after[..hidden], &gradient[..hidden]);
    let (by_h, by_c) = (&mut by_h[..hidden], &mut by_c[..hidden]);
    for k in 0..hidden {
        let squashed = T::tanh(after[k]);
        let dh = gradient[k] + by_h[k];
        let dc = by_c[k] + dh * o[k] * (one - squashed * squashed);
        by_h[k] = T::zero();
        by_c[k] = dc * (f[k] * kept + (one - kept));
        let write = dc * kept;
        let by_i = write * g[k] * i[k] * (one - i[k]);
        let by_g = write * i[k] * (one - g[k] * g[k]);
        f[k] = write * before[k] * f[k] * (one - f[k]);
        o[k] = dh * squashed * o[k] * (one - o[k]);
        i[k] = by_i;
        g[k] = by_g;
    }
}
}

vectorised! {
/// One row's step of the GRU. `gates` hold the products n r z m, and then the gates and m with its bias.
#[inline]
pub fn gru_step<T: Real>(
    gates: &mut [T], bias: &[T], kept: T, before: &[T], after: &mut [T],
) {
    let hidden = before.len();
    let one = T::one();
    let (n, rest) = gates.split_at_mut(hidden);
    let (r, rest) = rest.split_at_mut(hidden);
    let (z, m) = rest.split_at_mut(hidden);
    for (gate, bias) in r.iter_mut().zip(&bias[hidden..2 * hidden]) {
        *gate = T::sigmoid(*gate + *bias);
    }
    for (gate, bias) in z.iter_mut().zip(&bias[2 * hidden..3 * hidden]) {
        *gate = T::sigmoid(*gate + *bias);
    }
    for (gate, bias) in m.iter_mut().zip(&bias[3 * hidden..]) {
        *gate += *bias;
    }
    let bias = &bias[..hidden];
    for k in 0..hidden {
        n[k] = T::tanh(n[k] + bias[k] + r[k] * m[k]);
    }
    for k in 0..hidden {
        after[k] = before[k] + (one - z[k]) * kept * (n[k] - before[k]);
    }
}
}

vectorised! {
/// Back through one row's step of the GRU: `gates` become the gradients of their products.
#[inline]
pub fn gru_step_back<T: Real>(
    gates: &mut [T], kept: T, before: &[T], gradient: &[T], by_h: &mut [T],
) {
    let hidden = before.len();
    let one = T::one();
    let (n, rest) = gates.split_at_mut(hidden);
    let (r, rest) = rest.split_at_mut(hidden);
    let (z, m) = rest.split_at_mut(hidden);
    let m = &mut m[..hidden];
    let (gradient, by_h) = (&gradient[..hidden], &mut by_h[..hidden]);
    for k in 0..hidden {
        let dh = gradient[k] + by_h[k];
        let change = (one - z[k]) * kept;
        let by_n = dh * change * (one - n[k] * n[k]);
        by_h[k] = dh * (one - change);
        z[k] = dh * kept * (before[k] - n[k]) * z[k] * (one - z[k]);
        let by_m = by_n * r[k];
        r[k] = by_n * m[k] * r[k] * (one - r[k]);
        m[k] = by_m;
        n[k] = by_n;
    }
}
}
