//! A Material node over a batch scan, for whoever has to go back in its rows.

use crate::batch_scan::tree::{self, OUTER, iter};
use pgrx::pg_sys;

/// # Safety
/// `child` is a plan node of a statement, `id` not yet used in it.
pub unsafe fn over(child: *mut pg_sys::Plan, id: i32) -> *mut pg_sys::Plan {
    let node = tree::make::<pg_sys::Material>();
    // SAFETY: a node just made; the child's target list holds TargetEntry.
    unsafe {
        let plan = &mut (*node).plan;
        plan.plan_node_id = id;
        plan.startup_cost = (*child).startup_cost;
        plan.total_cost =
            (*child).total_cost + 2.0 * pg_sys::cpu_operator_cost * (*child).plan_rows;
        plan.plan_rows = (*child).plan_rows;
        plan.plan_width = (*child).plan_width;
        plan.parallel_safe = (*child).parallel_safe;
        plan.extParam = pg_sys::bms_copy((*child).extParam);
        plan.allParam = pg_sys::bms_copy((*child).allParam);
        plan.lefttree = child;
        let columns = iter::<pg_sys::TargetEntry>((*child).targetlist).enumerate();
        plan.targetlist = tree::list(columns.map(|(i, entry)| {
            let column = tree::make::<pg_sys::TargetEntry>();
            *column = *entry;
            (*column).expr = tree::var_like(OUTER, i + 1, (*entry).expr.cast()).cast();
            column
        }));
        plan
    }
}
