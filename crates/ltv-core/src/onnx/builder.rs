//! Writes ONNX graphs: opset 17, IR version 8, every tensor named, weights inside the file.

use super::assembly::{Assembly, Attribute, Value};
use super::proto::{
    Dimension, DimensionValue, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, data_type,
};
use crate::error::Error;
use prost::Message;

/// Version of the default operator set that is written.
pub const OPSET: i64 = 17;
/// Version of the operator set `ai.onnx.ml` that is written.
pub const ML_OPSET: i64 = 3;
/// Version of the file format that is written.
pub const IR_VERSION: i64 = 8;

/// The program that writes.
pub const PRODUCER: &str = "pg_ltv";

/// The type of the elements of an input, an output or a cast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ElementType {
    /// float32.
    #[default]
    Float,
    /// float64.
    Double,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Text in UTF-8.
    String,
}

impl ElementType {
    /// Its number in `TensorProto.DataType`.
    pub fn code(self) -> i32 {
        match self {
            Self::Float => data_type::FLOAT,
            Self::Double => data_type::DOUBLE,
            Self::Int32 => data_type::INT32,
            Self::Int64 => data_type::INT64,
            Self::String => data_type::STRING,
        }
    }
}

/// One axis of an input or output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Named, any length.
    Dynamic(&'static str),
    /// Of exactly this length.
    Fixed(usize),
}

/// The first axis of every input and output: one entry per customer.
pub const BATCH: Axis = Axis::Dynamic("batch");

/// A graph under construction: each method adds an operator and returns its result. The same operator on the same values
/// is there once, and what no output needs is left out of the file, but for what [`GraphBuilder::named_op`] names.
///
/// ```
/// use ltv_core::onnx::{Axis, BATCH, ElementType, GraphBuilder, Limits, inspect};
///
/// let mut graph = GraphBuilder::new();
/// let spent = graph.input("spent", ElementType::Float, &[BATCH, Axis::Fixed(1)]);
/// let share = graph.float(0.5);
/// let ltv = graph.mul(&spent, &share);
/// graph.output("ltv", &ltv, ElementType::Float, &[BATCH, Axis::Fixed(1)]);
/// let onnx = graph.finish(&[("author", "you".to_owned())]);
///
/// let file = inspect(&onnx, &Limits::default())?;
/// assert_eq!(file.inputs[0].describe(), "float [?, 1]");
/// assert_eq!(file.outputs[0].name, "ltv");
/// # Ok::<(), ltv_core::error::Error>(())
/// ```
#[derive(Default)]
pub struct GraphBuilder {
    parts: Assembly,
    uses_ml_domain: bool,
    /// The type of real constants.
    reals: ElementType,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares an input.
    pub fn input(&mut self, name: &str, element: ElementType, axes: &[Axis]) -> Value {
        let input = value_info(name, element, axes);
        self.parts.graph.input.push(input);
        Value(name.to_owned())
    }

    /// Declares `value` an output of the graph under the public name `name`.
    pub fn output(&mut self, name: &str, value: &Value, element: ElementType, axes: &[Axis]) {
        self.parts.output(value, name);
        let output = value_info(name, element, axes);
        self.parts.graph.output.push(output);
    }

