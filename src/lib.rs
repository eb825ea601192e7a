use pgrx::prelude::*;
::pgrx::pg_module_magic!();
#[pg_extern(sql = false)]
fn ltv_hello() -> i32 { 1 }
