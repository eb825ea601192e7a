//! `ltv.collect`: the aggregate that makes of the rows of a customer one compact log.
//!
//! Its state is the log itself, in one piece of memory of the aggregate's context, so that hash aggregation counts it and spills. What is
//! in it is the business of `ltv_core::features::log`.

use super::export::export;
use crate::error::{Report, Result, unexpected};
use crate::text;
use crate::value::numeric::{self, Exact};
use crate::value::{scratch, sql, varlena};
use ltv_core::features::decimal::Decimal;
use ltv_core::features::log::{Entry, Layout, Log, MAX_VALUES, Push};
use pgrx::prelude::PgSqlErrorCode;
use pgrx::{PgMemoryContexts, pg_sys};
use std::collections::HashMap;

// The arguments are declared in sql/26_collect.sql.
export! {
    ltv_collect_add / pg_finfo_ltv_collect_add => add;
    ltv_collect_combine / pg_finfo_ltv_collect_combine => combine;
    ltv_collect_save / pg_finfo_ltv_collect_save => save;
    ltv_collect_load / pg_finfo_ltv_collect_load => load;
    ltv_collect_final / pg_finfo_ltv_collect_final => finish;
}

/// Before the arguments of a row: the state, the roles, the kinds.
const FIRST: usize = 3;
/// Bytes before the words: the header of a varlena, and the number of entries.
const PREFIX: usize = 8;
const FIRST_WORDS: usize = 15;
/// What PostgreSQL allocates at most.
const MOST_WORDS: usize = (0x3fff_ffff - PREFIX) / 8;
/// From so many words on a full log is settled before it gets more memory: rows of one day may become one entry.
const LARGE: usize = 4096;

/// What an argument is for, one letter each.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// `t`: the time, a date or an instant. A row without one does not count.
    Time,
    /// `d`: the day of an instant.
    Day,
    /// `k`: the kind of an event.
    Kind,
    /// `v`: an amount. A row without a finite one does not count.
    Amount,
    /// `x`: another value. Without a finite one it is 0.
    Value,
}

/// How rows are read at one place of a plan.
struct Reader {
    arguments: Vec<(Role, pg_sys::Oid)>,
    kinds: HashMap<String, u16>,
    layout: Layout,
    values: Vec<Decimal>,
}

impl Reader {
    /// # Safety
    /// `fcinfo` is a call of `ltv.collect_add`.
    unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Self> {
        // SAFETY: declared as (internal, text, text[], VARIADIC "any").
        let (roles, kinds, count) = unsafe {
            (
                sql::argument::<String>(fcinfo, 1)?.unwrap_or_default(),
                sql::argument::<Vec<String>>(fcinfo, 2)?,
                usize::try_from((*fcinfo).nargs).unwrap_or(0),
            )
        };
        let mut arguments = Vec::new();
        for (number, letter) in roles.chars().enumerate() {
            let role = match letter {
                't' => Role::Time,
                'd' => Role::Day,
                'k' => Role::Kind,
                'v' => Role::Amount,
                'x' => Role::Value,
                _ => return Err(wrong_roles()),
            };
            // SAFETY: the expression that is called is known for aggregates.
            let type_oid = unsafe {
                let declared =
                    pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, (FIRST + number) as i32);
                pg_sys::getBaseType(declared)
            };
            if !role.reads(type_oid) {
                return Err(wrong_type(type_oid));
            }
            arguments.push((role, type_oid));
        }
        let of = |wanted| arguments.iter().filter(|(role, _)| *role == wanted).count();
        let values = of(Role::Amount) + of(Role::Value);
        let instants = arguments.contains(&(Role::Time, pg_sys::TIMESTAMPTZOID));
        let sane = count == FIRST + arguments.len()
            && of(Role::Time) == 1
            && of(Role::Day) == usize::from(instants)
            && of(Role::Kind) == usize::from(kinds.is_some())
            && values <= MAX_VALUES;
        if !sane {
            return Err(wrong_roles());
        }
        let layout = Layout {
            instants,
            events: kinds.is_some() || of(Role::Amount) == 0,
            wide: false,
            values,
        };
        let kinds = kinds.unwrap_or_default().into_iter();
        let numbered = kinds.enumerate().take(u16::MAX.into());
        Ok(Self {
            arguments,
            kinds: numbered.map(|(at, kind)| (kind, at as u16 + 1)).collect(),
            layout,
            values: Vec::with_capacity(values),
        })
    }

    /// The row of a call; `None` where it does not count.
    ///
    /// # Safety
    /// `fcinfo` is a call at the place that this is for.
    unsafe fn read(&mut self, fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<Entry<'_>>> {
        let (mut time, mut day, mut kind) = (0, None, 0);
        self.values.clear();
        for (number, &(role, type_oid)) in self.arguments.iter().enumerate() {
            // SAFETY: as the caller promises; the type is the argument's.
            let datum = unsafe { sql::argument_datum(fcinfo, FIRST + number) };
            match (role, datum) {
                (Role::Time | Role::Day | Role::Amount, None) => return Ok(None),
                (Role::Kind, None) => {}
                (Role::Value, None) => self.values.push(Decimal::default()),
                (Role::Time, Some(datum)) if type_oid == pg_sys::TIMESTAMPTZOID => {
                    time = datum.value() as i64;
                }
                (Role::Time | Role::Day, Some(datum)) => {
                    let found = datum.value() as i32;
                    day = Some(found);
                    if role == Role::Time {
                        time = found.into();
                    }
                }
                (Role::Kind, Some(datum)) => {
                    // SAFETY: a text.
                    let content = unsafe { varlena::content(datum, false) };
                    let found = self.kinds.get(text::from_server(content).as_ref());
                    kind = found.copied().unwrap_or(0);
                }
                (Role::Amount | Role::Value, Some(datum)) => {
                    // SAFETY: a number of that type.
                    match unsafe { exact(datum, type_oid) } {
                        Exact::Number(number) => self.values.push(number),
                        Exact::NotFinite if role == Role::Amount => return Ok(None),
                        Exact::NotFinite => self.values.push(Decimal::default()),
                        Exact::TooLarge => return Err(too_large()),
                    }
                }
            }
        }
        Ok(day.map(|day| Entry {
            time,
            day,
            kind,
            values: &self.values,
        }))
    }
}

