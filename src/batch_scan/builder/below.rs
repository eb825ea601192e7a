//! Batch scans between a node and its child: what the node evaluates for each row becomes a column of the child.

use super::Builder;
use super::absorb::absorbs;
use super::batch::Batch;
use super::computable::computable;
use super::rows;
use crate::batch_scan::functions;
use crate::batch_scan::private::Limit;
use crate::batch_scan::tree::{self, INNER, Node, OUTER, Walk, cast, iter};
use pgrx::pg_sys::{self, NodeTag};
use std::collections::HashSet;

impl Builder {
    pub(super) unsafe fn project_set(&mut self, plan: *mut pg_sys::Plan) -> *mut pg_sys::Plan {
        // SAFETY: a ProjectSet; its target list holds TargetEntry.
        unsafe {
            let mut below = Below::new((*plan).lefttree);
            for entry in iter::<pg_sys::TargetEntry>((*plan).targetlist) {
                (*entry).expr = self
                    .push_around_sets(&mut below, (*entry).expr.cast())
                    .cast();
            }
            self.put_below(plan, below);
            plan
        }
    }

    /// All arguments are evaluated for each input row, so what contains no set-returning function can go below.
    unsafe fn push_around_sets(&mut self, below: &mut Below, node: *mut Node) -> *mut Node {
        // SAFETY: `node` is null or an expression.
        unsafe {
            if !self.is_worth(node) {
                return node;
            }
            if tree::tag(node) != NodeTag::T_List && !pg_sys::expression_returns_set(node) {
                return self.push(below, node);
            }
            tree::mutate_children(node, &mut |child| self.push_around_sets(below, child))
        }
    }

    pub(super) unsafe fn aggregate(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: an Agg.
        unsafe {
            let mut below = Below::new((*plan).lefttree);
            let lists: [*mut Node; 2] = [(*plan).targetlist.cast(), (*plan).qual.cast()];
            for list in lists {
                tree::walk(list, &mut |n| match cast::<pg_sys::Aggref>(n) {
                    Some(aggref) => {
                        self.push_aggregate(&mut below, aggref);
                        Walk::Skip
                    }
                    None => Walk::Down,
                });
            }
            if self.put_below(plan, below) {
                self.keep_used_columns(plan);
            }
            self.project(plan, limit)
        }
    }

    unsafe fn push_aggregate(&mut self, below: &mut Below, aggref: *mut pg_sys::Aggref) {
        // SAFETY: an Aggref; its args are TargetEntry.
        unsafe {
            if functions::occur_in((*aggref).aggdirectargs) {
                self.decline("it is a direct argument of an ordered-set aggregate");
            }
            let filter = (*aggref).aggfilter.cast::<Node>();
            for entry in iter::<pg_sys::TargetEntry>((*aggref).args) {
                if self.is_worth((*entry).expr) {
                    (*entry).expr = self
                        .push_filtered(below, (*entry).expr.cast(), filter)
                        .cast();
                }
            }
            if self.is_worth(filter) {
                (*aggref).aggfilter = self.push(below, filter).cast();
            }
        }
    }

    /// `expr`, which is evaluated only where `filter` is true.
    unsafe fn push_filtered(
        &mut self,
        below: &mut Below,
        expr: *mut Node,
        filter: *mut Node,
    ) -> *mut Node {
        // SAFETY: `expr` is an expression, `filter` null or one.
        unsafe {
            if filter.is_null() {
                return self.push(below, expr);
            }
            if tree::is_volatile(filter) || tree::has_subplan(filter) {
                self.decline("it is under a FILTER that is volatile or has a subquery");
                return expr;
            }
            let when = tree::make::<pg_sys::CaseWhen>();
            (*when).expr = tree::copy(filter).cast();
            (*when).result = expr.cast();
            (*when).location = -1;
            let case = tree::make::<pg_sys::CaseExpr>();
            (*case).casetype = pg_sys::exprType(expr);
            (*case).casecollid = pg_sys::exprCollation(expr);
            (*case).args = tree::list([when]);
            (*case).defresult = tree::null_like(expr).cast();
            (*case).location = -1;
            self.push(below, case.cast())
        }
    }

    pub(super) unsafe fn window(
        &mut self,
        plan: *mut pg_sys::Plan,
        limit: Option<Limit>,
    ) -> *mut pg_sys::Plan {
        // SAFETY: a WindowAgg.
        unsafe {
            let mut below = Below::new((*plan).lefttree);
            let lists: [*mut Node; 2] = [(*plan).targetlist.cast(), (*plan).qual.cast()];
            for list in lists {
                tree::walk(list, &mut |n| match cast::<pg_sys::WindowFunc>(n) {
                    Some(function) => {
                        // Which rows a frame will ask for is not known.
                        (*function).args =
                            self.push_lazily(&mut below, (*function).args.cast()).cast();
                        (*function).aggfilter = self
                            .push_lazily(&mut below, (*function).aggfilter.cast())
                            .cast();
                        Walk::Skip
                    }
                    None => Walk::Down,
                });
            }
            if self.put_below(plan, below) {
                self.keep_used_columns(plan);
            }
            // What the window functions need is seen to.
            let mut worth = false;
            tree::walk((*plan).targetlist, &mut |n| {
                if cast::<pg_sys::WindowFunc>(n).is_some() {
                    return Walk::Skip;
                }
                if functions::called_by(n).is_none() {
                    return Walk::Down;
                }
                worth |= self.is_worth(n);
                Walk::Skip
            });
            if !worth {
                return plan;
            }
            // Its quals and its run condition refer to its own output, which therefore stays where it is.
            let mut batch = Batch::over(plan, Vec::new(), None);
            batch.keep_child_columns();
            batch.limit_by(limit);
            self.add(batch)
        }
    }

