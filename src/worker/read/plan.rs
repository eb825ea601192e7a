//! The training query: prepared without being run, its columns given their parts.

use crate::error::{Report, Result};
use crate::text;
use crate::value::{ArrayReader, Scalar, attributes, sql};
use crate::worker::session::{Identity, unexpected};
use ltv_core::recipe::Recipe;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// The month of the first purchase tells a model that is trained on a year nothing that holds in the next one.
const NOT_BY_DEFAULT: [&str; 1] = ["first_month"];

/// One column of the query.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its place, from 0.
    pub at: usize,
    pub name: String,
    /// The type as `format_type` spells it.
    pub sql_type: String,
    /// What a domain is over, spelt so.
    pub base_type: String,
    pub kind: Kind,
}

/// How the values of a column are read.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Scalar(Scalar),
    /// An array of numbers.
    Array(ArrayReader),
}

impl Kind {
    fn of(type_oid: pg_sys::Oid) -> Self {
        match ArrayReader::of(type_oid) {
            Some(reader) if reader.element.is_number() => Self::Array(reader),
            _ => Self::Scalar(Scalar::of(type_oid)),
        }
    }

    /// As one value; arrays are none.
    pub fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Scalar(scalar) => Some(*scalar),
            Self::Array(_) => None,
        }
    }
}

impl Column {
    fn is(&self, test: impl FnOnce(Scalar) -> bool) -> bool {
        self.kind.scalar().is_some_and(test)
    }
}

/// A column that the model sees.
#[derive(Clone, Debug)]
pub struct Feature {
    pub column: Column,
    /// Read as a category although it is a number.
    pub categorical: bool,
}

#[derive(Clone, Debug)]
pub struct Columns {
    pub target: Column,
    /// Decides which customers are held out; without it the number of the row does.
    pub id: Option<Column>,
    pub split: Option<Column>,
    /// The cut-off of a row that `ltv_create_features` made; not a feature unless listed.
    pub as_of: Option<Column>,
    pub features: Vec<Feature>,
}

/// What a recipe says of the columns besides what the trainer reads itself.
pub struct Wanted {
    /// Each row is a customer of its own.
    pub without_id: bool,
    /// Columns that are no features.
    exclude: Vec<String>,
}

