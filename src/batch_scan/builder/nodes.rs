//! What to do with each kind of plan node.

use super::Builder;
use super::batch::Batch;
use super::computable::computable;
use super::material;
use super::rows::{self, RowSource};
use super::single;
use crate::batch_scan::functions;
use crate::batch_scan::private::Limit;
use crate::batch_scan::tree::{self, Node, iter};
use pgrx::pg_sys::{self, NodeTag};

impl Builder {
    /// `plan`, whose children are done, or the batch scan on top of it.
    pub(super) unsafe fn node(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a plan node; the tag says which.
        unsafe {
            match tree::tag(plan) {
                tag if rows::is_named_scan(tag) => self.scan(plan, true, limit),
                NodeTag::T_IndexOnlyScan => self.scan(plan, false, limit),
                NodeTag::T_ForeignScan => self.foreign_scan(plan, limit),
                NodeTag::T_Result => self.result(plan, limit),
                NodeTag::T_ProjectSet => self.project_set(plan),
                NodeTag::T_NestLoop | NodeTag::T_HashJoin => self.join(plan, limit),
                NodeTag::T_MergeJoin => {
                    self.materialize_inner(plan);
                    self.join(plan, limit)
                }
                NodeTag::T_Agg => self.aggregate(plan, limit),
                NodeTag::T_WindowAgg => self.window(plan, limit),
                NodeTag::T_Group | NodeTag::T_Gather | NodeTag::T_GatherMerge => {
                    self.project(plan, limit)
                }
                NodeTag::T_ModifyTable => {
                    self.modify(plan);
                    plan
                }
                _ => plan,
            }
        }
    }

    /// A node whose target list and quals can move to a batch scan as they are.
    pub(super) unsafe fn project(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a plan node that can project.
        unsafe {
            let moved = self.take_quals(&mut (*plan).qual);
            if moved.is_empty() && !self.is_worth((*plan).targetlist) {
                return plan;
            }
            self.on_top(plan, moved, None, limit)
        }
    }

    unsafe fn scan(
        &mut self,
        plan: *mut pg_sys::Plan,
        named: bool,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a scan.
        unsafe {
            if single::is_single(plan) {
                self.decline("there is only one row");
                return plan;
            }
            let moved = self.take_quals(&mut (*plan).qual);
            if moved.is_empty() && !self.is_worth((*plan).targetlist) {
                return plan;
            }
            let rows = self.rows_of(plan, named);
            self.on_top(plan, moved, Some(rows), limit)
        }
    }

    pub(super) unsafe fn rows_of(&self, plan: *mut pg_sys::Plan, named: bool) -> RowSource {
        // SAFETY: a scan; the tag says which.
        unsafe {
            let columns = match tree::tag(plan) {
                NodeTag::T_SubqueryScan => {
                    (*(*plan.cast::<pg_sys::SubqueryScan>()).subplan).targetlist
                }
                NodeTag::T_CteScan => {
                    let id = (*plan.cast::<pg_sys::CteScan>()).ctePlanId;
                    iter::<pg_sys::Plan>((*self.statement).subplans)
                        .nth((id - 1) as usize)
                        .filter(|p| !p.is_null())
                        .map_or(std::ptr::null_mut(), |p| (*p).targetlist)
                }
                _ => std::ptr::null_mut(),
            };
            let relation = (*plan.cast::<pg_sys::Scan>()).scanrelid;
            RowSource::new((*self.statement).rtable, relation, named, columns)
        }
    }

    unsafe fn foreign_scan(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a ForeignScan.
        unsafe {
            let scan = plan.cast::<pg_sys::ForeignScan>();
            if (*scan).operation != pg_sys::CmdType::CMD_SELECT {
                return plan;
            }
            let named = (*scan).scan.scanrelid > 0 && (*scan).fdw_scan_tlist.is_null();
            let wrapped = self.scan(plan, named, limit);
            if wrapped != plan {
                // Its rows are no longer an Append's to wait for.
                (*plan).async_capable = false;
            }
            wrapped
        }
    }

