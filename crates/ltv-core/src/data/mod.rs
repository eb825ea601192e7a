//! Training data in memory: one row-major float matrix, dictionary-encoded categories, ragged sequences.

mod categories;
pub mod customer_hash;
mod frequency;
mod horizons;
mod order;
mod sample;
mod sequences;
mod spill;
mod transfer;

pub use categories::CategoryColumn;
pub use horizons::Horizons;
pub use sample::{Sample, spread};
pub use sequences::SequenceColumn;
pub use spill::{RecordFormat, Records, SpilledRows, TrainingData};

use crate::error::{Error, Result};
use crate::schema::{ColumnKind, FeatureColumn};

/// Which part of the data a customer belongs to. Rows of neither part are not handed to the trainer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Rows that weights are fitted to.
    Train,
    /// Rows that stop a training and judge it.
    Validation,
}

impl Split {
    /// The same customer is always in the same part.
    pub fn from_id(id: &str, validation_share: f64) -> Self {
        if customer_hash::fraction("", id) < validation_share {
            Self::Validation
        } else {
            Self::Train
        }
    }

    /// A value of the user's split column: `train`, `validation`, or `test` (`None`: leave the row out).
    /// A boolean says whether the row is for validation.
    pub fn from_label(label: &str) -> Result<Option<Self>> {
        match label.to_ascii_lowercase().as_str() {
            "train" | "training" | "false" | "f" => Ok(Some(Self::Train)),
            "validation" | "validate" | "valid" | "val" | "eval" | "true" | "t" => {
                Ok(Some(Self::Validation))
            }
            "test" => Ok(None),
            _ => Err(Error::data("the split column has an unknown value")
                .detail(format!("Found \"{label}\"."))
                .hint("Use 'train', 'validation' or 'test', or a boolean that is true for validation rows.")),
        }
    }
}

/// One whole column, for callers that have their data by column.
#[derive(Clone, Debug)]
pub enum ColumnData {
    /// Numeric and timestamp columns; NaN = NULL.
    Numeric(Vec<f32>),
    /// Texts; `None` is missing.
    Categorical(Vec<Option<String>>),
    /// Row after row.
    Vector(Vec<f32>),
    /// Per row its steps, oldest first, each with all channels.
    Sequence(Vec<Vec<f32>>),
}

/// The rows a model is trained on. Written row by row ([`TrainingTable::row`]) so that a cursor can fill it without
/// another copy; the preprocessing later works in place.
#[derive(Clone, Debug)]
pub struct TrainingTable {
    inputs: Vec<FeatureColumn>,
    pub(crate) rows: usize,
    /// Columns of the matrix: those of the numeric, timestamp and vector inputs, in the order of the inputs.
    pub(crate) width: usize,
    pub(crate) matrix: Vec<f32>,
    /// One per categorical input, in order.
    pub(crate) categories: Vec<CategoryColumn>,
    /// Bytes that all dictionaries take, and may take before they take frequent values only.
    dictionary_bytes: usize,
    dictionary_limit: usize,
    pub(crate) sequence: Option<SequenceColumn>,
    pub(crate) target: Vec<f32>,
    pub(crate) split: Vec<Split>,
    /// The cut-off of each row in days since 1970-01-01, where the relation has one.
    pub(crate) as_of: Option<Vec<f32>>,
    /// A hash per row; rows of one customer share it.
    pub(crate) groups: Vec<u32>,
    /// Where shorter horizons than the target's are learned too. Then the target is NaN where its time has not come.
    pub(crate) horizons: Option<Horizons>,
}

