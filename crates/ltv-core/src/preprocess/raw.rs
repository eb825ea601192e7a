//! Columns as they are, for models that need no scaling: numbers, ages in days, ids of categories and of parts of dates.

use super::{DatePart, Preprocessing};
use crate::data::TrainingTable;
use crate::schema::ColumnKind;

/// A column of the raw features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawColumn {
    /// The feature, with the place of the element if that is a vector.
    pub name: String,
    /// What its values are.
    pub kind: RawKind,
}

/// What the values of a raw column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawKind {
    /// Numbers, NaN where one is missing.
    Number,
    /// Days from a timestamp to the cut-off, NaN where it is missing.
    Age,
    /// Ids from 1 to this one, the most frequent ones first; 0 is missing or unseen.
    Category(usize),
}

impl Preprocessing {
    /// The raw columns in order: those of the matrix, categories, parts of dates.
    pub fn raw_columns(&self) -> Vec<RawColumn> {
        let inputs = || self.inputs.iter().take(self.features());
        let mut numbers = Vec::with_capacity(self.columns.len());
        for input in inputs() {
            for element in 1..=input.kind.matrix_width() {
                let name = match input.kind {
                    ColumnKind::Vector { .. } => format!("{}[{element}]", input.name),
                    _ => input.name.clone(),
                };
                let kind = match input.kind {
                    ColumnKind::Timestamp => RawKind::Age,
                    _ => RawKind::Number,
                };
                numbers.push(RawColumn { name, kind });
            }
        }
        let words = inputs().filter(|input| input.kind == ColumnKind::Categorical);
        let categories = words
            .zip(&self.vocabularies)
            .map(|(input, values)| RawColumn {
                name: input.name.clone(),
                kind: RawKind::Category(values.len()),
            });
        let parts = self.date_parts.iter().map(|date| RawColumn {
            name: match numbers.get(date.column) {
                Some(of) => format!("{} ({})", of.name, word(date.part)),
                None => word(date.part).to_owned(),
            },
            kind: RawKind::Category(date.part.cardinality() - 1),
        });
        let others: Vec<RawColumn> = categories.chain(parts).collect();
        numbers.into_iter().chain(others).collect()
    }

    /// The values of a raw column, row by row. `ids`: those of [`Preprocessing::ids`] for this table.
    pub fn raw_values<'a>(
        &'a self,
        table: &'a TrainingTable,
        ids: &'a [Vec<u32>],
        column: usize,
    ) -> Box<dyn Iterator<Item = f32> + 'a> {
        let (width, rows) = (self.columns.len(), table.rows());
        let cell = move |row: usize, column: usize| table.matrix[row * table.width + column];
        if let Some(of) = self.columns.get(column) {
            let (is_date, at) = (of.is_date, column);
            return Box::new((0..rows).map(move |row| match is_date {
                true => finite(self.cut_off(table, row) - cell(row, at)),
                false => finite(cell(row, at)),
            }));
        }
        let category = column - width;
        if let (Some(column), Some(ids)) = (table.categories.get(category), ids.get(category)) {
            let id = |code: &u32| ids.get(*code as usize).map_or(0.0, |&id| id as f32);
            return Box::new(column.codes().iter().map(id));
        }
        let date = self
            .date_parts
            .get(category.wrapping_sub(self.vocabularies.len()));
        Box::new(date.into_iter().flat_map(move |date| {
            (0..rows).map(move |row| f32::from(date.part.of(cell(row, date.column))))
        }))
    }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { f32::NAN }
}

fn word(part: DatePart) -> &'static str {
    match part {
        DatePart::Month => "month",
        DatePart::Weekday => "weekday",
        DatePart::Hour => "hour",
    }
}
