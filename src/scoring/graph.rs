//! A loaded ONNX graph with the map from a model's inputs to its tensors and from its outputs to ours.
//! One per checksum and schema, shared by all statements of a backend.

use super::schema::{Kind, Schema};
use super::session::{Port, Session};
use crate::error::{Reportable, Result};
use ltv_core::objective::Distribution;
use ort::value::TensorElementType;
use pgrx::prelude::PgSqlErrorCode;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("the ONNX graph does not match the schema of the version")]
    Mismatch { detail: String },
}

impl Reportable for GraphError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION
    }
    fn detail(&self) -> Option<String> {
        let Self::Mismatch { detail } = self;
        Some(detail.clone())
    }
}

fn mismatch(detail: impl Into<String>) -> GraphError {
    GraphError::Mismatch {
        detail: detail.into(),
    }
}

/// Where one input of the model goes.
#[derive(Debug)]
pub struct Slot {
    /// Which input tensor of the graph.
    pub tensor: usize,
    pub cell: Cell,
}

#[derive(Debug)]
pub enum Cell {
    /// `width` floats of a row, from `offset`.
    Float {
        offset: usize,
        width: usize,
    },
    /// The id of a category.
    Category(Vocabulary),
    Text,
    Sequence,
}

/// Category -> id. What is not in it, NULL included, has id `unseen`.
#[derive(Debug, Default)]
pub struct Vocabulary {
    pub ids: HashMap<Box<[u8]>, i64, BuildHasherDefault<Fnv>>,
    pub unseen: i64,
}

impl Vocabulary {
    pub fn id(&self, text: &[u8]) -> i64 {
        self.ids.get(text).copied().unwrap_or(self.unseen)
    }
}

/// FNV-1a: categories are short, and nobody gains by colliding them.
#[derive(Debug)]
pub struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What an input tensor of the graph looks like, in the graph's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorKind {
    /// `[batch, width]`
    Float { width: usize },
    /// `[batch, 1]` of ids
    Category,
    /// `[batch, 1]` of strings
    Text,
    /// `[batch, steps, channels]`
    Sequence { channels: usize },
}

/// Positions, among the fetched outputs, of what the SQL functions return.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outputs {
    pub ltv: usize,
    pub purchase_probability: Option<usize>,
    pub whale_probability: Option<usize>,
    /// The distribution and its parameters, in the order of `Distribution::parameters`.
    pub distribution: Option<(Distribution, [usize; 3])>,
}

pub struct Graph {
    pub session: Session,
    /// Size of the stored file.
    pub bytes: usize,
    pub schema: Schema,
    pub slots: Vec<Slot>,
    pub tensors: Vec<TensorKind>,
    pub outputs: Outputs,
    /// How many elements a positional array has; `None`: the schema has a sequence.
    pub width: Option<usize>,
    /// Element i of a positional array is float i of a row of tensor 0.
    pub contiguous: bool,
}

impl Graph {
    pub fn load(onnx: &[u8], schema: Schema) -> Result<Self> {
        let mut session = Session::new(onnx)?;
        let (slots, tensors) = plain_layout(&session.inputs, &schema)?;
        let outputs = map_outputs(&mut session, &schema)?;
        let width = schema.inputs.iter().map(|i| i.kind.width()).sum();
        let contiguous = is_contiguous(&slots);
        Ok(Self {
            session,
            bytes: onnx.len(),
            schema,
            slots,
            tensors,
            outputs,
            width,
            contiguous,
        })
    }

    /// Index of an input by name.
    pub fn input(&self, name: &str) -> Option<usize> {
        self.schema.inputs.iter().position(|i| i.name == name)
    }
}

fn is_contiguous(slots: &[Slot]) -> bool {
    let mut next = 0;
    slots.iter().all(|slot| match slot.cell {
        Cell::Float { offset, width } if slot.tensor == 0 && offset == next => {
            next += width;
            true
        }
        _ => false,
    })
}

