//! Which expressions a node can compute besides its own.

use crate::batch_scan::functions;
use crate::batch_scan::tree::{self, Node, OUTER, iter};
use pgrx::pg_sys::{self, NodeTag};

/// What only the child itself can evaluate.
///
/// # Safety
/// Null or an expression.
pub unsafe fn is_leaf(node: *mut Node) -> bool {
    matches!(
        // SAFETY: `node` is null or an expression.
        unsafe { tree::tag(node) },
        NodeTag::T_Var | NodeTag::T_Aggref | NodeTag::T_GroupingFunc | NodeTag::T_WindowFunc
    )
}

/// Can `expr`, over the output of `plan` (OUTER_VAR), be computed by `plan` itself without computing something else
/// twice?
///
/// # Safety
/// A plan node and an expression.
pub unsafe fn absorbs(plan: *mut pg_sys::Plan, expr: *mut Node) -> bool {
    // SAFETY: passed on.
    unsafe {
        let entry = |i| iter::<pg_sys::TargetEntry>((*plan).targetlist).nth(i);
        sources_absorb(|i| entry(i).map(|e| (*e).expr.cast()), expr)
    }
}

/// The same, for a node whose outputs `source` tells.
///
/// # Safety
/// Expressions of a plan.
pub unsafe fn sources_absorb(source: impl Fn(usize) -> Option<*mut Node>, expr: *mut Node) -> bool {
    let mut fine = true;
    // SAFETY: expressions of a plan.
    unsafe {
        tree::collect_attnos(expr, OUTER, |attno| {
            fine &= usize::try_from(attno - 1)
                .ok()
                .and_then(&source)
                .is_some_and(|s| {
                    matches!(
                        tree::tag(s),
                        NodeTag::T_Var | NodeTag::T_Const | NodeTag::T_Param
                    ) || functions::called_by(s).is_some() && !tree::is_volatile(s)
                });
        });
    }
    fine
}
