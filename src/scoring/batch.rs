//! Reusable input and output buffers of one scan or call site.

use super::binding::Binding;
use super::offload::end_session;
use super::result_type::ResultType;
use super::rows::{Column, Rows, pack_sequence};
use super::session::Outcome;
use super::tensor::Tensor;
use super::{Model, Output, memory, state};
use crate::error::{Report, Result};
use crate::value::{float8_array, scratch};
use ltv_core::objective::horizons::interpolate;
use ltv_core::objective::quantile;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ops::Range;
use std::rc::Rc;

/// Rows on their way through one model.
pub struct Batch {
    // Tensors over the buffers below, hence dropped before them.
    inputs: Vec<Tensor>,
    results: Vec<Tensor>,
    /// What `inputs` and `results` were made for: address and rows of each buffer.
    shape: Vec<(usize, usize)>,
    rows: Rows,
    outputs: Vec<Vec<f32>>,
    /// A run writes outputs that are a column into the buffers above; otherwise it brings its own.
    fills_buffers: bool,
    /// Rows of the last run.
    done: usize,
    /// The types of [`Output::All`] and [`Output::State`], once they were asked for.
    prediction: Option<ResultType<7>>,
    state: Option<ResultType<4>>,
    model: Rc<Model>,
}

impl Batch {
    pub fn new(model: Rc<Model>) -> Self {
        let tensors = model.graph.tensors.iter();
        let columns = tensors.map(|kind| Column::new(*kind)).collect();
        let outputs = vec![Vec::new(); model.graph.session.outputs.len()];
        Self {
            fills_buffers: model.graph.fills_buffers.get(),
            model,
            rows: Rows { columns, count: 0 },
            outputs,
            done: 0,
            inputs: Vec::new(),
            results: Vec::new(),
            shape: Vec::new(),
            prediction: None,
            state: None,
        }
    }

    pub fn model(&self) -> &Rc<Model> {
        &self.model
    }

    /// Rows pushed.
    pub fn len(&self) -> usize {
        self.rows.count
    }

    /// Forgets the row pushed last.
    pub fn take_back(&mut self) {
        self.rows.count = self.rows.count.saturating_sub(1);
        self.rows.discard();
    }

    /// From 0 to 1, by the features of the row pushed last, as the model reads them.
    pub fn last_position(&self) -> f64 {
        self.rows.last_position()
    }

    /// Forgets all rows, keeps all memory.
    pub fn clear(&mut self) {
        self.rows.count = 0;
        self.rows.discard();
        self.done = 0;
    }

    /// Appends the row that `datum` is: array, composite or jsonb, whatever `binding` was made for.
    /// If it fails (wrong length, unreadable text) the batch is as before. Nothing of `datum` is kept.
    ///
    /// # Safety
    /// `datum` is a value, not NULL, of the type that `binding` was made for.
    pub unsafe fn push_datum(&mut self, binding: &mut Binding, datum: pg_sys::Datum) -> Result<()> {
        // SAFETY: as the caller promises.
        if unsafe { binding.append_datum(&mut self.rows, datum) } {
            return Ok(());
        }
        // SAFETY: as the caller promises.
        self.push(|model, rows| unsafe { binding.write_datum(model, rows, datum) })
    }

    /// Appends a row from deformed columns, for a binding made by [`Binding::for_columns`]: attribute n is `values[n - 1]`. Attributes up to [`Binding::last_attribute`] must
    /// be there.
    ///
    /// # Safety
    /// `values` and `nulls` hold a row of the columns that `binding` was made for.
    pub unsafe fn push_columns(
        &mut self,
        binding: &mut Binding,
        values: &[pg_sys::Datum],
        nulls: &[bool],
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        self.push(|model, rows| unsafe { binding.write_columns(model, rows, values, nulls) })
    }

    /// Appends a row of small numbers, the same for the same `seed`, to try a graph with.
    pub fn push_example(&mut self, seed: usize) -> Result<()> {
        self.rows.discard();
        self.rows.start(&self.model.graph)?;
        for column in &mut self.rows.columns {
            match column {
                Column::Float { width, data } => {
                    let start = data.len() - *width;
                    data[start..].fill(seed as f32);
                }
                Column::Sequence {
                    channels,
                    data,
                    ends,
                    ..
                } => {
                    memory::resize(data, data.len().saturating_add(*channels), seed as f32)?;
                    if let Some(end) = ends.last_mut() {
                        *end = data.len();
                    }
                }
                Column::Category { .. } | Column::Text { .. } => {}
            }
        }
        self.rows.finish();
        Ok(())
    }

