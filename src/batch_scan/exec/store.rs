//! The rows of the current batch: as much of each as is still needed once its predictions are under way.

use super::raw;
use pgrx::pg_sys::{self, Datum};

/// A column of the child that some expression reads.
#[derive(Clone, Copy)]
pub struct Column {
    /// Counted from 0.
    pub index: usize,
    pub by_value: bool,
    pub length: i16,
    /// Read only where a prediction has to be made in place after all.
    pub spare: bool,
}

#[derive(Clone, Copy, Default)]
struct Row {
    /// Quals that held so far.
    quals: u32,
    /// A qual did not hold.
    gone: bool,
    tid: pg_sys::ItemPointerData,
}

pub struct Store {
    columns: Vec<Column>,
    rows: Vec<Row>,
    values: Vec<Datum>,
    nulls: Vec<bool>,
    /// Values that are passed by reference.
    context: pg_sys::MemoryContext,
}

impl Store {
    pub fn new(columns: Vec<Column>, context: pg_sys::MemoryContext) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            values: Vec::new(),
            nulls: Vec::new(),
            context,
        }
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// # Safety
    /// Nobody reads the last batch any more; see [`raw`].
    pub unsafe fn clear(&mut self) {
        self.rows.clear();
        self.values.clear();
        self.nulls.clear();
        // SAFETY: passed on.
        unsafe { raw::reset(self.context) }
    }

    /// Keeps the row in `slot`; its spare columns only if it is to be `complete`.
    ///
    /// # Safety
    /// All columns of the store are deformed; see [`raw`].
    pub unsafe fn push(
        &mut self,
        slot: &pg_sys::TupleTableSlot,
        quals: usize,
        gone: bool,
        complete: bool,
        tid: pg_sys::ItemPointerData,
    ) {
        self.rows.push(Row {
            quals: quals as u32,
            gone,
            tid,
        });
        for column in &self.columns {
            // SAFETY: a deformed column of the slot, of the type that the column says.
            unsafe {
                let is_null =
                    gone || (column.spare && !complete) || *slot.tts_isnull.add(column.index);
                let mut value = Datum::from(0);
                if !is_null {
                    value = *slot.tts_values.add(column.index);
                    if !column.by_value {
                        value = raw::copy_into(self.context, value, column.length);
                    }
                }
                self.values.push(value);
                self.nulls.push(is_null);
            }
        }
    }

    /// Puts the columns of a row into a slot.
    ///
    /// # Safety
    /// A virtual slot that has all columns of the store.
    pub unsafe fn load(&self, row: usize, slot: &mut pg_sys::TupleTableSlot) {
        let start = row * self.columns.len();
        for (i, column) in self.columns.iter().enumerate() {
            // SAFETY: passed on.
            unsafe {
                *slot.tts_values.add(column.index) = self.values[start + i];
                *slot.tts_isnull.add(column.index) = self.nulls[start + i];
            }
        }
        slot.tts_tid = self.rows[row].tid;
    }

    /// A column of the store, and whether it is NULL.
    #[inline]
    pub fn value(&self, row: usize, column: usize) -> (Datum, bool) {
        let at = row * self.columns.len() + column;
        (self.values[at], self.nulls[at])
    }

    pub fn tid(&self, row: usize) -> pg_sys::ItemPointerData {
        self.rows[row].tid
    }

    pub fn quals(&self, row: usize) -> usize {
        self.rows[row].quals as usize
    }

    pub fn is_gone(&self, row: usize) -> bool {
        self.rows[row].gone
    }

    pub fn set_quals(&mut self, row: usize, quals: usize, gone: bool) {
        self.rows[row].quals = quals as u32;
        self.rows[row].gone = gone;
    }
}
