//! One call: its model, its input, and its results for the rows of the current batch.

use super::input::Input;
use super::raw;
use crate::batch_scan::functions;
use crate::batch_scan::private::Call as Planned;
use crate::batch_scan::tree::{self, Node, iter};
use crate::catalog;
use crate::error::Result;
use crate::scoring::{Lanes, ScoringFunction, float8, version_number};
use crate::value::sql::Sql;
use pgrx::pg_sys::{self, Datum, NodeTag};

pub struct Call {
    function: &'static ScoringFunction,
    pub stage: usize,
    pub guards: Vec<Guard>,
    input: Input,
    model: Option<*mut pg_sys::ExprState>,
    version: Option<*mut pg_sys::ExprState>,
    argument: Option<*mut pg_sys::ExprState>,
    /// The model depends on parameters, which a rescan may change.
    model_varies: bool,
    /// The same for all rows.
    constant: Option<Constant>,
    runner: Option<Lanes>,
    /// There is no model, or it does not fit: to be said by the call itself, when it is evaluated.
    failed: bool,
    pending: Vec<Pending>,
    /// Rows whose input is NULL as a whole, which have no prediction.
    empty: Vec<usize>,
    pub results: Vec<Outcome>,
}

pub struct Guard {
    pub quals: usize,
    pub conditions: *mut pg_sys::ExprState,
}

#[derive(Clone, Copy)]
pub struct Outcome {
    pub value: Datum,
    pub is_null: bool,
    pub done: bool,
}

impl Outcome {
    pub const NONE: Self = Self {
        value: Datum::null(),
        is_null: true,
        done: false,
    };
}

#[derive(Default)]
struct Constant {
    outcome: Option<Outcome>,
}

struct Pending {
    row: usize,
    argument: Option<f64>,
}

impl Call {
    /// `columns`: how many the child has.
    ///
    /// # Safety
    /// `planned` is a call of a plan that `parent` executes, over INDEX_VAR.
    pub unsafe fn new(
        planned: &Planned,
        columns: usize,
        parent: *mut pg_sys::PlanState,
    ) -> Option<Self> {
        // SAFETY: expressions of the plan.
        unsafe {
            let (call, function) = functions::called_by(planned.call)?;
            let args: Vec<*mut Node> = iter((*call).args).collect();
            let compile = |i: usize| args.get(i).map(|a| pg_sys::ExecInitExpr(a.cast(), parent));
            let input = *args.get(function.input)?;
            let models = [function.model, function.version];
            let varies = |i: usize| {
                let arg = args.get(i).copied().unwrap_or(std::ptr::null_mut());
                tree::any(arg, |n| tree::tag(n) == NodeTag::T_Param)
            };
            let has_columns = tree::any(planned.call, |n| tree::tag(n) == NodeTag::T_Var);
            Some(Self {
                function,
                stage: planned.stage,
                guards: planned
                    .guards
                    .iter()
                    .map(|g| Guard {
                        quals: g.quals,
                        conditions: pg_sys::ExecInitQual(
                            tree::list(g.conditions.iter().copied()),
                            parent,
                        ),
                    })
                    .collect(),
                input: Input::new(input, columns, parent),
                model: function.model.and_then(compile),
                version: function.version.and_then(compile),
                argument: function.argument.and_then(compile),
                model_varies: models.into_iter().flatten().any(varies),
                constant: (!has_columns && !tree::has_subplan(planned.call))
                    .then(Constant::default),
                runner: None,
                failed: false,
                pending: Vec::new(),
                empty: Vec::new(),
                results: Vec::new(),
            })
        }
    }

    /// What it was computed with, if it was.
    pub fn used(&self) -> Option<&Lanes> {
        self.runner.as_ref()
    }

    pub fn rescan(&mut self) {
        self.failed = false;
        self.constant = self.constant.take().map(|_| Constant::default());
        if self.model_varies {
            self.runner = None;
        }
    }

    pub fn clear(&mut self) {
        self.pending.clear();
        self.empty.clear();
        self.results.clear();
        if let Some(runner) = &mut self.runner {
            runner.clear();
        }
    }

    /// Takes the input of a row, which is in `slot` and, as far as expressions read it, in `econtext`; whether it
    /// could.
    ///
    /// # Safety
    /// `slot` has the columns that the call was compiled for; see [`raw`].
    pub unsafe fn push(
        &mut self,
        row: usize,
        slot: &pg_sys::TupleTableSlot,
        econtext: *mut pg_sys::ExprContext,
    ) -> bool {
        if let Some(constant) = &self.constant
            && constant.outcome.is_some()
        {
            self.pending.push(Pending {
                row,
                argument: None,
            });
            return true;
        }
        // SAFETY: passed on.
        unsafe {
            if self.runner.is_none() {
                if self.failed {
                    return false;
                }
                self.prepare(econtext);
            }
            let argument = self.argument.map(|state| raw::evaluate(state, econtext));
            let argument = argument.and_then(|(value, is_null)| {
                (!is_null).then(|| f64::from_bits(value.value() as u64))
            });
            let Some(runner) = &mut self.runner else {
                return false;
            };
            if argument.is_some() && !runner.takes(self.function.output, argument) {
                return false;
            }
            match push(runner, &mut self.input, slot, econtext) {
                Some(true) => self.pending.push(Pending { row, argument }),
                Some(false) => self.empty.push(row),
                None => return false,
            }
            true
        }
    }

