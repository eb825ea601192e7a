//! `ltv.bind_query`, `ltv.query_columns`, `ltv.query_relations`, `ltv.reading_cost`: a query, or the name of a relation, that somebody gives as text.
//!
//! What a name means depends on the search_path of whoever wrote it. So a text is bound first: it is parsed in that search_path,
//! must be one SELECT that changes and locks nothing, and comes back with every name qualified, as a view keeps it. All that
//! is done with it afterwards happens in a search_path of our own.

use super::export::{export, text_argument};
use crate::error::{Report, Result};
use crate::text;
use crate::value::sql;
use crate::worker::session::{catch, set_option};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

export! {
    ltv_bind_query / pg_finfo_ltv_bind_query => bind_query;
    ltv_bind_relation / pg_finfo_ltv_bind_relation => bind_relation;
    ltv_query_columns / pg_finfo_ltv_query_columns => query_columns;
    ltv_query_relations / pg_finfo_ltv_query_relations => query_relations;
    ltv_reading_cost / pg_finfo_ltv_reading_cost => reading_cost;
}

/// What begins a statement; other texts are names of relations.
const STATEMENTS: [&str; 19] = [
    "select", "with", "values", "table", "insert", "update", "delete", "merge", "explain", "show",
    "create", "drop", "alter", "copy", "truncate", "call", "do", "set", "declare",
];

/// `ltv.bind_query(source)`.
fn bind_query(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one text.
    let Some(source) = (unsafe { text_argument(fcinfo, 0) }) else {
        // SAFETY: a valid call info.
        unsafe { (*fcinfo).isnull = true };
        return Ok(pg_sys::Datum::null());
    };
    let bound = bind(&source)?;
    Ok(text_datum(&bound))
}

/// A query or the name of a relation in the search_path of now, as a query with qualified names.
pub fn bind(source: &CStr) -> Result<CString> {
    let query = if is_statement(source.to_bytes()) {
        source.to_owned()
    } else {
        select_all(source)?
    };
    let tree = analyse(&query)?;
    // SAFETY: inside a transaction; what is set ends with the nesting level, or with the transaction if there is an error. The
    // tree was made just now and the text is copied.
    unsafe {
        let nesting = pg_sys::NewGUCNestLevel();
        for (name, value) in [
            (c"search_path", c"pg_catalog, pg_temp"),
            (c"standard_conforming_strings", c"on"),
            (c"quote_all_identifiers", c"off"),
        ] {
            set_option(name, value, pg_sys::GucAction::GUC_ACTION_SAVE);
        }
        let bound = CStr::from_ptr(pg_sys::pg_get_querydef(tree, false));
        let bound = with_escapes_marked(bound.to_bytes());
        pg_sys::AtEOXact_GUC(true, nesting);
        Ok(CString::new(bound).unwrap_or_default())
    }
}

/// A query as PostgreSQL writes it, whose literals with a backslash are marked as such: they mean the same whatever
/// `standard_conforming_strings` is where the query is read.
fn with_escapes_marked(query: &[u8]) -> Vec<u8> {
    let mut marked = Vec::with_capacity(query.len());
    let mut rest = query;
    while let Some(start) = rest.iter().position(|byte| matches!(byte, b'\'' | b'"')) {
        let length = quoted_length(&rest[start..]);
        let (before, quoted) = (&rest[..start], &rest[start..start + length]);
        marked.extend_from_slice(before);
        if quoted[0] == b'\'' && quoted.contains(&b'\\') {
            marked.extend_from_slice(b" E");
            for &byte in quoted {
                marked.extend(std::iter::repeat_n(byte, if byte == b'\\' { 2 } else { 1 }));
            }
        } else {
            marked.extend_from_slice(quoted);
        }
        rest = &rest[start + length..];
    }
    marked.extend_from_slice(rest);
    marked
}

/// How many bytes a literal or name in quotes has; a quote that is doubled does not end it.
fn quoted_length(text: &[u8]) -> usize {
    let quote = text[0];
    let mut end = 1;
    while end < text.len() {
        if text[end] != quote {
            end += 1;
        } else if text.get(end + 1) == Some(&quote) {
            end += 2;
        } else {
            return end + 1;
        }
    }
    text.len()
}