impl Role {
    fn reads(self, type_oid: pg_sys::Oid) -> bool {
        match self {
            Self::Time => matches!(type_oid, pg_sys::DATEOID | pg_sys::TIMESTAMPTZOID),
            Self::Day => type_oid == pg_sys::DATEOID,
            Self::Kind => type_oid == pg_sys::TEXTOID,
            Self::Amount | Self::Value => is_number(type_oid),
        }
    }
}

/// Whether [`exact`] reads values of a type.
pub fn is_number(type_oid: pg_sys::Oid) -> bool {
    matches!(
        type_oid,
        pg_sys::NUMERICOID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::FLOAT8OID
    )
}

/// # Safety
/// `datum` is a number of this type.
#[inline]
pub unsafe fn exact(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Exact {
    let whole = |number: i64| Exact::from(Decimal::new(number.into(), 0));
    match type_oid {
        pg_sys::NUMERICOID => {
            // SAFETY: as the caller promises.
            numeric::to_exact(unsafe { varlena::content(datum, false) })
        }
        pg_sys::INT2OID => whole((datum.value() as i16).into()),
        pg_sys::INT4OID => whole((datum.value() as i32).into()),
        pg_sys::INT8OID => whole(datum.value() as i64),
        pg_sys::FLOAT4OID => {
            let number = f32::from_bits(datum.value() as u32);
            match number.is_finite() {
                true => Decimal::of_f32(number).into(),
                false => Exact::NotFinite,
            }
        }
        _ => {
            let number = f64::from_bits(datum.value() as u64);
            match number.is_finite() {
                true => Decimal::of_f64(number).into(),
                false => Exact::NotFinite,
            }
        }
    }
}

/// A log in memory of PostgreSQL's. Its words know how many they are.
#[derive(Clone, Copy)]
struct State(*mut u8);

impl State {
    /// Room for so many words in the current memory context.
    fn allocate(words: usize) -> Self {
        // SAFETY: PostgreSQL's allocator raises an error where it has no memory; the room is written before it is read.
        let state = Self(unsafe { pg_sys::palloc0(PREFIX + 8 * words) }.cast());
        state.set_entries(0);
        state
    }

    fn empty(layout: Layout, words: usize) -> Self {
        let room = words.max(layout.head() + layout.stride());
        let state = Self::allocate(room);
        // SAFETY: just allocated, of so many words.
        let slice = unsafe { std::slice::from_raw_parts_mut(state.0.add(PREFIX).cast(), room) };
        Log::empty(slice, layout);
        state.set_room(room);
        state
    }

    fn of(datum: pg_sys::Datum) -> Self {
        Self(datum.cast_mut_ptr())
    }

    fn datum(self) -> pg_sys::Datum {
        self.0.into()
    }

    fn entries(self) -> usize {
        // SAFETY: in the prefix.
        unsafe { self.0.add(4).cast::<u32>().read() as usize }
    }

    fn set_entries(self, entries: usize) {
        // SAFETY: in the prefix.
        unsafe { self.0.add(4).cast::<u32>().write(entries as u32) };
    }

    /// Words allocated.
    fn room(self) -> usize {
        // SAFETY: the second word.
        unsafe { self.0.add(PREFIX + 8).cast::<i64>().read() as usize }
    }

    fn set_room(self, words: usize) {
        // SAFETY: the second word.
        unsafe { self.0.add(PREFIX + 8).cast::<i64>().write(words as i64) };
    }

    fn log<'a>(self) -> Log<'a> {
        // SAFETY: aligned, of so many words, and nobody else's while an aggregate's function runs.
        let words = unsafe {
            std::slice::from_raw_parts_mut(self.0.add(PREFIX).cast::<i64>(), self.room())
        };
        Log::of(words, self.entries())
    }

    /// Where the log lies that has room for so many words more.
    fn grown(self, more: usize) -> Result<Self> {
        let mut log = self.log();
        let room = self.room();
        if room >= LARGE {
            log.settle();
            self.set_entries(log.entries());
            if log.used() + more <= room && log.used() < room - room / 4 {
                return Ok(self);
            }
        }
        let wanted = (log.used() + more).max(2 * room + 1).min(MOST_WORDS);
        if log.used() + more > wanted {
            return Err(too_many());
        }
        // SAFETY: allocated by palloc.
        let state = Self(unsafe { pg_sys::repalloc(self.0.cast(), PREFIX + 8 * wanted) }.cast());
        state.set_room(wanted);
        Ok(state)
    }

    /// The same with two words for each value, in the current memory context.
    fn widened(self, more: usize) -> Result<Self> {
        let log = self.log();
        let layout = Layout {
            wide: true,
            ..log.layout()
        };
        let words = layout.head() + log.entries() * layout.stride() + more;
        if words > MOST_WORDS {
            return Err(too_many());
        }
        let state = Self::empty(layout, words);
        let mut target = state.log();
        log.widen(&mut target);
        state.set_entries(target.entries());
        // SAFETY: allocated by palloc, and not used any more.
        unsafe { pg_sys::pfree(self.0.cast()) };
        Ok(state)
    }

    /// As a bytea that depends on nothing but what was added.
    fn into_bytea(self) -> pg_sys::Datum {
        let mut log = self.log();
        log.settle();
        self.set_entries(log.entries());
        let bytes = PREFIX + 8 * log.used();
        self.set_room(0);
        // SAFETY: the header of a varlena of so many bytes, which were allocated.
        unsafe { pgrx::set_varsize_4b(self.0.cast(), bytes as i32) };
        self.datum()
    }
}

/// `ltv.collect_add(state, roles, kinds, VARIADIC "any")`.
fn add(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    scratch::reset();
    // SAFETY: a call of an aggregate's transition function; `fn_extra` is ours.
    let (state, row, layout) = unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            (*flinfo).fn_extra = PgMemoryContexts::For((*flinfo).fn_mcxt)
                .leak_and_drop_on_delete(Reader::of(fcinfo)?)
                .cast();
        }
        let reader = &mut *(*flinfo).fn_extra.cast::<Reader>();
        let layout = reader.layout;
        let state = sql::argument_datum(fcinfo, 0);
        (state, reader.read(fcinfo)?, layout)
    };
    let Some(entry) = row else {
        // SAFETY: a valid call info.
        return Ok(unsafe { sql::result(fcinfo, state) });
    };
    let mut state = match state {
        Some(state) => State::of(state),
        None => in_aggregate(fcinfo, || Ok(State::empty(layout, FIRST_WORDS)))?,
    };
    loop {
        let mut log = state.log();
        match log.push(&entry) {
            Push::Done => {
                state.set_entries(log.entries());
                return Ok(state.datum());
            }
            Push::Full => {
                let more = log.layout().stride();
                state = in_aggregate(fcinfo, || state.grown(more))?;
            }
            Push::TooWide if log.layout().wide => return Err(too_large()),
            Push::TooWide => {
                let more = 2 * log.layout().stride();
                state = in_aggregate(fcinfo, || state.widened(more))?;
            }
        }
    }
}

