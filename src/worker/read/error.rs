//! What can be wrong with a training query, its columns and its rows.

use super::column::Column;
use crate::error::Reportable;
use pgrx::prelude::PgSqlErrorCode;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the job has neither a relation nor a query")]
    NothingToRead,
    #[error("the training query must be one SELECT")]
    NotOneSelect,
    #[error("column \"{name}\" occurs more than once")]
    SameName { name: String },
    #[error("column \"{name}\" does not exist")]
    NoSuchColumn {
        name: String,
        argument: &'static str,
        /// Those there are; perhaps the first of them only.
        columns: Vec<String>,
    },
    #[error("the target column \"{name}\" is not numeric")]
    TargetNotNumeric { name: String, sql_type: String },
    #[error("the split column \"{name}\" is neither text nor boolean")]
    SplitNotText { name: String, sql_type: String },
    #[error("feature \"{name}\" is listed more than once")]
    ListedTwice { name: String },
    #[error("column \"{name}\" is not a feature")]
    CategoricalNotFeature { name: String },
    #[error("the target \"{name}\" cannot be a feature")]
    TargetAsFeature { name: String },
    #[error("there is no feature column")]
    NoFeature,
    #[error("column \"{name}\" of type {sql_type} cannot be categorical")]
    NotCategorical { name: String, sql_type: String },
    #[error("{}", unusable(.0))]
    Unusable(Vec<Column>),
    #[error("column \"{name}\" has no value in any row")]
    EmptyColumn {
        name: String,
        /// After so many rows the search was given up.
        looked_at: Option<usize>,
    },
    #[error("the arrays of column \"{name}\" differ in their number of dimensions")]
    MixedShapes { name: String },
    #[error("the split column \"{name}\" is null in some row")]
    NullSplit { name: String },
    #[error("the id column \"{name}\" is null in some row")]
    NullId { name: String },
    #[error("the target \"{name}\" must be finite and not negative")]
    BadTarget {
        name: String,
        amount: f64,
        /// Name and value of the id column.
        id: Option<(String, String)>,
    },
    #[error("there are no shorter horizons to learn beside \"{target}\"")]
    NoHorizons { target: String, detail: String },
    #[error("there are too many horizons to learn")]
    ManyHorizons { found: usize, most: usize },
    #[error("the training query returned no rows")]
    NoRows,
    #[error("no row has a target \"{name}\" to learn from")]
    NoTarget {
        name: String,
        rows: u64,
        unlabelled: u64,
    },
    #[error("the target \"{name}\" is zero in every row")]
    ZeroTarget { name: String },
    #[error("the target \"{name}\" is the same in every row")]
    ConstantTarget { name: String, amount: f64 },
    #[error("there are too few rows to train on")]
    FewRows {
        wanted: usize,
        found: usize,
        /// More than were found, where a sample was drawn.
        of: u64,
    },
}