impl Wanted {
    pub fn of(recipe: &serde_json::Value) -> Self {
        let texts = recipe["exclude"].as_array().into_iter().flatten();
        Self {
            without_id: recipe
                .get("id_column")
                .is_some_and(serde_json::Value::is_null),
            exclude: texts
                .filter_map(|t| t.as_str())
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn wrong(sqlstate: PgSqlErrorCode, message: impl Into<String>) -> Report {
    Report::new(sqlstate, message)
}

/// The query of a recipe as SQL. It was checked and, for a relation, quoted when the job was queued.
pub fn query(recipe: &Recipe) -> Result<String> {
    match (&recipe.query, &recipe.relation) {
        (Some(query), _) => Ok(query.clone()),
        (None, Some(relation)) => Ok(format!("SELECT * FROM {relation}")),
        (None, None) => Err(wrong(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the job has neither a relation nor a query",
        )
        .hint("Queue it with ltv_train.")),
    }
}

/// Prepares the query, which must be one SELECT, inside SPI. Nothing is run.
pub fn prepare(
    query: &str,
    cursor_options: i32,
) -> Result<(pg_sys::SPIPlanPtr, pg_sys::TupleDesc)> {
    let text = text::to_c(query)?;
    let not_select = || {
        wrong(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the training query must be one SELECT",
        )
        .detail("It only delivers rows; it must not change or lock anything.")
        .hint("Give the name of a relation, or a query that starts with SELECT or WITH.")
    };
    // SAFETY: inside SPI; errors of the parser are raised. The plan and its lists live until SPI_finish.
    unsafe {
        let plan =
            pg_sys::SPI_prepare_cursor(text.as_ptr(), 0, std::ptr::null_mut(), cursor_options);
        if plan.is_null() {
            return Err(not_select());
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        if sources.is_null() || (*sources).length != 1 {
            return Err(not_select());
        }
        let source = (*(*sources).elements)
            .ptr_value
            .cast::<pg_sys::CachedPlanSource>();
        let queries = (*source).query_list;
        if queries.is_null() || (*queries).length != 1 || (*source).resultDesc.is_null() {
            return Err(not_select());
        }
        let tree = (*(*queries).elements).ptr_value.cast::<pg_sys::Query>();
        let reads_only = (*tree).commandType == pg_sys::CmdType::CMD_SELECT
            && (*tree).utilityStmt.is_null()
            && !(*tree).hasModifyingCTE
            && (*tree).rowMarks.is_null();
        if !reads_only {
            return Err(not_select());
        }
        Ok((plan, (*source).resultDesc))
    }
}

/// How many days ahead the label looks, where the query reads features that `ltv_create_features` made, in whatever way.
///
/// # Safety
/// `plan` comes from [`prepare`], inside the same use of SPI.
pub unsafe fn horizon(plan: pg_sys::SPIPlanPtr) -> Result<Option<f64>> {
    // SAFETY: the plan has one source, whose list of relations, views included, is kept with it.
    let relations: Vec<pg_sys::Oid> = unsafe {
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        let source = (*(*sources).elements)
            .ptr_value
            .cast::<pg_sys::CachedPlanSource>();
        match (*source).relationOids.as_ref() {
            None => Vec::new(),
            Some(list) => std::slice::from_raw_parts(list.elements, list.length as usize)
                .iter()
                .map(|cell| cell.oid_value)
                .collect(),
        }
    };
    let _catalog = Identity::catalog_owner()?;
    pgrx::Spi::connect(|client| {
        let horizon = client
            .select(
                "SELECT ltv.features_horizon($1)",
                None,
                &[sql::parameter(relations)?],
            )
            .map_err(unexpected)?
            .first();
        sql::column(&horizon, 1)
    })
}

/// Names and types of the result.
///
/// # Safety
/// `descriptor` is valid.
pub unsafe fn describe(descriptor: pg_sys::TupleDesc) -> Vec<Column> {
    // SAFETY: as many attributes as it says; names are NUL-terminated.
    unsafe {
        attributes(descriptor)
            .iter()
            .enumerate()
            .map(|(at, attribute)| Column {
                at,
                name: text::name(&attribute.attname).into_owned(),
                sql_type: text::type_name(attribute.atttypid),
                base_type: text::type_name(pg_sys::getBaseType(attribute.atttypid)),
                kind: Kind::of(attribute.atttypid),
            })
            .collect()
    }
}

/// Gives every column its part, or says what is wrong with it.
pub fn assign(all: &[Column], recipe: &Recipe, wanted: &Wanted) -> Result<Columns> {
    if let Some(column) = all
        .iter()
        .find(|c| all[..c.at].iter().any(|other| other.name == c.name))
    {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            format!("column \"{}\" occurs more than once", column.name),
        )
        .hint("Give each column of the query its own name with AS."));
    }
    let find = |name: &str, argument: &str| {
        all.iter()
            .find(|column| column.name == name)
            .cloned()
            .ok_or_else(|| {
                let names: Vec<&str> = all
                    .iter()
                    .take(40)
                    .map(|column| column.name.as_str())
                    .collect();
                wrong(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                    format!("column \"{name}\" does not exist"),
                )
                .detail(format!(
                    "It is named by the argument {argument}. The columns are: {}.",
                    names.join(", ")
                ))
                .hint(format!(
                    "Pass the name of an existing column: {argument} => '...'."
                ))
            })
    };
    let target = find(&recipe.target, "target")?;
    if !target.is(|kind| kind.is_number() && kind != Scalar::Interval) {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!("the target column \"{}\" is not numeric", target.name),
        )
        .detail(format!("Its type is {}.", target.sql_type))
        .hint("The target is an amount of money; cast it, or name another column with target => '...'."));
    }
    let id = if wanted.without_id {
        None
    } else {
        Some(find(&recipe.id_column, "id_column")?)
    };
    let split = recipe
        .split_column
        .as_deref()
        .map(|name| find(name, "split_column"))
        .transpose()?;
    if let Some(split) = &split
        && !split.is(|kind| kind.is_text() || kind == Scalar::Bool)
    {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!(
                "the split column \"{}\" is neither text nor boolean",
                split.name
            ),
        )
        .detail(format!("Its type is {}.", split.sql_type))
        .hint(
            "Use 'train', 'validation' or 'test', or a boolean that is true for validation rows.",
        ));
    }
    let listed = |name: &str| {
        recipe
            .features
            .as_ref()
            .is_some_and(|f| f.iter().any(|feature| feature == name))
    };
    let as_of = all
        .iter()
        .find(|c| c.name == "as_of" && c.is(Scalar::is_time) && !listed("as_of"))
        .cloned();

    for name in &wanted.exclude {
        find(name, "exclude")?;
    }
    let candidates: Vec<Column> = match &recipe.features {
        Some(names) => names
            .iter()
            .map(|name| find(name, "features"))
            .collect::<Result<_>>()?,
        None => {
            let taken = [Some(&target), id.as_ref(), split.as_ref(), as_of.as_ref()];
            let taken: Vec<usize> = taken
                .into_iter()
                .flatten()
                .map(|column| column.at)
                .collect();
            all.iter()
                .filter(|column| !taken.contains(&column.at))
                .filter(|column| !NOT_BY_DEFAULT.contains(&column.name.as_str()))
                .filter(|column| !wanted.exclude.contains(&column.name))
                .cloned()
                .collect()
        }
    };
    if let Some(twice) = candidates
        .iter()
        .enumerate()
        .find(|(i, c)| candidates[..*i].iter().any(|o| o.at == c.at))
    {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
            format!("feature \"{}\" is listed more than once", twice.1.name),
        )
        .hint("List each column once."));
    }
    for name in &recipe.options.categorical {
        if !candidates.iter().any(|column| column.name == *name) {
            return Err(wrong(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{name}\" is not a feature"),
            )
            .detail("It is named by the option \"categorical\".")
            .hint("Name columns of the relation that are features."));
        }
    }
    if candidates.iter().any(|column| column.at == target.at) {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the target \"{}\" cannot be a feature", target.name),
        )
        .detail("A model that sees the answer learns nothing else."));
    }
    let features: Vec<Feature> = candidates
        .into_iter()
        .map(|column| Feature {
            categorical: recipe.options.categorical.contains(&column.name),
            column,
        })
        .collect();
    usable(&features)?;
    if features.is_empty() {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "there is no feature column",
        )
        .detail("The query has no column besides the target and the id.")
        .hint("Add the columns that the model shall learn from."));
    }
    Ok(Columns {
        target,
        id,
        split,
        as_of,
        features,
    })
}

