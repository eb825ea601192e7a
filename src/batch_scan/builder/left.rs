//! Calls that stay where they are because of what their node does with them.

use super::for_each_plan;
use crate::batch_scan::functions;
use crate::batch_scan::tree::{self, Node, cast};
use pgrx::pg_sys::{self, NodeTag};

/// Why, for each kind of place in which a call of the finished statement is left.
///
/// # Safety
/// A finished plan.
pub unsafe fn reasons(statement: *mut pg_sys::PlannedStmt) -> Vec<&'static str> {
    let mut found = Vec::new();
    // SAFETY: the tag says what a node is.
    unsafe {
        for_each_plan(statement, &mut |plan| {
            for (expressions, reason) in places(plan) {
                if functions::occur_in(expressions) && !found.contains(&reason) {
                    found.push(reason);
                }
            }
        });
    }
    found
}

/// The expressions of a node, other than its target list and its filter.
unsafe fn places(plan: *mut pg_sys::Plan) -> Vec<(*mut Node, &'static str)> {
    const HASHED: &str = "it is the key of a hash join";
    const MERGED: &str = "it is the key of a merge join";
    const INDEXED: &str = "it is what an index is searched for";
    // SAFETY: the tag says what the node is.
    unsafe {
        match tree::tag(plan) {
            NodeTag::T_HashJoin => {
                let join = &*plan.cast::<pg_sys::HashJoin>();
                vec![
                    (join.hashclauses.cast(), HASHED),
                    (join.hashkeys.cast(), HASHED),
                ]
            }
            NodeTag::T_Hash => vec![((*plan.cast::<pg_sys::Hash>()).hashkeys.cast(), HASHED)],
            NodeTag::T_MergeJoin => {
                let join = &*plan.cast::<pg_sys::MergeJoin>();
                vec![(join.mergeclauses.cast(), MERGED)]
            }
            NodeTag::T_IndexScan => {
                let scan = &*plan.cast::<pg_sys::IndexScan>();
                vec![
                    (scan.indexqual.cast(), INDEXED),
                    (scan.indexorderby.cast(), INDEXED),
                ]
            }
            NodeTag::T_IndexOnlyScan => {
                let scan = &*plan.cast::<pg_sys::IndexOnlyScan>();
                vec![(scan.indexqual.cast(), INDEXED)]
            }
            NodeTag::T_BitmapIndexScan => {
                let scan = &*plan.cast::<pg_sys::BitmapIndexScan>();
                vec![(scan.indexqual.cast(), INDEXED)]
            }
            NodeTag::T_FunctionScan => {
                let scan = &*plan.cast::<pg_sys::FunctionScan>();
                vec![(
                    scan.functions.cast(),
                    "it is an argument of a function in FROM",
                )]
            }
            NodeTag::T_ValuesScan => {
                let scan = &*plan.cast::<pg_sys::ValuesScan>();
                vec![(scan.values_lists.cast(), "it is in VALUES")]
            }
            NodeTag::T_Memoize => {
                let memoize = &*plan.cast::<pg_sys::Memoize>();
                vec![(
                    memoize.param_exprs.cast(),
                    "it is the key of a cache of rows",
                )]
            }
            NodeTag::T_Limit => cast::<pg_sys::Limit>(plan.cast())
                .map(|limit| {
                    [(*limit).limitCount, (*limit).limitOffset]
                        .map(|n| (n, "it is in LIMIT or OFFSET"))
                        .to_vec()
                })
                .unwrap_or_default(),
            NodeTag::T_WindowAgg => {
                let window = &*plan.cast::<pg_sys::WindowAgg>();
                [window.startOffset, window.endOffset]
                    .map(|n| (n, "it is in the frame of a window"))
                    .to_vec()
            }
            _ => Vec::new(),
        }
    }
}