    fn push(&mut self, write: impl FnOnce(&Model, &mut Rows) -> Result<()>) -> Result<()> {
        scratch::reset();
        // An error that PostgreSQL raised while an earlier row was read may have left half of it here.
        self.rows.discard();
        self.rows.start(&self.model.graph)?;
        match write(&self.model, &mut self.rows) {
            Ok(()) => {
                self.rows.finish();
                Ok(())
            }
            Err(error) => {
                self.rows.discard();
                Err(error)
            }
        }
    }

    /// One inference over all rows. Checks for interrupts first.
    pub fn run(&mut self) -> Result<()> {
        pgrx::check_for_interrupts!();
        let count = self.rows.count;
        self.done = 0;
        if count == 0 {
            return Ok(());
        }
        for output in &mut self.outputs {
            memory::resize(output, count, 0.0)?;
        }
        let mut first = 0;
        while first < count {
            let last = self.rows.chunk(first);
            self.run_rows(first..last)?;
            first = last;
        }
        self.done = count;
        Ok(())
    }

    fn run_rows(&mut self, rows: Range<usize>) -> Result<()> {
        let mut size = rows.len();
        for column in &mut self.rows.columns {
            pack_sequence(column, rows.clone())?;
            if let Column::Sequence { packed, .. } = column {
                size = size.saturating_add(packed.len());
            }
        }
        self.make_tensors(&rows)?;
        let outcome = match self.infer(size) {
            // Perhaps an output is not of the shape that the graph declares, as with those of CatBoost.
            Err(_) if self.fills_buffers => {
                self.fills_buffers = false;
                self.shape.clear();
                self.make_tensors(&rows)?;
                let again = self.infer(size);
                self.model.graph.fills_buffers.set(again.is_err());
                again
            }
            outcome => outcome,
        };
        match outcome? {
            Outcome::Done => {}
            Outcome::Stuck => self.abandon(),
        }
        for ((result, output), port) in self
            .results
            .iter_mut()
            .zip(&mut self.outputs)
            .zip(&self.model.graph.session.outputs)
        {
            if !(self.fills_buffers && port.is_column()) {
                let values = std::mem::replace(result, Tensor::none());
                let values = values.floats()?;
                if values.len() != rows.len() {
                    return Err(wrong_output(
                        &self.model,
                        &port.name,
                        values.len(),
                        rows.len(),
                    ));
                }
                output[rows.clone()].copy_from_slice(values);
            }
        }
        if self.model.graph.copied {
            self.forget_missing(&rows);
        }
        Ok(())
    }

    fn infer(&mut self, size: usize) -> Result<Outcome> {
        let session = &self.model.graph.session;
        session.run(&self.inputs, &mut self.results, size)
    }

    /// Rows that lack a whole number have no prediction: there is no such number that says that it is missing.
    fn forget_missing(&mut self, rows: &Range<usize>) {
        let ports = &self.model.graph.session.inputs;
        for (column, port) in self.rows.columns.iter().zip(ports) {
            if port.number().has_missing() {
                continue;
            }
            let Column::Float { width, data } = column else {
                continue;
            };
            for row in rows.clone() {
                if data[row * width..(row + 1) * width]
                    .iter()
                    .any(|x| x.is_nan())
                {
                    for output in &mut self.outputs {
                        output[row] = f32::NAN;
                    }
                }
            }
        }
    }

    /// Leaves everything that an inference uses to it, for ever, and ends the session.
    fn abandon(&mut self) -> ! {
        std::mem::forget(std::mem::take(&mut self.inputs));
        std::mem::forget(std::mem::take(&mut self.results));
        std::mem::forget(std::mem::take(&mut self.rows.columns));
        std::mem::forget(std::mem::take(&mut self.outputs));
        std::mem::forget(Rc::clone(&self.model));
        end_session()
    }

