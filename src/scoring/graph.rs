//! A loaded ONNX graph with the map from a model's inputs to its tensors and from its outputs to ours.
//! One per checksum and schema, shared by all statements of a backend.

use super::memory;
use super::session::{Port, Session};
use super::tensor::Number;
use crate::error::{Reportable, Result};
use crate::guc;
use fnv::FnvHashMap;
use ltv_core::objective::Distribution;
use ltv_core::onnx::{self, CategoryPart, Limits, Specialised};
use ltv_core::schema::{ColumnKind, FeatureColumn, Schema, horizon_output};
use ort::value::TensorElementType;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("the ONNX graph does not match the schema of the version")]
    Mismatch { detail: String },
    #[error("the model has too many input values")]
    TooWide,
}

impl Reportable for GraphError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Mismatch { .. } => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            Self::TooWide => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        }
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Mismatch { detail } => detail.clone(),
            Self::TooWide => format!("A model may have {MOST_WIDTH} input values at most."),
        })
    }
}

/// Numbers that a row of a model may have, all inputs together, and channels of a step. A row of a table has 1600 columns
/// at most; what is wider is an array that somebody else computed.
pub const MOST_WIDTH: usize = 1_000_000;

/// What a file may cost that is to be scored with.
pub fn limits() -> Limits {
    Limits {
        memory: memory::bound(),
        control_flow: guc::ALLOW_CONTROL_FLOW.get(),
    }
}

/// How wide the inputs are together; an error if that is too wide, or if one of them is nothing.
fn check_widths(schema: &Schema) -> Result<(), GraphError> {
    let mut total = 0_usize;
    for input in &schema.inputs {
        let width = match input.kind {
            ColumnKind::Sequence { channels } => channels,
            kind => kind.width().unwrap_or(1),
        };
        if width == 0 {
            return Err(mismatch(format!("Input \"{}\" is empty.", input.name)));
        }
        total = total.saturating_add(width);
    }
    if total > MOST_WIDTH {
        return Err(GraphError::TooWide);
    }
    Ok(())
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

/// Category -> id.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// Categories are short, and nobody gains by colliding them.
    ids: FnvHashMap<Box<[u8]>, i64>,
    /// Id of what is not in it.
    unseen: i64,
    /// Id of NULL.
    pub missing: i64,
}

impl Vocabulary {
    fn new(category: &CategoryPart) -> Self {
        let ids = category.ids.iter();
        let mut vocabulary = Self {
            ids: ids
                .map(|(text, id)| (text.as_bytes().into(), *id))
                .collect(),
            unseen: category.unseen,
            missing: 0,
        };
        vocabulary.missing = vocabulary.id(b"");
        vocabulary
    }

