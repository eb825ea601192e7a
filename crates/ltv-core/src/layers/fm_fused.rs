//! Numbers times the embeddings of their fields as one operation; [`products`](super::fm::products) defines it.

use super::kernel::{self, Numbers, slice};
use crate::error;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};

pub fn products(x: &Tensor, embedding: &Tensor) -> error::Result<Tensor> {
    Ok(x.contiguous()?.apply_op2(embedding, Products)?)
}

/// `[batch, n]` and `[n, k]` -> `[batch, n * k]`.
struct Products;

fn forward<T: WithDType>(x: &[T], embedding: &[T], size: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(x.len() * size);

    for x in x.chunks_exact((embedding.len() / size).max(1)) {
        for (&x, vector) in x.iter().zip(embedding.chunks_exact(size)) {
            out.extend(vector.iter().map(|&v| x * v));
        }
    }

    out
}

/// Gradients by the numbers (if anybody asks) and by the embeddings.
fn backward<T: WithDType>(
    x: &[T],
    embedding: &[T],
    gradient: &[T],
    size: usize,
    wanted: bool,
) -> (Vec<T>, Vec<T>) {
    let mut by_x = Vec::new();
    let mut by_embedding = vec![T::zero(); embedding.len()];
    let fields = (embedding.len() / size).max(1);

    for (x, gradient) in x
        .chunks_exact(fields)
        .zip(gradient.chunks_exact(fields * size))
    {
        let vectors = by_embedding.chunks_exact_mut(size);
        for ((&x, sums), gradient) in x.iter().zip(vectors).zip(gradient.chunks_exact(size)) {
            for (sum, &gradient) in sums.iter_mut().zip(gradient) {
                *sum += x * gradient;
            }
        }
        if wanted {
            let vectors = embedding
                .chunks_exact(size)
                .zip(gradient.chunks_exact(size));
            by_x.extend(
                vectors.map(|(vector, gradient)| kernel::sum(size, |k| vector[k] * gradient[k])),
            );
        }
    }

    (by_x, by_embedding)
}

impl CustomOp2 for Products {
    fn name(&self) -> &'static str {
        "field-products"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (fields, size) = l2.shape().dims2()?;
        let out = match s1 {
            CpuStorage::F64(_) => CpuStorage::F64(forward(slice(s1, l1)?, slice(s2, l2)?, size)),
            _ => CpuStorage::F32(forward(slice(s1, l1)?, slice(s2, l2)?, size)),
        };
        Ok((out, Shape::from((l1.dims()[0], fields * size))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        embedding: &Tensor,
        _result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        fn tensors<T: WithDType>(
            (by_x, by_embedding): (Vec<T>, Vec<T>),
            x: &Tensor,
            embedding: &Tensor,
        ) -> Result<(Option<Tensor>, Option<Tensor>)> {
            let by_x = match by_x.is_empty() {
                true => None,
                false => Some(Tensor::from_vec(by_x, x.shape(), x.device())?),
            };
            let by_embedding = Tensor::from_vec(by_embedding, embedding.shape(), x.device())?;
            Ok((by_x, Some(by_embedding)))
        }
        let gradient = gradient.contiguous()?;
        let size = embedding.dim(1)?;
        let wanted = x.track_op();
        let (a, e, g) = (
            Numbers::of(x),
            Numbers::of(embedding),
            Numbers::of(&gradient),
        );
        match x.dtype() {
            DType::F64 => tensors(
                backward::<f64>(a.get()?, e.get()?, g.get()?, size, wanted),
                x,
                embedding,
            ),
            _ => tensors(
                backward::<f32>(a.get()?, e.get()?, g.get()?, size, wanted),
                x,
                embedding,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::fm;
    use candle_core::{Device, Var};

    #[test]
    fn one_operation_equals_the_definition() -> error::Result<()> {
        let wave = |count: usize, k: f64| -> Vec<f64> {
            (0..count).map(|i| (i as f64 * k).sin()).collect()
        };
        for size in [1, 8, 11] {
            let (batch, fields) = (7, 5);
            let x = Var::from_vec(wave(batch * fields, 1.3), (batch, fields), &Device::Cpu)?;
            let embedding = Var::from_vec(wave(fields * size, 0.7), (fields, size), &Device::Cpu)?;
            let mix = wave(batch * fields * size, 2.3);
            let mix = Tensor::from_vec(mix, (batch, fields * size), &Device::Cpu)?;
            let run = |y: Tensor| -> error::Result<Vec<f64>> {
                let gradients = (&y * &mix)?.sum_all()?.backward()?;
                let mut numbers: Vec<f64> = y.flatten_all()?.to_vec1()?;
                for var in [&x, &embedding] {
                    if let Some(gradient) = gradients.get(var) {
                        numbers.extend(gradient.flatten_all()?.to_vec1::<f64>()?);
                    }
                }
                Ok(numbers)
            };
            let (fast, plain) = (
                run(products(&x, &embedding)?)?,
                run(fm::products(&x, &embedding)?)?,
            );
            assert_eq!(fast.len(), plain.len());
            for (a, b) in fast.iter().zip(&plain) {
                assert!((a - b).abs() < 1e-13, "{a} {b}");
            }
        }
        Ok(())
    }
}
