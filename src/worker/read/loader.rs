//! One row after the other -> the trainer's table, and what can be wrong with the rows.

use super::column::{Column, Kind, Row};
use super::error::ReadError;
use super::plan::Columns;
use super::spill::Spill;
use super::values::{hash, kind, read_array};
use super::{Data, session};
use crate::error::Result;
use crate::value::{Scalar, scratch};
use crate::worker::memory;
use ltv_core::data::{Sample, Split, TrainingTable};
use ltv_core::recipe::Recipe;
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::networks;
use pgrx::pg_sys;
use std::collections::HashSet;

/// Fewer rows than this cannot be split into something to learn from and something to judge by.
const FEWEST_ROWS: usize = 10;

/// With more cut-offs than this, each customer has one of their own: so many days after the start. They are no days on which all
/// customers are seen, which is what training takes cut-offs for.
const MOST_CUT_OFFS: usize = 100;

/// Rows kept back until each array column has had a value that tells its shape.
const MOST_WAITING: usize = 100_000;

/// Rows between two looks at the memory.
const ROWS_AT_ONCE: usize = 8192;

/// What the process takes without any rows.
const PROCESS_BYTES: usize = 24 << 20;

/// Rows between two reports of the progress.
const REPORT_EVERY: u64 = 100_000;

pub struct Loader<'a> {
    columns: &'a Columns,
    recipe: &'a Recipe,
    memory_limit: usize,
    /// `None` until the shapes of all arrays are known.
    table: Option<TrainingTable>,
    kinds: Vec<Option<ColumnKind>>,
    waiting: Vec<pg_sys::HeapTuple>,
    /// Which features had a value in some row.
    seen: Vec<bool>,
    numbers: Vec<f32>,
    text: String,
    /// What the customer of the row at hand spent up to the end of each horizon.
    spent: Vec<f64>,
    /// A hash of the id of each row in the table.
    keys: Vec<u64>,
    /// What decides how long each row in the table stays.
    lots: Vec<u8>,
    sample: Sample,
    /// Where the rows go once they have become too many.
    spill: Option<Spill>,
    /// The most rows that the table is to hold before somebody looks how large it is.
    room: usize,
    rows: u64,
    /// Which row is being added, counted from 1: those that waited come before the one that they waited for.
    number: u64,
    unlabelled: u64,
    lowest: f64,
    highest: f64,
    /// As bits, and not more than one more than [`MOST_CUT_OFFS`].
    cut_offs: HashSet<u32>,
}

impl<'a> Loader<'a> {
    pub fn new(columns: &'a Columns, recipe: &'a Recipe, memory_limit: usize) -> Self {
        let kinds = columns.features.iter().map(kind).collect();
        Self {
            columns,
            recipe,
            memory_limit,
            table: None,
            kinds,
            waiting: Vec::new(),
            seen: vec![false; columns.features.len()],
            numbers: Vec::new(),
            text: String::new(),
            spent: Vec::new(),
            keys: Vec::new(),
            lots: Vec::new(),
            sample: Sample::new(recipe.options.max_rows),
            spill: None,
            room: ROWS_AT_ONCE,
            rows: 0,
            number: 0,
            unlabelled: 0,
            lowest: f64::INFINITY,
            highest: f64::NEG_INFINITY,
            cut_offs: HashSet::new(),
        }
    }

    pub fn take(&mut self, row: Row, slot: *mut pg_sys::TupleTableSlot) -> Result<()> {
        self.rows += 1;
        if self.rows.is_multiple_of(REPORT_EVERY) {
            session::report_rows(self.rows);
        }
        if self.table.is_none() {
            self.find_shapes(row);
            if !self.kinds.iter().all(Option::is_some) {
                if self.waiting.len() == MOST_WAITING {
                    return self.no_shape();
                }
                // SAFETY: a copy, made by the slot's own descriptor, in the context of the query, which outlives it.
                self.waiting.push(unsafe {
                    pg_sys::heap_form_tuple(
                        (*slot).tts_tupleDescriptor,
                        row.values.as_ptr().cast_mut(),
                        row.nulls.as_ptr().cast_mut(),
                    )
                });
                return Ok(());
            }
            self.make_table()?;
            // SAFETY: the slot's descriptor fits the copies made from it.
            self.add_waiting(unsafe { (*slot).tts_tupleDescriptor })?;
        }
        self.number = self.rows;
        self.add(row)
    }