/// `ltv.collect_combine(state, other)`.
fn combine(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (internal, internal).
    let (state, other) = unsafe {
        (
            sql::argument_datum(fcinfo, 0),
            sql::argument_datum(fcinfo, 1),
        )
    };
    let Some(other) = other else {
        // SAFETY: a valid call info.
        return Ok(unsafe { sql::result(fcinfo, state) });
    };
    let other = State::of(other).log();
    let mut state = match state {
        Some(state) => State::of(state),
        None => in_aggregate(fcinfo, || Ok(State::empty(other.layout(), other.used())))?,
    };
    loop {
        let mut log = state.log();
        let more = other.entries() * log.layout().stride();
        match log.append(&other) {
            Push::Done => {
                state.set_entries(log.entries());
                return Ok(state.datum());
            }
            Push::Full => state = in_aggregate(fcinfo, || state.grown(more))?,
            Push::TooWide if log.layout().wide => return Err(too_large()),
            Push::TooWide => state = in_aggregate(fcinfo, || state.widened(2 * more))?,
        }
    }
}

/// `ltv.collect_save(state)`: never called without one.
fn save(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    finish(fcinfo)
}

/// `ltv.collect_load(bytea, internal)`, strict.
fn load(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: what `save` made.
    let saved = unsafe { sql::argument_datum(fcinfo, 0).map(|datum| varlena::detoasted(datum)) };
    let saved = saved.unwrap_or_default();
    let (Some(count), Some(words)) = (saved.first_chunk::<4>(), saved.get(4..)) else {
        return Err(unexpected("a saved log is too short"));
    };
    let state = State::allocate(words.len() / 8);
    // SAFETY: so many bytes were allocated.
    unsafe {
        std::ptr::copy_nonoverlapping(words.as_ptr(), state.0.add(PREFIX), words.len() / 8 * 8);
    }
    state.set_room(words.len() / 8);
    state.set_entries(u32::from_ne_bytes(*count) as usize);
    Ok(state.datum())
}

