//! What EXPLAIN ANALYZE tells about inference, kept in fields of the node's own instrumentation that a custom scan
//! does not use otherwise: the executor adds up those of parallel workers by itself.

use pgrx::pg_sys::Instrumentation;
use std::time::Duration;

#[derive(Clone, Copy)]
pub struct Counters {
    pub rows: f64,
    pub batches: f64,
    pub inference: Duration,
}

/// Two numbers share a field: batches above, microseconds (up to 19 hours) below.
const BATCH: f64 = (1_u64 << 36) as f64;

impl Counters {
    pub fn add(instrument: &mut Instrumentation, rows: usize, inference: Duration) {
        instrument.nfiltered2 += rows as f64;
        instrument.ntuples2 += BATCH + inference.as_secs_f64() * 1e6;
    }

    pub fn of(instrument: &Instrumentation) -> Self {
        let batches = (instrument.ntuples2 / BATCH).floor();
        let microseconds = instrument.ntuples2 - batches * BATCH;
        Self {
            rows: instrument.nfiltered2,
            batches,
            inference: Duration::from_secs_f64(microseconds.max(0.0) / 1e6),
        }
    }
}
