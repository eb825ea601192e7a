//! An ONNX Runtime session, called through the C interface.
//!
//! `ort` builds the session; runs go past it, because input and output tensors are kept between runs and at batch
//! size 1 every allocation counts.

use super::offload::{Ended, Lent, end_session, offload};
use super::session_error::SessionError;
use super::tensor::{MemoryInfo, Number, Tensor, check_run};
use super::{interrupt, runtime};
use crate::error::Result;
use ort::AsPointer;
use ort::ortsys;
use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;
use ort::sys;
use ort::value::{TensorElementType, ValueType};
use std::cell::Cell;
use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An input or output of the graph. A dimension of -1 is free.
#[derive(Clone, Debug)]
pub struct Port {
    pub name: String,
    pub element: TensorElementType,
    pub shape: Vec<i64>,
}

pub struct Session {
    inner: OrtSession,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    input_names: Names,
    fetched: Names,
    pub memory: MemoryInfo,
    options: RunOptions,
    /// The largest inference so far that was over before anybody looked.
    proven: Cell<usize>,
}

/// Through them a run is told to end.
struct RunOptions(*mut sys::OrtRunOptions);

impl RunOptions {
    fn new() -> Result<Self, SessionError> {
        let mut options = ptr::null_mut();
        check_run(|| {
            ortsys![unsafe CreateRunOptions(&mut options)?];
            Ok(())
        })?;
        Ok(Self(options))
    }
}

impl Drop for RunOptions {
    fn drop(&mut self) {
        ortsys![unsafe ReleaseRunOptions(self.0)];
    }
}

/// How a run ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    Done,
    /// It could not be stopped and goes on: what it uses must be left alone, and the session has to end.
    Stuck,
}

/// So much larger than a proven one an inference may be to be run where it can only be stopped between operators.
const MARGIN: usize = 4;

/// `[rows]` or `[rows, columns]`.
pub struct ArrayShape {
    axes: [i64; 2],
    rank: usize,
}

impl std::ops::Deref for ArrayShape {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.axes[..self.rank]
    }
}

/// Names as the C interface wants them.
struct Names {
    _owned: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Names {
    fn new<'a>(ports: impl Iterator<Item = &'a Port>) -> Self {
        let owned: Vec<CString> = ports
            .map(|p| CString::new(p.name.as_str()).unwrap_or_default())
            .collect();
        let pointers = owned.iter().map(|n| n.as_ptr()).collect();
        Self {
            _owned: owned,
            pointers,
        }
    }
}

impl Session {
    /// One thread: PostgreSQL's parallel query brings the parallelism. `free_axes`: an input has other axes than the
    /// batch whose length varies; ONNX Runtime would remember a memory plan for each combination, for ever.
    pub fn new(onnx: Vec<u8>, free_axes: bool) -> Result<Self> {
        let onnx = Arc::new(onnx);
        let inner = loop {
            match load(Arc::clone(&onnx), free_axes)? {
                Ended::Done(result) => break result?,
                Ended::Stopped(Ok(session)) => break session,
                Ended::Stopped(Err(_)) => {
                    pgrx::check_for_interrupts!();
                }
                Ended::Stuck => end_session(),
            }
        };
        let inputs = ports(inner.inputs())?;
        // An output that is no tensor cannot be fetched, but does no harm.
        let outputs = inner
            .outputs()
            .iter()
            .filter_map(|o| port(o).ok())
            .collect::<Vec<_>>();
        Ok(Self {
            input_names: Names::new(inputs.iter()),
            fetched: Names::new(outputs.iter()),
            memory: MemoryInfo::cpu()?,
            options: RunOptions::new()?,
            proven: Cell::new(0),
            inner,
            inputs,
            outputs,
        })
    }

    /// Tensors of strings are made in the session's own memory.
    pub fn strings(&self, data: &[CString], shape: &[i64]) -> Result<Tensor, SessionError> {
        Tensor::strings(self.inner.allocator().ptr().cast_mut(), data, shape)
    }

    /// A tensor of numbers for an input that takes this type: over our own memory where it takes it as it is.
    ///
    /// # Safety
    /// See [`Tensor::borrow`].
    pub unsafe fn numbers(
        &self,
        data: &mut [f32],
        shape: &[i64],
        number: Number,
    ) -> Result<Tensor, SessionError> {
        match number {
            // SAFETY: as the caller promises.
            Number::Float32 => unsafe { Tensor::borrow(&self.memory, data, shape) },
            number => {
                let allocator = self.inner.allocator().ptr().cast_mut();
                Tensor::converted(allocator, data, shape, number)
            }
        }
    }

    /// Chooses, by index, the outputs that [`Session::run`] computes; all of them until then.
    pub fn fetch(&mut self, outputs: &[usize]) {
        self.fetched = Names::new(outputs.iter().map(|&i| &self.outputs[i]));
        self.outputs = outputs.iter().map(|&i| self.outputs[i].clone()).collect();
    }

