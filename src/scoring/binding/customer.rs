//! Who a row is about: the value of its id column, as text.

use super::composite::{RowType, tuple};
use super::json;
use crate::text;
use crate::value::{Descriptor, Scalar, attributes};
use pgrx::pg_sys;

/// Where the id of a customer is found in a call's input.
pub enum Customer {
    /// Nowhere: arrays have no names.
    Unknown,
    Column(i16, Scalar),
    /// In composite values, whose columns become known with the first one.
    Composite(String, Option<Box<Known>>),
    /// Under a key of jsonb objects, which is in the encoding of the database.
    Key(Vec<u8>),
}

/// The row type seen last.
pub struct Known {
    row_type: RowType,
    desc: Descriptor,
    /// Position of the id, if it has one.
    column: Option<(usize, Scalar)>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Customer {
    pub fn of_type(type_oid: pg_sys::Oid, id: &str) -> Self {
        // SAFETY: an OID of an existing type.
        unsafe {
            let base = pg_sys::getBaseType(type_oid);
            if base == pg_sys::JSONBOID {
                text::to_server(id).map_or(Self::Unknown, |key| Self::Key(key.into_owned()))
            } else if base == pg_sys::RECORDOID
                || pg_sys::get_typtype(base) as u8 == pg_sys::TYPTYPE_COMPOSITE
            {
                Self::Composite(id.to_owned(), None)
            } else {
                Self::Unknown
            }
        }
    }

    /// `columns`: name, type, attribute number.
    pub fn of_columns(columns: &[(&str, pg_sys::Oid, i16)], id: &str) -> Self {
        columns
            .iter()
            .find(|(name, ..)| *name == id)
            .map_or(Self::Unknown, |(_, type_oid, attribute)| {
                Self::Column(*attribute, Scalar::of(*type_oid))
            })
    }

    pub fn last_attribute(&self) -> i16 {
        match self {
            Self::Column(attribute, _) => *attribute,
            _ => 0,
        }
    }

    /// The id in loose columns; `None` where it is NULL or there is none.
    ///
    /// # Safety
    /// `values` and `nulls` hold the columns that this was made for, up to the last attribute. The result lives in
    /// them, in `text` or in the scratch context.
    pub unsafe fn id_of_columns<'a>(
        &self,
        values: &[pg_sys::Datum],
        nulls: &[bool],
        text: &'a mut String,
    ) -> Option<&'a str> {
        let Self::Column(attribute, scalar) = self else {
            return None;
        };
        let at = *attribute as usize - 1;
        // SAFETY: as the caller promises.
        (!nulls[at]).then(|| unsafe { scalar.text(values[at], text) })
    }

    /// The id in a value; `None` where it is NULL or there is none.
    ///
    /// # Safety
    /// `datum` is a value, not NULL, of the type that this was made for. The result lives in it, in `text` or in the
    /// scratch context.
    pub unsafe fn id_of_datum<'a>(
        &mut self,
        datum: pg_sys::Datum,
        text: &'a mut String,
    ) -> Option<&'a str> {
        // SAFETY: as the caller promises.
        unsafe {
            match self {
                Self::Unknown | Self::Column(..) => None,
                Self::Key(key) => json::text_of_key(datum, key, text),
                Self::Composite(name, known) => {
                    let (mut tuple, row_type) = tuple(datum);
                    if !known.as_ref().is_some_and(|k| k.row_type == row_type) {
                        *known = Some(Box::new(Known::new(row_type, name)));
                    }
                    let known = known.as_mut()?;
                    let (column, scalar) = known.column?;
                    pg_sys::heap_deform_tuple(
                        &mut tuple,
                        known.desc.pointer(),
                        known.values.as_mut_ptr(),
                        known.nulls.as_mut_ptr(),
                    );
                    (!known.nulls[column]).then(|| scalar.text(known.values[column], text))
                }
            }
        }
    }
}

impl Known {
    fn new(row_type: RowType, name: &str) -> Self {
        let desc = row_type.descriptor();
        // SAFETY: a descriptor just made.
        let attributes = unsafe { attributes(desc.pointer()) };
        let column = attributes
            .iter()
            .position(|a| !a.attisdropped && text::name(&a.attname) == name)
            .map(|at| (at, Scalar::of(attributes[at].atttypid)));
        Self {
            row_type,
            column,
            values: vec![pg_sys::Datum::from(0); desc.len()],
            nulls: vec![true; desc.len()],
            desc,
        }
    }
}
