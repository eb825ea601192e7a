//! Tensors: over memory of ours, or ONNX Runtime's own.

use super::session_error::SessionError;
use ort::value::TensorElementType;
use ort::{ortsys, sys};
use std::ffi::{CString, c_char, c_void};
use std::ptr;

pub fn check_run(call: impl FnOnce() -> ort::Result<()>) -> Result<(), SessionError> {
    call().map_err(|e| SessionError::of_run(e.message()))
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

/// What a number of ours is turned into for a graph that wants another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    Float32,
    Float64,
    Int64,
    Int32,
    Bool,
}

impl Number {
    /// `None`: not a number.
    pub fn of(element: TensorElementType) -> Option<Self> {
        Some(match element {
            TensorElementType::Float32 => Self::Float32,
            TensorElementType::Float64 => Self::Float64,
            TensorElementType::Int64 => Self::Int64,
            TensorElementType::Int32 => Self::Int32,
            TensorElementType::Bool => Self::Bool,
            _ => return None,
        })
    }

    /// Whether it can say that a value is missing.
    pub fn has_missing(self) -> bool {
        matches!(self, Self::Float32 | Self::Float64)
    }

    fn element(self) -> sys::ONNXTensorElementDataType {
        use sys::ONNXTensorElementDataType as Type;
        match self {
            Self::Float32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            Self::Float64 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
            Self::Int64 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
            Self::Int32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
            Self::Bool => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL,
        }
    }
}

/// An owned `OrtValue`.
#[repr(transparent)]
pub struct Tensor(*mut sys::OrtValue);

impl Tensor {
    pub const fn none() -> Self {
        Self(ptr::null_mut())
    }

    /// A tensor over memory of ours. It must stay where it is, and as large, until the tensor is dropped.
    ///
    /// # Safety
    /// `data` holds as many elements as `shape` says for as long as the tensor is used.
    pub unsafe fn borrow<T: Element>(
        memory: &MemoryInfo,
        data: &mut [T],
        shape: &[i64],
    ) -> Result<Self, SessionError> {
        let mut value = ptr::null_mut();
        check_run(|| {
            ortsys![unsafe CreateTensorWithDataAsOrtValue(
                memory.0,
                data.as_mut_ptr().cast::<c_void>(),
                std::mem::size_of_val(data),
                shape.as_ptr(),
                shape.len(),
                T::TYPE,
                &mut value
            )?];
            Ok(())
        })?;
        Ok(Self(value))
    }

    /// A tensor of ONNX Runtime's own with numbers of ours, in another type. Fractions of whole numbers are cut off.
    pub fn converted(
        allocator: *mut sys::OrtAllocator,
        data: &[f32],
        shape: &[i64],
        number: Number,
    ) -> Result<Self, SessionError> {
        let mut tensor = Self::none();
        let mut target = ptr::null_mut();
        check_run(|| {
            ortsys![unsafe CreateTensorAsOrtValue(
                allocator,
                shape.as_ptr(),
                shape.len(),
                number.element(),
                &mut tensor.0
            )?];
            ortsys![unsafe GetTensorMutableData(tensor.0, &mut target)?];
            Ok(())
        })?;
        // SAFETY: the shape has as many elements as `data`; the tensor is not shared yet, and aligned for its type.
        unsafe {
            match number {
                Number::Float32 => fill(target, data, |x| x),
                Number::Float64 => fill(target, data, f64::from),
                Number::Int64 => fill(target, data, |x| x as i64),
                Number::Int32 => fill(target, data, |x| x as i32),
                Number::Bool => fill(target, data, |x| u8::from(x != 0.0)),
            }
        }
        Ok(tensor)
    }

    /// A tensor of strings, copied.
    pub fn strings(
        allocator: *mut sys::OrtAllocator,
        data: &[CString],
        shape: &[i64],
    ) -> Result<Self, SessionError> {
        let pointers: Vec<*const c_char> = data.iter().map(|s| s.as_ptr()).collect();
        let mut tensor = Self::none();
        check_run(|| {
            ortsys![unsafe CreateTensorAsOrtValue(
                allocator,
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

    /// The elements of a float tensor that a run returned.
    pub fn floats(&self) -> Result<&[f32], SessionError> {
        let (mut data, mut count) = (ptr::null_mut(), 0);
        let mut element = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
        check_run(|| {
            let mut info = ptr::null_mut();
            ortsys![unsafe GetTensorTypeAndShape(self.0, &mut info)?];
            let described = (|| -> ort::Result<()> {
                ortsys![unsafe GetTensorShapeElementCount(info, &mut count)?];
                ortsys![unsafe GetTensorElementType(info, &mut element)?];
                Ok(())
            })();
            ortsys![unsafe ReleaseTensorTypeAndShapeInfo(info)];
            described?;
            ortsys![unsafe GetTensorMutableData(self.0, &mut data)?];
            Ok(())
        })?;
        if element != f32::TYPE {
            return Err(SessionError::of_run(
                "an output is not of the type that it is declared to be",
            ));
        }
        if count == 0 {
            return Ok(&[]);
        }
        // SAFETY: the tensor holds `count` floats.
        Ok(unsafe { std::slice::from_raw_parts(data.cast::<f32>(), count) })
    }
}

/// # Safety
/// `target` has room for as many elements as `data` has.
unsafe fn fill<T>(target: *mut c_void, data: &[f32], convert: impl Fn(f32) -> T) {
    for (i, value) in data.iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe { target.cast::<T>().add(i).write(convert(*value)) };
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        if !self.0.is_null() {
            ortsys![unsafe ReleaseValue(self.0)];
        }
    }
}

/// Where the memory of tensors lies: in the process.
pub struct MemoryInfo(*mut sys::OrtMemoryInfo);

impl MemoryInfo {
    pub fn pointer(&self) -> *const sys::OrtMemoryInfo {
        self.0
    }

    pub fn cpu() -> Result<Self, SessionError> {
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