    fn no_shape(&self) -> Result<()> {
        let unknown = self
            .columns
            .features
            .iter()
            .zip(&self.kinds)
            .find(|(_, kind)| kind.is_none());
        let name = unknown.map_or("", |(feature, _)| feature.column.name.as_str());
        Err(ReadError::EmptyColumn {
            name: name.to_owned(),
            looked_at: Some(MOST_WAITING),
        }
        .into())
    }

    fn find_shapes(&mut self, row: Row) {
        for (feature, kind) in self.columns.features.iter().zip(&mut self.kinds) {
            if kind.is_some() {
                continue;
            }
            if let Some(datum) = row.get(&feature.column)
                && let Kind::Array(reader) = feature.column.kind
            {
                scratch::reset();
                // SAFETY: of the type that the query's descriptor gives it.
                *kind = match *unsafe { reader.view(datum) }.dimensions() {
                    [len] => Some(ColumnKind::Vector { len }),
                    [_, channels] => Some(ColumnKind::Sequence { channels }),
                    _ => None,
                };
            }
        }
    }

    fn make_table(&mut self) -> Result<()> {
        let inputs = self
            .columns
            .features
            .iter()
            .zip(&self.kinds)
            .filter_map(|(feature, kind)| {
                let column = &feature.column;
                kind.map(|kind| {
                    FeatureColumn::new(column.name.clone(), kind, column.base_type.clone())
                })
            });
        let days = self.columns.labels.iter().map(|label| label.days);
        let mut table = TrainingTable::new(inputs.collect(), self.columns.as_of.is_some())?
            .with_horizons(days.collect());
        table.limit_dictionaries(self.budget() / 8);
        self.table = Some(table);
        Ok(())
    }

    fn add_waiting(&mut self, descriptor: pg_sys::TupleDesc) -> Result<()> {
        // SAFETY: as many attributes as the descriptor says.
        let natts = unsafe { (*descriptor).natts } as usize;
        let mut values = vec![pg_sys::Datum::from(0); natts];
        let mut nulls = vec![false; natts];
        self.number = 0;
        for tuple in std::mem::take(&mut self.waiting) {
            self.number += 1;
            // SAFETY: copies of this query's rows, each freed after its use.
            unsafe {
                pg_sys::heap_deform_tuple(
                    tuple,
                    descriptor,
                    values.as_mut_ptr(),
                    nulls.as_mut_ptr(),
                )
            };
            self.add(Row {
                values: &values,
                nulls: &nulls,
            })?;
            // SAFETY: see above.
            unsafe { pg_sys::heap_freetuple(tuple) };
        }
        Ok(())
    }

    fn add(&mut self, row: Row) -> Result<()> {
        scratch::reset();
        self.read_spent(row);
        if self.spent.first().is_none_or(|amount| amount.is_nan()) {
            self.unlabelled += 1;
            return Ok(());
        }
        let Some((split, key)) = self.split(row)? else {
            return Ok(());
        };
        self.check_spent(row)?;
        let as_of = self.columns.as_of.as_ref().and_then(|column| {
            // SAFETY: as above.
            row.scalar(column)
                .map(|(kind, datum)| unsafe { kind.number(datum) })
        });
        if self.cut_offs.len() <= MOST_CUT_OFFS {
            self.cut_offs.insert(as_of.unwrap_or(f32::NAN).to_bits());
        }

        let lot = Sample::lot(match (key, &self.columns.id) {
            (Some(key), Some(id)) if row.get(id).is_some() => key,
            _ => self.sample.read(),
        });
        if !self.draw(lot) {
            return Ok(());
        }
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        let mut writer = table.row();
        if let Some(column) = &self.columns.id
            && let Some((kind, datum)) = row.scalar(column)
        {
            // SAFETY: as above.
            writer.customer(unsafe { kind.text(datum, &mut self.text) });
        }
        for ((feature, kind), seen) in self
            .columns
            .features
            .iter()
            .zip(&self.kinds)
            .zip(&mut self.seen)
        {
            let column = &feature.column;
            let Some(datum) = row.get(column) else {
                writer.null()?;
                continue;
            };
            // SAFETY: each value is read as the type that the query's descriptor gives it.
            unsafe {
                match (kind, column.kind) {
                    (Some(ColumnKind::Categorical), Kind::Scalar(scalar)) => {
                        let text = scalar.text(datum, &mut self.text);
                        *seen |= !text.is_empty();
                        writer.category(Some(text))?;
                    }
                    (_, Kind::Scalar(scalar)) => {
                        let value = scalar.number(datum);
                        *seen |= !value.is_nan();
                        writer.number(Some(f64::from(value)))?;
                    }
                    (_, Kind::Array(reader)) => {
                        let shape = read_array(datum, &reader, &mut self.numbers);
                        *seen |= self.numbers.iter().any(|value| !value.is_nan());
                        match (shape, *kind) {
                            (0, _) => writer.null()?,
                            (1, Some(ColumnKind::Vector { .. })) => writer.vector(&self.numbers)?,
                            (2, Some(ColumnKind::Sequence { .. })) => {
                                writer.sequence(&self.numbers)?
                            }
                            _ => {
                                let name = column.name.clone();
                                return Err(ReadError::MixedShapes { name }.into());
                            }
                        }
                    }
                }
            }
        }
        writer.finish_horizons(&self.spent, split, as_of)?;
        self.keys.extend(key);
        self.lots.push(lot);
        if table.rows() >= self.room {
            self.make_room()?;
        }
        Ok(())
    }

