//! Which executor parameters an expression depends on: a changed one makes the scan start again.

use crate::batch_scan::tree::{self, cast, iter};
use pgrx::pg_sys;

/// # Safety
/// `node` is null or an expression of `statement`, or a list of them.
pub unsafe fn used_by<T>(
    statement: *mut pg_sys::PlannedStmt,
    node: *mut T,
) -> *mut pg_sys::Bitmapset {
    let mut used: *mut pg_sys::Bitmapset = std::ptr::null_mut();
    // SAFETY: nodes of this statement.
    unsafe {
        tree::any(node, |n| {
            if let Some(param) = cast::<pg_sys::Param>(n) {
                if (*param).paramkind == pg_sys::ParamKind::PARAM_EXEC {
                    used = pg_sys::bms_add_member(used, (*param).paramid);
                }
            } else if let Some(subplan) = cast::<pg_sys::SubPlan>(n) {
                used = pg_sys::bms_add_members(used, used_by_subplan(statement, subplan));
            }
            false
        });
    }
    used
}

/// What the subquery depends on, besides what it is given.
unsafe fn used_by_subplan(
    statement: *mut pg_sys::PlannedStmt,
    subplan: *mut pg_sys::SubPlan,
) -> *mut pg_sys::Bitmapset {
    // SAFETY: plan_id counts the statement's subplans from 1.
    unsafe {
        let index = ((*subplan).plan_id - 1) as usize;
        let Some(plan) = iter::<pg_sys::Plan>((*statement).subplans).nth(index) else {
            return std::ptr::null_mut();
        };
        if plan.is_null() {
            return std::ptr::null_mut();
        }
        let given = iter_ints((*subplan).parParam);
        let mut used = pg_sys::bms_copy((*plan).extParam);
        for param in given {
            used = pg_sys::bms_del_member(used, param);
        }
        used
    }
}

unsafe fn iter_ints(list: *mut pg_sys::List) -> impl Iterator<Item = i32> {
    let (cells, length) = if list.is_null() {
        (std::ptr::null_mut(), 0)
    } else {
        // SAFETY: a list of integers.
        unsafe { ((*list).elements, (*list).length as usize) }
    };
    // SAFETY: `i` is below the length.
    (0..length).map(move |i| unsafe { (*cells.add(i)).int_value })
}
