//! Reusable input and output buffers of one scan or call site.

use super::{Binding, Model, Output};
use crate::error::Result;
use pgrx::pg_sys;
use std::rc::Rc;

/// Rows on their way through one model.
pub struct Batch {
    model: Rc<Model>,
}

impl Batch {
    /// `capacity`: rows to reserve room for; it grows by itself.
    pub fn new(model: Rc<Model>, capacity: usize) -> Result<Self> {
        let _ = capacity;
        Ok(Self { model })
    }

    pub fn model(&self) -> &Rc<Model> {
        &self.model
    }

    /// Forgets all rows, keeps all memory.
    pub fn clear(&mut self) {}

    /// Rows pushed since [`Batch::clear`].
    pub fn rows(&self) -> usize {
        0
    }

    /// Appends the row that `datum` is: array, composite or jsonb, whatever `binding` was made for.
    /// If it fails (wrong length, unreadable text) the batch is as before. Nothing of `datum` is kept.
    ///
    /// # Safety
    /// `datum` is a value of the type that `binding` was made for.
    pub unsafe fn push_datum(
        &mut self,
        binding: &mut Binding,
        datum: pg_sys::Datum,
        is_null: bool,
    ) -> Result<()> {
        let _ = (binding, datum, is_null);
        unimplemented!()
    }

    /// Appends a row from deformed columns, for a binding made by [`Binding::for_record`] (whole-row Var of a
    /// slot): attribute n is `values[n - 1]`. Attributes up to [`Binding::last_attribute`] must be deformed.
    ///
    /// # Safety
    /// `values` and `nulls` hold a row of the `TupleDesc` that `binding` was made for.
    pub unsafe fn push_columns(
        &mut self,
        binding: &mut Binding,
        values: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> Result<()> {
        let _ = (binding, values, nulls);
        unimplemented!()
    }

    /// One inference over all rows (at least one). Checks for interrupts first.
    pub fn run(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// Output `ltv` of the last run, one value per row.
    pub fn ltv(&self) -> &[f32] {
        &[]
    }

    /// What `output` is for one row of the last run, as SQL wants it (float8 by value, or a composite allocated
    /// in the current memory context) and whether it is NULL. `q`: the level of a quantile, `None` for NULL.
    pub fn value(
        &self,
        output: Output,
        row: usize,
        q: Option<f64>,
    ) -> Result<(pg_sys::Datum, bool)> {
        let _ = (output, row, q);
        unimplemented!()
    }
}
