//! `ltv.order_features`: the features of all customers of an order log, of whom nothing else is known.
//!
//! The rows of the log go from the executor into one piece of memory, which is cheaper than a hash aggregate with a log for each customer.
//! Customers who do not fit into it are left for the next pass over the log.

use super::collect::{exact, is_number, too_large};
use super::export::{export, text_argument};
use super::feature_rows::array;
use crate::error::{Report, Result};
use crate::text;
use crate::value::numeric::Exact;
use crate::value::{attributes, scratch, sql, varlena};
use crate::worker::read::{self, Row};
use ltv_core::features::orders::Orders;
use ltv_core::features::plan::Plan;
use ltv_core::features::walk::Walker;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CStr;

// The arguments are declared in sql/26_collect.sql.
export! {
    ltv_order_features / pg_finfo_ltv_order_features => order_features;
}

/// How ids are read, such that their bytes are in the order of the ids.
#[derive(Clone, Copy)]
enum Id {
    Integer(pg_sys::Oid),
    Text,
    Uuid,
}

impl Id {
    fn of(type_oid: pg_sys::Oid) -> Option<Self> {
        match type_oid {
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Some(Self::Integer(type_oid)),
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Some(Self::Text),
            pg_sys::UUIDOID => Some(Self::Uuid),
            _ => None,
        }
    }

    /// # Safety
    /// `datum` is of the type, and outlives what is done with its bytes.
    #[inline]
    unsafe fn read<T>(self, datum: pg_sys::Datum, with: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Self::Integer(type_oid) => {
                let number = match type_oid {
                    pg_sys::INT2OID => i64::from(datum.value() as i16),
                    pg_sys::INT4OID => i64::from(datum.value() as i32),
                    _ => datum.value() as i64,
                };
                with(&(number ^ i64::MIN).to_be_bytes())
            }
            // SAFETY: as the caller promises.
            Self::Text => with(unsafe { varlena::content(datum, false) }),
            // SAFETY: 16 bytes.
            Self::Uuid => with(unsafe { std::slice::from_raw_parts(datum.cast_mut_ptr(), 16) }),
        }
    }

    /// The id in the current memory context.
    fn datum(self, bytes: &[u8]) -> pg_sys::Datum {
        match self {
            Self::Integer(_) => {
                let number = bytes.try_into().map_or(0, i64::from_be_bytes);
                (number ^ i64::MIN).into()
            }
            Self::Text => varlena::of_bytes(bytes),
            // SAFETY: as many bytes as are allocated.
            Self::Uuid => unsafe {
                let copy = pg_sys::palloc(bytes.len()).cast::<u8>();
                copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                copy.into()
            },
        }
    }
}

/// `ltv.order_features(plan, log_end, query, part, parts)`. The query yields customers, days and amounts.
fn order_features(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (text, date, text, int, int), strict but for the end of the log.
    let (plan, log_end, query, part, parts) = unsafe {
        (
            sql::argument::<String>(fcinfo, 0)?.unwrap_or_default(),
            sql::argument_datum(fcinfo, 1).map(|datum| i64::from(datum.value() as i32)),
            text_argument(fcinfo, 2).unwrap_or_default(),
            sql::argument::<i32>(fcinfo, 3)?.unwrap_or(0),
            sql::argument::<i32>(fcinfo, 4)?.unwrap_or(1),
        )
    };
    let plan = Plan::from_json(&plan)?;
    if plan.instants || plan.everyone || !plan.events.is_empty() {
        return Err(wrong("The plan asks for more than orders tell by day."));
    }
    let (part, parts) = (
        u32::try_from(part).unwrap_or(0),
        u32::try_from(parts).unwrap_or(1),
    );
    // SAFETY: a setting.
    let limit = unsafe { pg_sys::get_hash_memory_limit() };
    let mut orders = Orders::new(limit, part, parts);
    // SAFETY: a call of a function that returns a set of records.
    let mut output = unsafe { Output::of(fcinfo, &plan) }?;
    let mut walker = Walker::new(plan);
    loop {
        let id = read(&query, output.id_type, &mut orders)?;
        let mut sorted = orders.sorted(|| {
            pgrx::check_for_interrupts!();
            Ok::<_, Report>(())
        })?;
        while let Some(customer) = walker.begin_with(log_end, |entries| {
            sorted.next(entries).map(|bytes| output.customer(id, bytes))
        })? {
            pgrx::check_for_interrupts!();
            output.rows(customer, &mut walker)?;
        }
        if !orders.go_on() {
            break;
        }
    }
    // SAFETY: a valid call info.
    Ok(unsafe { sql::result(fcinfo, None) })
}

/// Reads the orders, whose ids are of this type; returns how those are read.
fn read(query: &CStr, id_type: pg_sys::Oid, orders: &mut Orders) -> Result<Id> {
    // SAFETY: SPI is closed below, or by the abort of the transaction; the descriptor is that of the plan.
    unsafe {
        pg_sys::SPI_connect();
        let (plan, descriptor) = read::prepare(
            &text::from_server(query.to_bytes()),
            pg_sys::CURSOR_OPT_PARALLEL_OK as i32,
        )?;
        let columns = types(descriptor);
        // What is read as one type must not be written as another one.
        let &[customer, pg_sys::DATEOID, amount] = columns.as_slice() else {
            return Err(wrong(
                "The columns of the query are not a customer, a date and an amount.",
            ));
        };
        if customer != id_type {
            return Err(wrong(
                "The ids of the query are of another type than those of the rows.",
            ));
        }
        let amount = pg_sys::getBaseType(amount);
        if !is_number(amount) {
            return Err(wrong("It cannot read amounts of that type."));
        }
        let id = Id::of(customer).ok_or_else(|| wrong("It cannot read ids of that type."))?;
        read::run(plan, &mut |row, _| {
            scratch::reset();
            take(row, id, amount, orders)
        })?;
        pg_sys::SPI_finish();
        Ok(id)
    }
}

