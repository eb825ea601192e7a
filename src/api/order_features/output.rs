//! Where the rows of features go: into what a function returns, or into a table.

use super::{Id, types, wrong};
use crate::api::feature_rows::array;
use crate::error::Result;
use ltv_core::features::blocks::Customer;
use ltv_core::features::grid::Steps;
use ltv_core::features::plan::Plan;
use pgrx::pg_sys;

/// What rows are written to.
pub trait Rows {
    /// Writes a row.
    ///
    /// # Safety
    /// As many values as there are columns, of their types.
    unsafe fn put(&mut self, values: &mut [pg_sys::Datum], nulls: &mut [bool]);

    /// Writes rows that wait, if there are many; whether none needs the values that it was made of any more.
    fn settle(&mut self) -> bool;
}

/// Where a number of a row goes.
#[derive(Clone, Copy)]
enum Kind {
    Int,
    Float,
    Sequence,
}

/// Makes rows of numbers.
pub struct Output {
    pub id_type: pg_sys::Oid,
    /// What the values of rows take that are not written yet.
    memory: pg_sys::MemoryContext,
    /// Of the columns after the id and the moment.
    kinds: Vec<Kind>,
    /// Days of the moments; empty where these are ages.
    days: Vec<i32>,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Output {
    /// # Safety
    /// A valid descriptor.
    pub unsafe fn of(descriptor: pg_sys::TupleDesc, plan: &Plan) -> Result<Self> {
        // SAFETY: as the caller promises; the context ends with the statement.
        let (types, memory) = unsafe {
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"ltv rows".as_ptr(),
                0,
                8 * 1024,
                1024 * 1024,
            );
            (types(descriptor), memory)
        };
        let [id, pg_sys::DATEOID, rest @ ..] = types.as_slice() else {
            return Err(wrong("The first columns of its rows are an id and a date."));
        };
        let kinds: Option<Vec<Kind>> = rest.iter().map(|&type_oid| kind(type_oid)).collect();
        let numbers = |kind: &Kind| !matches!(kind, Kind::Sequence);
        let kinds = kinds.filter(|kinds| {
            // The moment is a number, too.
            Id::of(*id).is_some()
                && 1 + kinds.iter().filter(|k| numbers(k)).count() == plan.numbers()
        });
        Ok(Self {
            id_type: *id,
            memory,
            kinds: kinds
                .ok_or_else(|| wrong("The columns of its rows are not those of the plan."))?,
            days: plan.looks.iter().map(|look| look.day).collect(),
            values: Vec::with_capacity(types.len()),
            nulls: Vec::with_capacity(types.len()),
        })
    }

    /// Writes the rows of a customer.
    pub fn customer(&mut self, id: Id, customer: &Customer, to: &mut impl Rows) -> Result<()> {
        // SAFETY: a context of our own, of which nothing is used any more once rows are done.
        unsafe {
            if to.settle() {
                pg_sys::MemoryContextReset(self.memory);
            }
            let previous = pg_sys::MemoryContextSwitchTo(self.memory);
            let id = id.datum(customer.id);
            for (numbers, steps) in customer.rows() {
                self.row(id, numbers, steps);
                to.put(&mut self.values, &mut self.nulls);
            }
            pg_sys::MemoryContextSwitchTo(previous);
        }
        Ok(())
    }

    /// In the current memory context.
    fn row(&mut self, id: pg_sys::Datum, numbers: &[f64], steps: Option<&Steps>) {
        let (moment, numbers) = (numbers[0], &numbers[1..]);
        self.values.clear();
        self.nulls.clear();
        let look = self.days.get((moment as usize).wrapping_sub(1));
        let day = look.copied().unwrap_or(moment as i32);
        self.values.extend([id, day.into()]);
        self.nulls.extend([false, false]);
        let mut numbers = numbers.iter();
        for kind in &self.kinds {
            let value = match kind {
                Kind::Sequence => steps.map(|steps| {
                    let size = [steps.numbers.len() / steps.width, steps.width];
                    array(pg_sys::FLOAT4OID, &size, &steps.numbers, |_| false)
                }),
                Kind::Int => known(numbers.next()).map(|number| (number as i32).into()),
                Kind::Float => known(numbers.next()).map(|n| (n.to_bits() as usize).into()),
            };
            self.nulls.push(value.is_none());
            self.values.push(value.unwrap_or(pg_sys::Datum::null()));
        }
    }
}

fn known(number: Option<&f64>) -> Option<f64> {
    number.copied().filter(|number| !number.is_nan())
}

fn kind(type_oid: pg_sys::Oid) -> Option<Kind> {
    match type_oid {
        pg_sys::INT4OID => Some(Kind::Int),
        pg_sys::FLOAT8OID => Some(Kind::Float),
        pg_sys::FLOAT4ARRAYOID => Some(Kind::Sequence),
        _ => None,
    }
}

/// The rows that a function returns.
pub struct Store {
    store: *mut pg_sys::Tuplestorestate,
    descriptor: pg_sys::TupleDesc,
}

impl Store {
    /// # Safety
    /// `fcinfo` is a call of a function that returns a set of records.
    pub unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: as the caller promises; nodes begin with their tag.
        unsafe {
            let result = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            let is_called_for_rows =
                !result.is_null() && (*result).type_ == pg_sys::NodeTag::T_ReturnSetInfo;
            let allows = |mode| (*result).allowedModes as u32 & mode != 0;
            let takes = is_called_for_rows
                && allows(pg_sys::SetFunctionReturnMode::SFRM_Materialize)
                && !(*result).expectedDesc.is_null();
            if !takes {
                return Err(wrong("It was called where no set of records can be taken."));
            }
            let previous =
                pg_sys::MemoryContextSwitchTo((*(*result).econtext).ecxt_per_query_memory);
            let descriptor = pg_sys::CreateTupleDescCopy((*result).expectedDesc);
            let store = pg_sys::tuplestore_begin_heap(
                allows(pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random),
                false,
                pg_sys::work_mem,
            );
            pg_sys::MemoryContextSwitchTo(previous);
            (*result).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*result).setResult = store;
            (*result).setDesc = descriptor;
            Ok(Self { store, descriptor })
        }
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        self.descriptor
    }
}

