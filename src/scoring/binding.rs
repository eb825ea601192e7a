//! How one kind of input fills the inputs of a model.

use super::Model;
use crate::error::Result;
use pgrx::pg_sys;

pub struct Binding;

impl Binding {
    /// For an expression of type `type_oid` (array, composite or record, jsonb; domains over them). For `record`
    /// and named composite types the columns are looked up when the first row comes, and again when its row type
    /// changes.
    pub fn for_type(model: &Model, type_oid: pg_sys::Oid) -> Result<Self> {
        let _ = (model, type_oid);
        unimplemented!()
    }

    /// For rows of a known descriptor, pushed by [`super::Batch::push_columns`]. An error names missing columns.
    ///
    /// # Safety
    /// `desc` is a valid tuple descriptor.
    pub unsafe fn for_record(model: &Model, desc: pg_sys::TupleDesc) -> Result<Self> {
        let _ = (model, desc);
        unimplemented!()
    }

    /// For a whole-row Var whose columns lie in a slot under other positions or in another order:
    /// `(column name, type, attribute number in the slot)`.
    pub fn for_columns(model: &Model, columns: &[(&str, pg_sys::Oid, i16)]) -> Result<Self> {
        let _ = (model, columns);
        unimplemented!()
    }

    /// The highest attribute number that `push_columns` reads; 0 for none.
    pub fn last_attribute(&self) -> i16 {
        0
    }
}