    /// Wraps the buffers of some rows into tensors, unless those of the last run still fit.
    fn make_tensors(&mut self, rows: &Range<usize>) -> Result<()> {
        let count = rows.len();
        let buffers = |columns: &[Column], outputs: &[Vec<f32>]| -> Vec<(usize, usize)> {
            let inputs = columns.iter().map(|column| match column {
                Column::Float { data, width } => {
                    (data[rows.start * width..].as_ptr() as usize, count)
                }
                Column::Category { data } => (data[rows.start..].as_ptr() as usize, count),
                // Never the same twice: strings are copied.
                Column::Text { .. } => (0, usize::MAX),
                Column::Sequence { packed, .. } => (packed.as_ptr() as usize, packed.len()),
            });
            inputs
                .chain(
                    outputs
                        .iter()
                        .map(|o| (o[rows.start..].as_ptr() as usize, count)),
                )
                .collect()
        };
        let shape = buffers(&self.rows.columns, &self.outputs);
        if shape == self.shape && !self.model.graph.copied {
            return Ok(());
        }
        self.shape.clear();
        self.inputs.clear();
        self.results.clear();
        let session = &self.model.graph.session;
        let memory = &session.memory;
        let length = count as i64;
        for (column, port) in self.rows.columns.iter_mut().zip(&session.inputs) {
            // SAFETY: the buffers live as long as `self`; tensors are remade when one has moved or changed size.
            let tensor = unsafe {
                match column {
                    Column::Float { width, data } => {
                        let data = &mut data[rows.start * *width..rows.end * *width];
                        let shape = port.rows_by(length, *width as i64);
                        session.numbers(data, &shape, port.number())?
                    }
                    Column::Category { data } => {
                        Tensor::borrow(memory, &mut data[rows.clone()], &[length, 1])?
                    }
                    Column::Text { data } => {
                        session.strings(&data[rows.clone()], &port.rows_by(length, 1))?
                    }
                    Column::Sequence {
                        channels, packed, ..
                    } => {
                        let steps = packed.len() / count.saturating_mul(*channels).max(1);
                        let shape = [length, steps as i64, *channels as i64];
                        session.numbers(packed, &shape, port.number())?
                    }
                }
            };
            self.inputs.push(tensor);
        }
        for (output, port) in self.outputs.iter_mut().zip(&session.outputs) {
            let output = &mut output[rows.clone()];
            let tensor = match (self.fills_buffers && port.is_column(), port.shape.len()) {
                // SAFETY: as above.
                (true, 1) => unsafe { Tensor::borrow(memory, output, &[length]) }?,
                // SAFETY: as above.
                (true, 2) => unsafe { Tensor::borrow(memory, output, &[length, 1]) }?,
                _ => Tensor::none(),
            };
            self.results.push(tensor);
        }
        self.shape = shape;
        Ok(())
    }

    /// Output `ltv` of the last run, one value per row, if the model has it.
    pub fn ltv(&self) -> Option<&[f32]> {
        self.model.graph.outputs.ltv.map(|index| self.output(index))
    }

    /// The first output of the last run, whatever it is.
    pub fn first_output(&self) -> &[f32] {
        self.output(0)
    }

    /// Output `purchase_probability` of the last run, if the model has it.
    pub fn probability(&self) -> Option<&[f32]> {
        self.model
            .graph
            .outputs
            .purchase_probability
            .map(|index| self.output(index))
    }

    fn output(&self, index: usize) -> &[f32] {
        &self.outputs[index][..self.done]
    }

    /// The quantile at level `q` for one row of the last run; `None` if the model has no distribution.
    pub fn quantile(&self, row: usize, q: f64) -> Option<f64> {
        let (distribution, parameters) = self.model.graph.outputs.distribution?;
        let parameters = parameters.map(|index| f64::from(self.outputs[index][row]));
        Some(quantile(distribution, parameters, q))
    }

    /// The low and the high end of the interval of one row of the last run.
    fn interval(&self, row: usize, coverage: f64) -> Option<[f64; 2]> {
        let (distribution, parameters) = self.model.graph.outputs.distribution?;
        let parameters = parameters.map(|index| f64::from(self.outputs[index][row]));
        let intervals = self.model.graph.schema.intervals.as_ref()?;
        intervals.of(distribution, parameters, self.ltv()?[row], coverage)
    }

