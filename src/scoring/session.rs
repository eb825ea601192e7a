//! An ONNX Runtime session, called through the C interface.
//!
//! `ort` builds the session; runs go past it, because input and output tensors are kept between runs and at batch
//! size 1 every allocation counts.

use super::runtime;
use crate::error::{Reportable, Result};
use ort::AsPointer;
use ort::ortsys;
use ort::session::Session as OrtSession;
use ort::session::builder::GraphOptimizationLevel;
use ort::sys;
use ort::value::{TensorElementType, ValueType};
use pgrx::prelude::PgSqlErrorCode;
use std::ffi::{CString, c_char, c_void};
use std::ptr;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("the ONNX graph cannot be loaded")]
    Load { reason: String },
    #[error("the ONNX graph failed")]
    Run { reason: String },
    #[error("the ONNX graph has an input that is not a tensor")]
    NotTensor { name: String },
}

impl Reportable for SessionError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Load { .. } => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            Self::Run { .. } => PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
            Self::NotTensor { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        }
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Load { reason } | Self::Run { reason } => {
                format!("ONNX Runtime says: {}", reason.trim())
            }
            Self::NotTensor { name } => format!("\"{name}\" is a sequence, a map or optional."),
        })
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::Load { .. } => Some(
                "Check the file with onnx.checker, and that its operators and its opset are known to the installed \
                 ONNX Runtime."
                    .to_owned(),
            ),
            Self::Run { .. } | Self::NotTensor { .. } => None,
        }
    }
}

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
    memory: MemoryInfo,
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
    pub fn new(onnx: &[u8], free_axes: bool) -> Result<Self> {
        let environment = runtime::environment()?;
        let load = |e: &dyn std::fmt::Display| SessionError::Load {
            reason: e.to_string(),
        };
        let mut builder = OrtSession::builder(environment)
            .map_err(|e| load(&e))?
            .with_intra_threads(1)
            .map_err(|e| load(&e))?
            .with_inter_threads(1)
            .map_err(|e| load(&e))?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(|e| load(&e))?
            .with_memory_pattern(!free_axes)
            .map_err(|e| load(&e))?;
        let inner = builder.commit_from_memory(onnx).map_err(|e| load(&e))?;
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
            inner,
            inputs,
            outputs,
        })
    }

    /// Chooses, by index, the outputs that [`Session::run`] computes; all of them until then.
    pub fn fetch(&mut self, outputs: &[usize]) {
        self.fetched = Names::new(outputs.iter().map(|&i| &self.outputs[i]));
        self.outputs = outputs.iter().map(|&i| self.outputs[i].clone()).collect();
    }

    /// Runs the graph: one value per input, in the graph's order, and one per fetched output, which is either a
    /// tensor to be filled or [`Tensor::none`], to be replaced by a new one.
    pub fn run(&self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), SessionError> {
        if inputs.len() != self.inputs.len() || outputs.len() != self.outputs.len() {
            return Err(SessionError::Run {
                reason: "wrong number of inputs or outputs".to_owned(),
            });
        }
        // SAFETY (of the call): names and values are as many as given; `Tensor` is a transparent pointer, null
        // for an output that ONNX Runtime allocates and we release.
        check_run(|| {
            ortsys![unsafe Run(
                self.inner.ptr().cast_mut(),
                ptr::null(),
                self.input_names.pointers.as_ptr(),
                inputs.as_ptr().cast(),
                inputs.len(),
                self.fetched.pointers.as_ptr(),
                outputs.len(),
                outputs.as_mut_ptr().cast()
            )?];
            Ok(())
        })
    }

    /// A tensor over memory of ours. It must stay where it is, and as large, until the tensor is dropped.
    ///
    /// # Safety
    /// `data` holds as many elements as `shape` says for as long as the tensor is used.
    pub unsafe fn borrow<T: Element>(
        &self,
        data: &mut [T],
        shape: &[i64],
    ) -> Result<Tensor, SessionError> {
        let mut value = ptr::null_mut();
        check_run(|| {
            ortsys![unsafe CreateTensorWithDataAsOrtValue(
                self.memory.0,
                data.as_mut_ptr().cast::<c_void>(),
                std::mem::size_of_val(data),
                shape.as_ptr(),
                shape.len(),
                T::TYPE,
                &mut value
            )?];
            Ok(())
        })?;
        Ok(Tensor(value))
    }

    /// A tensor of strings, copied.
    pub fn strings(&self, data: &[CString], shape: &[i64]) -> Result<Tensor, SessionError> {
        let pointers: Vec<*const c_char> = data.iter().map(|s| s.as_ptr()).collect();
        let mut tensor = Tensor::none();
        check_run(|| {
            ortsys![unsafe CreateTensorAsOrtValue(
                self.inner.allocator().ptr().cast_mut(),
                shape.as_ptr(),
                shape.len(),
                sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING,
                &mut tensor.0
            )?];
            ortsys![unsafe FillStringTensor(tensor.0, pointers.as_ptr(), pointers.len())?];
            Ok(())
        })?;
        Ok(tensor)
    }
}

fn check_run(call: impl FnOnce() -> ort::Result<()>) -> Result<(), SessionError> {
    call().map_err(|e| SessionError::Run {
        reason: e.message().to_owned(),
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

/// Element types of tensors over our own memory.
pub trait Element {
    const TYPE: sys::ONNXTensorElementDataType;
}
impl Element for f32 {
    const TYPE: sys::ONNXTensorElementDataType =
        sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}
impl Element for i64 {
    const TYPE: sys::ONNXTensorElementDataType =
        sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
}

/// An owned `OrtValue`.
#[repr(transparent)]
pub struct Tensor(*mut sys::OrtValue);

impl Tensor {
    pub const fn none() -> Self {
        Self(ptr::null_mut())
    }

    /// The elements of a float tensor that a run returned.
    pub fn floats(&self) -> Result<&[f32], SessionError> {
        let (mut data, mut count) = (ptr::null_mut(), 0);
        check_run(|| {
            let mut info = ptr::null_mut();
            ortsys![unsafe GetTensorTypeAndShape(self.0, &mut info)?];
            let counted = (|| -> ort::Result<()> {
                ortsys![unsafe GetTensorShapeElementCount(info, &mut count)?];
                Ok(())
            })();
            ortsys![unsafe ReleaseTensorTypeAndShapeInfo(info)];
            counted?;
            ortsys![unsafe GetTensorMutableData(self.0, &mut data)?];
            Ok(())
        })?;
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: the tensor holds `count` floats; outputs are checked to be of that type when a model is loaded.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<f32>(), count) })
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if !self.0.is_null() {
            ortsys![unsafe ReleaseValue(self.0)];
        }
    }
}

struct MemoryInfo(*mut sys::OrtMemoryInfo);

impl MemoryInfo {
    fn cpu() -> Result<Self, SessionError> {
        let mut info = ptr::null_mut();
        check_run(|| {
            ortsys![unsafe CreateCpuMemoryInfo(
                sys::OrtAllocatorType::OrtArenaAllocator,
                sys::OrtMemType::OrtMemTypeDefault,
                &mut info
            )?];
            Ok(())
        })?;
        Ok(Self(info))
    }
}

impl Drop for MemoryInfo {
    fn drop(&mut self) {
        ortsys![unsafe ReleaseMemoryInfo(self.0)];
    }
}

impl Port {
    /// Whether it is `[batch]` or `[batch, 1]`, so that a buffer of one float per row can receive it.
    pub fn is_column(&self) -> bool {
        matches!(self.shape.as_slice(), [-1] | [-1, 1])
    }
}
