//! A custom operation of candle for the CPU, made of two functions over slices: the values, and the gradients by hand.
//! What lies between them and the tensors, float32 or float64, is here.

use super::real::Real;
use super::storage::{Numbers, slice};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};
use parking_lot::Mutex;
use std::any::Any;

/// With `N` inputs.
pub trait Operation<const N: usize>: Send + Sync + 'static {
    /// As errors name it.
    const NAME: &'static str;

    /// What the gradient needs besides the inputs and the result, and uses up: values have one way back.
    type Kept<T: Real>: Send + 'static;

    /// The result, and what is kept for the way back.
    fn forward<T: Real>(&self, inputs: [&[T]; N]) -> Result<(Vec<T>, Self::Kept<T>)>;

    /// The gradient by each input; none by those that are not wanted.
    fn backward<T: Real>(&self, given: Given<T, Self::Kept<T>, N>) -> Result<[Option<Vec<T>>; N]>;
}

/// What a gradient is computed from.
pub struct Given<'a, T, K, const N: usize> {
    /// The inputs, as the values were computed from them.
    pub inputs: [&'a [T]; N],
    /// Which inputs a gradient is wanted for.
    pub wanted: [bool; N],
    /// What [`Operation::forward`] returned.
    pub result: &'a [T],
    /// The gradient by the result.
    pub gradient: &'a [T],
    /// What [`Operation::forward`] kept.
    pub kept: K,
}

struct Custom<O> {
    operation: O,
    shape: Shape,
    kept: Mutex<Option<Box<dyn Any + Send>>>,
}

impl<O> Custom<O> {
    fn new(operation: O, shape: impl Into<Shape>) -> Self {
        Self {
            operation,
            shape: shape.into(),
            kept: Mutex::new(None),
        }
    }

    fn values<const N: usize>(
        &self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(CpuStorage, Shape)>
    where
        O: Operation<N>,
    {
        match inputs[0].0 {
            CpuStorage::F64(_) => self.values_in::<f64, N>(inputs),
            _ => self.values_in::<f32, N>(inputs),
        }
    }

    fn values_in<T: Real, const N: usize>(
        &self,
        inputs: [(&CpuStorage, &Layout); N],
    ) -> Result<(CpuStorage, Shape)>
    where
        O: Operation<N>,
    {
        let mut slices: [&[T]; N] = [&[]; N];
        for (numbers, (storage, layout)) in slices.iter_mut().zip(inputs) {
            *numbers = slice(storage, layout)?;
        }
        let (result, kept) = self.operation.forward(slices)?;
        *self.kept.lock() = Some(Box::new(kept));
        Ok((T::to_cpu_storage_owned(result), self.shape.clone()))
    }

    fn gradients<const N: usize>(
        &self,
        inputs: [&Tensor; N],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]>
    where
        O: Operation<N>,
    {
        match result.dtype() {
            DType::F64 => self.gradients_in::<f64, N>(inputs, result, gradient),
            _ => self.gradients_in::<f32, N>(inputs, result, gradient),
        }
    }

    fn gradients_in<T: Real, const N: usize>(
        &self,
        inputs: [&Tensor; N],
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; N]>
    where
        O: Operation<N>,
    {
        let kept = self.kept.lock().take();
        let Some(kept) = kept.and_then(|kept| kept.downcast().ok()) else {
            bail!("{}: no values to go back from", O::NAME);
        };
        let gradient = gradient.contiguous()?;
        let numbers = inputs.map(Numbers::of);
        let mut slices: [&[T]; N] = [&[]; N];
        for (slice, numbers) in slices.iter_mut().zip(&numbers) {
            *slice = numbers.get()?;
        }
        let by_inputs = self.operation.backward(Given {
            inputs: slices,
            wanted: inputs.map(Tensor::track_op),
            result: Numbers::of(result).get()?,
            gradient: Numbers::of(&gradient).get()?,
            kept: *kept,
        })?;
        let mut tensors = [const { None }; N];
        for ((tensor, input), by_input) in tensors.iter_mut().zip(inputs).zip(by_inputs) {
            *tensor = match by_input {
                Some(numbers) => Some(Tensor::from_vec(numbers, input.shape(), input.device())?),
                None => None,
            };
        }
        Ok(tensors)
    }
}

/// Applies an operation with one input; the result has this shape.
pub fn apply1<O: Operation<1>>(
    operation: O,
    [a]: [&Tensor; 1],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    a.contiguous()?.apply_op1(Custom::new(operation, shape))
}

/// Applies an operation with two inputs; the result has this shape.
pub fn apply2<O: Operation<2>>(
    operation: O,
    [a, b]: [&Tensor; 2],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    a.contiguous()?
        .apply_op2(&b.contiguous()?, Custom::new(operation, shape))
}

/// Applies an operation with three inputs; the result has this shape.
pub fn apply3<O: Operation<3>>(
    operation: O,
    [a, b, c]: [&Tensor; 3],
    shape: impl Into<Shape>,
) -> Result<Tensor> {
    a.contiguous()?.apply_op3(
        &b.contiguous()?,
        &c.contiguous()?,
        Custom::new(operation, shape),
    )
}

impl<O: Operation<1>> CustomOp1 for Custom<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        self.values([(s, l)])
    }

    fn bwd(&self, a: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let [by_a] = self.gradients([a], result, gradient)?;
        Ok(by_a)
    }
}

impl<O: Operation<2>> CustomOp2 for Custom<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.values([(s1, l1), (s2, l2)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b], result, gradient)?.into())
    }
}

impl<O: Operation<3>> CustomOp3 for Custom<O> {
    fn name(&self) -> &'static str {
        O::NAME
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
        self.values([(s1, l1), (s2, l2), (s3, l3)])
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok(self.gradients([a, b, c], result, gradient)?.into())
    }
}
