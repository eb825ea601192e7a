//! Parts of graphs that are written again.

use super::proto::{
    AttributeProto, Dimension, DimensionValue, NodeProto, TensorProto, TensorShapeProto,
    TensorType, TypeProto, ValueInfoProto, data_type,
};

/// A node of the default operator set with one output.
pub fn node(
    operator: &str,
    input: Vec<String>,
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input,
        output: vec![output.to_owned()],
        op_type: operator.to_owned(),
        attribute,
        ..NodeProto::default()
    }
}

/// An attribute that is a whole number.
pub fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: value,
        r#type: 2,
        ..AttributeProto::default()
    }
}

/// A constant of floats.
pub fn floats(name: &str, dims: Vec<i64>, values: &[f32]) -> TensorProto {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    bytes(name, dims, data_type::FLOAT, raw)
}

/// A constant from its bytes as they lie in a file.
pub fn bytes(name: &str, dims: Vec<i64>, data_type: i32, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        dims,
        data_type,
        name: name.to_owned(),
        raw_data,
        ..TensorProto::default()
    }
}

/// An input `[batch, width]`.
pub fn matrix(name: &str, element: i32, width: usize) -> ValueInfoProto {
    let axis = |value| Dimension { value: Some(value) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: element,
                shape: Some(TensorShapeProto {
                    dim: vec![
                        axis(DimensionValue::Name("batch".to_owned())),
                        axis(DimensionValue::Size(width as i64)),
                    ],
                }),
            }),
        }),
    }
}
