//! A call of a scoring function, one row at a time, and what its place in a plan remembers.

use crate::catalog::{CatalogError, Moment, default_model, resolve_restored};
use crate::error::{Report, Result};
use crate::scoring::{self, Lanes, ScoringFunction, version_number};
use crate::text;
use crate::value::sql::argument_datum;
use crate::value::varlena;
use pgrx::prelude::*;
use pgrx::{PgMemoryContexts, pg_sys};

fn out_of_range(version: pg_sys::Datum) -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
        format!("version {} is out of range", version.value() as i64),
    )
}

/// What one place in a statement remembers between its calls, in `fn_extra`.
struct CallSite {
    function: &'static ScoringFunction,
    /// Type of the input argument.
    input_type: pg_sys::Oid,
    /// What `scorer` was made for.
    name: Option<String>,
    version: Option<i32>,
    moment: Option<Moment>,
    scorer: Option<Lanes>,
}

impl Drop for CallSite {
    fn drop(&mut self) {
        if let Some(scorer) = self.scorer.take() {
            scoring::leave(scorer, self.input_type);
        }
    }
}

/// What a call of `function` returns.
pub fn score(
    fcinfo: pg_sys::FunctionCallInfo,
    function: &'static ScoringFunction,
) -> Result<pg_sys::Datum> {
    // SAFETY: PostgreSQL calls with a valid call info, whose arguments are of the declared types; the call site
    // lives as long as the function's memory context, hence longer than this call.
    unsafe {
        let site = call_site(fcinfo, function)?;
        let name = match function.model {
            Some(at) => {
                let name = argument_datum(fcinfo, at).ok_or(CatalogError::NullModel)?;
                Some(text::from_server(varlena::detoasted(name)))
            }
            None => None,
        };
        let version = match function.version {
            Some(at) => {
                let version = argument_datum(fcinfo, at).ok_or(CatalogError::NullVersion)?;
                Some(version_number(version).ok_or_else(|| out_of_range(version))?)
            }
            None => None,
        };
        let argument = function
            .argument
            .map(|at| argument_datum(fcinfo, at).map(|value| f64::from_bits(value.value() as u64)));
        let input = argument_datum(fcinfo, function.input);
        let (value, is_null) = site.score(name.as_deref(), version, input, argument.flatten())?;
        (*fcinfo).isnull = is_null;
        Ok(value)
    }
}

impl CallSite {
    /// # Safety
    /// `input` is a value of the type of the input argument.
    unsafe fn score(
        &mut self,
        name: Option<&str>,
        version: Option<i32>,
        input: Option<pg_sys::Datum>,
        argument: Option<f64>,
    ) -> Result<(pg_sys::Datum, bool)> {
        let output = self.function.output;
        // No prediction without a row, nor before a restore has brought the model.
        let (Some(scorer), Some(input)) = (self.scorer(name, version)?, input) else {
            return Ok((pg_sys::Datum::null(), true));
        };
        scorer.clear();
        // SAFETY: as the caller promises; the lanes were made for that type.
        unsafe { scorer.push_datum(input) }?;
        if output.needs_inference() {
            scorer.run()?;
        }
        scorer.value(output, 0, argument)
    }

    /// The scorer of the model that this call means at this moment; none where that is yet to be restored.
    fn scorer(&mut self, name: Option<&str>, version: Option<i32>) -> Result<Option<&mut Lanes>> {
        let default = match name {
            Some(_) => None,
            None => Some(default_model().ok_or(CatalogError::NoDefaultModel)?),
        };
        let name = name.or(default.as_deref()).unwrap_or_default();
        let moment = Moment::now();
        let current = self.moment == Some(moment)
            && self.version == version
            && self.name.as_deref() == Some(name)
            && self.scorer.is_some();
        if !current {
            // A failure below leaves nothing half-made behind.
            self.moment = None;
            let Some(versions) = resolve_restored(Some(name), version)? else {
                return Ok(None);
            };
            if !self.scorer.as_ref().is_some_and(|s| s.serve(&versions)) {
                self.scorer = None;
                let output = self.function.output;
                self.scorer = Some(scoring::take(versions, output, self.input_type)?);
            }
            self.name = Some(name.to_owned());
            self.version = version;
            // Looking the model up may itself have taken in invalidations.
            self.moment = Some(Moment::now());
        }
        Ok(self.scorer.as_mut())
    }
}

/// The call site of this call, made at its first.
///
/// # Safety
/// `fcinfo` is valid.
unsafe fn call_site<'a>(
    fcinfo: pg_sys::FunctionCallInfo,
    function: &'static ScoringFunction,
) -> Result<&'a mut CallSite> {
    // SAFETY: as the caller promises; `fn_extra` is ours alone.
    unsafe {
        let flinfo = (*fcinfo).flinfo;
        if (*flinfo).fn_extra.is_null() {
            let input_type = pg_sys::get_fn_expr_argtype(flinfo, function.input as i32);
            if input_type == pg_sys::InvalidOid {
                return Err(Report::new(
                    PgSqlErrorCode::ERRCODE_INDETERMINATE_DATATYPE,
                    "could not determine the type of the input",
                )
                .hint("Cast it: to a row type, an array type or jsonb."));
            }
            let site = CallSite {
                function,
                input_type,
                name: None,
                version: None,
                moment: None,
                scorer: None,
            };
            (*flinfo).fn_extra = PgMemoryContexts::For((*flinfo).fn_mcxt)
                .leak_and_drop_on_delete(site)
                .cast();
        }
        Ok(&mut *(*flinfo).fn_extra.cast::<CallSite>())
    }
}