impl TrainingTable {
    /// An empty table. `with_as_of`: every row comes with its cut-off date.
    pub fn new(inputs: Vec<FeatureColumn>, with_as_of: bool) -> Result<Self> {
        if inputs.is_empty() {
            return Err(Error::data("there is no feature column")
                .hint("Give the relation at least one column besides the id and the target."));
        }
        let mut sequence = None;
        let mut categories = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            if inputs[..index].iter().any(|other| other.name == input.name) {
                return Err(Error::data(format!(
                    "feature \"{}\" is named twice",
                    input.name
                )));
            }
            match input.kind {
                ColumnKind::Categorical => categories.push(CategoryColumn::default()),
                ColumnKind::Sequence { channels } => {
                    if sequence
                        .replace(SequenceColumn::new(channels.max(1)))
                        .is_some()
                    {
                        return Err(Error::new(
                            crate::error::ErrorKind::Unsupported,
                            "a model can have only one sequence column",
                        )
                        .hint(
                            "Put the series side by side as channels of one two-dimensional array.",
                        ));
                    }
                }
                ColumnKind::Numeric | ColumnKind::Timestamp | ColumnKind::Vector { .. } => {}
            }
        }
        Ok(Self {
            width: inputs.iter().map(|input| input.kind.matrix_width()).sum(),
            inputs,
            rows: 0,
            matrix: Vec::new(),
            categories,
            dictionary_bytes: 0,
            dictionary_limit: usize::MAX,
            sequence,
            target: Vec::new(),
            split: Vec::new(),
            as_of: with_as_of.then(Vec::new),
            groups: Vec::new(),
            horizons: None,
        })
    }

    /// Of a table without rows: each row comes with what was spent up to the end of each of these horizons, in days, ascending. The last one is
    /// the target's.
    pub fn with_horizons(mut self, days: Vec<f32>) -> Self {
        self.horizons = (days.len() > 1).then(|| Horizons::new(days));
        self
    }

    /// What was spent from horizon to horizon, where that is learned.
    pub fn horizons(&self) -> Option<&Horizons> {
        self.horizons.as_ref()
    }

    /// A table from whole columns, for tests and small data.
    pub fn from_columns(
        inputs: Vec<FeatureColumn>,
        columns: &[ColumnData],
        target: &[f64],
        split: &[Split],
        as_of: Option<&[f32]>,
    ) -> Result<Self> {
        let mut table = Self::new(inputs, as_of.is_some())?;
        let kinds: Vec<ColumnKind> = table.inputs.iter().map(|input| input.kind).collect();
        let short = |_| Error::internal("the columns differ in length");
        let none = || short(());
        for (row, &value) in target.iter().enumerate() {
            let mut writer = table.row();
            for (column, kind) in columns.iter().zip(&kinds) {
                match (column, kind) {
                    (ColumnData::Numeric(values), _) => {
                        writer.number(values.get(row).map(|v| f64::from(*v)))?;
                    }
                    (ColumnData::Categorical(values), _) => {
                        writer.category(values.get(row).ok_or_else(none)?.as_deref())?;
                    }
                    (ColumnData::Vector(values), ColumnKind::Vector { len }) => {
                        writer.vector(values.get(row * len..(row + 1) * len).ok_or_else(none)?)?;
                    }
                    (ColumnData::Sequence(values), _) => {
                        writer.sequence(values.get(row).ok_or_else(none)?)?;
                    }
                    _ => return Err(Error::internal("a column has the wrong kind")),
                }
            }
            writer.finish(
                value,
                *split.get(row).ok_or_else(none)?,
                as_of.and_then(|days| days.get(row)).copied(),
            )?;
        }
        Ok(table)
    }

    /// The columns in order.
    pub fn inputs(&self) -> &[FeatureColumn] {
        &self.inputs
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A numeric column, and where it lies in the raw matrix.
    pub(crate) fn numeric(&self, name: &str) -> Option<(&FeatureColumn, usize)> {
        let mut position = 0;
        for input in &self.inputs {
            if input.name == name && input.kind == ColumnKind::Numeric {
                return Some((input, position));
            }
            position += input.kind.matrix_width();
        }
        None
    }

    /// The target of each row, in money.
    pub fn target(&self) -> &[f32] {
        &self.target
    }

    /// Whether the rows show customers as of different days.
    pub fn has_several_cut_offs(&self) -> bool {
        self.as_of
            .as_ref()
            .is_some_and(|days| days.iter().any(|day| Some(day) != days.first()))
    }

    /// How many horizons are learned, the target's included.
    pub(crate) fn ends(&self) -> usize {
        self.horizons.as_ref().map_or(1, Horizons::count)
    }

    /// What a row spent up to the end of a horizon, of which the last one is the target's; NaN where its time has not come.
    pub(crate) fn spent(&self, row: u32, end: usize) -> f32 {
        let row = row as usize;
        match &self.horizons {
            Some(horizons) => horizons.row(row)[..=end].iter().sum(),
            None => self.target[row],
        }
    }

    /// The latest cut-off for which that horizon has ended, where rows have one; minus infinity where none has.
    pub(crate) fn latest_cut_off(&self, end: usize) -> Option<f32> {
        let days = self.as_of.as_ref()?.iter().zip(0..);
        let ended = days.filter(|(_, row)| !self.spent(*row, end).is_nan());
        Some(ended.map(|(day, _)| *day).fold(f32::NEG_INFINITY, f32::max))
    }

    /// Takes the cut-offs for no days of the calendar: each row has one of its own.
    pub fn forget_cut_offs(&mut self) {
        self.as_of = None;
    }

    /// Bytes held, to compare with the memory limit.
    pub fn memory_bytes(&self) -> usize {
        self.matrix.capacity() * 4
            + self.target.capacity() * 4
            + self.split.capacity()
            + self.groups.capacity() * 4
            + self.as_of.as_ref().map_or(0, |days| days.capacity() * 4)
            + self
                .categories
                .iter()
                .map(CategoryColumn::memory_bytes)
                .sum::<usize>()
            + self
                .sequence
                .as_ref()
                .map_or(0, SequenceColumn::memory_bytes)
            + self.horizons.as_ref().map_or(0, Horizons::memory_bytes)
    }

    /// Bounds the dictionaries of the categorical columns: beyond `bytes` they take frequent values only, and other
    /// new ones count as missing.
    pub fn limit_dictionaries(&mut self, bytes: usize) {
        self.dictionary_limit = bytes;
    }

    /// Names of the columns whose values take the room, if it was not enough for all.
    pub fn cut_short(&self) -> Vec<&str> {
        let inputs = self.inputs.iter();
        let names = inputs.filter(|input| input.kind == ColumnKind::Categorical);
        let columns = names.zip(&self.categories);
        let fair = self.dictionary_limit / (2 * self.categories.len().max(1));
        columns
            .filter(|(_, column)| column.is_cut_short() && column.dictionary_bytes() > fair)
            .map(|(input, _)| input.name.as_str())
            .collect()
    }

    /// Bytes of the dictionaries, which stay in memory whatever the rows do.
    pub fn dictionary_bytes(&self) -> usize {
        self.dictionary_bytes
    }

    /// Starts a row; a row that was started and not finished is forgotten.
    pub fn row(&mut self) -> RowWriter<'_> {
        self.matrix.truncate(self.rows * self.width);
        for column in &mut self.categories {
            column.truncate(self.rows);
        }
        if let Some(sequence) = &mut self.sequence {
            sequence.truncate(self.rows);
        }
        if let Some(horizons) = &mut self.horizons {
            horizons.truncate(self.rows);
        }
        RowWriter {
            table: self,
            position: 0,
            category: 0,
            group: None,
        }
    }
}

