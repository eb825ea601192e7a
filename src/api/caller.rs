//! `ltv_for_caller`: functions that write the catalog for whoever calls them.
//!
//! SECURITY DEFINER gives a function its owner's rights and forgets who called it. A function declared with this symbol
//! remembers: it calls the function in schema `ltv` of the same name (without `ltv_`) and arguments, before which it puts the
//! role that is current. Nobody else may execute that one, so it may believe its first argument.

use super::export::export;
use crate::error::{Report, Result};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use std::any::Any;
use std::ffi::CStr;
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

export! {
    ltv_for_caller / pg_finfo_ltv_for_caller => for_caller;
    ltv_quietly / pg_finfo_ltv_quietly => quietly;
}

/// What comes before the arguments that are passed on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    Caller,
    Nothing,
}

fn for_caller(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    pass_on(fcinfo, First::Caller)
}

/// `ltv_quietly`: calls the function of the same name behind it as it is called, so that an error says nothing of what lies between.
fn quietly(fcinfo: pg_sys::FunctionCallInfo) -> Result<pg_sys::Datum> {
    pass_on(fcinfo, First::Nothing)
}

fn pass_on(fcinfo: pg_sys::FunctionCallInfo, first: First) -> Result<pg_sys::Datum> {
    // SAFETY: PostgreSQL calls with a valid call info whose arguments are of the declared types; the inner function takes the
    // same ones, perhaps behind an oid. What is allocated lives as long as the memory context that it is allocated in.
    unsafe {
        let outer = &mut *fcinfo;
        let inner = inner_function(outer.flinfo, first)?;
        let count = outer.nargs as usize;
        let before = usize::from(first == First::Caller);
        let size = std::mem::offset_of!(pg_sys::FunctionCallInfoBaseData, args)
            + (count + before) * size_of::<pg_sys::NullableDatum>();
        let call = pg_sys::palloc0(size).cast::<pg_sys::FunctionCallInfoBaseData>();
        (*call).flinfo = inner;
        (*call).context = outer.context;
        (*call).resultinfo = outer.resultinfo;
        (*call).fncollation = outer.fncollation;
        (*call).nargs = (count + before) as i16;
        let arguments = (&raw mut (*call).args).cast::<pg_sys::NullableDatum>();
        if first == First::Caller {
            *arguments = pg_sys::NullableDatum {
                value: pg_sys::GetUserId().into(),
                isnull: false,
            };
        }
        let given = (&raw const outer.args).cast::<pg_sys::NullableDatum>();
        std::ptr::copy_nonoverlapping(given, arguments.add(before), count);
        let function = (*inner).fn_addr.ok_or_else(no_inner_function)?;
        // An ERROR in it must not jump over the frames here.
        let called = catch_unwind(AssertUnwindSafe(|| {
            pg_sys::ffi::pg_guard_ffi_boundary(|| function(call))
        }));
        let value = called.unwrap_or_else(|payload| raise_without_context(payload));
        outer.isnull = (*call).isnull;
        pg_sys::pfree(call.cast());
        Ok(value)
    }
}

/// The same error, with no word of the functions inside; of those outside PostgreSQL tells as ever.
///
/// # Safety
/// `payload` is what was just caught, and nothing else has happened since.
unsafe fn raise_without_context(payload: Box<dyn Any + Send>) -> ! {
    if let Some(CaughtError::PostgresError(_)) = payload.downcast_ref() {
        // SAFETY: PostgreSQL's error is the newest on its stack; the copy lies in the caller's memory context.
        unsafe {
            let error = pg_sys::CopyErrorData();
            pg_sys::FlushErrorState();
            (*error).context = std::ptr::null_mut();
            pg_sys::ThrowErrorData(error);
        }
    }
    resume_unwind(payload)
}

/// The function behind the gate, looked up at the first call from a place and kept there.
///
/// # Safety
/// `flinfo` is that of a call to a function of this symbol, whose `fn_extra` is ours alone.
unsafe fn inner_function(
    flinfo: *mut pg_sys::FmgrInfo,
    first: First,
) -> Result<*mut pg_sys::FmgrInfo> {
    // SAFETY: as the caller promises; the tuple is used before it is released.
    unsafe {
        if !(*flinfo).fn_extra.is_null() {
            return Ok((*flinfo).fn_extra.cast());
        }
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::PROCOID as i32,
            (*flinfo).fn_oid.into(),
        );
        if tuple.is_null() {
            return Err(no_inner_function());
        }
        let form = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>();
        let count = form.pronargs as usize;
        let types = std::slice::from_raw_parts(form.proargtypes.values.as_ptr(), count);
        let caller = (first == First::Caller).then_some(pg_sys::REGROLEOID);
        let types: Vec<pg_sys::Oid> = caller.into_iter().chain(types.iter().copied()).collect();
        let name = CStr::from_ptr(form.proname.data.as_ptr()).to_owned();
        pg_sys::ReleaseSysCache(tuple);
        let name = name.to_bytes_with_nul();
        let name = name.strip_prefix(b"ltv_").unwrap_or(name);
        // Not LookupFuncName, which passes over procedures.
        let oid = pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::PROCNAMEARGSNSP as i32,
            pg_sys::Anum_pg_proc_oid as i16,
            name.as_ptr().into(),
            pg_sys::buildoidvector(types.as_ptr(), types.len() as i32).into(),
            pg_sys::get_namespace_oid(c"ltv".as_ptr(), true).into(),
            pg_sys::Datum::null(),
        );
        if oid == pg_sys::InvalidOid {
            return Err(no_inner_function());
        }
        let context = (*flinfo).fn_mcxt;
        let inner = pg_sys::MemoryContextAllocZero(context, size_of::<pg_sys::FmgrInfo>())
            .cast::<pg_sys::FmgrInfo>();
        pg_sys::fmgr_info_cxt(oid, inner, context);
        (*inner).fn_expr = (*flinfo).fn_expr;
        (*flinfo).fn_extra = inner.cast();
        Ok(inner)
    }
}

fn no_inner_function() -> Report {
    Report::new(
        PgSqlErrorCode::ERRCODE_UNDEFINED_FUNCTION,
        "the function behind this one is missing from schema ltv",
    )
    .hint("The library and the extension's SQL are of different versions: run ALTER EXTENSION pg_ltv UPDATE.")
}
