//! Rows: columns are matched to the model's inputs by name.

use super::InputError;
use crate::error::Result;
use crate::scoring::Model;
use crate::scoring::graph::{Cell, Slot};
use crate::scoring::rows::Rows;
use crate::text;
use crate::value::{ArrayReader, Scalar, attributes};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use pgrx::pg_sys;

/// For each input of the model the column it comes from and how that is read.
pub struct Columns {
    /// Numbers that go into the first tensor, as most do.
    numbers: Vec<Number>,
    /// The others.
    plans: Vec<Plan>,
    last_attribute: i16,
    text: String,
}

struct Number {
    /// Which column, counted from 0.
    at: usize,
    scalar: Scalar,
    /// Where in the tensor's row.
    offset: usize,
}

struct Plan {
    attribute: i16,
    input: usize,
    reader: Reader,
}

pub enum Reader {
    Number(Scalar),
    Category(Scalar),
    Vector(ArrayReader),
    Sequence(ArrayReader),
}

impl Columns {
    /// `columns`: name, type, attribute number.
    pub fn new<'a>(
        model: &Model,
        columns: impl Iterator<Item = (&'a str, pg_sys::Oid, i16)> + Clone,
    ) -> Result<Self> {
        let mut plans = Vec::with_capacity(model.graph.schema.inputs.len());
        let mut missing = Vec::new();
        for (index, input) in model.graph.schema.inputs.iter().enumerate() {
            match columns.clone().find(|(name, ..)| *name == input.name) {
                Some((_, type_oid, attribute)) => plans.push(Plan {
                    attribute,
                    input: index,
                    reader: Reader::new(model, input, type_oid)?,
                }),
                None if model.graph.optional == Some(index) => {}
                None => missing.push(input.name.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(InputError::MissingColumns {
                model: model.name.clone(),
                missing,
            }
            .into());
        }
        // Tuples are deformed from left to right.
        plans.sort_by_key(|plan| plan.attribute);
        let last_attribute = plans.last().map_or(0, |plan| plan.attribute);
        let mut numbers = Vec::new();
        plans.retain(|plan| {
            let slot = &model.graph.slots[plan.input];
            match (&plan.reader, &slot.cell) {
                (Reader::Number(scalar), Cell::Float { offset, .. }) if slot.tensor == 0 => {
                    numbers.push(Number {
                        at: plan.attribute as usize - 1,
                        scalar: *scalar,
                        offset: *offset,
                    });
                    false
                }
                _ => true,
            }
        });
        Ok(Self {
            numbers,
            plans,
            last_attribute,
            text: String::new(),
        })
    }

    /// # Safety
    /// `desc` is a valid tuple descriptor.
    pub unsafe fn of_descriptor(model: &Model, desc: pg_sys::TupleDesc) -> Result<Self> {
        // SAFETY: as the caller promises.
        let attributes = unsafe { attributes(desc) };
        let columns: Vec<_> = attributes
            .iter()
            .filter(|a| !a.attisdropped)
            .map(|a| (text::name(&a.attname), a.atttypid, a.attnum))
            .collect();
        Self::new(model, columns.iter().map(|(n, t, a)| (n.as_ref(), *t, *a)))
    }

    pub fn last_attribute(&self) -> i16 {
        self.last_attribute
    }

    /// # Safety
    /// `values` and `nulls` hold the columns that this was made for, up to the last attribute.
    pub unsafe fn write(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        values: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> Result<(), InputError> {
        if !self.numbers.is_empty() {
            let floats = rows.floats(0);
            for number in &self.numbers {
                if !nulls[number.at] {
                    // SAFETY: the value is of the type that the plan was made for.
                    floats[number.offset] = unsafe { number.scalar.number(values[number.at]) };
                }
            }
        }
        for plan in &self.plans {
            let at = plan.attribute as usize - 1;
            if nulls[at] {
                continue;
            }
            let slot = &model.graph.slots[plan.input];
            let datum = values[at];
            // SAFETY: the value is of the type that the plan was made for.
            unsafe {
                match &plan.reader {
                    Reader::Number(scalar) => set_number(rows, slot, 0, scalar.number(datum)),
                    Reader::Category(scalar) => {
                        set_category(rows, slot, scalar.category(datum, &mut self.text))?;
                    }
                    Reader::Vector(reader) => {
                        write_vector(model, rows, plan.input, reader, datum)?;
                    }
                    Reader::Sequence(reader) => {
                        write_sequence(model, rows, plan.input, reader, datum)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Reader {
    fn new(
        model: &Model,
        input: &FeatureColumn,
        type_oid: pg_sys::Oid,
    ) -> Result<Self, InputError> {
        let scalar = Scalar::of(type_oid);
        let (reader, expected) = match input.kind {
            ColumnKind::Numeric => (
                scalar.is_number().then_some(Self::Number(scalar)),
                "a number",
            ),
            ColumnKind::Timestamp => (
                scalar.is_time().then_some(Self::Number(scalar)),
                "a date or timestamp",
            ),
            ColumnKind::Categorical => (Some(Self::Category(scalar)), "text"),
            ColumnKind::Vector { .. } | ColumnKind::Sequence { .. } => {
                let reader = ArrayReader::of(type_oid).filter(|r| r.element.is_number());
                let reader = reader.map(|r| match input.kind {
                    ColumnKind::Vector { .. } => Self::Vector(r),
                    _ => Self::Sequence(r),
                });
                (reader, "an array of numbers")
            }
        };
        reader.ok_or_else(|| InputError::WrongType {
            model: model.name.clone(),
            column: input.name.clone(),
            found: text::type_name(type_oid),
            expected,
        })
    }
}

pub fn set_number(rows: &mut Rows, slot: &Slot, component: usize, value: f32) {
    if let Cell::Float { offset, .. } = slot.cell {
        rows.floats(slot.tensor)[offset + component] = value;
    }
}

pub fn set_category(rows: &mut Rows, slot: &Slot, text: &[u8]) -> Result<(), InputError> {
    match &slot.cell {
        Cell::Category(vocabulary) => rows.set_category(slot.tensor, vocabulary.id(text)),
        Cell::Text => rows.set_text(slot.tensor, text)?,
        Cell::Float { .. } | Cell::Sequence => {}
    }
    Ok(())
}

/// # Safety
/// `datum` is an array that `reader` was made for.
pub unsafe fn write_vector(
    model: &Model,
    rows: &mut Rows,
    input: usize,
    reader: &ArrayReader,
    datum: pg_sys::Datum,
) -> Result<(), InputError> {
    let slot = &model.graph.slots[input];
    let Cell::Float { offset, width } = slot.cell else {
        return Ok(());
    };
    // SAFETY: as the caller promises.
    unsafe {
        let view = reader.view(datum);
        if view.count == 0 {
            return Ok(());
        }
        if view.count != width {
            return Err(InputError::WrongVector {
                model: model.name.clone(),
                column: model.graph.schema.inputs[input].name.clone(),
                expected: width,
                got: view.count,
            });
        }
        let cells = &mut rows.floats(slot.tensor)[offset..offset + width];
        reader.numbers(&view, cells);
    }
    Ok(())
}

/// # Safety
/// `datum` is an array that `reader` was made for.
pub unsafe fn write_sequence(
    model: &Model,
    rows: &mut Rows,
    input: usize,
    reader: &ArrayReader,
    datum: pg_sys::Datum,
) -> Result<(), InputError> {
    let FeatureColumn { name, kind, .. } = &model.graph.schema.inputs[input];
    let channels = match kind {
        ColumnKind::Sequence { channels } => *channels,
        _ => 1,
    };
    // SAFETY: as the caller promises.
    unsafe {
        let view = reader.view(datum);
        let fits = match view.dimensions() {
            [] => true,
            [_] => channels == 1,
            [_, c] => *c == channels,
            _ => false,
        };
        if !fits {
            return Err(InputError::WrongSequence {
                model: model.name.clone(),
                column: name.clone(),
                channels,
                dimensions: view.dimensions().to_vec(),
            });
        }
        rows.set_sequence(model.graph.slots[input].tensor, view.count, |out| {
            reader.numbers(&view, out)
        })?;
    }
    Ok(())
}
