//! Arrays: elements are the model's inputs in the order of its schema.

use super::record::{set_category, set_number, write_sequence};
use super::{InputError, time};
use crate::scoring::Model;
use crate::scoring::rows::Rows;
use crate::value::{ArrayReader, Scalar, finite};
use ltv_core::schema::ColumnKind;
use pgrx::pg_sys;

pub struct Positional {
    reader: ArrayReader,
    shape: Shape,
    text: String,
}

enum Shape {
    /// Numbers that lie in the graph's first tensor as they do in the array.
    Contiguous(usize),
    /// Anything else: input and component of each element.
    Scattered(Vec<(usize, usize)>),
    /// The model's only input is a sequence, and the array is it.
    Sequence,
}

impl Positional {
    /// `None`: not an array. `type_oid`: not a domain.
    pub fn new(model: &Model, type_oid: pg_sys::Oid) -> Result<Option<Self>, InputError> {
        let Some(reader) = ArrayReader::of(type_oid) else {
            return Ok(None);
        };
        let inputs = &model.graph.schema.inputs;
        let shape = match (model.graph.width, inputs.as_slice()) {
            (None, [_]) if reader.element.is_number() => Shape::Sequence,
            (None, _) => {
                let sequence = inputs.iter().find(|i| i.kind.width().is_none());
                return Err(InputError::NotPositional {
                    model: model.name.clone(),
                    column: sequence.map(|i| i.name.clone()).unwrap_or_default(),
                });
            }
            (Some(width), _) if model.graph.contiguous && reader.element.is_number() => {
                Shape::Contiguous(width)
            }
            (Some(_), _) => Shape::Scattered(positions(model)),
        };
        Ok(Some(Self {
            reader,
            shape,
            text: String::new(),
        }))
    }

    /// Appends a whole row, if array and model are of the commonest kind; whether they were.
    ///
    /// # Safety
    /// `datum` is an array of the type that this was made for.
    #[inline]
    pub unsafe fn append(&self, rows: &mut Rows, datum: pg_sys::Datum) -> bool {
        let Shape::Contiguous(width) = self.shape else {
            return false;
        };
        // SAFETY: as the caller promises.
        rows.append_floats(width, |out| unsafe {
            self.reader.append_plain(datum, width, out)
        })
    }

    /// # Safety
    /// `datum` is an array of the type that this was made for.
    pub unsafe fn write(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        datum: pg_sys::Datum,
    ) -> Result<(), InputError> {
        let Self {
            reader,
            shape,
            text,
        } = self;
        // SAFETY: as the caller promises.
        unsafe {
            let expected = match shape {
                Shape::Sequence => return write_sequence(model, rows, 0, reader, datum),
                Shape::Contiguous(width) => *width,
                Shape::Scattered(positions) => positions.len(),
            };
            let view = reader.view(datum);
            check_length(model, expected, view.count)?;
            match shape {
                Shape::Contiguous(_) => {
                    reader.numbers(&view, &mut rows.floats(0)[..view.count]);
                    Ok(())
                }
                Shape::Scattered(positions) => reader.for_each(&view, |i, element| {
                    let (input, component) = positions[i];
                    let slot = &model.graph.slots[input];
                    let Some(element) = element else {
                        return Ok(());
                    };
                    if model.graph.schema.inputs[input].kind == ColumnKind::Categorical {
                        set_category(rows, slot, reader.element.category(element, text))?;
                    } else if reader.element.is_number() || reader.element.is_time() {
                        set_number(rows, slot, component, reader.element.number(element));
                    } else {
                        let text = reader.element.text(element, text);
                        set_number(rows, slot, component, number(model, input, text)?);
                    }
                    Ok(())
                }),
                Shape::Sequence => Ok(()),
            }
        }
    }
}

/// Input and component of each element of a positional array.
pub fn positions(model: &Model) -> Vec<(usize, usize)> {
    let inputs = model.graph.schema.inputs.iter().enumerate();
    inputs
        .flat_map(|(index, input)| (0..input.kind.width().unwrap_or(0)).map(move |c| (index, c)))
        .collect()
}

/// A cut-off date at the end may be left out.
pub fn check_length(model: &Model, expected: usize, got: usize) -> Result<(), InputError> {
    let last = model.graph.schema.inputs.len().checked_sub(1);
    let optional = last.is_some() && model.graph.optional == last;
    if got == expected || (optional && got + 1 == expected) {
        Ok(())
    } else {
        Err(wrong_length(model, expected, got))
    }
}

fn wrong_length(model: &Model, expected: usize, got: usize) -> InputError {
    const SHOWN: usize = 20;
    let inputs = &model.graph.schema.inputs;
    let mut names: Vec<String> = inputs
        .iter()
        .take(SHOWN)
        .map(|input| match input.kind {
            ColumnKind::Vector { len } => format!("{} ({len} elements)", input.name),
            _ => input.name.clone(),
        })
        .collect();
    if inputs.len() > SHOWN {
        names.push(format!("and {} more", inputs.len() - SHOWN));
    }
    InputError::WrongLength {
        model: model.name.clone(),
        expected,
        got,
        names: names.join(", "),
    }
}

const LONGEST_NUMBER: usize = 2000;

/// A number, date or timestamp written as text; empty: missing.
pub fn number(model: &Model, input: usize, text: &str) -> Result<f32, InputError> {
    let input = &model.graph.schema.inputs[input];
    // No number is longer; the message shows the beginning of what is none.
    let trimmed = text[..text.floor_char_boundary(LONGEST_NUMBER)].trim();
    if trimmed.is_empty() {
        return Ok(f32::NAN);
    }
    let (value, expected) = match input.kind {
        ColumnKind::Timestamp => (
            time::parse_days(trimmed).or_else(|| trimmed.parse().ok()),
            "a date or timestamp like 2024-02-29 or 2024-02-29T12:30:00Z",
        ),
        _ => (
            trimmed
                .parse()
                .ok()
                .or_else(|| amount(input.sql_type.as_deref()?, trimmed)),
            "a number",
        ),
    };
    value
        .map(|value| finite(value as f32))
        .ok_or_else(|| InputError::Unreadable {
            model: model.name.clone(),
            column: input.name.clone(),
            text: trimmed.chars().take(60).collect(),
            expected,
        })
}

/// Of the types that are numbers to a model and texts to JSON, as PostgreSQL reads them.
fn amount(sql_type: &str, text: &str) -> Option<f64> {
    let scalar = match sql_type {
        "money" => Scalar::Money,
        "interval" => Scalar::Interval,
        _ => return None,
    };
    scalar.parse(text)
}
