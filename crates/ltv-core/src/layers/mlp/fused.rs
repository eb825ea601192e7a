//! All hidden layers of a multilayer perceptron as one operation: hidden values and their gradients never become
//! tensors of their own, and the rows are shared out among the threads of the pool that training runs in.
//!
//! The weights come as one vector: of each layer the matrix `[out, in]`, the bias, and where it is normalised the weight
//! and the bias of that. Every thread sums the gradient of its rows; the sums are added in the order of the rows, so the
//! result depends on the number of threads alone. Where a layer is normalised, the threads wait for each other: batch
//! statistics are those of all rows.

use crate::kernels::matrix::{Matrix, product};
use crate::kernels::operation::{Given, Operation};
use crate::kernels::real::Real;
use crate::kernels::threads;
use crate::layers::activation::{Activation, bias_activation, bias_activation_back};
use crate::layers::batch_norm::{Moments, Norm, Pull};
use candle_core::Result;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// By the statistics of the batch.
    pub normalised: bool,
    pub activation: Activation,
}

impl Layer {
    fn weights(&self) -> usize {
        let norm = if self.normalised { 2 } else { 0 };
        (self.inputs + 1 + norm) * self.outputs
    }

    fn split<'a, T>(&self, weights: &'a [T]) -> Weights<'a, T> {
        let (matrix, rest) = weights.split_at(self.inputs * self.outputs);
        let (bias, norm) = rest.split_at(self.outputs);
        Weights { matrix, bias, norm }
    }
}

/// Of one layer.
struct Weights<'a, T> {
    matrix: &'a [T],
    bias: &'a [T],
    /// Weight, then bias of the normalisation; empty without one.
    norm: &'a [T],
}

pub struct Stack {
    layers: Vec<Layer>,
    /// Where the weights of each layer are.
    places: Vec<Range<usize>>,
    /// Runs of layers through which rows go without knowing of each other: each but the last ends with the product of a
    /// layer that is normalised, and each but the first begins with the normalisation.
    runs: Vec<Range<usize>>,
    /// Of the batch, per layer that is normalised.
    moments: Arc<Mutex<Vec<Moments>>>,
}

/// What some rows leave behind on the way forward: what each layer puts out, without the last one, and the product where
/// it is normalised.
pub struct Part<T> {
    first_row: usize,
    outputs: Vec<Vec<T>>,
    products: Vec<Vec<T>>,
}

pub struct Kept<T> {
    rows_per_part: usize,
    parts: Vec<Part<T>>,
    norms: Vec<Norm<T>>,
}

/// On the way back.
struct Back<'a, T> {
    x: &'a [T],
    part: &'a Part<T>,
    result: &'a [T],
    gradient: Vec<T>,
    by_theta: Vec<T>,
}

impl Stack {
    pub fn new(layers: Vec<Layer>) -> Self {
        let mut places = Vec::with_capacity(layers.len());
        let mut runs = Vec::new();
        let (mut place, mut begin) = (0, 0);
        for (index, layer) in layers.iter().enumerate() {
            places.push(place..place + layer.weights());
            place += layer.weights();
            if layer.normalised {
                runs.push(begin..index + 1);
                begin = index + 1;
            }
        }
        runs.push(begin..layers.len());
        Self {
            layers,
            places,
            runs,
            moments: Arc::default(),
        }
    }

    /// Filled on the way forward with what the running statistics learn from.
    pub fn moments(&self) -> Arc<Mutex<Vec<Moments>>> {
        self.moments.clone()
    }

    fn weights<'a, T>(&self, layer: usize, theta: &'a [T]) -> Weights<'a, T> {
        self.layers[layer].split(&theta[self.places[layer].clone()])
    }

    /// The layer that the normalisation at the beginning of `run` belongs to, and its number among those.
    fn normalised_before(&self, run: usize) -> Option<(usize, usize)> {
        (run > 0).then(|| (self.runs[run].start - 1, run - 1))
    }

    /// One part through one run; the moments of the product it ends with, if it is to be normalised.
    fn forward_run<T: Real>(
        &self,
        run: usize,
        (x, theta): (&[T], &[T]),
        norms: &[Norm<T>],
        part: &mut Part<T>,
    ) -> Option<Moments> {
        if let Some((layer, norm)) = self.normalised_before(run) {
            let Layer {
                outputs,
                activation,
                ..
            } = self.layers[layer];
            let bias = &self.weights(layer, theta).norm[outputs..];
            let product = &part.products[norm];
            let first = part.first_row * outputs;
            let output = norms[norm].apply(product, bias, activation, first);
            part.outputs.push(output);
        }
        for index in self.runs[run].clone() {
            let layer = &self.layers[index];
            let weights = self.weights(index, theta);
            let input = part.outputs.last().map_or(x, Vec::as_slice);
            let rows = input.len() / layer.inputs;
            let mut output = vec![T::zero(); rows * layer.outputs];
            product(
                &mut output,
                (rows, layer.outputs, layer.inputs),
                Matrix::rows(input, layer.inputs),
                Matrix::rows(weights.matrix, layer.inputs).transposed(),
                false,
            );
            if layer.normalised {
                // Without the bias, which is normalised away.
                let moments = Moments::of(&output, layer.outputs);
                part.products.push(output);
                return Some(moments);
            }
            let first = part.first_row * layer.outputs;
            bias_activation(&mut output, weights.bias, layer.activation, first);
            part.outputs.push(output);
        }
        None
    }

    /// One part back through one run; what the gradient needs to pass the normalisation it begins with, if it does.
    fn backward_run<T: Real>(
        &self,
        run: usize,
        theta: &[T],
        (norms, pull): (&[Norm<T>], Option<&Pull<T>>),
        with_x: bool,
        back: &mut Back<T>,
    ) -> Option<Pull<T>> {
        for index in self.runs[run].clone().rev() {
            let layer = &self.layers[index];
            let size = layer.inputs * layer.outputs;
            let place = self.places[index].clone();
            let (by_matrix, by_rest) = back.by_theta[place].split_at_mut(size);
            let by_bias = &mut by_rest[..layer.outputs];
            match pull.filter(|_| layer.normalised) {
                Some(pull) => {
                    norms[run].pass(pull, &back.part.products[run], &mut back.gradient);
                }
                None => {
                    let output = back.part.outputs.get(index);
                    let output = output.map_or(back.result, Vec::as_slice);
                    bias_activation_back(&mut back.gradient, output, layer.activation, by_bias);
                }
            }
            let input = match index {
                0 => back.x,
                _ => &back.part.outputs[index - 1],
            };
            let rows = back.gradient.len() / layer.outputs;
            let by_output = Matrix::rows(&back.gradient, layer.outputs);
            product(
                by_matrix,
                (layer.outputs, layer.inputs, rows),
                by_output.transposed(),
                Matrix::rows(input, layer.inputs),
                false,
            );
            if index > 0 || with_x {
                let mut by_input = vec![T::zero(); rows * layer.inputs];
                product(
                    &mut by_input,
                    (rows, layer.inputs, layer.outputs),
                    by_output,
                    Matrix::rows(self.weights(index, theta).matrix, layer.inputs),
                    false,
                );
                back.gradient = by_input;
            }
        }
        let (layer, norm) = self.normalised_before(run)?;
        let output = back.part.outputs.get(layer);
        let output = output.map_or(back.result, Vec::as_slice);
        let activation = self.layers[layer].activation;
        let product = &back.part.products[norm];
        Some(norms[norm].pull(product, &mut back.gradient, output, activation))
    }
}

