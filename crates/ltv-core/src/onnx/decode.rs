//! Decoding a file that anybody may have made, in bounded memory.
//!
//! Two bytes can be a message that takes 200 in memory. So the file is walked through first, without taking memory, and
//! decoded only if what comes out of it fits.

use super::proto::{
    AttributeProto, Dimension, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use crate::error::{Error, ErrorKind, Result};
use prost::Message;

/// What the file may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that the decoded file may take.
    pub memory: usize,
    /// Whether operators are allowed whose work depends on the values they are given: loops, branches, sizes.
    pub control_flow: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            control_flow: false,
        }
    }
}

/// The decoded file; an error if it is none, or takes more memory than is allowed or there.
pub fn decode(onnx: &[u8], memory: usize) -> Result<ModelProto> {
    let mut scan = Scan {
        taken: 0,
        allowed: memory,
    };
    scan.message(onnx, Kind::Model, 0)?;
    room(scan.taken)?;
    ModelProto::decode(onnx).map_err(|_| unreadable())
}

/// An error if so many bytes cannot be had: what allocates them next has no way to say so.
pub fn room(bytes: usize) -> Result<()> {
    let mut probe: Vec<u8> = Vec::new();
    probe.try_reserve_exact(bytes).map_err(|_| {
        Error::new(ErrorKind::Resources, "out of memory")
            .detail(format!("Reading the ONNX graph takes {bytes} bytes."))
    })
}

/// The error for bytes that are no ONNX file.
pub fn not_onnx() -> Error {
    Error::model("not an ONNX model")
        .hint("Pass the content of an .onnx file as bytea, for example with pg_read_binary_file or a client's binary parameter.")
}

fn unreadable() -> Error {
    not_onnx().detail("The bytes cannot be read as an ONNX model.")
}

/// Messages inside messages; what the decoder allows.
const DEEPEST: usize = 100;

#[derive(Clone, Copy)]
enum Kind {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Sparse,
    Value,
    Type,
    TensorType,
    Shape,
    /// Without messages inside.
    Leaf(usize),
}

impl Kind {
    /// What field `tag` of a message holds, if it is a message.
    fn field(self, tag: u64) -> Option<Self> {
        let entry = Self::Leaf(size_of::<StringStringEntryProto>());
        Some(match (self, tag) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 8) => Self::Leaf(size_of::<OperatorSetIdProto>()),
            (Self::Model, 14) | (Self::Tensor, 13) => entry,
            (Self::Model, 25) => Self::Function,
            (Self::Function, 7) | (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 11 | 12) => Self::Value,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            (Self::Node, 5) => Self::Attribute,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Leaf(size_of::<Dimension>()),
            _ => return None,
        })
    }

    /// Bytes of the decoded message itself. Twice where a list may have grown to twice what is in it.
    fn size(self) -> usize {
        match self {
            Self::Model | Self::Graph | Self::Type | Self::TensorType | Self::Shape => 256,
            Self::Function => 2 * size_of::<FunctionProto>(),
            Self::Node => 2 * size_of::<NodeProto>(),
            Self::Attribute => 2 * size_of::<AttributeProto>(),
            Self::Tensor => 2 * size_of::<TensorProto>(),
            Self::Sparse => 2 * size_of::<SparseTensorProto>(),
            Self::Value => 2 * size_of::<ValueInfoProto>(),
            Self::Leaf(size) => 2 * size,
        }
    }

    /// Whether field `tag` is a list of integers, which take eight bytes each and may take one in the file.
    fn integers(self, tag: u64) -> bool {
        matches!((self, tag), (Self::Tensor, 1 | 7) | (Self::Attribute, 8))
    }
}

struct Scan {
    taken: usize,
    allowed: usize,
}

impl Scan {
    fn take(&mut self, bytes: usize) -> Result<()> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken <= self.allowed {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::TooLarge, "the ONNX graph is too large").detail(format!(
                "Reading it takes more than {} bytes.",
                self.allowed
            )),
        )
    }

    fn message(&mut self, mut bytes: &[u8], kind: Kind, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(
                Error::new(ErrorKind::TooLarge, "the ONNX graph is nested too deeply")
                    .detail(format!("At most {DEEPEST} messages may lie in each other.")),
            );
        }
        self.take(kind.size())?;
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            match (key & 7, key >> 3) {
                (0, _) => {
                    varint(&mut bytes)?;
                    self.take(16)?;
                }
                (1, _) => skip(&mut bytes, 8)?,
                (5, _) => {
                    skip(&mut bytes, 4)?;
                    self.take(8)?;
                }
                (2, tag) => {
                    let length = usize::try_from(varint(&mut bytes)?).map_err(|_| unreadable())?;
                    let (content, rest) = bytes.split_at_checked(length).ok_or_else(unreadable)?;
                    bytes = rest;
                    match kind.field(tag) {
                        Some(inner) => self.message(content, inner, depth + 1)?,
                        None if kind.integers(tag) => self.take(length.saturating_mul(16))?,
                        // Text, bytes, floats; a list of texts has a header for each.
                        None => self.take(length.saturating_mul(2).saturating_add(64))?,
                    }
                }
                _ => return Err(unreadable()),
            }
        }
        Ok(())
    }
}

/// A field of a message, as it lies in the file.
pub struct Field<'a> {
    /// The number of the field and its wire type.
    pub tag: u64,
    /// All of it.
    pub bytes: &'a [u8],
    /// What it holds, of fields that have a length.
    pub content: &'a [u8],
}

/// The fields of a message.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>> {
        let all = self.0;
        let key = varint(&mut self.0)?;
        let mut content: &[u8] = &[];
        match key & 7 {
            0 => {
                varint(&mut self.0)?;
            }
            1 => skip(&mut self.0, 8)?,
            5 => skip(&mut self.0, 4)?,
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| unreadable())?;
                (content, self.0) = self.0.split_at_checked(length).ok_or_else(unreadable)?;
            }
            _ => return Err(unreadable()),
        }
        Ok(Field {
            tag: key >> 3,
            bytes: &all[..all.len() - self.0.len()],
            content,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn skip(bytes: &mut &[u8], count: usize) -> Result<()> {
    *bytes = bytes.get(count..).ok_or_else(unreadable)?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or_else(unreadable)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(unreadable())
}