    /// The value by the end of each horizon for one row of the last run.
    fn curve(&self, row: usize) -> Vec<f64> {
        let ends = self.model.graph.outputs.horizons.iter();
        ends.map(|&index| f64::from(self.outputs[index][row]))
            .collect()
    }

    /// The column that `output` asks for, where it is one of the graph's as it is.
    pub fn column(&self, output: Output) -> Option<&[f32]> {
        match output {
            Output::Ltv => self.ltv(),
            Output::Probability => self.probability(),
            _ => None,
        }
    }

    /// What `output` is for one row of the last run, as SQL wants it (float8 by value, or a composite allocated
    /// in the current memory context) and whether it is NULL. `argument`: the level of a quantile, days, the coverage of an
    /// interval; `None` for NULL. What [needs no inference](Output::needs_inference) is there without a run.
    pub fn value(
        &mut self,
        output: Output,
        row: usize,
        argument: Option<f64>,
    ) -> Result<(pg_sys::Datum, bool)> {
        self.model.require(output)?;
        self.model.check(output, argument)?;
        // Not a number is no prediction: a model that knows no missing values makes it of them.
        let float = |value: f64| (float8(value), value.is_nan());
        Ok(match output {
            Output::Ltv => float(self.ltv().map_or(f64::NAN, |ltv| f64::from(ltv[row]))),
            Output::Probability => {
                float(self.probability().map_or(f64::NAN, |p| f64::from(p[row])))
            }
            Output::Quantile => match argument {
                None => (pg_sys::Datum::from(0), true),
                Some(q) => float(self.quantile(row, q).unwrap_or(f64::NAN)),
            },
            Output::Horizon => match argument {
                None => (pg_sys::Datum::from(0), true),
                Some(days) => {
                    let horizons = &self.model.graph.schema.horizons;
                    float(interpolate(horizons, &self.curve(row), days))
                }
            },
            Output::Curve => numbers(&self.curve(row)),
            Output::Interval => match argument.and_then(|share| self.interval(row, share)) {
                None => (pg_sys::Datum::from(0), true),
                Some(ends) => numbers(&ends),
            },
            Output::All => (self.composite(row)?, false),
            Output::State => match state::of_row(&self.model, &self.rows, row, argument)? {
                Some(columns) => {
                    let known = &mut self.state;
                    let state = ResultType::known(known, c"customer_state")?;
                    (state.form(columns.map(|column| column.map(float8))), false)
                }
                None => (pg_sys::Datum::from(0), true),
            },
            Output::Churn => {
                let churn = state::churn_of_row(&self.model, &self.rows, row, argument)?;
                (
                    churn.map_or(pg_sys::Datum::from(0), float8),
                    churn.is_none(),
                )
            }
        })
    }

    /// A value of type `ltv.prediction`.
    fn composite(&mut self, row: usize) -> Result<pg_sys::Datum> {
        let outputs = &self.model.graph.outputs;
        let at = |index: Option<usize>| index.map(|i| f64::from(self.outputs[i][row]));
        let columns = [
            at(outputs.ltv),
            at(outputs.purchase_probability),
            at(outputs.whale_probability),
            self.quantile(row, 0.1),
            self.quantile(row, 0.5),
            self.quantile(row, 0.9),
        ];
        let mut values = [Some(pg_sys::Datum::from(self.model.version)); 7];
        for (value, column) in values.iter_mut().zip(columns) {
            *value = column.filter(|value| !value.is_nan()).map(float8);
        }
        let prediction = ResultType::known(&mut self.prediction, c"prediction")?;
        Ok(prediction.form(values))
    }
}

/// An array as SQL takes it, NULL where an element is no number.
fn numbers(values: &[f64]) -> (pg_sys::Datum, bool) {
    match values.iter().any(|value| value.is_nan()) {
        true => (pg_sys::Datum::from(0), true),
        false => (float8_array(values), false),
    }
}

/// A float8 as SQL takes it.
pub fn float8(value: f64) -> pg_sys::Datum {
    pg_sys::Datum::from(value.to_bits())
}

fn wrong_output(model: &Model, name: &str, got: usize, rows: usize) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION,
        format!("model \"{}\" does not return one value per row", model.name),
    )
    .detail(format!(
        "Output \"{name}\" has {got} values for {rows} rows."
    ))
    .hint("Import a graph whose first axis is the batch.")
}