impl Operation<2> for Stack {
    const NAME: &'static str = "mlp";
    type Kept<T: Real> = Kept<T>;

    fn forward<T: Real>(&self, [x, theta]: [&[T]; 2]) -> Result<(Vec<T>, Kept<T>)> {
        let inputs = self.layers.first().map_or(1, |layer| layer.inputs);
        let rows_per_part = threads::rows_per_part(x.len() / inputs);
        let mut parts: Vec<(&[T], Part<T>)> = x
            .chunks(rows_per_part * inputs)
            .enumerate()
            .map(|(index, x)| {
                let part = Part {
                    first_row: index * rows_per_part,
                    outputs: Vec::with_capacity(self.layers.len()),
                    products: Vec::with_capacity(self.runs.len()),
                };
                (x, part)
            })
            .collect();
        let mut moments = Vec::new();
        let mut norms: Vec<Norm<T>> = Vec::new();
        for (run, layers) in self.runs.iter().enumerate() {
            let found = threads::each(parts.iter_mut().collect(), |(x, part)| {
                self.forward_run(run, (x, theta), &norms, part)
            });
            if let Some(all) = found.into_iter().flatten().reduce(Moments::and) {
                let last = layers.end - 1;
                let weights = self.weights(last, theta);
                let scale = &weights.norm[..self.layers[last].outputs];
                norms.push(Norm::new(&all, scale));
                moments.push(all.shifted(weights.bias));
            }
        }
        *self.moments.lock() = moments;
        let mut parts: Vec<Part<T>> = parts.into_iter().map(|(_, part)| part).collect();
        let mut last = parts.iter_mut().filter_map(|part| part.outputs.pop());
        let mut result = last.next().unwrap_or_default();
        last.for_each(|output| result.extend(output));
        let kept = Kept {
            rows_per_part,
            parts,
            norms,
        };
        Ok((result, kept))
    }

    fn backward<T: Real>(&self, given: Given<T, Kept<T>, 2>) -> Result<[Option<Vec<T>>; 2]> {
        let [x, theta] = given.inputs;
        let with_x = given.wanted[0];
        let inputs = self.layers.first().map_or(1, |layer| layer.inputs);
        let width = self.layers.last().map_or(1, |layer| layer.outputs);
        let rows = given.kept.rows_per_part;
        let norms = given.kept.norms.as_slice();
        let mut backs: Vec<Back<T>> = x
            .chunks(rows * inputs)
            .zip(given.result.chunks(rows * width))
            .zip(given.gradient.chunks(rows * width))
            .zip(&given.kept.parts)
            .map(|(((x, result), gradient), part)| Back {
                x,
                part,
                result,
                gradient: gradient.to_vec(),
                by_theta: vec![T::zero(); theta.len()],
            })
            .collect();
        let mut pull: Option<Pull<T>> = None;
        for run in (0..self.runs.len()).rev() {
            let found = threads::each(backs.iter_mut().collect(), |back| {
                self.backward_run(run, theta, (norms, pull.as_ref()), with_x, back)
            });
            pull = found.into_iter().flatten().reduce(Pull::and);
            if let (Some(pull), Some((layer, norm)), Some(back)) =
                (&pull, self.normalised_before(run), backs.first_mut())
            {
                let end = self.places[layer].end;
                let start = end - 2 * self.layers[layer].outputs;
                norms[norm].by_weights(pull, &mut back.by_theta[start..end]);
            }
        }
        let mut by_x = with_x.then(|| Vec::with_capacity(x.len()));
        let mut by_theta: Option<Vec<T>> = None;
        for back in backs {
            match &mut by_theta {
                None => by_theta = Some(back.by_theta),
                Some(sums) => sums
                    .iter_mut()
                    .zip(back.by_theta)
                    .for_each(|(sum, value)| *sum += value),
            }
            if let Some(by_x) = &mut by_x {
                by_x.extend(back.gradient);
            }
        }
        Ok([by_x, by_theta])
    }
}
