//! How a function of Rust becomes a C function that `CREATE FUNCTION ... LANGUAGE c` finds, and how it reads a text.

use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// Exports functions of type `fn(FunctionCallInfo) -> Result<Datum>` under a symbol, with the record that PostgreSQL looks for.
/// An `Err` and a panic become an ERROR.
macro_rules! export {
    ($($symbol:ident / $finfo:ident => $body:expr;)*) => {
        $(
            #[pgrx::pg_guard]
            #[unsafe(no_mangle)]
            pub extern "C-unwind" fn $symbol(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                crate::error::guard(|| $body(fcinfo))
            }

            #[unsafe(no_mangle)]
            pub extern "C" fn $finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
                const V1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        )*
    };
}

pub(crate) use export;

/// An argument in the encoding of the server; `None` for NULL.
///
/// # Safety
/// The argument is there and declared as text.
pub unsafe fn text_argument(fcinfo: pg_sys::FunctionCallInfo, at: usize) -> Option<CString> {
    // SAFETY: as the caller promises; the copy ends with a zero.
    unsafe {
        let argument = (*fcinfo).args.as_slice(at + 1)[at];
        (!argument.isnull).then(|| {
            let text = pg_sys::pg_detoast_datum_packed(argument.value.cast_mut_ptr()).cast();
            CStr::from_ptr(pg_sys::text_to_cstring(text)).to_owned()
        })
    }
}
