//! From a finished plan to one with batch scans.
//!
//! The tree is walked bottom-up. Where a node evaluates one of our functions, a batch scan goes
//!
//! * **on top**: the node puts out the columns that its expressions need, and the batch scan projects and filters in
//!   its place (scans, joins, Result, what stands over aggregates); or
//! * **below**, between the node and its child, as further columns of the child (arguments of aggregates and of
//!   window functions, set-returning functions).
//!
//! A batch scan that is already there takes further columns, so that the same call is computed once.

mod absorb;
mod batch;
mod below;
mod calls;
mod computable;
mod left;
pub mod material;
mod nodes;
mod params;
mod rows;
mod single;

use super::exec;
use super::private::Limit;
use super::tree::{self, Node, cast, iter};
use batch::Batch;
use pgrx::pg_sys::{self, NodeTag};
use rows::RowSource;

/// Rewrites the plans of `statement` in place; why calls were left where they are.
///
/// # Safety
/// A finished plan that nobody executes yet.
pub unsafe fn rewrite(statement: *mut pg_sys::PlannedStmt) -> Vec<&'static str> {
    // SAFETY: the plans of the statement.
    unsafe {
        let mut builder = Builder {
            statement,
            last_id: last_id(statement),
            batches: Vec::new(),
            reasons: Vec::new(),
        };
        (*statement).planTree = builder.plan((*statement).planTree, None);
        for i in 0..iter::<pg_sys::Plan>((*statement).subplans).len() {
            if let Some(plan) = iter::<pg_sys::Plan>((*statement).subplans).nth(i) {
                let plan = builder.plan(plan, None);
                tree::replace((*statement).subplans, i, plan);
            }
        }
        builder.finish()
    }
}

struct Builder {
    statement: *mut pg_sys::PlannedStmt,
    /// The highest `plan_node_id`.
    last_id: i32,
    batches: Vec<Batch>,
    reasons: Vec<&'static str>,
}