    /// Whether a row stays. Where the share of those who do is halved with it, earlier rows go; those in files later.
    fn draw(&mut self, lot: u8) -> bool {
        let before = self.sample.halvings();
        let stays = self.sample.take(lot);
        if self.sample.halvings() > before
            && let Some(table) = &mut self.table
        {
            table.keep(&self.sample, &self.lots);
            let mut lots = self.lots.iter();
            self.keys
                .retain(|_| lots.next().is_some_and(|&lot| self.sample.keeps(lot)));
            self.lots.retain(|&lot| self.sample.keeps(lot));
        }
        stays
    }

    /// Goes on in memory while that suffices, and in temporary files from then on.
    fn make_room(&mut self) -> Result<()> {
        memory::watch();
        let budget = self.budget();
        let Some(table) = &mut self.table else {
            return Ok(());
        };
        if self.spill.is_none() && table.training_bytes() <= budget {
            self.room += ROWS_AT_ONCE;
            return Ok(());
        }
        let spill = self
            .spill
            .get_or_insert_with(|| Spill::new(table, self.recipe.options.max_timesteps, budget));
        spill.take(table, &mut self.keys, &mut self.lots)?;
        self.room = ROWS_AT_ONCE;
        Ok(())
    }

    /// What the rows may take of the memory; the rest is for the process itself and for the network.
    fn budget(&self) -> usize {
        self.memory_limit
            .saturating_sub(PROCESS_BYTES)
            .max(self.memory_limit / 4)
    }

    /// The part the row belongs to and a hash of its id; `None` for a row of the test part.
    fn split(&mut self, row: Row) -> Result<Option<(Split, Option<u64>)>> {
        let share = self.recipe.options.validation_share;
        let (id, columns) = (self.columns.id.as_ref(), self.columns);
        let by_id = id.and_then(|id| {
            let (kind, datum) = row.scalar(id)?;
            // SAFETY: each value is read as the type that the query's descriptor gives it.
            let text = unsafe { kind.text(datum, &mut self.text) };
            Some((Split::from_id(text, share), hash(text)))
        });
        if let Some(column) = &columns.split {
            let Some((kind, datum)) = row.scalar(column) else {
                let name = column.name.clone();
                return Err(ReadError::NullSplit { name }.into());
            };
            // SAFETY: as above.
            let split = Split::from_label(unsafe { kind.text(datum, &mut self.text) })?;
            let key = id.map(|_| by_id.map_or(0, |(_, hash)| hash));
            return Ok(split.map(|split| (split, key)));
        }
        match (id, by_id) {
            (_, Some((split, hash))) => Ok(Some((split, Some(hash)))),
            (None, None) => Ok(Some((
                Split::from_id(&self.number.to_string(), share),
                None,
            ))),
            (Some(id), None) => Err(ReadError::NullId {
                name: id.name.clone(),
            }
            .into()),
        }
    }