/// `ltv.bind_relation(source)`: the relation that a text names in the search_path of now; NULL for a query.
fn bind_relation(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one text.
    match unsafe { text_argument(fcinfo, 0) } {
        Some(source) if !is_statement(source.to_bytes()) => Ok(relation(&source)?.into()),
        _ => {
            // SAFETY: a valid call info.
            unsafe { (*fcinfo).isnull = true };
            Ok(pg_sys::Datum::null())
        }
    }
}

/// `ltv.query_columns(query, OUT names text[], OUT types oid[], OUT typmods int[], OUT collations oid[])`.
fn query_columns(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one text.
    let query = unsafe { text_argument(fcinfo, 0) }.unwrap_or_default();
    let tree = analyse(&query)?;
    let mut names: Vec<pg_sys::Datum> = Vec::new();
    let mut types: Vec<pg_sys::Datum> = Vec::new();
    let mut typmods: Vec<pg_sys::Datum> = Vec::new();
    let mut collations: Vec<pg_sys::Datum> = Vec::new();
    let mut seen: Vec<&CStr> = Vec::new();
    // SAFETY: the tree was made just now; its target list holds target entries, whose names end with a zero.
    unsafe {
        for entry in list::<pg_sys::TargetEntry>((*tree).targetList) {
            if (*entry).resjunk {
                continue;
            }
            let name = CStr::from_ptr((*entry).resname);
            if seen.contains(&name) {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_DUPLICATE_COLUMN,
                    format!(
                        "column \"{}\" occurs more than once",
                        text::from_server(name.to_bytes())
                    ),
                )
                .hint("Give each column of the query its own name with AS."));
            }
            seen.push(name);
            names.push(text_datum(name));
            let expression = (*entry).expr.cast();
            types.push(pg_sys::exprType(expression).into());
            typmods.push(pg_sys::exprTypmod(expression).into());
            collations.push(pg_sys::exprCollation(expression).into());
        }
        let names = array(&mut names, pg_sys::TEXTOID, -1, false);
        let types = array(&mut types, pg_sys::OIDOID, 4, true);
        let typmods = array(&mut typmods, pg_sys::INT4OID, 4, true);
        let collations = array(&mut collations, pg_sys::OIDOID, 4, true);
        sql::record(fcinfo, &mut [names, types, typmods, collations])
    }
}

/// `ltv.query_relations(query)`: the relations that a query reads, also through views.
fn query_relations(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one text.
    let query = unsafe { text_argument(fcinfo, 0) }.unwrap_or_default();
    // SAFETY: SPI is closed below, or by the abort of the transaction; the plan and its lists live until then.
    let mut found: Vec<pg_sys::Datum> = unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        let mut found = Vec::new();
        if !plan.is_null() {
            let sources = pg_sys::SPI_plan_get_plan_sources(plan);
            for source in list::<pg_sys::CachedPlanSource>(sources) {
                let oids = (*source).relationOids;
                if let Some(oids) = oids.as_ref() {
                    let cells = std::slice::from_raw_parts(oids.elements, oids.length as usize);
                    found.extend(cells.iter().map(|c| pg_sys::Datum::from(c.oid_value)));
                }
            }
        }
        pg_sys::SPI_finish();
        found
    };
    // SAFETY: oids are passed by value.
    Ok(unsafe { array(&mut found, pg_sys::REGCLASSOID, 4, true) })
}

