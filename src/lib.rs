//! pg_ltv: customer lifetime value in PostgreSQL.
//!
//! | module | what it holds |
//! |---|---|
//! | [`api`] | one thin file per group of SQL functions |
//! | [`catalog`] | the `ltv.*` tables: name -> version, privileges, invalidation |
//! | [`worker`] | training jobs: queue, background worker, reading, storing |
//! | [`scoring`] | rows -> tensors -> ONNX Runtime -> values; the session cache |
//! | [`value`] | SQL values -> numbers, texts, arrays, for training, scoring and monitoring alike; texts -> SQL |
//! | [`text`] | between the encoding of the database and UTF-8 |
//! | [`signals`] | threads of ours that no signal reaches |
//! | [`allocator`] | a training that gets no more memory fails by itself |
//! | [`batch_scan`] | many rows at once: planner hook, custom scan |
//! | [`error`] | how an error becomes what the user reads |
//! | [`guc`] | settings `ltv.*` |
//!
//! SQL lives in `sql/`; functions are exported from here by symbol only. Dependencies point one way:
//! `batch_scan -> api -> {catalog, worker} -> scoring -> value -> ltv-core`, which `cargo xtask test rust/imports` checks; only
//! `batch_scan` touches plan trees.

// Nothing here is public; the pages are for those who work on it.
#![allow(rustdoc::private_intra_doc_links)]

mod allocator;
mod api;
mod batch_scan;
mod catalog;
mod error;
mod guc;
mod scoring;
mod signals;
mod text;
mod value;
mod worker;

use pgrx::prelude::*;

::pgrx::pg_module_magic!();

/// Called once by each process that loads the library: the postmaster where it is preloaded, else a backend.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    error::init();
    guc::init();
    catalog::init();
    batch_scan::init();
    scoring::preload();
    worker::init();
}