/// All that cannot be used are named at once.
fn usable(features: &[Feature]) -> Result<()> {
    let uncategorical = features.iter().find(|feature| {
        let is_category =
            |kind: Scalar| kind.is_whole_number() || kind.is_text() || kind == Scalar::Bool;
        feature.categorical && !feature.column.is(is_category)
    });
    if let Some(Feature { column, .. }) = uncategorical {
        return Err(wrong(
            PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
            format!("column \"{}\" of type {} cannot be categorical", column.name, column.sql_type),
        )
        .hint("Categories are texts, booleans or whole numbers; cast the column, or leave it out of the option."));
    }
    let unusable: Vec<&Column> = features
        .iter()
        .map(|feature| &feature.column)
        .filter(|column| column.is(|kind| matches!(kind, Scalar::Other(_))))
        .collect();
    let Some(first) = unusable.first() else {
        return Ok(());
    };
    let message = match unusable.len() {
        1 => format!(
            "column \"{}\" of type {} cannot be a feature",
            first.name, first.sql_type
        ),
        count => format!(
            "{count} columns cannot be features: {}",
            list(&unusable, |c| format!(
                "\"{}\" of type {}",
                c.name, c.sql_type
            ))
        ),
    };
    let names = list(&unusable, |column| quoted_element(&column.name));
    let literal = format!("{{{names}}}").replace('\'', "''");
    Err(wrong(PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH, message)
        .detail("Features are numbers, amounts of money, booleans, texts, enums, uuids, dates, timestamps, intervals and arrays of numbers.")
        .hint(format!("Cast, or leave out: exclude => '{literal}'.")))
}

fn list(columns: &[&Column], text: impl Fn(&Column) -> String) -> String {
    let texts: Vec<String> = columns.iter().map(|column| text(column)).collect();
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