/// `ltv.reading_cost(query)`: what the planner thinks that reading all rows of a bound query costs; null where it calls volatile
/// functions, also in views, because who runs such a query does more than read.
fn reading_cost(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    // SAFETY: declared as one text.
    let query = unsafe { text_argument(fcinfo, 0) }.unwrap_or_default();
    // SAFETY: as above; no resource owner keeps the plan of a statement that is not saved.
    let cost = unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(query.as_ptr(), 0, std::ptr::null_mut());
        let mut cost = None;
        if !plan.is_null() {
            let sources = pg_sys::SPI_plan_get_plan_sources(plan);
            let repeatable = list::<pg_sys::CachedPlanSource>(sources)
                .all(|source| !pg_sys::contain_volatile_functions((*source).query_list.cast()));
            let planned = match repeatable {
                true => pg_sys::SPI_plan_get_cached_plan(plan),
                false => std::ptr::null_mut(),
            };
            if let Some(planned) = planned.as_mut() {
                // What is no query has no plan.
                cost = list::<pg_sys::PlannedStmt>(planned.stmt_list)
                    .find_map(|statement| (*statement).planTree.as_ref())
                    .map(|plan| plan.total_cost);
                pg_sys::ReleaseCachedPlan(planned, std::ptr::null_mut());
            }
        }
        pg_sys::SPI_finish();
        (*fcinfo).isnull = cost.is_none();
        cost
    };
    let bits = cost.map_or(0, f64::to_bits);
    Ok(pg_sys::Datum::from(bits as usize))
}

/// Whether a text is meant as a statement and not as the name of a relation: a keyword, perhaps behind comments and
/// parentheses, and something after it.
pub fn is_statement(text: &[u8]) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b"(") {
            rest = after;
        } else if let Some(after) = rest.strip_prefix(b"--") {
            let end = after.iter().position(|&b| b == b'\n');
            rest = end.map_or(&[][..], |end| &after[end..]);
        } else if let Some(after) = rest.strip_prefix(b"/*") {
            let end = after.windows(2).position(|pair| pair == b"*/");
            rest = end.map_or(&[][..], |end| &after[end + 2..]);
        } else {
            break;
        }
    }
    let word = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let (word, after) = rest.split_at(word);
    let follows = match after.first() {
        Some(b'(' | b'"' | b'\'' | b'*' | b'-' | b'/') => true,
        Some(byte) => byte.is_ascii_whitespace() && !after.trim_ascii_start().is_empty(),
        None => false,
    };
    follows
        && STATEMENTS
            .iter()
            .any(|statement| word.eq_ignore_ascii_case(statement.as_bytes()))
}

/// The table or view of a name in the search_path of now.
fn relation(name: &CStr) -> Result<pg_sys::Oid> {
    let shown = || text::from_server(name.to_bytes()).into_owned();
    // Not to_regclass: from 16 on it keeps quiet about what is no name, and takes a number for an oid.
    // SAFETY: a text that lives on; errors about the name are caught.
    let found = catch(|| unsafe {
        let text = pg_sys::cstring_to_text(name.as_ptr());
        let range = pg_sys::makeRangeVarFromNameList(pg_sys::textToQualifiedNameList(text));
        let (lock, flags) = (pg_sys::NoLock as i32, pg_sys::RVROption::RVR_MISSING_OK);
        let found =
            pg_sys::RangeVarGetRelidExtended(range, lock, flags, None, std::ptr::null_mut());
        Ok((found != pg_sys::InvalidOid).then_some(found))
    });
    let found = found.map_err(|report| match report.sqlstate {
        PgSqlErrorCode::ERRCODE_INVALID_NAME | PgSqlErrorCode::ERRCODE_SYNTAX_ERROR => Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!(
                "\"{}\" is neither the name of a relation nor a query",
                shown()
            ),
        )
        .hint("Give a name such as public.orders, or a text that starts with SELECT or WITH."),
        _ => report,
    })?;
    let relation = found.ok_or_else(|| {
        Report::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("relation \"{}\" does not exist", shown()),
        )
        .hint("Check the spelling and the search_path; names with capital letters need double quotes inside the text.")
    })?;
    // SAFETY: an existing relation.
    let kind = unsafe { pg_sys::get_rel_relkind(relation) } as u8;
    if !b"rvmfp".contains(&kind) {
        return Err(Report::new(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a table or view", shown()),
        ));
    }
    Ok(relation)
}