    unsafe fn result(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a Result.
        unsafe {
            let result = plan.cast::<pg_sys::Result>();
            if (*plan).lefttree.is_null() {
                if functions::occur_in((*plan).targetlist) || functions::occur_in((*plan).qual) {
                    self.decline("there is only one row");
                }
                return plan;
            }
            let bare = (*plan).qual.is_null() && (*result).resconstantqual.is_null();
            if !bare || !self.is_worth((*plan).targetlist) {
                return self.project(plan, limit);
            }
            let mut batch = Batch::instead_of(plan);
            batch.limit_by(limit);
            self.add(batch)
        }
    }

    unsafe fn join(&mut self, plan: *mut pg_sys::Plan, limit: Option<Limit>) -> *mut pg_sys::Plan {
        // SAFETY: a join.
        unsafe {
            let join = plan.cast::<pg_sys::Join>();
            let mut moved = Vec::new();
            if self.is_worth((*join).joinqual) {
                if (*join).jointype == pg_sys::JoinType::JOIN_INNER {
                    moved = self.take_quals(&mut (*join).joinqual);
                    moved.extend(iter::<Node>((*plan).qual));
                    (*plan).qual = std::ptr::null_mut();
                    // That one match is enough was known of all conditions together.
                    (*join).inner_unique = false;
                } else {
                    self.decline("it is in the condition of an outer, semi or anti join");
                }
            } else {
                moved = self.take_quals(&mut (*plan).qual);
            }
            if moved.is_empty() && !self.is_worth((*plan).targetlist) {
                return plan;
            }
            self.on_top(plan, moved, None, limit)
        }
    }

    /// A batch scan cannot go back to a mark, as the inner side of a merge join must.
    unsafe fn materialize_inner(&mut self, plan: *mut pg_sys::Plan) {
        // SAFETY: a MergeJoin.
        unsafe {
            let inner = (*plan).righttree;
            if self.batch_of(inner).is_some() {
                self.last_id += 1;
                (*plan).righttree = material::over(inner, self.last_id);
            }
        }
    }

    unsafe fn modify(&mut self, plan: *mut pg_sys::Plan) {
        // SAFETY: a ModifyTable.
        unsafe {
            let modify = plan.cast::<pg_sys::ModifyTable>();
            if functions::occur_in((*modify).returningLists) {
                self.decline("it is in RETURNING");
            }
            let conflict = [
                (*modify).onConflictSet.cast::<Node>(),
                (*modify).onConflictWhere,
            ];
            if conflict.iter().any(|n| functions::occur_in(*n)) {
                self.decline("it is in ON CONFLICT");
            }
        }
    }

    /// Is there a call in the expression that can be computed in batches?
    pub(super) unsafe fn is_worth<T>(&mut self, node: *mut T) -> bool {
        // SAFETY: `node` is null, an expression or a list.
        unsafe {
            tree::any(node, |n| {
                let Some((_, function)) = functions::called_by(n) else {
                    return false;
                };
                match computable(n, function, false) {
                    Ok(()) => true,
                    Err(reason) => {
                        self.decline(reason);
                        false
                    }
                }
            })
        }
    }

    /// Takes the first qual with a call out of the list, and all that come after it: their order is the planner's
    /// (cheap before dear, and row level security before everything that could leak).
    pub(super) unsafe fn take_quals(&mut self, quals: &mut *mut pg_sys::List) -> Vec<*mut Node> {
        // SAFETY: a list of expressions.
        unsafe {
            let all: Vec<*mut Node> = iter(*quals).collect();
            let Some(first) = all.iter().position(|q| self.is_worth(*q)) else {
                return Vec::new();
            };
            *quals = tree::list(all[..first].iter().copied());
            all[first..].to_vec()
        }
    }
}