impl Reportable for ReadError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::NothingToRead
            | Self::NotOneSelect
            | Self::TargetAsFeature { .. }
            | Self::NoHorizons { .. }
            | Self::NoFeature => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::ManyHorizons { .. } => PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::SameName { .. } | Self::ListedTwice { .. } => {
                PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN
            }
            Self::NoSuchColumn { .. } | Self::CategoricalNotFeature { .. } => {
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN
            }
            Self::TargetNotNumeric { .. }
            | Self::SplitNotText { .. }
            | Self::NotCategorical { .. }
            | Self::Unusable(_) => PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            Self::MixedShapes { .. } => PgSqlErrorCode::ERRCODE_ARRAY_ELEMENT_ERROR,
            Self::NullSplit { .. } | Self::NullId { .. } => {
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED
            }
            Self::EmptyColumn { .. }
            | Self::BadTarget { .. }
            | Self::NoRows
            | Self::NoTarget { .. }
            | Self::ZeroTarget { .. }
            | Self::ConstantTarget { .. }
            | Self::FewRows { .. } => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
        }
    }

    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::NotOneSelect => {
                "It only delivers rows; it must not change or lock anything.".to_owned()
            }
            Self::NoSuchColumn {
                argument, columns, ..
            } => format!(
                "It is named by the argument {argument}. The columns are: {}.",
                columns.join(", ")
            ),
            Self::TargetNotNumeric { sql_type, .. } | Self::SplitNotText { sql_type, .. } => {
                format!("Its type is {sql_type}.")
            }
            Self::CategoricalNotFeature { .. } => {
                "It is named by the option \"categorical\".".to_owned()
            }
            Self::TargetAsFeature { .. } => {
                "A model that sees the answer learns nothing else.".to_owned()
            }
            Self::NoFeature => "The query has no column besides the target and the id.".to_owned(),
            Self::Unusable(_) => {
                "Features are numbers, amounts of money, booleans, texts, enums, uuids, dates, \
                 timestamps, intervals and arrays of numbers."
                    .to_owned()
            }
            Self::EmptyColumn {
                looked_at: Some(rows),
                ..
            } => format!("The first {rows} rows have no array in it."),
            Self::EmptyColumn { .. } => "There is nothing to learn from it.".to_owned(),
            Self::NullId { .. } => {
                "The id decides which customers are held out for validation.".to_owned()
            }
            Self::BadTarget { amount, id, .. } => match id {
                Some((column, id)) => format!("It is {amount} where {column} is {id}."),
                None => format!("It is {amount}."),
            },
            Self::NoTarget {
                rows, unlabelled, ..
            } => format!("Of {rows} rows, {unlabelled} have none."),
            Self::ConstantTarget { amount, .. } => format!("It is always {amount}."),
            Self::FewRows { wanted, found, of } if *of > *found as u64 => format!(
                "At least {wanted} rows with a target are needed, {found} of {of} were left of the sample."
            ),
            Self::FewRows { wanted, found, .. } => {
                format!("At least {wanted} rows with a target are needed, {found} were found.")
            }
            Self::NoHorizons { detail, .. } => detail.clone(),
            Self::ManyHorizons { found, most } => {
                format!("The query has labels of {found} horizons; a model learns {most} at most.")
            }
            Self::NothingToRead
            | Self::SameName { .. }
            | Self::ListedTwice { .. }
            | Self::NotCategorical { .. }
            | Self::MixedShapes { .. }
            | Self::NullSplit { .. }
            | Self::NoRows
            | Self::ZeroTarget { .. } => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        let fixed = match self {
            Self::NoSuchColumn { argument, .. } => {
                return Some(format!(
                    "Pass the name of an existing column: {argument} => '...'."
                ));
            }
            Self::Unusable(columns) => {
                let names = list(columns, |column| quoted_element(&column.name));
                let literal = format!("{{{names}}}").replace('\'', "''");
                return Some(format!("Cast, or leave out: exclude => '{literal}'."));
            }
            Self::BadTarget { name, .. } => {
                return Some(format!(
                    "Clip refunds with greatest({name}, 0), or leave such rows out of the query."
                ));
            }
            Self::TargetAsFeature { .. } => return None,
            Self::NothingToRead => "Queue it with ltv_train.",
            Self::NoHorizons { .. } => {
                "Make the features with ltv_create_features(..., horizons => '{30,90}'), or leave out the option \"horizons\"."
            }
            Self::ManyHorizons { .. } => {
                "Leave some of them out: exclude => '{...}', or set the option \"horizons\" to false."
            }
            Self::NotOneSelect => {
                "Give the name of a relation, or a query that starts with SELECT or WITH."
            }
            Self::SameName { .. } => "Give each column of the query its own name with AS.",
            Self::TargetNotNumeric { .. } => {
                "The target is an amount of money; cast it, or name another column with target => '...'."
            }
            Self::SplitNotText { .. } => {
                "Use 'train', 'validation' or 'test', or a boolean that is true for validation rows."
            }
            Self::ListedTwice { .. } => "List each column once.",
            Self::CategoricalNotFeature { .. } => "Name columns of the relation that are features.",
            Self::NoFeature => "Add the columns that the model shall learn from.",
            Self::NotCategorical { .. } => {
                "Categories are texts, booleans or whole numbers; cast the column, or leave it out of the option."
            }
            Self::EmptyColumn { .. } => {
                "Leave it out of the query, or list the columns to use: features => ARRAY['...']."
            }
            Self::MixedShapes { .. } => {
                "Use one dimension for a list of features, two (steps, values) for a sequence, and the same in every row."
            }
            Self::NullSplit { .. } => {
                "Every row needs 'train', 'validation' or 'test', or a boolean that is true for validation rows."
            }
            Self::NullId { .. } => {
                "Leave such rows out of the query, or pass id_column => NULL if each row is a customer of its own."
            }
            Self::NoRows => "Check the relation and the conditions of the query.",
            Self::NoTarget { .. } => {
                "Where features are built for a day whose horizon has not passed, the target is null; take an earlier as_of."
            }
            Self::ZeroTarget { .. } => {
                "Nobody buys within the horizon: check how it is computed, or take a longer horizon."
            }
            Self::ConstantTarget { .. } => "There is nothing to learn; check how it is computed.",
            Self::FewRows { found, of, .. } if *of > *found as u64 => {
                "Raise the option \"max_rows\", or set it to 0 for all rows."
            }
            Self::FewRows { .. } => {
                "Hundreds of customers are the least from which a model learns something useful."
            }
        };
        Some(fixed.to_owned())
    }
}

/// All that cannot be used are named at once.
fn unusable(columns: &[Column]) -> String {
    match columns {
        [only] => format!(
            "column \"{}\" of type {} cannot be a feature",
            only.name, only.sql_type
        ),
        several => format!(
            "{} columns cannot be features: {}",
            several.len(),
            list(several, |c| format!(
                "\"{}\" of type {}",
                c.name, c.sql_type
            ))
        ),
    }
}

fn list(columns: &[Column], text: impl Fn(&Column) -> String) -> String {
    let texts: Vec<String> = columns.iter().map(text).collect();
    texts.join(", ")
}

/// A name as an element of an array's text.
fn quoted_element(name: &str) -> String {
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_plain && !name.is_empty() && !name.eq_ignore_ascii_case("null") {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
}