/// The relation of a name in the search_path of now, as a query.
fn select_all(name: &CStr) -> Result<CString> {
    let relation = relation(name)?;
    // SAFETY: an existing relation; the strings are copied.
    let qualified = unsafe {
        let schema = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation));
        CStr::from_ptr(pg_sys::quote_qualified_identifier(
            schema,
            pg_sys::get_rel_name(relation),
        ))
    };
    let mut query = b"SELECT * FROM ".to_vec();
    query.extend_from_slice(qualified.to_bytes());
    Ok(CString::new(query).unwrap_or_default())
}

/// The parse tree of a query, which must be one SELECT that changes and locks nothing. Nothing is run.
fn analyse(query: &CStr) -> Result<*mut pg_sys::Query> {
    let not_select = || {
        Report::new(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the query is not one SELECT",
        )
        .detail("The query only delivers rows; it must not change or lock anything.")
        .hint("Give the name of a relation, or a query that starts with SELECT or WITH.")
    };
    let _shown = ShownQuery::begin(query);
    // SAFETY: errors of the parser are raised; lists and trees live in the current memory context.
    unsafe {
        let statements = pg_sys::pg_parse_query(query.as_ptr());
        let mut statements = list::<pg_sys::RawStmt>(statements);
        let (Some(statement), None) = (statements.next(), statements.next()) else {
            return Err(not_select());
        };
        let tree = pg_sys::parse_analyze_fixedparams(
            statement,
            query.as_ptr(),
            std::ptr::null(),
            0,
            std::ptr::null_mut(),
        );
        let reads_only = (*tree).commandType == pg_sys::CmdType::CMD_SELECT
            && (*tree).utilityStmt.is_null()
            && !(*tree).hasModifyingCTE
            && (*tree).rowMarks.is_null();
        if reads_only {
            Ok(tree)
        } else {
            Err(not_select())
        }
    }
}

/// While it lives, a place in an error is one in this query, and not in the statement of the function that was given the query.
struct ShownQuery(Box<pg_sys::ErrorContextCallback>);

impl ShownQuery {
    fn begin(query: &CStr) -> Self {
        // SAFETY: the callback is taken off before it and the query go.
        unsafe {
            let mut callback = Box::new(pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(show_query),
                arg: query.as_ptr().cast_mut().cast(),
            });
            pg_sys::error_context_stack = &raw mut *callback;
            Self(callback)
        }
    }
}

impl Drop for ShownQuery {
    fn drop(&mut self) {
        // SAFETY: what was on the stack before; whatever was put on it since is gone.
        unsafe { pg_sys::error_context_stack = self.0.previous };
    }
}

/// # Safety
/// `query` ends with a zero; called while an error is put together.
unsafe extern "C-unwind" fn show_query(query: *mut std::ffi::c_void) {
    // SAFETY: as the caller promises; the text is copied.
    unsafe {
        let place = pg_sys::geterrposition();
        if place > 0 {
            pg_sys::errposition(0);
            pg_sys::internalerrposition(place);
            pg_sys::internalerrquery(query.cast());
        }
    }
}

/// The elements of a list of pointers.
///
/// # Safety
/// `list` is NIL or a list of pointers to `T` that outlives the iteration.
unsafe fn list<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: as the caller promises.
    let cells = unsafe {
        list.as_ref().map_or(&[][..], |list| {
            std::slice::from_raw_parts(list.elements, list.length as usize)
        })
    };
    // SAFETY: cells of a list of pointers.
    cells.iter().map(|cell| unsafe { cell.ptr_value.cast() })
}

fn text_datum(content: &CStr) -> pg_sys::Datum {
    // SAFETY: the characters are copied.
    unsafe { pg_sys::cstring_to_text(content.as_ptr()).into() }
}

/// # Safety
/// The values are of that type.
unsafe fn array(
    values: &mut [pg_sys::Datum],
    of: pg_sys::Oid,
    length: i32,
    by_value: bool,
) -> pg_sys::Datum {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::construct_array(
            values.as_mut_ptr(),
            values.len() as i32,
            of,
            length,
            by_value,
            b'i' as std::ffi::c_char,
        )
        .into()
    }
}
