//! A column of the training query and how its values are read.

use crate::value::{ArrayReader, Scalar};
use pgrx::pg_sys;

/// One column of the query.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its place, from 0.
    pub at: usize,
    pub name: String,
    /// The type as `format_type` spells it.
    pub sql_type: String,
    /// What a domain is over, spelt so.
    pub base_type: String,
    pub kind: Kind,
}

/// How the values of a column are read.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Scalar(Scalar),
    /// An array of numbers.
    Array(ArrayReader),
}

impl Kind {
    pub fn of(type_oid: pg_sys::Oid) -> Self {
        match ArrayReader::of(type_oid) {
            Some(reader) if reader.element.is_number() => Self::Array(reader),
            _ => Self::Scalar(Scalar::of(type_oid)),
        }
    }

    /// As one value; arrays are none.
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            Self::Array(_) => None,
        }
    }
}

impl Column {
    pub fn is(&self, test: impl FnOnce(Scalar) -> bool) -> bool {
        self.kind.scalar().is_some_and(test)
    }
}

/// One row of the query.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub values: &'a [pg_sys::Datum],
    pub nulls: &'a [bool],
}

impl Row<'_> {
    pub fn get(&self, column: &Column) -> Option<pg_sys::Datum> {
        (!self.nulls[column.at]).then(|| self.values[column.at])
    }

    /// The value of a column that is no array, and how it is read.
    pub fn scalar(&self, column: &Column) -> Option<(Scalar, pg_sys::Datum)> {
        column.kind.scalar().zip(self.get(column))
    }
}
