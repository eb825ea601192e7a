//! The training query: prepared without being run, its columns given their parts.

use super::column::{Column, Kind};
use super::error::ReadError;
use super::horizons::{self, Label, is_label};
use crate::error::Result;
use crate::text;
use crate::value::{Scalar, attributes, sql};
use crate::worker::session::{Identity, unexpected};
use ltv_core::recipe::Recipe;
use pgrx::pg_sys;

/// The month of the first purchase tells a model that is trained on a year nothing that holds in the next one.
const NOT_BY_DEFAULT: [&str; 1] = ["first_month"];

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
    /// Several horizons, ascending, the target's last; empty where the target is all.
    pub labels: Vec<Label>,
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

/// The query of a recipe as SQL. It was checked and, for a relation, quoted when the job was queued.
pub fn query(recipe: &Recipe) -> Result<String> {
    match (&recipe.query, &recipe.relation) {
        (Some(query), _) => Ok(query.clone()),
        (None, Some(relation)) => Ok(format!("SELECT * FROM {relation}")),
        (None, None) => Err(ReadError::NothingToRead.into()),
    }
}

/// Prepares the query, which must be one SELECT, inside SPI. Nothing is run.
pub fn prepare(
    query: &str,
    cursor_options: i32,
) -> Result<(pg_sys::SPIPlanPtr, pg_sys::TupleDesc)> {
    let text = text::to_c(query)?;
    // SAFETY: inside SPI; errors of the parser are raised. The plan and its lists live until SPI_finish.
    unsafe {
        let plan =
            pg_sys::SPI_prepare_cursor(text.as_ptr(), 0, std::ptr::null_mut(), cursor_options);
        if plan.is_null() {
            return Err(ReadError::NotOneSelect.into());
        }
        let sources = pg_sys::SPI_plan_get_plan_sources(plan);
        if sources.is_null() || (*sources).length != 1 {
            return Err(ReadError::NotOneSelect.into());
        }
        let source = (*(*sources).elements)
            .ptr_value
            .cast::<pg_sys::CachedPlanSource>();
        let queries = (*source).query_list;
        if queries.is_null() || (*queries).length != 1 || (*source).resultDesc.is_null() {
            return Err(ReadError::NotOneSelect.into());
        }
        let tree = (*(*queries).elements).ptr_value.cast::<pg_sys::Query>();
        let reads_only = (*tree).commandType == pg_sys::CmdType::CMD_SELECT
            && (*tree).utilityStmt.is_null()
            && !(*tree).hasModifyingCTE
            && (*tree).rowMarks.is_null();
        if !reads_only {
            return Err(ReadError::NotOneSelect.into());
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

/// Gives every column its part, or says what is wrong with it. `horizon`: the days that the target `ltv` looks ahead, if they are known.
pub fn assign(
    all: &[Column],
    recipe: &Recipe,
    wanted: &Wanted,
    horizon: Option<f64>,
) -> Result<Columns> {
    if let Some(column) = all
        .iter()
        .find(|c| all[..c.at].iter().any(|other| other.name == c.name))
    {
        return Err(ReadError::SameName {
            name: column.name.clone(),
        }
        .into());
    }
    let find = |name: &str, argument: &'static str| {
        let found = all.iter().find(|column| column.name == name).cloned();
        found.ok_or_else(|| ReadError::NoSuchColumn {
            name: name.to_owned(),
            argument,
            columns: all.iter().take(40).map(|c| c.name.clone()).collect(),
        })
    };
    let target = find(&recipe.target, "target")?;
    if !target.is(|kind| kind.is_number() && kind != Scalar::Interval) {
        return Err(ReadError::TargetNotNumeric {
            name: target.name,
            sql_type: target.sql_type,
        }
        .into());
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
        return Err(ReadError::SplitNotText {
            name: split.name.clone(),
            sql_type: split.sql_type.clone(),
        }
        .into());
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
            .collect::<Result<_, _>>()?,
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
                .filter(|column| !(is_label(&target.name) && is_label(&column.name)))
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
        return Err(ReadError::ListedTwice {
            name: twice.1.name.clone(),
        }
        .into());
    }
    for name in &recipe.options.categorical {
        if !candidates.iter().any(|column| column.name == *name) {
            return Err(ReadError::CategoricalNotFeature { name: name.clone() }.into());
        }
    }
    if candidates.iter().any(|column| column.at == target.at) {
        return Err(ReadError::TargetAsFeature { name: target.name }.into());
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
        return Err(ReadError::NoFeature.into());
    }
    let labels = horizons::labels(all, &target, recipe, &wanted.exclude, horizon)?;
    Ok(Columns {
        labels,
        target,
        id,
        split,
        as_of,
        features,
    })
}

/// All that cannot be used are named at once.
fn usable(features: &[Feature]) -> Result<(), ReadError> {
    let uncategorical = features.iter().find(|feature| {
        let is_category =
            |kind: Scalar| kind.is_whole_number() || kind.is_text() || kind == Scalar::Bool;
        feature.categorical && !feature.column.is(is_category)
    });
    if let Some(Feature { column, .. }) = uncategorical {
        return Err(ReadError::NotCategorical {
            name: column.name.clone(),
            sql_type: column.sql_type.clone(),
        });
    }
    let unusable: Vec<Column> = features
        .iter()
        .map(|feature| &feature.column)
        .filter(|column| column.is(|kind| matches!(kind, Scalar::Other(_))))
        .cloned()
        .collect();
    match unusable.is_empty() {
        true => Ok(()),
        false => Err(ReadError::Unusable(unusable)),
    }
}
