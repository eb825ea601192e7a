//! `ltv.order_features`, `ltv.fill_order_features`: the features of all customers of an order log, of whom nothing else is known.
//!
//! The rows of the log go from the executor into one piece of memory, or one for each of the [`threads`], which is cheaper than a hash
//! aggregate with a log for each customer. Customers who do not fit into it are left for the next pass over the log.

mod output;
mod threads;

use super::collect::{exact, is_number, too_large};
use super::export::{export, text_argument};
use crate::error::{Report, Result};
use crate::text;
use crate::value::numeric::Exact;
use crate::value::{attributes, scratch, sql, varlena};
use crate::worker::read::{self, Row};
use ltv_core::features::blocks::{self, Maker};
use ltv_core::features::plan::Plan;
use output::{Output, Store, Table};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};
use threads::Add;

// The arguments are declared in sql/26_collect.sql.
export! {
    ltv_order_features / pg_finfo_ltv_order_features => order_features;
    ltv_fill_order_features / pg_finfo_ltv_fill_order_features => fill_order_features;
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

/// What features are made of.
struct Source {
    plan: Plan,
    log_end: Option<i64>,
    /// Yields customers, days and amounts.
    query: CString,
}

impl Source {
    /// # Safety
    /// The arguments from `at` on are declared as (text, date, text).
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, at: usize) -> Result<Self> {
        // SAFETY: as the caller promises.
        let (plan, log_end, query) = unsafe {
            (
                sql::argument::<String>(fcinfo, at)?.unwrap_or_default(),
                sql::argument_datum(fcinfo, at + 1).map(|datum| i64::from(datum.value() as i32)),
                text_argument(fcinfo, at + 2).unwrap_or_default(),
            )
        };
        let plan = Plan::from_json(&plan)?;
        if plan.instants || plan.everyone || !plan.events.is_empty() {
            return Err(wrong("The plan asks for more than orders tell by day."));
        }
        Ok(Self {
            plan,
            log_end,
            query,
        })
    }
}

/// `ltv.order_features(plan, log_end, query)`.
fn order_features(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (text, date, text) -> SETOF record.
    unsafe {
        let source = Source::of(fcinfo, 0)?;
        let mut store = Store::of(fcinfo)?;
        let mut output = Output::of(store.descriptor(), &source.plan)?;
        make(source, &mut output, &mut store)?;
        Ok(sql::result(fcinfo, None))
    }
}

/// `ltv.fill_order_features(relation, plan, log_end, query)`: how many rows the table has then, NULL where it is not as it was made.
fn fill_order_features(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (regclass, text, date, text).
    unsafe {
        let relation = sql::argument::<pg_sys::Oid>(fcinfo, 0)?.unwrap_or_default();
        let source = Source::of(fcinfo, 1)?;
        let Some(mut table) = Table::open(relation) else {
            return Ok(sql::result(fcinfo, None));
        };
        let mut output = Output::of(table.descriptor(), &source.plan)?;
        make(source, &mut output, &mut table)?;
        Ok(sql::result(fcinfo, Some(table.close().into())))
    }
}

fn make(source: Source, output: &mut Output, to: &mut impl output::Rows) -> Result<()> {
    let number = threads::number();
    // SAFETY: a setting.
    let limit = unsafe { pg_sys::get_hash_memory_limit() } / number.max(1);
    let mut makers: Vec<Maker> = (0..number.max(1))
        .map(|_| Maker::new(source.plan.clone(), source.log_end, limit))
        .collect();
    let is_threaded = number > 0;
    loop {
        let mut kind = None;
        threads::add(&mut makers, is_threaded, |add| {
            kind = Some(read(&source.query, output.id_type, add)?);
            Ok(())
        })?;
        blocks::leave_alike(&mut makers);
        if let Some(id) = kind {
            threads::rows(&mut makers, is_threaded, |customer| {
                pgrx::check_for_interrupts!();
                output.customer(id, customer, to)
            })?;
        }
        if !blocks::go_on(&mut makers) {
            return Ok(());
        }
    }
}

/// Reads the orders, whose ids are of this type; returns how those are read.
fn read(query: &CStr, id_type: pg_sys::Oid, add: &mut Add) -> Result<Id> {
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
            take(row, id, amount, add)
        })?;
        pg_sys::SPI_finish();
        Ok(id)
    }
}

/// # Safety
/// A row of a customer, a date and an amount of that type.
#[inline]
unsafe fn take(row: Row, id: Id, amount_type: pg_sys::Oid, add: &mut Add) -> Result<()> {
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
        id.read(customer, |id| add(id, day.value() as i32, amount))?;
    }
    Ok(())
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

fn wrong(detail: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "ltv.order_features cannot make these features",
    )
    .detail(detail)
    .hint("It is meant for the statements of pg_ltv.")
}
