//! What can be wrong with the rows of a training query.

use super::plan::Column;
use crate::error::Report;
use pgrx::prelude::*;

pub fn null_in(column: &str, part: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("the {part} column \"{column}\" is null in some row"),
    )
}

pub fn empty_column(name: &str) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        format!("column \"{name}\" has no value in any row"),
    )
    .detail("There is nothing to learn from it.")
    .hint("Leave it out of the query, or list the columns to use: features => ARRAY['...'].")
}

pub fn mixed_shapes(column: &Column) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_ARRAY_ELEMENT_ERROR,
        format!("the arrays of column \"{}\" differ in their number of dimensions", column.name),
    )
    .hint("Use one dimension for a list of features, two (steps, values) for a sequence, and the same in every row.")
}