/// In single precision; NaN stays what it is.
fn narrow(amount: &f64) -> f32 {
    if amount.is_nan() {
        f32::NAN
    } else {
        amount.min(f64::from(f32::MAX)) as f32
    }
}

/// FNV-1a.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Takes the features of one row in the order of the inputs, then the target.
pub struct RowWriter<'a> {
    table: &'a mut TrainingTable,
    position: usize,
    category: usize,
    group: Option<u32>,
}

impl RowWriter<'_> {
    /// Whose row it is, where several rows may be of one customer: they are held out together.
    pub fn customer(&mut self, id: &str) {
        self.group = Some(fnv(id.as_bytes()));
    }

    /// A numeric value, or a timestamp as days since 1970-01-01. `None`, NaN and infinities are missing values.
    #[inline]
    pub fn number(&mut self, value: Option<f64>) -> Result<()> {
        match self.next()? {
            ColumnKind::Numeric | ColumnKind::Timestamp => {
                self.table
                    .matrix
                    .push(value.map_or(f32::NAN, |number| number as f32));
                Ok(())
            }
            _ => Err(self.wrong_kind()),
        }
    }

    /// `None` and the empty string are missing values.
    pub fn category(&mut self, value: Option<&str>) -> Result<()> {
        let ColumnKind::Categorical = self.next()? else {
            return Err(self.wrong_kind());
        };
        let room = self.table.dictionary_bytes < self.table.dictionary_limit;
        let column = &mut self.table.categories[self.category];
        self.table.dictionary_bytes += column.push(value.unwrap_or_default(), room);
        self.category += 1;
        Ok(())
    }

    /// The next value of a vector column.
    pub fn vector(&mut self, values: &[f32]) -> Result<()> {
        let ColumnKind::Vector { len } = self.next()? else {
            return Err(self.wrong_kind());
        };
        if values.len() != len {
            let name = &self.table.inputs[self.position - 1].name;
            return Err(Error::data(format!(
                "the arrays of column \"{name}\" differ in length"
            ))
            .detail(format!(
                "One has {len} elements, another {}.",
                values.len()
            ))
            .hint("Every row needs the same features in the same order; use NULL elements where a value is missing."));
        }
        self.table.matrix.extend_from_slice(values);
        Ok(())
    }

    /// The steps of a sequence, oldest first, each with all channels.
    pub fn sequence(&mut self, values: &[f32]) -> Result<()> {
        let ColumnKind::Sequence { channels } = self.next()? else {
            return Err(self.wrong_kind());
        };
        let name = &self.table.inputs[self.position - 1].name;
        if !values.len().is_multiple_of(channels.max(1)) {
            return Err(Error::data(format!(
                "the arrays of column \"{name}\" differ in their second dimension"
            ))
            .detail(format!(
                "An array has {} elements where each step needs {channels}.",
                values.len()
            )));
        }
        if let Some(sequence) = &mut self.table.sequence {
            sequence.push(values);
        }
        Ok(())
    }

    /// A missing value of whatever kind comes next.
    pub fn null(&mut self) -> Result<()> {
        match self.next()? {
            ColumnKind::Categorical => {
                self.table.categories[self.category].push("", true);
                self.category += 1;
            }
            ColumnKind::Sequence { .. } => {
                if let Some(sequence) = &mut self.table.sequence {
                    sequence.push(&[]);
                }
            }
            kind => self
                .table
                .matrix
                .extend(std::iter::repeat_n(f32::NAN, kind.matrix_width())),
        }
        Ok(())
    }

    /// Ends the row. `target` is the money spent, finite and not negative.
    pub fn finish(self, target: f64, split: Split, as_of: Option<f32>) -> Result<()> {
        self.finish_horizons(&[target], split, as_of)
    }

    /// Ends the row of a table with horizons by what was spent up to the end of each, NaN from the first one on whose time has not come; the
    /// others finite and not negative.
    pub fn finish_horizons(self, spent: &[f64], split: Split, as_of: Option<f32>) -> Result<()> {
        if self.position != self.table.inputs.len() {
            return Err(Error::internal("a row ended before its last feature"));
        }
        let count = self.table.horizons.as_ref().map_or(1, Horizons::count);
        let Some(target) = spent.last().filter(|_| spent.len() == count) else {
            return Err(Error::internal("a row has another number of horizons"));
        };
        let may_wait = count > 1;
        for &amount in spent {
            let is_amount = amount.is_finite() && amount >= 0.0;
            if !(is_amount || may_wait && amount.is_nan()) {
                return Err(Error::data("the target must be a number that is not negative")
                    .detail(format!("Found {amount}."))
                    .hint("Clip refunds with greatest(target, 0), or leave such rows out of the query."));
            }
        }
        if let Some(horizons) = &mut self.table.horizons {
            let labels: Vec<f32> = spent.iter().map(narrow).collect();
            horizons.push(&labels);
        }
        if let Some(days) = &mut self.table.as_of {
            days.push(as_of.unwrap_or(f32::NAN));
        }
        self.table.target.push(narrow(target));
        self.table.split.push(split);
        let group = self
            .group
            .unwrap_or_else(|| fnv(&(self.table.rows as u64).to_le_bytes()));
        self.table.groups.push(group);
        self.table.rows += 1;
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Result<ColumnKind> {
        let input = self
            .table
            .inputs
            .get(self.position)
            .ok_or_else(|| Error::internal("a row has more values than features"))?;
        self.position += 1;
        Ok(input.kind)
    }

    fn wrong_kind(&self) -> Error {
        Error::internal(format!(
            "a value of the wrong kind was given for feature {}",
            self.position
        ))
    }
}