impl Rows for Store {
    unsafe fn put(&mut self, values: &mut [pg_sys::Datum], nulls: &mut [bool]) {
        // SAFETY: as the caller promises.
        unsafe {
            pg_sys::tuplestore_putvalues(
                self.store,
                self.descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
        }
    }

    fn settle(&mut self) -> bool {
        true
    }
}

/// A table that was made in this transaction, and of which nobody knows yet. Rows go straight into its pages, many at once.
pub struct Table {
    relation: pg_sys::Relation,
    /// Those before `filled` have rows that are not written yet.
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    /// Where slots are.
    memory: pg_sys::MemoryContext,
    filled: usize,
    written: i64,
    bulk: pg_sys::BulkInsertState,
    command: pg_sys::CommandId,
}

/// Rows that are written at once.
const MANY: usize = 512;
/// InvalidSubTransactionId: the relation was there before.
const NO_SUBTRANSACTION: pg_sys::SubTransactionId = 0;
/// Only the last page of a new table has room.
const OPTIONS: i32 = pg_sys::TABLE_INSERT_SKIP_FSM as i32;

impl Table {
    /// `None` where writing rows would take more than that: indexes, triggers, policies, or that it belongs to somebody else.
    ///
    /// # Safety
    /// Inside a transaction.
    pub unsafe fn open(relation: pg_sys::Oid) -> Option<Self> {
        // SAFETY: an open relation has all of this; a lock keeps it until the end of the transaction.
        unsafe {
            let relation = pg_sys::table_open(relation, pg_sys::RowExclusiveLock as i32);
            let class = &*(*relation).rd_rel;
            let is_plain = class.relkind == pg_sys::RELKIND_RELATION as std::ffi::c_char
                && (*relation).rd_createSubid != NO_SUBTRANSACTION
                && class.relowner == pg_sys::GetUserId()
                && !class.relhasindex
                && !class.relhasrules
                && !class.relhastriggers
                && !class.relrowsecurity
                && !class.relispartition
                && (*(*relation).rd_att).constr.is_null();
            if !is_plain {
                pg_sys::table_close(relation, pg_sys::NoLock as i32);
                return None;
            }
            Some(Self {
                relation,
                slots: Vec::with_capacity(MANY),
                memory: pg_sys::CurrentMemoryContext,
                filled: 0,
                written: 0,
                bulk: pg_sys::GetBulkInsertState(),
                command: pg_sys::GetCurrentCommandId(true),
            })
        }
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: the relation is open.
        unsafe { (*self.relation).rd_att }
    }

    fn flush(&mut self) {
        // SAFETY: the relation is open; its access method writes the rows of slots that are its own. An ERROR in it must not jump over
        // the frames here.
        unsafe {
            if let Some(insert) = (*(*self.relation).rd_tableam).multi_insert
                && self.filled > 0
            {
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    insert(
                        self.relation,
                        self.slots.as_mut_ptr(),
                        self.filled as i32,
                        self.command,
                        OPTIONS,
                        self.bulk,
                    );
                });
            }
            for &slot in &self.slots[..self.filled] {
                if let Some(clear) = (*(*slot).tts_ops).clear {
                    pg_sys::ffi::pg_guard_ffi_boundary(|| clear(slot));
                }
            }
        }
        self.written += self.filled as i64;
        self.filled = 0;
    }

    /// Writes what is left; returns how many rows were written.
    pub fn close(mut self) -> i64 {
        self.flush();
        // SAFETY: the relation is open, and nothing uses the slots any more.
        unsafe {
            pg_sys::FreeBulkInsertState(self.bulk);
            for &slot in &self.slots {
                pg_sys::ExecDropSingleTupleTableSlot(slot);
            }
            if let Some(finish) = (*(*self.relation).rd_tableam).finish_bulk_insert {
                pg_sys::ffi::pg_guard_ffi_boundary(|| finish(self.relation, OPTIONS));
            }
            pg_sys::table_close(self.relation, pg_sys::NoLock as i32);
            pg_sys::CommandCounterIncrement();
        }
        self.written
    }
}

impl Rows for Table {
    unsafe fn put(&mut self, values: &mut [pg_sys::Datum], nulls: &mut [bool]) {
        if self.filled == MANY {
            self.flush();
        }
        // SAFETY: a slot of the table has room for its columns, which the caller gives; it lives as long as the statement.
        unsafe {
            if self.filled == self.slots.len() {
                let previous = pg_sys::MemoryContextSwitchTo(self.memory);
                let slot = pg_sys::table_slot_create(self.relation, std::ptr::null_mut());
                pg_sys::MemoryContextSwitchTo(previous);
                self.slots.push(slot);
            }
            let slot = self.slots[self.filled];
            values
                .as_ptr()
                .copy_to_nonoverlapping((*slot).tts_values, values.len());
            nulls
                .as_ptr()
                .copy_to_nonoverlapping((*slot).tts_isnull, nulls.len());
            pg_sys::ExecStoreVirtualTuple(slot);
        }
        self.filled += 1;
    }

    fn settle(&mut self) -> bool {
        if self.filled >= MANY / 2 {
            self.flush();
        }
        self.filled == 0
    }
}