/// `ltv.collect_final(state)`.
fn finish(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as (internal).
    let state = unsafe { sql::argument_datum(fcinfo, 0) };
    let log = state.map(|state| State::of(state).into_bytea());
    // SAFETY: a valid call info; declared to return bytea.
    Ok(unsafe { sql::result(fcinfo, log) })
}

/// Runs `body` with the memory of the aggregate as the current one.
fn in_aggregate<T>(
    fcinfo: pg_sys::FunctionCallInfo,
    body: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut context = std::ptr::null_mut();
    // SAFETY: a valid call info; the context before is put back, by PostgreSQL where there is an error.
    unsafe {
        if pg_sys::AggCheckCallContext(fcinfo, &raw mut context) == 0 {
            return Err(unexpected("ltv.collect was called outside of an aggregate"));
        }
        let previous = pg_sys::MemoryContextSwitchTo(context);
        let result = body();
        pg_sys::MemoryContextSwitchTo(previous);
        result
    }
}

fn wrong_roles() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        "ltv.collect cannot read these arguments",
    )
    .detail("The first one names the roles of those after the kinds: t time, d day, k kind, v amount, x value.")
    .hint("It is meant for the statements of pg_ltv.")
}

fn wrong_type(type_oid: pg_sys::Oid) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
        format!(
            "ltv.collect cannot read values of type {}",
            text::type_name(type_oid)
        ),
    )
    .hint("Cast times to date or timestamptz, kinds to text, and amounts to numeric.")
}

pub fn too_large() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        "an amount is too large",
    )
    .detail("Amounts, and what those of a customer add up to, may have 20 digits before the decimal point.")
    .hint("Leave amounts that cannot be out, for example with WHERE in a query.")
}

fn too_many() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        "a customer has too many rows",
    )
    .detail("The log of a customer may take 1 GB, about 60 million orders.")
    .hint("Leave out the id that stands for many customers, such as that of guests, for example with WHERE in a query.")
}