    /// Has `expr`, over the child's output, computed below; what the node reads instead.
    unsafe fn push(&mut self, below: &mut Below, expr: *mut Node) -> *mut Node {
        // SAFETY: an expression.
        unsafe {
            let statement = self.statement;
            let resno = self.absorber(below, expr).absorb(statement, expr);
            tree::var_like(OUTER, resno, expr).cast()
        }
    }

    unsafe fn absorber(&mut self, below: &mut Below, expr: *mut Node) -> &mut Batch {
        // SAFETY: an expression over the output of `below.child`.
        unsafe {
            let fits = self
                .batch_of(below.child)
                .is_some_and(|b| b.can_absorb(expr));
            if !fits {
                let child = below.child;
                let named = rows::is_named_scan(tree::tag(child));
                let scan = named || tree::tag(child) == NodeTag::T_IndexOnlyScan;
                let batch = if scan && absorbs(child, expr) {
                    let rows = self.rows_of(child, named);
                    Batch::over(child, Vec::new(), Some(rows))
                } else {
                    Batch::beside(child)
                };
                below.child = self.add(batch);
            }
            let i = self.batches.iter().position(|b| b.plan() == below.child);
            &mut self.batches[i.unwrap_or_default()]
        }
    }

    /// Has each call in `expr` computed below if it can be done without error, and evaluated in place else.
    unsafe fn push_lazily(&mut self, below: &mut Below, expr: *mut Node) -> *mut Node {
        // SAFETY: `expr` is null, an expression or a list.
        unsafe {
            if !functions::occur_in(expr) {
                return expr;
            }
            let Some((_, function)) = functions::called_by(expr) else {
                return tree::mutate_children(expr, &mut |child| self.push_lazily(below, child));
            };
            if let Err(reason) = computable(expr, function, true) {
                self.decline(reason);
                return expr;
            }
            let statement = self.statement;
            let (value, flag) = self.absorber(below, expr).absorb_call(statement, expr);
            let when = tree::make::<pg_sys::CaseWhen>();
            (*when).expr = tree::var_of(OUTER, flag, pg_sys::BOOLOID).cast();
            (*when).result = tree::var_like(OUTER, value, expr).cast();
            (*when).location = -1;
            let case = tree::make::<pg_sys::CaseExpr>();
            (*case).casetype = pg_sys::exprType(expr);
            (*case).casecollid = pg_sys::exprCollation(expr);
            (*case).args = tree::list([when]);
            (*case).defresult = expr.cast();
            (*case).location = -1;
            case.cast()
        }
    }

    unsafe fn put_below(&mut self, plan: *mut pg_sys::Plan, below: Below) -> bool {
        if below.child == below.original {
            return false;
        }
        // SAFETY: a plan node.
        unsafe { (*plan).lefttree = below.child };
        true
    }

    /// The batch scan under a node that refers to all it reads by OUTER_VAR need not carry the rest.
    unsafe fn keep_used_columns(&mut self, plan: *mut pg_sys::Plan) {
        let mut used = HashSet::new();
        let mut whole = false;
        // SAFETY: an Agg or WindowAgg.
        unsafe {
            for list in [(*plan).targetlist, (*plan).qual] {
                tree::collect_attnos(list, OUTER, |attno| {
                    whole |= attno <= 0;
                    used.insert(attno as usize);
                });
                tree::collect_attnos(list, INNER, |_| whole = true);
            }
            grouping_columns(plan, &mut used);
            if let Some(batch) = self.batch_of((*plan).lefttree)
                && !whole
            {
                batch.keep_only(|i| used.contains(&i));
            }
        }
    }
}

/// The child of a node, as pushing expressions below the node changes it.
struct Below {
    original: *mut pg_sys::Plan,
    child: *mut pg_sys::Plan,
}

impl Below {
    fn new(child: *mut pg_sys::Plan) -> Self {
        Self {
            original: child,
            child,
        }
    }
}

unsafe fn grouping_columns(plan: *mut pg_sys::Plan, used: &mut HashSet<usize>) {
    let mut take = |columns: *mut i16, count: i32| {
        // SAFETY: the arrays of a plan node are as long as it says.
        used.extend((0..count as usize).map(|i| unsafe { *columns.add(i) } as usize));
    };
    // SAFETY: an Agg or WindowAgg; the chain of an Agg holds Aggs with or without a Sort.
    unsafe {
        if let Some(window) = cast::<pg_sys::WindowAgg>(plan.cast()) {
            take((*window).partColIdx, (*window).partNumCols);
            take((*window).ordColIdx, (*window).ordNumCols);
        }
        if let Some(agg) = cast::<pg_sys::Agg>(plan.cast()) {
            take((*agg).grpColIdx, (*agg).numCols);
            for link in iter::<pg_sys::Agg>((*agg).chain) {
                take((*link).grpColIdx, (*link).numCols);
                if tree::tag((*link).plan.lefttree) == NodeTag::T_Sort {
                    let sort = (*link).plan.lefttree.cast::<pg_sys::Sort>();
                    take((*sort).sortColIdx, (*sort).numCols);
                }
            }
        }
    }
}