    /// The target of a row, or of several horizons all labels; NaN where there is none.
    fn read_spent(&mut self, row: Row) {
        let Columns { target, labels, .. } = self.columns;
        let columns = labels.iter().map(|label| &label.column);
        let columns = columns.chain(labels.is_empty().then_some(target));
        self.spent.clear();
        // Infinities are refused later, so they must not turn into missing values here.
        // SAFETY: of the type that the query's descriptor gives it.
        let amount = |(kind, datum): (Scalar, pg_sys::Datum)| unsafe { kind.double(datum) };
        let amounts = columns.map(|column| row.scalar(column).map_or(f64::NAN, amount));
        self.spent.extend(amounts);
    }

    fn check_spent(&mut self, row: Row) -> Result<(), ReadError> {
        for (index, &amount) in self.spent.iter().enumerate() {
            if amount.is_nan() || amount.is_finite() && amount >= 0.0 {
                continue;
            }
            let label = self.columns.labels.get(index);
            let column = label.map_or(&self.columns.target, |label| &label.column);
            return Err(self.bad_target(row, column, amount));
        }
        let target = self.spent.last().copied().unwrap_or(f64::NAN);
        // Of a number and NaN the number.
        self.lowest = self.lowest.min(target);
        self.highest = self.highest.max(target);
        Ok(())
    }

    fn bad_target(&self, row: Row, column: &Column, amount: f64) -> ReadError {
        let id = self.columns.id.as_ref().and_then(|column| {
            let (kind, datum) = row.scalar(column)?;
            let mut buffer = String::new();
            // SAFETY: of the type that the query's descriptor gives it.
            let id = unsafe { kind.text(datum, &mut buffer) };
            Some((column.name.clone(), id.to_owned()))
        });
        ReadError::BadTarget {
            name: column.name.clone(),
            amount,
            id,
        }
    }

    pub fn finish(self) -> Result<Data> {
        let name = || self.columns.target.name.clone();
        if self.rows == 0 {
            return Err(ReadError::NoRows.into());
        }
        let (rows, read) = (self.sample.kept() as usize, self.sample.read());
        let nobody = read > 0 && self.highest == f64::NEG_INFINITY;
        if nobody || read == 0 && (self.waiting.is_empty() || self.unlabelled > 0) {
            return Err(ReadError::NoTarget {
                name: name(),
                rows: self.rows,
                unlabelled: if nobody { self.rows } else { self.unlabelled },
            }
            .into());
        }
        // Rows that still wait were not looked at, so only the arrays that they wait for are known to be empty.
        let empty = match &self.table {
            Some(_) => self.seen.iter().position(|seen| !seen),
            None => self.kinds.iter().position(Option::is_none),
        };
        if let Some(index) = empty {
            return Err(ReadError::EmptyColumn {
                name: self.columns.features[index].column.name.clone(),
                looked_at: None,
            }
            .into());
        }
        if self.highest == 0.0 {
            return Err(ReadError::ZeroTarget { name: name() }.into());
        }
        let Some(mut table) = self.table.filter(|_| rows >= FEWEST_ROWS) else {
            return Err(ReadError::FewRows {
                wanted: FEWEST_ROWS,
                found: rows,
                of: read,
            }
            .into());
        };
        if self.lowest == self.highest {
            return Err(ReadError::ConstantTarget {
                name: name(),
                amount: self.lowest,
            }
            .into());
        }
        let cut_short = table.cut_short().into_iter().map(str::to_owned).collect();
        let each_its_own = self.cut_offs.len() > MOST_CUT_OFFS;
        let (training, file) = match self.spill {
            None => {
                if self.keys.len() == rows {
                    table.sort_by_key(&self.keys);
                }
                if each_its_own {
                    table.forget_cut_offs();
                }
                (table.into(), None)
            }
            Some(mut spill) => {
                let (mut keys, mut lots) = (self.keys, self.lots);
                spill.take(&mut table, &mut keys, &mut lots)?;
                let options = &self.recipe.options;
                // The candidates of a comparison leave the same rows for validation.
                let several = self.recipe.compare.is_none()
                    && networks(options, rows, !each_its_own && self.cut_offs.len() > 1) > 1;
                if each_its_own {
                    table.forget_cut_offs();
                }
                let (training, file) = spill.finish(table, several, &self.sample)?;
                (training, Some(file))
            }
        };
        Ok(Data {
            training,
            file,
            cut_short,
            unlabelled: self.unlabelled,
            sample: self.sample,
            horizon: None,
        })
    }
}
