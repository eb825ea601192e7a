//! How one kind of input fills the inputs of a model. Compiled once per scan or call site.

mod composite;
mod customer;
mod error;
mod json;
mod positional;
mod record;
mod time;

pub use customer::Customer;
pub use error::InputError;

use super::Model;
use super::rows::Rows;
use crate::error::Result;
use crate::text;
use composite::Composite;
use json::Json;
use pgrx::pg_sys;
use positional::Positional;
use record::Columns;

pub struct Binding {
    source: Source,
}

enum Source {
    Array(Positional),
    Composite(Box<Composite>),
    Columns(Columns),
    Json(Json),
}

impl Binding {
    /// For an expression of type `type_oid`: array, composite type or record, jsonb; domains over them. The columns
    /// of composite values are looked up when the first one comes, and again when their row type changes.
    pub fn for_type(model: &Model, type_oid: pg_sys::Oid) -> Result<Self> {
        // SAFETY: an OID of an existing type.
        let (base, is_composite) = unsafe {
            let base = pg_sys::getBaseType(type_oid);
            let kind = pg_sys::get_typtype(base) as u8;
            (
                base,
                base == pg_sys::RECORDOID || kind == pg_sys::TYPTYPE_COMPOSITE,
            )
        };
        let source = if base == pg_sys::JSONBOID {
            Source::Json(Json::new(model)?)
        } else if let Some(positional) = Positional::new(model, base)? {
            Source::Array(positional)
        } else if is_composite {
            Source::Composite(Box::default())
        } else {
            return Err(InputError::UnsupportedType {
                found: text::type_name(type_oid),
            }
            .into());
        };
        Ok(Self { source })
    }

    /// For a whole-row Var whose columns lie in a slot under other positions or in another order:
    /// `(column name, type, attribute number in the slot)`.
    pub fn for_columns(model: &Model, columns: &[(&str, pg_sys::Oid, i16)]) -> Result<Self> {
        Ok(Self {
            source: Source::Columns(Columns::new(model, columns.iter().copied())?),
        })
    }

    /// The highest attribute number that `push_columns` reads; 0 for none.
    pub fn last_attribute(&self) -> i16 {
        match &self.source {
            Source::Columns(columns) => columns.last_attribute(),
            _ => 0,
        }
    }

    /// Appends a whole row, if input and model are of the commonest kind; whether they were. If not, nothing has changed.
    ///
    /// # Safety
    /// `datum` is a value, not NULL, of the type that this was made for.
    #[inline]
    pub(super) unsafe fn append_datum(&self, rows: &mut Rows, datum: pg_sys::Datum) -> bool {
        match &self.source {
            // SAFETY: as the caller promises.
            Source::Array(positional) => unsafe { positional.append(rows, datum) },
            _ => false,
        }
    }

    /// # Safety
    /// `datum` is a value, not NULL, of the type that this was made for.
    pub(super) unsafe fn write_datum(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        datum: pg_sys::Datum,
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe {
            match &mut self.source {
                Source::Array(positional) => Ok(positional.write(model, rows, datum)?),
                Source::Composite(composite) => composite.write(model, rows, datum),
                Source::Json(json) => Ok(json.write(model, rows, datum)?),
                // A row of loose columns is no datum; nothing is written, so everything is missing.
                Source::Columns(_) => Ok(()),
            }
        }
    }

    /// # Safety
    /// `values` and `nulls` hold a row of the columns that this was made for.
    pub(super) unsafe fn write_columns(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        values: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> Result<()> {
        match &mut self.source {
            // SAFETY: as the caller promises.
            Source::Columns(columns) => Ok(unsafe { columns.write(model, rows, values, nulls) }?),
            _ => Ok(()),
        }
    }
}