    /// `text`: in UTF-8. What is not is read as training reads it.
    pub fn id(&self, text: &[u8]) -> i64 {
        let id = self.ids.get(text).copied();
        id.unwrap_or_else(|| match str::from_utf8(text) {
            Ok(_) => self.unseen,
            Err(_) => self.id(String::from_utf8_lossy(text).as_bytes()),
        })
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
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    pub ltv: Option<usize>,
    pub purchase_probability: Option<usize>,
    pub whale_probability: Option<usize>,
    /// The distribution and its parameters, in the order of `Distribution::parameters`.
    pub distribution: Option<(Distribution, [usize; 3])>,
    /// The value by the end of each of the schema's horizons; empty where there is one horizon only.
    pub horizons: Vec<usize>,
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
    /// Tensors are made anew for each inference: of strings, or of numbers in another type than ours.
    pub copied: bool,
    /// An input that a row need not have: the cut-off date, which has a default.
    pub optional: Option<usize>,
    /// Where the history of a customer lies in a row: tensor and float of frequency, recency and t. The schema says whether
    /// that tells a state.
    pub history: Option<[(usize, usize); 3]>,
    /// Outputs that are declared to be a column are one, as far as is known.
    pub fills_buffers: std::cell::Cell<bool>,
}

/// Name of the input that carries the cut-off date of a row.
const AS_OF: &str = "as_of";

impl Graph {
    pub fn load(onnx: &[u8], schema: Schema) -> Result<Self> {
        // Refuses what must not be loaded, whichever way it came into the catalog.
        check_widths(&schema)?;
        onnx::inspect(onnx, &limits())?;
        let mut special = onnx::specialise(onnx);
        let has_sequence = schema
            .inputs
            .iter()
            .any(|input| matches!(input.kind, ColumnKind::Sequence { .. }));
        let to_run = match &mut special {
            Some(special) => std::mem::take(&mut special.onnx),
            None if !schema.derived.is_empty() => onnx::adapt(onnx, &schema.derived, &[])?,
            None => memory::copy(onnx)?,
        };
        let mut session = Session::new(to_run, has_sequence)?;
        let (slots, tensors) = match &schema.packed {
            Some(packed) => packed_layout(&session.inputs, &schema, packed)?,
            None => layout(&session.inputs, &schema, special.as_ref())?,
        };
        let outputs = map_outputs(&mut session, &schema)?;
        let history = history_places(&schema, &slots)?;
        let width: Option<usize> = schema.inputs.iter().map(|i| i.kind.width()).sum();
        let contiguous = is_contiguous(&slots);
        let copied = tensors
            .iter()
            .zip(&session.inputs)
            .any(|(kind, port)| match kind {
                TensorKind::Text => true,
                TensorKind::Category => false,
                _ => port.number() != Number::Float32,
            });
        let optional = schema
            .inputs
            .iter()
            .position(|input| input.name == AS_OF && input.kind == ColumnKind::Timestamp);
        Ok(Self {
            session,
            bytes: onnx.len(),
            schema,
            slots,
            tensors,
            outputs,
            width,
            contiguous,
            copied,
            optional,
            history,
            fills_buffers: std::cell::Cell::new(true),
        })
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

fn history_places(
    schema: &Schema,
    slots: &[Slot],
) -> Result<Option<[(usize, usize); 3]>, GraphError> {
    let Some(state) = &schema.state else {
        return Ok(None);
    };
    let mut places = [(0, 0); 3];
    for (place, name) in places.iter_mut().zip(state.features().names()) {
        let inputs = schema.inputs.iter().zip(slots);
        let mut numbers = inputs.filter(|(input, _)| input.kind == ColumnKind::Numeric);
        *place = match numbers.find(|(input, _)| input.name == name) {
            Some((
                _,
                Slot {
                    tensor,
                    cell: Cell::Float { offset, .. },
                },
            )) => (*tensor, *offset),
            _ => {
                return Err(mismatch(format!(
                    "The state of customers is read from \"{name}\", which is no number among the inputs."
                )));
            }
        };
    }
    Ok(Some(places))
}

/// All inputs are columns of one tensor.
fn packed_layout(
    ports: &[Port],
    schema: &Schema,
    packed: &str,
) -> Result<(Vec<Slot>, Vec<TensorKind>), GraphError> {
    let [port] = ports else {
        return Err(mismatch(format!(
            "It has {} inputs instead of one.",
            ports.len()
        )));
    };
    expect_number(port, packed)?;
    let mut offset = 0;
    let mut slots = Vec::with_capacity(schema.inputs.len());
    for input in &schema.inputs {
        let Some(width) = float_width(input.kind) else {
            return Err(mismatch(format!(
                "Input \"{}\" is not a number.",
                input.name
            )));
        };
        slots.push(Slot {
            tensor: 0,
            cell: Cell::Float { offset, width },
        });
        offset = offset.saturating_add(width);
    }
    expect_axis(port, 1, offset)?;
    Ok((slots, vec![TensorKind::Float { width: offset }]))
}

/// One tensor per input, except for what was specialised.
fn layout(
    ports: &[Port],
    schema: &Schema,
    special: Option<&Specialised>,
) -> Result<(Vec<Slot>, Vec<TensorKind>), GraphError> {
    let mut tensors = vec![None; ports.len()];
    let mut slots = Vec::with_capacity(schema.inputs.len());
    for input in &schema.inputs {
        let (name, cell, kind) = place(input, special)?;
        let tensor = ports
            .iter()
            .position(|p| p.name == name)
            .ok_or_else(|| mismatch(format!("It has no input \"{name}\".")))?;
        let port = &ports[tensor];
        match kind {
            TensorKind::Float { width } => {
                expect_number(port, name)?;
                expect_axis(port, 1, width)?;
            }
            TensorKind::Sequence { channels } => {
                expect_number(port, name)?;
                expect_axis(port, 2, channels)?;
            }
            TensorKind::Text => expect(port, name, TensorElementType::String)?,
            TensorKind::Category => expect(port, name, TensorElementType::Int64)?,
        }
        tensors[tensor] = Some(kind);
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

/// Where one input goes: name of the graph's input, place in it, and what that looks like.
fn place<'a>(
    input: &'a FeatureColumn,
    special: Option<&'a Specialised>,
) -> Result<(&'a str, Cell, TensorKind), GraphError> {
    if let Some(special) = special {
        let total = special.numeric.iter().map(|part| part.width).sum();
        let numeric = special.numeric.iter().find(|part| part.input == input.name);
        if let Some(part) = numeric
            && float_width(input.kind) == Some(part.width)
        {
            let (offset, width) = (part.offset, part.width);
            let kind = TensorKind::Float { width: total };
            return Ok((onnx::NUMERIC, Cell::Float { offset, width }, kind));
        }
        let category = special
            .categories
            .iter()
            .find(|part| part.input == input.name);
        if let (Some(part), ColumnKind::Categorical) = (category, input.kind) {
            let cell = Cell::Category(Vocabulary::new(part));
            return Ok((&part.name, cell, TensorKind::Category));
        }
    }
    let name = input.name.as_str();
    Ok(match input.kind {
        ColumnKind::Categorical => (name, Cell::Text, TensorKind::Text),
        ColumnKind::Sequence { channels } => {
            (name, Cell::Sequence, TensorKind::Sequence { channels })
        }
        ColumnKind::Numeric | ColumnKind::Timestamp => (
            name,
            Cell::Float {
                offset: 0,
                width: 1,
            },
            TensorKind::Float { width: 1 },
        ),
        ColumnKind::Vector { len } => (
            name,
            Cell::Float {
                offset: 0,
                width: len,
            },
            TensorKind::Float { width: len },
        ),
    })
}

/// How many floats an input is; `None`: it is no tensor of floats with one row per customer.
fn float_width(kind: ColumnKind) -> Option<usize> {
    match kind {
        ColumnKind::Categorical | ColumnKind::Sequence { .. } => None,
        kind => kind.width(),
    }
}

fn expect(port: &Port, name: &str, element: TensorElementType) -> Result<(), GraphError> {
    if port.name != name || port.element != element {
        return Err(mismatch(format!(
            "Input \"{name}\" is of {}, not of {element}.",
            port.element
        )));
    }
    Ok(())
}

fn expect_number(port: &Port, name: &str) -> Result<(), GraphError> {
    match Number::of(port.element) {
        Some(_) if port.name == name => Ok(()),
        _ => expect(port, name, TensorElementType::Float32),
    }
}

fn expect_axis(port: &Port, axis: usize, width: usize) -> Result<(), GraphError> {
    match port.shape.get(axis) {
        None if axis == 1 && width == 1 && port.shape.len() == 1 => Ok(()),
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
    let ltv = find("ltv")?;
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
    let mut horizons = Vec::with_capacity(schema.horizons.len());
    if let Some(((_, shorter), ltv)) = schema.horizons.split_last().zip(ltv) {
        for days in shorter {
            let name = horizon_output(*days);
            let missing = || mismatch(format!("It has no output \"{name}\"."));
            horizons.push(find(&name)?.ok_or_else(missing)?);
        }
        horizons.push(ltv);
    }
    if ltv.is_none() && purchase_probability.is_none() {
        return Err(
            mismatch("It has neither an output \"ltv\" nor \"purchase_probability\".").into(),
        );
    }
    session.fetch(&fetch);
    Ok(Outputs {
        ltv,
        purchase_probability,
        whale_probability,
        distribution,
        horizons,
    })
}
