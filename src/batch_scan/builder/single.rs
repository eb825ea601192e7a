//! Scans that find one row at most: a batch would be more work than the one prediction.

use crate::batch_scan::functions;
use crate::batch_scan::tree::{self, Node, Walk, cast, iter};
use pgrx::pg_sys;
use std::collections::HashSet;

/// Does the scan look up a key of a unique index, and is there one call in it only (which a batch would compute but
/// once)?
///
/// # Safety
/// A scan.
pub unsafe fn is_single(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: the tag says what the scan is.
    unsafe {
        let (index, conditions) = if let Some(scan) = cast::<pg_sys::IndexScan>(plan.cast()) {
            ((*scan).indexid, (*scan).indexqual)
        } else if let Some(scan) = cast::<pg_sys::IndexOnlyScan>(plan.cast()) {
            ((*scan).indexid, (*scan).indexqual)
        } else {
            return false;
        };
        finds_one(index, conditions) && calls_in((*plan).targetlist) + calls_in((*plan).qual) == 1
    }
}

unsafe fn calls_in(list: *mut pg_sys::List) -> usize {
    let mut calls = 0;
    // SAFETY: expressions of a plan.
    unsafe {
        tree::walk(list.cast::<Node>(), &mut |n| {
            calls += usize::from(functions::called_by(n).is_some());
            Walk::Down
        });
    }
    calls
}

/// Is there an equality for each column of the key?
unsafe fn finds_one(index: pg_sys::Oid, conditions: *mut pg_sys::List) -> bool {
    // SAFETY: an index of the plan, which is locked; its families are as many as its columns.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(index);
        if relation.is_null() {
            return false;
        }
        let form = &*(*relation).rd_index;
        let mut found = HashSet::new();
        if form.indisunique && form.indimmediate && form.indisvalid {
            for condition in iter::<Node>(conditions) {
                let Some(operator) = cast::<pg_sys::OpExpr>(condition) else {
                    continue;
                };
                let Some(column) = iter::<Node>((*operator).args).next().and_then(column) else {
                    continue;
                };
                if !(1..=form.indnkeyatts).contains(&column) {
                    continue;
                }
                let family = *(*relation).rd_opfamily.add(column as usize - 1);
                let strategy = pg_sys::get_op_opfamily_strategy((*operator).opno, family);
                if strategy == pg_sys::BTEqualStrategyNumber as i32 {
                    found.insert(column);
                }
            }
        }
        let complete = found.len() == form.indnkeyatts as usize && !found.is_empty();
        pg_sys::RelationClose(relation);
        complete
    }
}

/// The index column that a condition's left side is.
fn column(node: *mut Node) -> Option<i16> {
    // SAFETY: an expression over the index.
    unsafe {
        let node = match cast::<pg_sys::RelabelType>(node) {
            Some(relabel) => (*relabel).arg.cast(),
            None => node,
        };
        let var = cast::<pg_sys::Var>(node)?;
        (tree::varno(var) == tree::INDEX).then(|| (*var).varattno)
    }
}