/// # Safety
/// A row of a customer, a date and an amount of that type.
#[inline]
unsafe fn take(row: Row, id: Id, amount_type: pg_sys::Oid, orders: &mut Orders) -> Result<()> {
    let (&[customer, day, amount], &[false, false, false]) = (row.values, row.nulls) else {
        return Ok(());
    };
    // SAFETY: as the caller promises.
    unsafe {
        let amount = match exact(amount, amount_type) {
            Exact::Number(number) => number,
            Exact::NotFinite => return Ok(()),
            Exact::TooLarge => return Err(too_large()),
        };
        id.read(customer, |id| orders.add(id, day.value() as i32, amount))?;
    }
    Ok(())
}

/// Where a number of a row goes.
#[derive(Clone, Copy)]
enum Kind {
    Int,
    Float,
    Sequence,
}

/// The rows that are made.
struct Output {
    store: *mut pg_sys::Tuplestorestate,
    descriptor: pg_sys::TupleDesc,
    id_type: pg_sys::Oid,
    /// What a customer takes.
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
    /// `fcinfo` is a call of a function that returns a set of records.
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, plan: &Plan) -> Result<Self> {
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
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"ltv customer".as_ptr(),
                0,
                8 * 1024,
                1024 * 1024,
            );
            pg_sys::MemoryContextSwitchTo(previous);
            (*result).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*result).setResult = store;
            (*result).setDesc = descriptor;
            let types = types(descriptor);
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
                store,
                descriptor,
                id_type: *id,
                memory,
                kinds: kinds
                    .ok_or_else(|| wrong("The columns of its rows are not those of the plan."))?,
                days: plan.looks.iter().map(|look| look.day).collect(),
                values: Vec::with_capacity(types.len()),
                nulls: Vec::with_capacity(types.len()),
            })
        }
    }

    /// The id of the next customer.
    fn customer(&self, id: Id, bytes: &[u8]) -> pg_sys::Datum {
        // SAFETY: a context of our own, in which nothing but the customer before is.
        unsafe {
            pg_sys::MemoryContextReset(self.memory);
            let previous = pg_sys::MemoryContextSwitchTo(self.memory);
            let datum = id.datum(bytes);
            pg_sys::MemoryContextSwitchTo(previous);
            datum
        }
    }

    fn rows(&mut self, customer: pg_sys::Datum, walker: &mut Walker) -> Result<()> {
        loop {
            let Some(&[moment, ref numbers @ ..]) = walker.next_row()? else {
                return Ok(());
            };
            self.values.clear();
            self.nulls.clear();
            let look = self.days.get((moment as usize).wrapping_sub(1));
            let day = look.copied().unwrap_or(moment as i32);
            self.values.extend([customer, day.into()]);
            self.nulls.extend([false, false]);
            let mut numbers = numbers.iter();
            let mut sequence = None;
            for (at, kind) in self.kinds.iter().enumerate() {
                let number = match kind {
                    Kind::Sequence => {
                        sequence = Some(2 + at);
                        f64::NAN
                    }
                    _ => numbers.next().copied().unwrap_or(f64::NAN),
                };
                self.nulls.push(number.is_nan());
                self.values.push(match kind {
                    Kind::Int => (number as i32).into(),
                    _ => pg_sys::Datum::from(number.to_bits() as usize),
                });
            }
            // SAFETY: as many values as the descriptor has columns, of their types.
            unsafe {
                if let Some(at) = sequence
                    && let Some(steps) = walker.sequence(moment)?
                {
                    let size = [steps.numbers.len() / steps.width, steps.width];
                    let previous = pg_sys::MemoryContextSwitchTo(self.memory);
                    self.values[at] = array(pg_sys::FLOAT4OID, &size, &steps.numbers, |_| false);
                    self.nulls[at] = false;
                    pg_sys::MemoryContextSwitchTo(previous);
                }
                pg_sys::tuplestore_putvalues(
                    self.store,
                    self.descriptor,
                    self.values.as_mut_ptr(),
                    self.nulls.as_mut_ptr(),
                );
            }
        }
    }
}

/// # Safety
/// `of` is a valid tuple descriptor.
unsafe fn types(of: pg_sys::TupleDesc) -> Vec<pg_sys::Oid> {
    // SAFETY: as the caller promises.
    unsafe { attributes(of) }
        .iter()
        .map(|a| a.atttypid)
        .collect()
}

fn kind(type_oid: pg_sys::Oid) -> Option<Kind> {
    match type_oid {
        pg_sys::INT4OID => Some(Kind::Int),
        pg_sys::FLOAT8OID => Some(Kind::Float),
        pg_sys::FLOAT4ARRAYOID => Some(Kind::Sequence),
        _ => None,
    }
}

fn wrong(detail: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "ltv.order_features cannot make these features",
    )
    .detail(detail)
    .hint("It is meant for the statements of pg_ltv.")
}