    /// Finds the model and how the input fits it.
    unsafe fn prepare(&mut self, econtext: *mut pg_sys::ExprContext) {
        // SAFETY: expressions compiled for `econtext`.
        let (model, version) = unsafe {
            (
                self.model.map(|state| raw::evaluate(state, econtext)),
                self.version.map(|state| raw::evaluate(state, econtext)),
            )
        };
        // From here on errors are panics, and values may have destructors.
        let prepared = match (model, version) {
            // The function itself knows what a NULL means.
            (Some((_, true)), _) | (_, Some((_, true))) => None,
            (model, version) => match version.map(|(value, _)| version_number(value)) {
                Some(None) => None,
                version => {
                    // SAFETY: the model is a text.
                    let name = model.and_then(|(value, _)| unsafe { String::of_datum(value) }.ok());
                    self.runner_for(name.as_deref(), version.flatten()).ok()
                }
            },
        };
        self.failed = prepared.is_none();
        self.runner = prepared;
    }

    fn runner_for(&self, name: Option<&str>, version: Option<i32>) -> Result<Lanes> {
        let versions = catalog::resolve(name, version)?;
        self.input.lanes(versions, self.function.output)
    }

    /// One inference for all rows that were pushed; how many there were. By-reference results go to `context`, of a
    /// call that is the same for all rows to `scan_context`.
    pub fn infer(
        &mut self,
        rows: usize,
        context: pg_sys::MemoryContext,
        scan_context: pg_sys::MemoryContext,
    ) -> Result<usize> {
        self.results.resize(rows, Outcome::NONE);
        for row in self.empty.drain(..) {
            self.results[row].done = true;
        }
        if self.pending.is_empty() {
            return Ok(0);
        }
        if self.constant.is_some() {
            return self.infer_constant(scan_context);
        }
        let Some(runner) = &mut self.runner else {
            return Ok(0);
        };
        runner.run()?;
        if let Some(column) = runner.column(self.function.output) {
            for (pending, value) in self.pending.iter().zip(column) {
                self.results[pending.row] = Outcome {
                    value: float8(f64::from(*value)),
                    is_null: value.is_nan(),
                    done: true,
                };
            }
            return Ok(self.pending.len());
        }
        let _switched = Switched::to(context);
        for (i, pending) in self.pending.iter().enumerate() {
            let (value, is_null) = runner.value(self.function.output, i, pending.argument)?;
            self.results[pending.row] = Outcome {
                value,
                is_null,
                done: true,
            };
        }
        Ok(self.pending.len())
    }

    fn infer_constant(&mut self, context: pg_sys::MemoryContext) -> Result<usize> {
        let (Some(constant), Some(runner)) = (&mut self.constant, &mut self.runner) else {
            return Ok(0);
        };
        let mut inferred = 0;
        let outcome = match constant.outcome {
            Some(outcome) => outcome,
            None => {
                inferred = 1;
                runner.run()?;
                let _switched = Switched::to(context);
                let argument = self.pending[0].argument;
                let (value, is_null) = runner.value(self.function.output, 0, argument)?;
                Outcome {
                    value,
                    is_null,
                    done: true,
                }
            }
        };
        constant.outcome = Some(outcome);
        for pending in &self.pending {
            self.results[pending.row] = outcome;
        }
        Ok(inferred)
    }
}

/// Whether there is a row, or NULL in place of one; `None`: it cannot be taken.
unsafe fn push(
    lanes: &mut Lanes,
    input: &mut Input,
    slot: &pg_sys::TupleTableSlot,
    econtext: *mut pg_sys::ExprContext,
) -> Option<bool> {
    // SAFETY: the lanes were made for this input; the slot has its columns.
    let pushed = unsafe {
        match input {
            Input::Column { index, .. } => {
                if *slot.tts_isnull.add(*index) {
                    return Some(false);
                }
                lanes.push_datum(*slot.tts_values.add(*index))
            }
            Input::Slot(_) => {
                let length = lanes.last_attribute() as usize;
                let values = std::slice::from_raw_parts(slot.tts_values, length);
                let nulls = std::slice::from_raw_parts(slot.tts_isnull, length);
                lanes.push_columns(values, nulls)
            }
            Input::Row {
                states,
                values,
                nulls,
                ..
            } => {
                for (i, state) in states.iter().enumerate() {
                    (values[i], nulls[i]) = raw::evaluate(*state, econtext);
                }
                lanes.push_columns(values, nulls)
            }
            Input::Value { state, .. } => {
                let (value, is_null) = raw::evaluate(*state, econtext);
                if is_null {
                    return Some(false);
                }
                lanes.push_datum(value)
            }
        }
    };
    pushed.ok().map(|()| true)
}

/// The current memory context, until dropped.
struct Switched(pg_sys::MemoryContext);

impl Switched {
    fn to(context: pg_sys::MemoryContext) -> Self {
        // SAFETY: a live context.
        Self(unsafe { pg_sys::MemoryContextSwitchTo(context) })
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        // SAFETY: it was current before.
        unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
    }
}