/// The layout of a stored graph: one input per feature, or all of them packed into one.
fn plain_layout(ports: &[Port], schema: &Schema) -> Result<(Vec<Slot>, Vec<TensorKind>)> {
    if let Some(packed) = &schema.packed {
        let [port] = ports else {
            return Err(mismatch(format!("It has {} inputs instead of one.", ports.len())).into());
        };
        expect_float(port, packed)?;
        let mut offset = 0;
        let mut slots = Vec::with_capacity(schema.inputs.len());
        for input in &schema.inputs {
            let width = match input.kind {
                Kind::Numeric | Kind::Timestamp => 1,
                Kind::Vector { len } => len,
                Kind::Categorical | Kind::Sequence { .. } => {
                    return Err(
                        mismatch(format!("Input \"{}\" is not a number.", input.name)).into(),
                    );
                }
            };
            slots.push(Slot {
                tensor: 0,
                cell: Cell::Float { offset, width },
            });
            offset += width;
        }
        expect_axis(port, 1, offset)?;
        return Ok((slots, vec![TensorKind::Float { width: offset }]));
    }

    let mut tensors = vec![None; ports.len()];
    let mut slots = Vec::with_capacity(schema.inputs.len());
    for input in &schema.inputs {
        let tensor = ports
            .iter()
            .position(|p| p.name == input.name)
            .ok_or_else(|| mismatch(format!("It has no input \"{}\".", input.name)))?;
        let port = &ports[tensor];
        let (cell, kind) = match input.kind {
            Kind::Numeric | Kind::Timestamp => (
                Cell::Float {
                    offset: 0,
                    width: 1,
                },
                TensorKind::Float { width: 1 },
            ),
            Kind::Vector { len } => (
                Cell::Float {
                    offset: 0,
                    width: len,
                },
                TensorKind::Float { width: len },
            ),
            Kind::Categorical => (Cell::Text, TensorKind::Text),
            Kind::Sequence { channels } => (Cell::Sequence, TensorKind::Sequence { channels }),
        };
        match kind {
            TensorKind::Float { width } => {
                expect_float(port, &input.name)?;
                expect_axis(port, 1, width)?;
            }
            TensorKind::Sequence { channels } => {
                expect_float(port, &input.name)?;
                expect_axis(port, 2, channels)?;
            }
            TensorKind::Text if port.element != TensorElementType::String => {
                return Err(
                    mismatch(format!("Input \"{}\" is not of strings.", input.name)).into(),
                );
            }
            TensorKind::Text | TensorKind::Category => {}
        }
        if tensors[tensor].replace(kind).is_some() {
            return Err(mismatch(format!("Input \"{}\" is there twice.", input.name)).into());
        }
        slots.push(Slot { tensor, cell });
    }
    let tensors = tensors
        .into_iter()
        .zip(ports)
        .map(|(kind, port)| {
            kind.ok_or_else(|| {
                mismatch(format!("Its input \"{}\" is not in the schema.", port.name))
            })
        })
        .collect::<Result<_, _>>()?;
    Ok((slots, tensors))
}

fn expect_float(port: &Port, name: &str) -> Result<(), GraphError> {
    if port.name != name || port.element != TensorElementType::Float32 {
        return Err(mismatch(format!(
            "Input \"{name}\" is not a tensor of float32."
        )));
    }
    Ok(())
}

fn expect_axis(port: &Port, axis: usize, width: usize) -> Result<(), GraphError> {
    match port.shape.get(axis) {
        Some(&size) if size < 0 || size as usize == width => Ok(()),
        _ => Err(mismatch(format!(
            "Input \"{}\" has shape {:?}; {width} was expected on axis {axis}.",
            port.name, port.shape
        ))),
    }
}

/// Chooses the outputs to fetch.
fn map_outputs(session: &mut Session, schema: &Schema) -> Result<Outputs> {
    let mut fetch = Vec::new();
    let mut find = |public: &str| -> Result<Option<usize>, GraphError> {
        let name = schema
            .graph_outputs
            .get(public)
            .map_or(public, String::as_str);
        let Some(port) = session.outputs.iter().position(|o| o.name == name) else {
            return Ok(None);
        };
        if session.outputs[port].element != TensorElementType::Float32 {
            return Err(mismatch(format!(
                "Output \"{name}\" is not a tensor of float32."
            )));
        }
        fetch.push(port);
        Ok(Some(fetch.len() - 1))
    };
    let ltv = find("ltv")?.ok_or_else(|| mismatch("It has no output \"ltv\"."))?;
    let purchase_probability = find("purchase_probability")?;
    let whale_probability = find("whale_probability")?;
    let distribution = match (schema.distribution, purchase_probability) {
        (Some(distribution), Some(p)) => {
            let [_, first, second] = distribution.parameters();
            match (find(first)?, find(second)?) {
                (Some(first), Some(second)) => Some((distribution, [p, first, second])),
                _ => None,
            }
        }
        _ => None,
    };
    session.fetch(&fetch);
    Ok(Outputs {
        ltv,
        purchase_probability,
        whale_probability,
        distribution,
    })
}