    /// What `write` adds computes in double precision: real constants are doubles, and so must be the values it is given.
    pub fn in_double<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        self.computing_in(ElementType::Double, write)
    }

    /// The same in single precision, as everywhere else.
    pub fn in_single<T>(&mut self, write: impl FnOnce(&mut Self) -> T) -> T {
        self.computing_in(ElementType::Float, write)
    }

    fn computing_in<T>(&mut self, reals: ElementType, write: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.reals, reals);
        let written = write(self);
        self.reals = before;
        written
    }

    /// A constant of the given shape (empty shape: a scalar): of floats, unless [`GraphBuilder::in_double`] says otherwise.
    pub fn floats(&mut self, data: &[f32], shape: &[usize]) -> Value {
        if self.reals == ElementType::Double {
            let data: Vec<f64> = data.iter().map(|&value| value.into()).collect();
            return self.doubles(&data, shape);
        }
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.parts.constant(data_type::FLOAT, raw, shape)
    }

    /// An int64 constant of the given shape.
    pub fn ints(&mut self, data: &[i64], shape: &[usize]) -> Value {
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.parts.constant(data_type::INT64, raw, shape)
    }

    /// A boolean constant of the given shape.
    pub fn bools(&mut self, data: &[bool], shape: &[usize]) -> Value {
        let raw = data.iter().map(|&v| u8::from(v)).collect();
        self.parts.constant(data_type::BOOL, raw, shape)
    }

    /// A scalar, see [`GraphBuilder::floats`].
    pub fn float(&mut self, value: f32) -> Value {
        self.floats(&[value], &[])
    }

    /// A double constant of the given shape.
    pub fn doubles(&mut self, data: &[f64], shape: &[usize]) -> Value {
        let raw = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.parts.constant(data_type::DOUBLE, raw, shape)
    }

    /// A double scalar.
    pub fn double(&mut self, value: f64) -> Value {
        self.doubles(&[value], &[])
    }

    /// A constant from a candle tensor (any dtype that converts to f32), same shape.
    pub fn tensor(&mut self, tensor: &candle_core::Tensor) -> Result<Value, Error> {
        let data = tensor
            .to_dtype(candle_core::DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        Ok(self.floats(&data, tensor.dims()))
    }

    /// A node of the default operator set with one output.
    pub fn op(
        &mut self,
        op_type: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let outputs = self.parts.node(op_type, inputs, attributes, 1);
        outputs.into_iter().next().unwrap_or_else(Self::absent)
    }

    /// A node whose output has a name that others rely on. `domain` is empty or `ai.onnx.ml`.
    pub fn named_op(
        &mut self,
        op_type: &str,
        domain: &str,
        inputs: &[&Value],
        name: &str,
        attributes: &[(&str, Attribute)],
    ) -> Value {
        self.uses_ml_domain |= !domain.is_empty();
        self.parts
            .named_node(op_type, domain, inputs, name, attributes)
    }

    /// The placeholder of an optional input that is not given.
    pub fn absent() -> Value {
        Value(String::new())
    }

    /// `x` converted to another type.
    pub fn cast(&mut self, x: &Value, to: ElementType) -> Value {
        self.op(
            "Cast",
            &[x],
            &[("to", Attribute::Int(i64::from(to.code())))],
        )
    }
    /// `a + b`, broadcast.
    pub fn add(&mut self, a: &Value, b: &Value) -> Value {
        self.op("Add", &[a, b], &[])
    }
    /// `a - b`, broadcast.
    pub fn sub(&mut self, a: &Value, b: &Value) -> Value {
        self.op("Sub", &[a, b], &[])
    }
    /// `a * b`, broadcast.
    pub fn mul(&mut self, a: &Value, b: &Value) -> Value {
        self.op("Mul", &[a, b], &[])
    }
    /// `a / b`, broadcast.
    pub fn div(&mut self, a: &Value, b: &Value) -> Value {
        self.op("Div", &[a, b], &[])
    }
    /// The matrix product.
    pub fn matmul(&mut self, a: &Value, b: &Value) -> Value {
        self.op("MatMul", &[a, b], &[])
    }
    /// `x * w^T + b`, with `w` of shape `[out, in]` as candle's linear layers keep it.
    pub fn linear(&mut self, x: &Value, weight: &Value, bias: &Value) -> Value {
        self.op("Gemm", &[x, weight, bias], &[("transB", Attribute::Int(1))])
    }
    /// `a * b + c`: two matrices, and what is broadcast to their product.
    pub fn affine(&mut self, a: &Value, b: &Value, c: &Value) -> Value {
        self.op("Gemm", &[a, b, c], &[])
    }
    /// `exp(x)`.
    pub fn exp(&mut self, x: &Value) -> Value {
        self.op("Exp", &[x], &[])
    }
    /// `ln(x)`.
    pub fn log(&mut self, x: &Value) -> Value {
        self.op("Log", &[x], &[])
    }
    /// `1 / (1 + exp(-x))`, by the operator; [`export_probability`](crate::objective::terms::export_probability) is
    /// more exact near 0.
    pub fn sigmoid(&mut self, x: &Value) -> Value {
        self.op("Sigmoid", &[x], &[])
    }
    /// The hyperbolic tangent.
    pub fn tanh(&mut self, x: &Value) -> Value {
        self.op("Tanh", &[x], &[])
    }
    /// `max(x, 0)`.
    pub fn relu(&mut self, x: &Value) -> Value {
        self.op("Relu", &[x], &[])
    }
    /// `x` limited to `[low, high]`.
    pub fn clip(&mut self, x: &Value, low: f32, high: f32) -> Value {
        let low = self.float(low);
        let high = self.float(high);
        self.op("Clip", &[x, &low, &high], &[])
    }
    /// `max(x, floor)`.
    pub fn max(&mut self, x: &Value, floor: f32) -> Value {
        let floor = self.float(floor);
        self.op("Max", &[x, &floor], &[])
    }
    /// False for NaN as well.
    pub fn is_finite(&mut self, x: &Value) -> Value {
        let size = self.op("Abs", &[x], &[]);
        let largest = self.float(f32::MAX);
        self.op("LessOrEqual", &[&size, &largest], &[])
    }
    /// `yes` where the condition holds, `no` elsewhere.
    pub fn select(&mut self, condition: &Value, yes: &Value, no: &Value) -> Value {
        self.op("Where", &[condition, yes, no], &[])
    }
    /// The values side by side along `axis`.
    pub fn concat(&mut self, values: &[&Value], axis: i64) -> Value {
        if let [only] = values {
            return (*only).clone();
        }
        self.op("Concat", values, &[("axis", Attribute::Int(axis))])
    }
    /// Columns `[from, to)` of axis `axis`.
    pub fn slice(&mut self, x: &Value, axis: i64, from: i64, to: i64) -> Value {
        let starts = self.ints(&[from], &[1]);
        let ends = self.ints(&[to], &[1]);
        let axes = self.ints(&[axis], &[1]);
        self.op("Slice", &[x, &starts, &ends, &axes], &[])
    }
    /// Column `index` of a `[batch, n]` value, as `[batch]`.
    pub fn column(&mut self, x: &Value, index: i64) -> Value {
        let index = self.ints(&[index], &[]);
        self.op("Gather", &[x, &index], &[("axis", Attribute::Int(1))])
    }
    /// These columns of a `[batch, n]` value, as `[batch, columns]`.
    pub fn columns(&mut self, x: &Value, columns: &[i64]) -> Value {
        let columns = self.ints(columns, &[columns.len()]);
        self.op("Gather", &[x, &columns], &[("axis", Attribute::Int(1))])
    }
    /// `x` cut along `axis` into so many equal parts.
    pub fn split(&mut self, x: &Value, axis: i64, parts: usize) -> Vec<Value> {
        if parts == 1 {
            return vec![x.clone()];
        }
        let axis = [("axis", Attribute::Int(axis))];
        self.parts.node("Split", &[x], &axis, parts)
    }
    /// `x` cut along `axis` into parts of these lengths.
    pub fn split_into(&mut self, x: &Value, axis: i64, lengths: &[usize]) -> Vec<Value> {
        let sizes: Vec<i64> = lengths.iter().map(|&length| length as i64).collect();
        let sizes = self.ints(&sizes, &[sizes.len()]);
        let axis = [("axis", Attribute::Int(axis))];
        self.parts.node("Split", &[x, &sizes], &axis, lengths.len())
    }
    /// The same elements in another shape; -1 stands for what is left.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape, &[shape.len()]);
        self.op("Reshape", &[x, &shape], &[])
    }
    /// Axes in another order.
    pub fn transpose(&mut self, x: &Value, order: &[i64]) -> Value {
        self.op(
            "Transpose",
            &[x],
            &[("perm", Attribute::Ints(order.to_vec()))],
        )
    }
    /// Sum over one axis.
    pub fn sum(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        let axes = self.ints(&[axis], &[1]);
        self.op(
            "ReduceSum",
            &[x, &axes],
            &[("keepdims", Attribute::Int(i64::from(keep)))],
        )
    }
    /// Mean over one axis.
    pub fn mean(&mut self, x: &Value, axis: i64, keep: bool) -> Value {
        let attributes = [
            ("axes", Attribute::Ints(vec![axis])),
            ("keepdims", Attribute::Int(i64::from(keep))),
        ];
        self.op("ReduceMean", &[x], &attributes)
    }

    /// The file, with these entries in its metadata.
    pub fn finish(self, metadata: &[(&str, String)]) -> Vec<u8> {
        let mut opset_import = vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }];
        if self.uses_ml_domain {
            opset_import.push(OperatorSetIdProto {
                domain: "ai.onnx.ml".to_owned(),
                version: ML_OPSET,
            });
        }
        let metadata_props = metadata
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: (*key).to_owned(),
                value: value.clone(),
            })
            .collect();
        ModelProto {
            ir_version: IR_VERSION,
            opset_import,
            producer_name: PRODUCER.to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(GraphProto {
                name: "ltv".to_owned(),
                ..self.parts.finish()
            }),
            metadata_props,
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

fn value_info(name: &str, element: ElementType, axes: &[Axis]) -> ValueInfoProto {
    let dim = axes
        .iter()
        .map(|axis| Dimension {
            value: Some(match axis {
                Axis::Dynamic(name) => DimensionValue::Name((*name).to_owned()),
                Axis::Fixed(size) => DimensionValue::Size(*size as i64),
            }),
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: element.code(),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_written_once_and_what_nobody_reads_not_at_all() {
        let mut graph = GraphBuilder::new();
        let x = graph.input("x", ElementType::Float, &[BATCH]);
        let half = |graph: &mut GraphBuilder| {
            let half = graph.float(0.5);
            graph.mul(&x, &half)
        };
        let (one, other) = (half(&mut graph), half(&mut graph));
        assert_eq!(one, other);
        let third = graph.float(3.0);
        let unread = graph.add(&one, &third);
        let _ = graph.exp(&unread);
        let sum = graph.add(&one, &other);
        graph.output("y", &sum, ElementType::Float, &[BATCH]);
        let model = ModelProto::decode(graph.finish(&[]).as_slice()).expect("a file");
        let graph = model.graph.expect("a graph");
        let operators: Vec<&str> = graph.node.iter().map(|n| n.op_type.as_str()).collect();
        assert_eq!(operators, ["Mul", "Add"]);
        assert_eq!(graph.node[1].output, ["y"]);
        assert_eq!(graph.initializer.len(), 1);
    }
}
