//! The functions that a file brings along, and the error that both kinds of checks end with.

use super::proto::{FunctionProto, NodeProto};
use crate::error::{Error, ErrorKind};
use std::collections::HashMap;

/// Functions of the file by domain, name and overload.
pub type Functions<'a> = HashMap<(&'a str, &'a str, &'a str), &'a FunctionProto>;

/// The function that an operator calls.
pub fn called<'a>(functions: &Functions<'a>, node: &NodeProto) -> Option<&'a FunctionProto> {
    functions
        .get(&(
            node.domain.as_str(),
            node.op_type.as_str(),
            node.overload.as_str(),
        ))
        .copied()
}

/// The graph's work depends on what its inputs hold.
pub fn depends(detail: String) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "the work of the ONNX graph depends on the values of its inputs",
    )
    .detail(detail)
    .hint("Export the model without loops, branches and computed sizes, or let a superuser set ltv.allow_control_flow.")
}