impl Builder {
    unsafe fn finish(mut self) -> Vec<&'static str> {
        // SAFETY: the plans of the statement; each batch once.
        unsafe {
            let mut predictions = 0.0;
            for batch in std::mem::take(&mut self.batches) {
                let (cost, reasons) = batch.finish(exec::scan_methods());
                predictions += cost;
                for reason in reasons {
                    self.decline(reason);
                }
            }
            reconsider_jit(self.statement, predictions);
            for reason in left::reasons(self.statement) {
                self.decline(reason);
            }
            self.reasons
        }
    }

    /// `plan` with its children rewritten and, where needed, a batch scan above or below. `limit`: the LIMIT of
    /// whose rows each is one of this plan's.
    unsafe fn plan(&mut self, plan: *mut pg_sys::Plan, limit: Option<Limit>) -> *mut pg_sys::Plan {
        // SAFETY: `plan` is null or a plan node; the tag says which.
        unsafe {
            if plan.is_null() {
                return plan;
            }
            pg_sys::check_stack_depth();
            match tree::tag(plan) {
                // Somebody else's node: what it does with its children is not known.
                NodeTag::T_CustomScan => return plan,
                NodeTag::T_Append => {
                    self.list((*plan.cast::<pg_sys::Append>()).appendplans, limit);
                }
                NodeTag::T_MergeAppend => {
                    self.list((*plan.cast::<pg_sys::MergeAppend>()).mergeplans, limit);
                }
                NodeTag::T_SubqueryScan => {
                    let scan = plan.cast::<pg_sys::SubqueryScan>();
                    let limit = limit.filter(|_| (*plan).qual.is_null());
                    (*scan).subplan = self.plan((*scan).subplan, limit);
                }
                // Its child is the local plan of a remote join, for rechecks only.
                NodeTag::T_ForeignScan => {}
                _ => {
                    (*plan).lefttree = self.plan((*plan).lefttree, passed_on(plan, limit));
                    (*plan).righttree = self.plan((*plan).righttree, None);
                }
            }
            self.node(plan, limit)
        }
    }

    unsafe fn list(&mut self, plans: *mut pg_sys::List, limit: Option<Limit>) {
        // SAFETY: a list of plans.
        unsafe {
            for i in 0..iter::<pg_sys::Plan>(plans).len() {
                if let Some(plan) = iter::<pg_sys::Plan>(plans).nth(i) {
                    let plan = self.plan(plan, limit);
                    tree::replace(plans, i, plan);
                }
            }
        }
    }

    /// A batch scan that does the projection of `plan`, and `quals`.
    unsafe fn on_top(
        &mut self,
        plan: *mut pg_sys::Plan,
        quals: Vec<*mut Node>,
        rows: Option<RowSource>,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: `plan` is a plan node that can project.
        unsafe {
            let mut batch = Batch::over(plan, quals, rows);
            batch.limit_by(limit.filter(|_| !batch.has_quals()));
            self.add(batch)
        }
    }

    fn add(&mut self, batch: Batch) -> *mut pg_sys::Plan {
        let plan = batch.plan();
        self.last_id += 1;
        // SAFETY: a node that the batch made.
        unsafe { (*plan).plan_node_id = self.last_id };
        self.batches.push(batch);
        plan
    }

    fn batch_of(&mut self, plan: *mut pg_sys::Plan) -> Option<&mut Batch> {
        self.batches.iter_mut().find(|b| b.plan() == plan)
    }

    fn decline(&mut self, reason: &'static str) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// Compiling makes expressions faster, but not predictions, so what these cost is no reason to do it.
unsafe fn reconsider_jit(statement: *mut pg_sys::PlannedStmt, predictions: f64) {
    // SAFETY: a finished plan; settings.
    unsafe {
        let cost = (*(*statement).planTree).total_cost - predictions;
        let flags = &mut (*statement).jitFlags;
        if cost <= pg_sys::jit_above_cost {
            *flags = pg_sys::PGJIT_NONE as i32;
        }
        if cost <= pg_sys::jit_inline_above_cost {
            *flags &= !(pg_sys::PGJIT_INLINE as i32);
        }
        if cost <= pg_sys::jit_optimize_above_cost {
            *flags &= !(pg_sys::PGJIT_OPT3 as i32);
        }
    }
}

/// The limit as seen by the child, if the node puts out exactly one row for each of the child's.
unsafe fn passed_on(plan: *mut pg_sys::Plan, limit: Option<Limit>) -> Option<Limit> {
    // SAFETY: a plan node; the tag says which.
    unsafe {
        let node = plan.cast::<Node>();
        if let Some(own) = cast::<pg_sys::Limit>(node) {
            let own = &*own;
            let known = [own.limitCount, own.limitOffset]
                .iter()
                .all(|n| !tree::is_volatile(*n) && !tree::has_subplan(*n));
            let counted = own.limitOption == pg_sys::LimitOption::LIMIT_OPTION_COUNT;
            return (known && counted && !own.limitCount.is_null()).then_some(Limit {
                count: own.limitCount,
                offset: own.limitOffset,
            });
        }
        limit.filter(|_| tree::tag(plan) == NodeTag::T_Result && (*plan).qual.is_null())
    }
}

/// The highest `plan_node_id` in use.
///
/// # Safety
/// A finished plan.
pub unsafe fn last_id(statement: *mut pg_sys::PlannedStmt) -> i32 {
    let mut last = 0;
    // SAFETY: passed on.
    unsafe { for_each_plan(statement, &mut |p| last = last.max((*p).plan_node_id)) };
    last
}

/// Shows `visit` all plan nodes of the statement.
///
/// # Safety
/// A finished plan.
pub unsafe fn for_each_plan(
    statement: *mut pg_sys::PlannedStmt,
    visit: &mut dyn FnMut(*mut pg_sys::Plan),
) {
    // SAFETY: the plans of the statement.
    unsafe {
        visit_plans((*statement).planTree, visit);
        for plan in iter::<pg_sys::Plan>((*statement).subplans) {
            visit_plans(plan, visit);
        }
    }
}

unsafe fn visit_plans(plan: *mut pg_sys::Plan, visit: &mut dyn FnMut(*mut pg_sys::Plan)) {
    // SAFETY: `plan` is null or a plan node; the tag says which.
    unsafe {
        if plan.is_null() {
            return;
        }
        pg_sys::check_stack_depth();
        visit(plan);
        let list = match tree::tag(plan) {
            NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            NodeTag::T_BitmapAnd => (*plan.cast::<pg_sys::BitmapAnd>()).bitmapplans,
            NodeTag::T_BitmapOr => (*plan.cast::<pg_sys::BitmapOr>()).bitmapplans,
            NodeTag::T_CustomScan => (*plan.cast::<pg_sys::CustomScan>()).custom_plans,
            NodeTag::T_SubqueryScan => {
                visit_plans((*plan.cast::<pg_sys::SubqueryScan>()).subplan, visit);
                std::ptr::null_mut()
            }
            _ => std::ptr::null_mut(),
        };
        for child in iter::<pg_sys::Plan>(list) {
            visit_plans(child, visit);
        }
        visit_plans((*plan).lefttree, visit);
        visit_plans((*plan).righttree, visit);
    }
}
