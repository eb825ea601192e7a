//! Rows whose projection is only a matter of moving values: columns of the child and predictions that were made.

use super::call::Call;
use super::columns::{self, Needs};
use super::raw;
use super::store::Store;
use crate::batch_scan::private::Expressions;
use crate::batch_scan::tree::{self, INDEX, Node, cast};
use pgrx::pg_sys::{self, Datum};

#[derive(Clone, Copy)]
enum Field {
    /// A column of the store.
    Stored(usize),
    Prediction(usize),
    Null,
}

/// The outputs of a scan, if all of them are of these kinds.
pub struct Direct(Vec<Field>);

impl Direct {
    /// # Safety
    /// What the builder planned, over `columns` columns of the child; `needs` was made from it.
    pub unsafe fn of(planned: &Expressions, needs: &Needs, columns: usize) -> Option<Self> {
        let field = |expr: *mut Node| {
            // SAFETY: expressions over INDEX_VAR.
            unsafe {
                if let Some(constant) = cast::<pg_sys::Const>(expr) {
                    return (*constant).constisnull.then_some(Field::Null);
                }
                if let Some(call) = columns::referred_call(expr, columns) {
                    return Some(Field::Prediction(call));
                }
                let var = cast::<pg_sys::Var>(expr)?;
                let index = usize::try_from((*var).varattno).ok()?.checked_sub(1)?;
                if tree::varno(var) != INDEX || index >= columns {
                    return None;
                }
                let stored = needs.stored.iter().position(|(i, _)| *i == index);
                stored.map(Field::Stored)
            }
        };
        let outputs = planned.outputs.iter();
        // SAFETY: entries of a target list.
        let fields = outputs.map(|entry| field(unsafe { (**entry).expr }.cast()));
        fields.collect::<Option<Vec<Field>>>().map(Self)
    }

    /// Puts the row into `slot`; not if one of its predictions has yet to be made in place.
    ///
    /// # Safety
    /// A virtual slot with a column for each output; see [`raw`].
    #[inline]
    pub unsafe fn fill(
        &self,
        store: &Store,
        calls: &[Call],
        row: usize,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> bool {
        // SAFETY: passed on.
        unsafe {
            let (values, nulls) = ((*slot).tts_values, (*slot).tts_isnull);
            raw::clear(slot);
            for (i, field) in self.0.iter().enumerate() {
                let (value, is_null) = match *field {
                    Field::Stored(column) => store.value(row, column),
                    Field::Prediction(call) => match calls[call].results.get(row) {
                        Some(outcome) if outcome.done => (outcome.value, outcome.is_null),
                        _ => return false,
                    },
                    Field::Null => (Datum::from(0), true),
                };
                *values.add(i) = value;
                *nulls.add(i) = is_null;
            }
            raw::filled(slot);
            true
        }
    }
}
