//! `ltv.loaded_models()`, behind the view `ltv_loaded_models`.

use crate::scoring;
use pgrx::prelude::*;

/// The models that this backend keeps ready, most recently used first.
#[pg_extern(sql = false)]
fn ltv_loaded_models() -> TableIterator<
    'static,
    (
        name!(model, String),
        name!(version, i32),
        name!(checksum, String),
        name!(graph_bytes, i64),
        name!(load_milliseconds, f64),
        name!(uses, i64),
    ),
> {
    TableIterator::new(scoring::loaded().into_iter().map(|loaded| {
        (
            loaded.model,
            loaded.version,
            loaded.checksum,
            loaded.bytes,
            loaded.load_milliseconds,
            loaded.uses,
        )
    }))
}
