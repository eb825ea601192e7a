//! Reusable input and output buffers of one scan or call site.

use super::binding::Binding;
use super::prediction_type::PredictionType;
use super::rows::{Column, Rows, pack_sequence};
use super::session::Tensor;
use super::{Model, Output, scratch};
use crate::error::{Report, Result};
use ltv_core::objective::quantile;
use pgrx::pg_sys;
use pgrx::prelude::*;
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
    /// Rows of the last run.
    done: usize,
    /// The type of [`Output::All`], once it was asked for.
    composite: Option<PredictionType>,
    model: Rc<Model>,
}

impl Batch {
    /// `capacity`: rows to reserve room for; it grows by itself.
    pub fn new(model: Rc<Model>, capacity: usize) -> Result<Self> {
        let columns = model
            .graph
            .tensors
            .iter()
            .map(|kind| Column::new(*kind, capacity))
            .collect();
        let outputs = vec![Vec::with_capacity(capacity); model.graph.session.outputs.len()];
        Ok(Self {
            model,
            rows: Rows { columns, count: 0 },
            outputs,
            done: 0,
            inputs: Vec::new(),
            results: Vec::new(),
            shape: Vec::new(),
            composite: None,
        })
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
    /// `datum` is a value of the type that `binding` was made for.
    pub unsafe fn push_datum(
        &mut self,
        binding: &mut Binding,
        datum: pg_sys::Datum,
        is_null: bool,
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        if !is_null && unsafe { binding.append_datum(&mut self.rows, datum) } {
            return Ok(());
        }
        self.push(|model, rows| {
            if is_null {
                return Ok(());
            }
            // SAFETY: as the caller promises.
            unsafe { binding.write_datum(model, rows, datum) }
        })
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
    pub fn push_example(&mut self, seed: usize) {
        self.rows.discard();
        self.rows.start(&self.model.graph);
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
                    data.resize(data.len() + *channels, seed as f32);
                    if let Some(end) = ends.last_mut() {
                        *end = data.len();
                    }
                }
                Column::Category { .. } | Column::Text { .. } => {}
            }
        }
        self.rows.finish();
    }

    fn push(&mut self, write: impl FnOnce(&Model, &mut Rows) -> Result<()>) -> Result<()> {
        scratch::reset();
        // An error that PostgreSQL raised while an earlier row was read may have left half of it here.
        self.rows.discard();
        self.rows.start(&self.model.graph);
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
            output.resize(count, 0.0);
        }
        for column in &mut self.rows.columns {
            pack_sequence(column, count);
        }
        self.make_tensors()?;
        let session = &self.model.graph.session;
        session.run(&self.inputs, &mut self.results)?;
        for ((result, output), port) in self
            .results
            .iter_mut()
            .zip(&mut self.outputs)
            .zip(&session.outputs)
        {
            if !port.is_column() {
                let values = std::mem::replace(result, Tensor::none());
                let values = values.floats()?;
                if values.len() != count {
                    return Err(wrong_output(&self.model, &port.name, values.len(), count));
                }
                output.copy_from_slice(values);
            }
        }
        self.done = count;
        Ok(())
    }

    /// Wraps the buffers into tensors, unless those of the last run still fit.
    fn make_tensors(&mut self) -> Result<()> {
        let count = self.rows.count;
        let buffers = |columns: &[Column], outputs: &[Vec<f32>]| -> Vec<(usize, usize)> {
            let inputs = columns.iter().map(|column| match column {
                Column::Float { data, .. } => (data.as_ptr() as usize, count),
                Column::Category { data } => (data.as_ptr() as usize, count),
                // Never the same twice: strings are copied.
                Column::Text { .. } => (0, usize::MAX),
                Column::Sequence { packed, .. } => (packed.as_ptr() as usize, packed.len()),
            });
            inputs
                .chain(outputs.iter().map(|o| (o.as_ptr() as usize, count)))
                .collect()
        };
        let has_text = self
            .rows
            .columns
            .iter()
            .any(|c| matches!(c, Column::Text { .. }));
        let shape = buffers(&self.rows.columns, &self.outputs);
        if shape == self.shape && !has_text {
            return Ok(());
        }
        self.shape.clear();
        self.inputs.clear();
        self.results.clear();
        let session = &self.model.graph.session;
        let rows = count as i64;
        for column in &mut self.rows.columns {
            // SAFETY: the buffers live as long as `self`; tensors are remade when one has moved or changed size.
            let tensor = unsafe {
                match column {
                    Column::Float { width, data } => session.borrow(data, &[rows, *width as i64]),
                    Column::Category { data } => session.borrow(data, &[rows, 1]),
                    Column::Text { data } => session.strings(data, &[rows, 1]),
                    Column::Sequence {
                        channels, packed, ..
                    } => {
                        let channels = *channels as i64;
                        let steps = packed.len() as i64 / (rows * channels).max(1);
                        session.borrow(packed, &[rows, steps, channels])
                    }
                }
            }?;
            self.inputs.push(tensor);
        }
        for (output, port) in self.outputs.iter_mut().zip(&session.outputs) {
            let tensor = match port.shape.len() {
                // SAFETY: as above.
                1 if port.is_column() => unsafe { session.borrow(output, &[rows]) }?,
                // SAFETY: as above.
                2 if port.is_column() => unsafe { session.borrow(output, &[rows, 1]) }?,
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

    /// The column that `output` asks for, where it is one of the graph's as it is.
    pub fn column(&self, output: Output) -> Option<&[f32]> {
        match output {
            Output::Ltv => self.ltv(),
            Output::Probability => self.probability(),
            Output::Quantile | Output::All => None,
        }
    }

    /// What `output` is for one row of the last run, as SQL wants it (float8 by value, or a composite allocated
    /// in the current memory context) and whether it is NULL. `q`: the level of a quantile, `None` for NULL.
    pub fn value(
        &mut self,
        output: Output,
        row: usize,
        q: Option<f64>,
    ) -> Result<(pg_sys::Datum, bool)> {
        let float = |value: f32| (float8(f64::from(value)), false);
        Ok(match output {
            Output::Ltv => {
                self.model.require(output)?;
                float(self.ltv().map_or(f32::NAN, |ltv| ltv[row]))
            }
            Output::Probability => {
                self.model.require(output)?;
                float(self.probability().map_or(f32::NAN, |p| p[row]))
            }
            Output::Quantile => {
                self.model.require(output)?;
                match q {
                    None => (pg_sys::Datum::from(0), true),
                    Some(q) if (0.0..=1.0).contains(&q) => {
                        (float8(self.quantile(row, q).unwrap_or(f64::NAN)), false)
                    }
                    Some(q) => return Err(wrong_level(q)),
                }
            }
            Output::All => (self.composite(row)?, false),
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
        let mut values = [pg_sys::Datum::from(self.model.version); PredictionType::COLUMNS];
        let mut nulls = [false; PredictionType::COLUMNS];
        for (i, column) in columns.into_iter().enumerate() {
            values[i] = column.map_or(pg_sys::Datum::from(0), float8);
            nulls[i] = column.is_none();
        }
        let composite = match &mut self.composite {
            Some(composite) => composite,
            unknown => unknown.insert(PredictionType::find()?),
        };
        Ok(composite.form(values, nulls))
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

fn wrong_level(q: f64) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("quantile level {q} is out of range"),
    )
    .detail("A level is a number from 0 to 1.")
    .hint("For the 90 % quantile write 0.9.")
}
