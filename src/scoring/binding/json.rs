//! jsonb: objects by key, arrays by position.

use super::InputError;
use super::positional::{check_length, number, positions};
use super::record::{set_category, set_number};
use crate::scoring::rows::Rows;
use crate::scoring::{Model, memory};
use crate::text::{self, TextError};
use crate::value::{Scalar, finite, numeric, scratch, varlena};
use ltv_core::schema::ColumnKind;
use pgrx::pg_sys;

pub struct Json {
    keys: Vec<Key>,
    text: String,
}

/// Where an input is in objects.
struct Key {
    /// Its name in the encoding of the database.
    name: Vec<u8>,
    /// It was trained on a type whose trailing blanks do not count.
    is_padded: bool,
}

/// Flags of a container's header (utils/jsonb.h).
const COUNT: u32 = 0x0fff_ffff;
const SCALAR: u32 = 0x1000_0000;
const OBJECT: u32 = 0x2000_0000;

/// A JSON value, as far as it is needed here.
#[derive(Clone, Copy)]
enum Value<'a> {
    Null,
    Bool(bool),
    /// Content of a `numeric`, and the whole of it.
    Number(&'a [u8], pg_sys::Datum),
    /// In the encoding of the database.
    Text(&'a [u8]),
    /// Array or object.
    Container(*mut pg_sys::JsonbContainer),
}

impl Json {
    pub fn new(model: &Model) -> Result<Self, TextError> {
        let inputs = model.graph.schema.inputs.iter();
        let keys = inputs.map(|input| {
            Ok(Key {
                name: text::to_server(&input.name)?.into_owned(),
                is_padded: input.sql_type.as_deref() == Some("character"),
            })
        });
        Ok(Self {
            keys: keys.collect::<Result<_, _>>()?,
            text: String::new(),
        })
    }

    /// # Safety
    /// `datum` is a jsonb, not NULL.
    pub unsafe fn write(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        datum: pg_sys::Datum,
    ) -> Result<(), InputError> {
        // SAFETY: as the caller promises; the container follows the varlena header, aligned.
        unsafe {
            let container = varlena::content(datum, true)
                .as_ptr()
                .cast_mut()
                .cast::<pg_sys::JsonbContainer>();
            let header = (*container).header;
            if header & SCALAR != 0 {
                return match element(container, 0) {
                    Some(Value::Null) => Ok(()),
                    _ => Err(InputError::UnsupportedJson {
                        found: "string, number or boolean",
                    }),
                };
            }
            if header & OBJECT != 0 {
                self.write_object(model, rows, container)
            } else {
                self.write_array(model, rows, container)
            }
        }
    }

    unsafe fn write_object(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        container: *mut pg_sys::JsonbContainer,
    ) -> Result<(), InputError> {
        let mut missing = Vec::new();
        for (index, input) in model.graph.schema.inputs.iter().enumerate() {
            let key = &self.keys[index].name;
            let mut result = pg_sys::JsonbValue::default();
            // SAFETY: an object; the key is copied by nobody.
            let found = unsafe {
                pg_sys::getKeyJsonValueFromContainer(
                    container,
                    key.as_ptr().cast(),
                    key.len() as i32,
                    &mut result,
                )
            };
            if found.is_null() {
                if model.graph.optional != Some(index) {
                    missing.push(input.name.clone());
                }
            } else {
                // SAFETY: a value of this object.
                unsafe { self.write_input(model, rows, index, value(found)) }?;
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(InputError::MissingColumns {
                model: model.name.clone(),
                missing,
            })
        }
    }

    unsafe fn write_array(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        container: *mut pg_sys::JsonbContainer,
    ) -> Result<(), InputError> {
        // SAFETY: an array, whose elements are asked for within its length.
        unsafe {
            let count = ((*container).header & COUNT) as usize;
            let Some(expected) = model.graph.width else {
                if model.graph.schema.inputs.len() == 1 {
                    return self.write_input(model, rows, 0, Value::Container(container));
                }
                return Err(InputError::UnsupportedJson { found: "array" });
            };
            check_length(model, expected, count)?;
            for (i, (input, component)) in positions(model).into_iter().take(count).enumerate() {
                if let Some(value) = element(container, i) {
                    self.write_component(model, rows, input, component, value)?;
                }
            }
        }
        Ok(())
    }

    /// # Safety
    /// `value` is alive.
    unsafe fn write_input(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        input: usize,
        value: Value,
    ) -> Result<(), InputError> {
        if model.graph.schema.inputs[input].kind.is_single() {
            // SAFETY: as the caller promises.
            return unsafe { self.write_component(model, rows, input, 0, value) };
        }
        let Value::Container(container) = value else {
            return match value {
                Value::Null => Ok(()),
                _ => Err(self.unreadable(model, input, "an array of numbers")),
            };
        };
        let mut numbers = Vec::new();
        let mut dimensions = Vec::new();
        // SAFETY: as the caller promises.
        if !unsafe { flatten(container, 0, &mut dimensions, &mut numbers) }? {
            return Err(self.unreadable(model, input, "an array of numbers"));
        }
        let schema = &model.graph.schema.inputs[input];
        let slot = &model.graph.slots[input];
        match schema.kind {
            ColumnKind::Sequence { channels } => {
                let fits = match dimensions.as_slice() {
                    [0, ..] => true,
                    [_] => channels == 1,
                    [_, c] => *c == channels,
                    _ => false,
                };
                if !fits {
                    return Err(InputError::WrongSequence {
                        model: model.name.clone(),
                        column: schema.name.clone(),
                        channels,
                        dimensions,
                    });
                }
                rows.set_sequence(slot.tensor, numbers.len(), |out| {
                    out.copy_from_slice(&numbers);
                })?;
            }
            ColumnKind::Vector { .. } if numbers.is_empty() => {}
            ColumnKind::Vector { len } if numbers.len() == len => {
                for (component, number) in numbers.into_iter().enumerate() {
                    set_number(rows, slot, component, number);
                }
            }
            _ => {
                return Err(InputError::WrongVector {
                    model: model.name.clone(),
                    column: schema.name.clone(),
                    expected: schema.kind.width().unwrap_or(0),
                    got: numbers.len(),
                });
            }
        }
        Ok(())
    }

    /// # Safety
    /// `value` is alive.
    unsafe fn write_component(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        input: usize,
        component: usize,
        value: Value,
    ) -> Result<(), InputError> {
        let slot = &model.graph.slots[input];
        let categorical = model.graph.schema.inputs[input].kind == ColumnKind::Categorical;
        match value {
            Value::Null => {}
            Value::Text(bytes) => match text::utf8(bytes, &mut self.text) {
                text if categorical && self.keys[input].is_padded => {
                    set_category(rows, slot, text.trim_end_matches(' ').as_bytes())?;
                }
                text if categorical => set_category(rows, slot, text.as_bytes())?,
                text => set_number(rows, slot, component, number(model, input, text)?),
            },
            Value::Bool(b) if categorical => {
                set_category(rows, slot, if b { b"true" } else { b"false" })?;
            }
            Value::Bool(b) => set_number(rows, slot, component, f32::from(u8::from(b))),
            // SAFETY: a numeric inside the jsonb.
            Value::Number(_, datum) if categorical => unsafe {
                set_category(rows, slot, Scalar::Numeric.category(datum, &mut self.text))?;
            },
            Value::Number(content, _) => {
                let number = finite(numeric::to_f64(content) as f32);
                set_number(rows, slot, component, number);
            }
            Value::Container(_) => {
                let expected = if categorical { "a string" } else { "a number" };
                return Err(self.unreadable(model, input, expected));
            }
        }
        Ok(())
    }

    fn unreadable(&self, model: &Model, input: usize, expected: &'static str) -> InputError {
        InputError::Unreadable {
            model: model.name.clone(),
            column: model.graph.schema.inputs[input].name.clone(),
            text: "[...]".to_owned(),
            expected,
        }
    }
}

/// # Safety
/// `value` points to a value inside a jsonb that outlives the use of the result.
unsafe fn value<'a>(value: *mut pg_sys::JsonbValue) -> Value<'a> {
    use pg_sys::jbvType;
    // SAFETY: the type says which member is set.
    unsafe {
        match (*value).type_ {
            jbvType::jbvNull => Value::Null,
            jbvType::jbvBool => Value::Bool((*value).val.boolean),
            jbvType::jbvNumeric => {
                let datum = pg_sys::Datum::from((*value).val.numeric);
                Value::Number(varlena::content(datum, false), datum)
            }
            jbvType::jbvString => {
                let string = (*value).val.string;
                Value::Text(std::slice::from_raw_parts(
                    string.val.cast::<u8>(),
                    string.len.max(0) as usize,
                ))
            }
            jbvType::jbvBinary => Value::Container((*value).val.binary.data),
            _ => Value::Null,
        }
    }
}

/// # Safety
/// `container` is an array that outlives the use of the result.
unsafe fn element<'a>(container: *mut pg_sys::JsonbContainer, index: usize) -> Option<Value<'a>> {
    // SAFETY: as the caller promises; NULL where there is no such element.
    unsafe {
        let found =
            scratch::within(|| pg_sys::getIthJsonbValueFromContainer(container, index as u32));
        (!found.is_null()).then(|| value(found))
    }
}

/// Numbers of an array of numbers, or of equally long arrays of numbers, with the lengths of both levels.
/// `false`: it is something else.
///
/// # Safety
/// `container` is alive.
unsafe fn flatten(
    container: *mut pg_sys::JsonbContainer,
    depth: usize,
    dimensions: &mut Vec<usize>,
    numbers: &mut Vec<f32>,
) -> Result<bool, InputError> {
    // SAFETY: as the caller promises.
    unsafe {
        let header = (*container).header;
        let count = (header & COUNT) as usize;
        if header & OBJECT != 0 || depth > 1 {
            return Ok(false);
        }
        match dimensions.get(depth) {
            None => dimensions.push(count),
            Some(&length) if length == count => {}
            Some(_) => return Ok(false),
        }
        memory::reserve(numbers, count)?;
        for i in 0..count {
            match element(container, i) {
                Some(Value::Number(..) | Value::Null | Value::Text(_))
                    if dimensions.len() > depth + 1 =>
                {
                    return Ok(false);
                }
                Some(Value::Number(content, _)) => {
                    numbers.push(finite(numeric::to_f64(content) as f32));
                }
                Some(Value::Null) => numbers.push(f32::NAN),
                // NaN and the infinities are no numbers of JSON.
                Some(Value::Text(text)) => match str::from_utf8(text).map(str::parse::<f64>) {
                    Ok(Ok(number)) => numbers.push(finite(number as f32)),
                    _ => return Ok(false),
                },
                Some(Value::Container(inner)) => {
                    if !flatten(inner, depth + 1, dimensions, numbers)? {
                        return Ok(false);
                    }
                }
                _ => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// The value of a key of an object as text, as `->>` gives it; `None` where it is no object, lacks the key, or has
/// null, an array or an object there.
///
/// # Safety
/// `datum` is a jsonb, not NULL; `key` is in the encoding of the database. The result lives in it, in `buffer` or in the scratch context.
pub unsafe fn text_of_key<'a>(
    datum: pg_sys::Datum,
    key: &[u8],
    buffer: &'a mut String,
) -> Option<&'a str> {
    let mut result = pg_sys::JsonbValue::default();
    // SAFETY: as the caller promises; the key is copied by nobody.
    unsafe {
        let container = varlena::content(datum, true)
            .as_ptr()
            .cast_mut()
            .cast::<pg_sys::JsonbContainer>();
        if (*container).header & OBJECT == 0 {
            return None;
        }
        let found = pg_sys::getKeyJsonValueFromContainer(
            container,
            key.as_ptr().cast(),
            key.len() as i32,
            &mut result,
        );
        if found.is_null() {
            return None;
        }
        match value(found) {
            Value::Text(found) => Some(text::utf8(found, buffer)),
            Value::Number(_, datum) => Some(Scalar::Numeric.text(datum, buffer)),
            Value::Bool(b) => Some(if b { "true" } else { "false" }),
            Value::Null | Value::Container(_) => None,
        }
    }
}
