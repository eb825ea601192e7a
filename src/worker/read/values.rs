//! What is read of single values: a hash of an id, how a feature enters the model, the elements of an array.

use super::plan::Feature;
use crate::value::{ArrayReader, Scalar};
use fnv::FnvHasher;
use ltv_core::schema::ColumnKind;
use pgrx::pg_sys;
use std::hash::Hasher;

/// FNV-1a: only an order is wanted, the same on every machine and in every release.
pub fn hash(text: &str) -> u64 {
    let mut hash = FnvHasher::default();
    hash.write(text.as_bytes());
    hash.finish()
}

/// How a feature enters the model; `None` for arrays, whose shape the data say.
pub fn kind(feature: &Feature) -> Option<ColumnKind> {
    Some(match feature.column.kind.scalar()? {
        _ if feature.categorical => ColumnKind::Categorical,
        Scalar::Bool => ColumnKind::Categorical,
        kind if kind.is_text() => ColumnKind::Categorical,
        kind if kind.is_time() => ColumnKind::Timestamp,
        _ => ColumnKind::Numeric,
    })
}

/// Reads the elements and says how many dimensions the array has; none if it is empty.
///
/// # Safety
/// `datum` is an array that `reader` is for.
pub unsafe fn read_array(datum: pg_sys::Datum, reader: &ArrayReader, into: &mut Vec<f32>) -> usize {
    // SAFETY: as the caller promises.
    unsafe {
        let view = reader.view(datum);
        into.clear();
        into.resize(view.count, f32::NAN);
        reader.numbers(&view, into);
        if into.is_empty() {
            0
        } else {
            view.dimensions().len()
        }
    }
}