    /// Runs the graph: one value per input, in the graph's order, and one per fetched output, which is either a
    /// tensor to be filled or [`Tensor::none`], to be replaced by a new one. `size` grows with the work: rows and steps.
    /// Where the work is not known to be short it is done where it can be left.
    pub fn run(&self, inputs: &[Tensor], outputs: &mut [Tensor], size: usize) -> Result<Outcome> {
        if inputs.len() != self.inputs.len() || outputs.len() != self.outputs.len() {
            return Err(SessionError::Run {
                reason: "wrong number of inputs or outputs".to_owned(),
            }
            .into());
        }
        loop {
            let (result, stopped, quick) = if size <= self.proven.get().saturating_mul(MARGIN) {
                let watched =
                    interrupt::watch(self.options.0, || self.call(inputs, outputs).perform());
                (watched.result, watched.stopped, watched.quick)
            } else {
                match self.run_aside(inputs, outputs)? {
                    (Ended::Done(result), quick) => (result, false, quick),
                    (Ended::Stopped(result), _) => (result, true, false),
                    (Ended::Stuck, _) => return Ok(Outcome::Stuck),
                }
            };
            if stopped {
                interrupt::allow(self.options.0);
            }
            match result {
                Ok(()) => {
                    if quick {
                        self.proven.set(self.proven.get().max(size));
                    }
                    return Ok(Outcome::Done);
                }
                // Raises what it was stopped for, or else it starts again.
                Err(_) if stopped => {
                    pgrx::check_for_interrupts!();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn call(&self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Call {
        Call {
            session: self.inner.ptr().cast_mut(),
            options: self.options.0,
            input_names: self.input_names.pointers.as_ptr(),
            inputs: inputs.as_ptr(),
            input_count: inputs.len(),
            output_names: self.fetched.pointers.as_ptr(),
            outputs: outputs.as_mut_ptr(),
            output_count: outputs.len(),
        }
    }

    /// On another thread; whether it was short.
    fn run_aside(
        &self,
        inputs: &[Tensor],
        outputs: &mut [Tensor],
    ) -> Result<(Ended<Result<(), SessionError>>, bool)> {
        let start = Instant::now();
        let call = Lent(self.call(inputs, outputs));
        let options = self.options.0;
        let ended = offload(
            move || call.take().perform(),
            || interrupt::terminate(options),
        )?;
        Ok((ended, start.elapsed() < SHORT))
    }
}

/// What is proven is as short as this.
const SHORT: Duration = Duration::from_millis(50);

/// One call of ONNX Runtime. Everything it points to outlives it: the caller waits for its end, or leaves all of it alone
/// for ever.
#[derive(Clone, Copy)]
struct Call {
    session: *mut sys::OrtSession,
    options: *mut sys::OrtRunOptions,
    input_names: *const *const c_char,
    inputs: *const Tensor,
    input_count: usize,
    output_names: *const *const c_char,
    outputs: *mut Tensor,
    output_count: usize,
}

impl Call {
    #[inline]
    fn perform(self) -> Result<(), SessionError> {
        // SAFETY (of the call): names and values are as many as given; `Tensor` is a transparent pointer, null
        // for an output that ONNX Runtime allocates and we release.
        check_run(|| {
            ortsys![unsafe Run(
                self.session,
                self.options,
                self.input_names,
                self.inputs.cast(),
                self.input_count,
                self.output_names,
                self.output_count,
                self.outputs.cast()
            )?];
            Ok(())
        })
    }
}

/// Bytes that a constant may have which ONNX Runtime computes when it loads a graph.
const LARGEST_CONSTANT: &str = "16777216";

/// Makes a session on another thread: ONNX Runtime computes constants meanwhile.
fn load(onnx: Arc<Vec<u8>>, free_axes: bool) -> Result<Ended<Result<OrtSession, SessionError>>> {
    let environment = runtime::environment()?;
    runtime::bound_memory(environment)?;
    let failed = |e: &dyn std::fmt::Display| SessionError::of_load(&e.to_string());
    let builder = OrtSession::builder(environment)
        .map_err(|e| failed(&e))?
        .with_intra_threads(1)
        .map_err(|e| failed(&e))?
        .with_inter_threads(1)
        .map_err(|e| failed(&e))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| failed(&e))?
        .with_memory_pattern(!free_axes)
        .map_err(|e| failed(&e))?
        .with_env_allocators()
        .map_err(|e| failed(&e))?
        .with_config_entry(
            "optimization.constant_folding_max_output_size_in_bytes",
            LARGEST_CONSTANT,
        )
        .map_err(|e| failed(&e))?;
    let options = builder.ptr().cast_mut();
    // The builder comes back, so that it is there as long as it may be told to stop.
    let builder = Lent(builder);
    let ended = offload(
        move || {
            let mut builder = builder.take();
            let loaded = builder
                .commit_from_memory(onnx.as_slice())
                .map_err(|e| SessionError::of_load(e.message()));
            (Lent(builder), loaded)
        },
        || {
            let _: ort::Result<()> = (|| {
                ortsys![unsafe SessionOptionsSetLoadCancellationFlag(options, true)?];
                Ok(())
            })();
        },
    )?;
    Ok(match ended {
        Ended::Done((_, loaded)) => Ended::Done(loaded),
        Ended::Stopped((_, loaded)) => Ended::Stopped(loaded),
        Ended::Stuck => Ended::Stuck,
    })
}

fn ports(outlets: &[ort::value::Outlet]) -> Result<Vec<Port>, SessionError> {
    outlets.iter().map(port).collect()
}

fn port(outlet: &ort::value::Outlet) -> Result<Port, SessionError> {
    let name = outlet.name().to_owned();
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Ok(Port {
            name,
            element: *ty,
            shape: shape.to_vec(),
        }),
        _ => Err(SessionError::NotTensor { name }),
    }
}

impl Port {
    /// How our numbers come in; what is no number is checked when a model is loaded.
    pub fn number(&self) -> Number {
        Number::of(self.element).unwrap_or(Number::Float32)
    }

    /// The shape of a tensor of `columns` for `rows`; one column may be an axis or none.
    pub fn rows_by(&self, rows: i64, columns: i64) -> ArrayShape {
        ArrayShape {
            axes: [rows, columns],
            rank: self.shape.len().clamp(1, 2),
        }
    }

    /// Whether it is `[batch]` or `[batch, 1]`, so that a buffer of one float per row can receive it.
    pub fn is_column(&self) -> bool {
        matches!(self.shape.as_slice(), [-1] | [-1, 1])
    }
}
