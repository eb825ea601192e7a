//! One batch scan under construction.
//!
//! It stands on a child and computes a target list and quals over what the child puts out. Expressions are given
//! in the child's own language (*leaves*: for a table scan the Vars of the table, for an Agg its Aggrefs and
//! grouping columns, for a child taken as it is OUTER_VAR), and mapped to columns of the child's output.

use super::absorb::{is_leaf, sources_absorb};
use super::calls::Extractor;
use super::params;
use super::rows::{RowSource, is_table_scan};
use crate::batch_scan::functions;
use crate::batch_scan::private::{Expressions, Limit};
use crate::batch_scan::support;
use crate::batch_scan::tree::{self, INDEX, Node, OUTER, cast, iter};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::CStr;

struct Output {
    entry: *mut pg_sys::TargetEntry,
    /// In the child's language.
    source: *mut Node,
    part: Part,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// The value of a call, if it could be computed.
    Value,
    /// Whether it could.
    Flag,
    /// Nobody above reads it.
    Unused,
}

pub struct Batch {
    pub node: *mut pg_sys::CustomScan,
    child: *mut pg_sys::Plan,
    /// `None`: the child's target list stays as it is and is referred to by OUTER_VAR.
    leaves: Option<Vec<*mut Node>>,
    rows: Option<RowSource>,
    outputs: Vec<Output>,
    quals: Vec<*mut Node>,
    limit: Option<Limit>,
}

impl Batch {
    /// Takes over the target list of `plan`, and `quals`; `plan` stays as the child and puts out what they need.
    ///
    /// # Safety
    /// `plan` is a plan node that can project.
    pub unsafe fn over(
        plan: *mut pg_sys::Plan,
        quals: Vec<*mut Node>,
        rows: Option<RowSource>,
    ) -> Self {
        // SAFETY: a plan node; its target list holds TargetEntry.
        unsafe {
            let mut batch = Self::bare(plan);
            batch.leaves = Some(Vec::new());
            batch.rows = rows;
            batch.quals = quals;
            for entry in iter::<pg_sys::TargetEntry>((*plan).targetlist) {
                batch.outputs.push(Output {
                    entry,
                    source: (*entry).expr.cast(),
                    part: Part::Whole,
                });
            }
            batch.publish();
            // Whoever evaluates the expressions has to own the subqueries that run before them.
            (*batch.node).scan.plan.initPlan = (*plan).initPlan;
            if !(*plan).initPlan.is_null() {
                (*plan).initPlan = std::ptr::null_mut();
                (*plan).extParam = pg_sys::bms_copy((*plan).allParam);
            }
            batch
        }
    }

    /// Puts out what `child` puts out, with room for more columns.
    ///
    /// # Safety
    /// `child` is a plan node.
    pub unsafe fn beside(child: *mut pg_sys::Plan) -> Self {
        // SAFETY: a plan node; its target list holds TargetEntry.
        unsafe {
            let mut batch = Self::bare(child);
            for (i, entry) in iter::<pg_sys::TargetEntry>((*child).targetlist).enumerate() {
                let copied = tree::copy(entry);
                let var = tree::var_like(OUTER, i + 1, (*entry).expr.cast());
                (*copied).expr = var.cast();
                batch.outputs.push(Output {
                    entry: copied,
                    source: var.cast(),
                    part: Part::Whole,
                });
            }
            batch.publish();
            batch
        }
    }

    /// Takes the place of `result`, which only projects.
    ///
    /// # Safety
    /// `result` is a Result over a child, without conditions of its own.
    pub unsafe fn instead_of(result: *mut pg_sys::Plan) -> Self {
        // SAFETY: a Result; its expressions are over OUTER_VAR, the output of its child.
        unsafe {
            let mut batch = Self::over(result, Vec::new(), None);
            batch.leaves = None;
            batch.child = (*result).lefttree;
            batch
        }
    }

    unsafe fn bare(child: *mut pg_sys::Plan) -> Self {
        let node = tree::make::<pg_sys::CustomScan>();
        // SAFETY: a node just made; `child` is a plan node.
        unsafe {
            let plan = &mut (*node).scan.plan;
            plan.startup_cost = (*child).startup_cost;
            plan.total_cost = (*child).total_cost;
            plan.plan_rows = (*child).plan_rows;
            plan.plan_width = (*child).plan_width;
            plan.parallel_safe = (*child).parallel_safe;
            plan.extParam = pg_sys::bms_copy((*child).extParam);
            plan.allParam = pg_sys::bms_copy((*child).allParam);
        }
        Self {
            node,
            child,
            leaves: None,
            rows: None,
            outputs: Vec::new(),
            quals: Vec::new(),
            limit: None,
        }
    }

    pub fn plan(&self) -> *mut pg_sys::Plan {
        self.node.cast()
    }

    /// What nodes above look at until the node is finished.
    unsafe fn publish(&mut self) {
        // SAFETY: our own node; the outputs are complete but for their final expressions.
        unsafe {
            (*self.node).scan.plan.targetlist =
                tree::list(self.outputs.iter().map(|o| tree::copy(o.entry)));
        }
    }

    pub fn has_quals(&self) -> bool {
        !self.quals.is_empty()
    }

    pub fn limit_by(&mut self, limit: Option<Limit>) {
        self.limit = limit;
    }

    /// The child puts out what it did before, in the same places, except for our calls.
    ///
    /// # Safety
    /// After [`Batch::over`].
    pub unsafe fn keep_child_columns(&mut self) {
        let columns = self.outputs.iter().map(|o| {
            // SAFETY: expressions of the child.
            unsafe {
                if functions::occur_in(o.source) {
                    tree::null_like(o.source)
                } else {
                    o.source
                }
            }
        });
        self.leaves = Some(columns.collect());
    }

    /// See [`super::absorb::absorbs`].
    ///
    /// # Safety
    /// `expr` is an expression over our output (OUTER_VAR).
    pub unsafe fn can_absorb(&self, expr: *mut Node) -> bool {
        // SAFETY: passed on.
        unsafe { sources_absorb(|i| self.outputs.get(i).map(|o| o.source), expr) }
    }

    /// One more column: `expr`, over our output (OUTER_VAR). Its number, or that of a column which is the same.
    ///
    /// # Safety
    /// `expr` is an expression that `can_absorb` accepts.
    pub unsafe fn absorb(&mut self, statement: *mut pg_sys::PlannedStmt, expr: *mut Node) -> usize {
        // SAFETY: passed on.
        unsafe { self.add(statement, expr, Part::Whole) }
    }

    /// Two more columns: the value of a call that may not be evaluated at all, and whether it is there.
    ///
    /// # Safety
    /// `call` is a call of ours that `can_absorb` accepts.
    pub unsafe fn absorb_call(
        &mut self,
        statement: *mut pg_sys::PlannedStmt,
        call: *mut Node,
    ) -> (usize, usize) {
        // SAFETY: passed on.
        unsafe {
            (
                self.add(statement, call, Part::Value),
                self.add(statement, call, Part::Flag),
            )
        }
    }

    unsafe fn add(
        &mut self,
        statement: *mut pg_sys::PlannedStmt,
        expr: *mut Node,
        part: Part,
    ) -> usize {
        // SAFETY: expressions of this statement.
        unsafe {
            let source = self.substitute(expr);
            let same = |o: &Output| o.part == part && tree::same(o.source, source);
            if let Some(i) = self.outputs.iter().position(same) {
                return i + 1;
            }
            let resno = self.outputs.len() + 1;
            let shown = if part == Part::Flag {
                tree::boolean(true)
            } else {
                source
            };
            let entry = tree::target(shown, resno, None);
            self.outputs.push(Output {
                entry,
                source,
                part,
            });
            self.publish();
            let plan = &mut (*self.node).scan.plan;
            let used = params::used_by(statement, source);
            plan.extParam = pg_sys::bms_add_members(plan.extParam, used);
            plan.allParam = pg_sys::bms_add_members(plan.allParam, used);
            resno
        }
    }

    unsafe fn substitute(&self, node: *mut Node) -> *mut Node {
        // SAFETY: `node` is null or an expression over our output.
        unsafe {
            if let Some(var) = cast::<pg_sys::Var>(node)
                && tree::varno(var) == OUTER
            {
                return tree::copy(self.outputs[(*var).varattno as usize - 1].source);
            }
            tree::mutate_children(node, &mut |child| self.substitute(child))
        }
    }

    /// Only these columns of ours are read.
    pub fn keep_only(&mut self, used: impl Fn(usize) -> bool) {
        for (i, output) in self.outputs.iter_mut().enumerate() {
            // SAFETY: an expression. Anything but a column may do something when it is evaluated.
            let is_column = unsafe { tree::tag(output.source) } == NodeTag::T_Var;
            if is_column && !used(i + 1) {
                output.part = Part::Unused;
            }
        }
    }

    /// Fills the node; returns what its predictions cost, and why calls were left in place.
    ///
    /// # Safety
    /// Once, when the statement's other nodes are complete.
    pub unsafe fn finish(
        mut self,
        methods: *const pg_sys::CustomScanMethods,
    ) -> (f64, Vec<&'static str>) {
        // SAFETY: all expressions are in the child's language.
        unsafe {
            self.take_whole_tuples();
            let quals = self.quals.clone();
            let quals: Vec<*mut Node> = quals.into_iter().map(|q| self.map(q)).collect();
            let sources: Vec<(*mut Node, Part)> =
                self.outputs.iter().map(|o| (o.source, o.part)).collect();
            let outputs: Vec<*mut Node> = sources
                .iter()
                .map(|(source, part)| match part {
                    Part::Unused => tree::null_like(*source),
                    _ => self.map(*source),
                })
                .collect();
            self.set_child_output();

            let columns = iter::<Node>((*self.child).targetlist).len();
            let mut extractor = Extractor::new(columns);
            let executed_quals = quals.iter().map(|q| extractor.qual(*q)).collect();
            let executed = outputs
                .iter()
                .zip(&sources)
                .map(|(output, (_, part))| match part {
                    Part::Value => extractor.part(*output, false),
                    Part::Flag => extractor.part(*output, true),
                    Part::Whole | Part::Unused => extractor.output(*output),
                });
            let executed: Vec<*mut Node> = executed.collect();
            let executed = executed.into_iter().enumerate();
            let executed = executed
                .map(|(i, o)| tree::target(o, i + 1, None))
                .collect();

            let cost = self.share_cost(extractor.calls.len());
            let node = &mut *self.node;
            node.methods = methods;
            node.scan.plan.lefttree = self.child;
            node.custom_scan_tlist = self.scan_columns();
            node.scan.plan.qual = tree::list(self.shown(&quals, &self.quals));
            let shown: Vec<*mut Node> = sources
                .iter()
                .zip(self.shown(&outputs, &sources.iter().map(|s| s.0).collect::<Vec<_>>()))
                .map(|((_, part), shown)| match part {
                    Part::Flag => tree::boolean(true),
                    _ => shown,
                })
                .collect();
            node.scan.plan.targetlist = tree::list(self.outputs.iter().zip(shown).enumerate().map(
                |(i, (output, expr))| {
                    let entry = tree::copy(output.entry);
                    (*entry).expr = expr.cast();
                    (*entry).resno = (i + 1) as i16;
                    entry
                },
            ));
            node.custom_exprs = Expressions {
                outputs: executed,
                quals: executed_quals,
                calls: extractor.calls,
                limit: self.limit,
            }
            .encode();
            (cost, extractor.reasons)
        }
    }

    /// A scan that hands on its table's tuples need not project, so it is asked for all columns where only columns are
    /// asked for, and not too few of them.
    unsafe fn take_whole_tuples(&mut self) {
        /// Columns more than are read.
        const SPARE: usize = 8;
        // SAFETY: our child; expressions in its language.
        unsafe {
            let (Some(rows), Some([])) = (&self.rows, self.leaves.as_deref()) else {
                return;
            };
            if !is_table_scan(tree::tag(self.child)) {
                return;
            }
            let Some(columns) = rows.physical() else {
                return;
            };
            for node in self.quals.clone() {
                self.map(node);
            }
            for i in 0..self.outputs.len() {
                if self.outputs[i].part != Part::Unused {
                    self.map(self.outputs[i].source);
                }
            }
            let read = self.leaves.take().unwrap_or_default();
            let plain = read
                .iter()
                .all(|leaf| columns.iter().any(|column| tree::same(*leaf, *column)));
            let few = columns.len() > 2 * read.len() + SPARE;
            self.leaves = Some(if plain && !few { columns } else { Vec::new() });
        }
    }

    /// The predictions are ours: if the child's cost had them, it has them no longer.
    unsafe fn share_cost(&mut self, calls: usize) -> f64 {
        // SAFETY: our own node and its child.
        unsafe {
            let child = &mut *self.child;
            let predicted = calls as f64 * child.plan_rows * support::per_row();
            let plan = &mut (*self.node).scan.plan;
            if self.leaves.is_some() && plan.total_cost - predicted > child.startup_cost {
                child.total_cost = plan.total_cost - predicted;
            } else {
                plan.total_cost = child.total_cost + predicted;
            }
            predicted
        }
    }

    /// What EXPLAIN prints: over a table the expressions as they were, so that names appear as written.
    fn shown(&self, mapped: &[*mut Node], sources: &[*mut Node]) -> Vec<*mut Node> {
        let from_table = self.rows.as_ref().is_some_and(RowSource::is_named);
        // SAFETY: copies of expressions.
        let copy = |nodes: &[*mut Node]| nodes.iter().map(|n| unsafe { tree::copy(*n) }).collect();
        if from_table {
            copy(sources)
        } else {
            copy(mapped)
        }
    }

    unsafe fn set_child_output(&mut self) {
        let Some(leaves) = &self.leaves else { return };
        let entries = leaves.iter().enumerate().map(|(i, leaf)| {
            // SAFETY: leaves are expressions in the child's language.
            tree::target(unsafe { tree::copy(*leaf) }, i + 1, None)
        });
        // SAFETY: our child, which can project.
        unsafe { (*self.child).targetlist = tree::list(entries) };
    }

    unsafe fn scan_columns(&self) -> *mut pg_sys::List {
        // SAFETY: the child's target list holds TargetEntry.
        unsafe {
            let columns = iter::<pg_sys::TargetEntry>((*self.child).targetlist).enumerate();
            tree::list(columns.map(|(i, entry)| {
                let name = (*entry).resname;
                let name = (!name.is_null()).then(|| CStr::from_ptr(name));
                let var = tree::var_like(OUTER, i + 1, (*entry).expr.cast());
                tree::target(var.cast(), i + 1, name)
            }))
        }
    }

    /// From the child's language to columns of its output.
    unsafe fn map(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: `node` is null or an expression in the child's language.
        unsafe {
            if self.leaves.is_none() {
                if let Some(var) = cast::<pg_sys::Var>(node) {
                    let copied = tree::copy(var);
                    (*copied).varno = INDEX as _;
                    return copied.cast();
                }
            } else {
                if is_leaf(node) {
                    return self.leaf(node);
                }
                if let Some((_, function)) = functions::called_by(node) {
                    return self.map_call(node, function.input);
                }
            }
            tree::mutate_children(node, &mut |child| self.map(child))
        }
    }

    /// A call's whole-row argument becomes a row of its columns, which no one has to form.
    unsafe fn map_call(&mut self, node: *mut Node, input: usize) -> *mut Node {
        // SAFETY: a FuncExpr.
        unsafe {
            let copied = tree::copy(node.cast::<pg_sys::FuncExpr>());
            let args: Vec<*mut Node> = iter::<Node>((*copied).args).collect();
            let args: Vec<*mut Node> = args
                .into_iter()
                .enumerate()
                .map(|(i, arg)| {
                    if i != input {
                        return self.map(arg);
                    }
                    let arg = match &self.rows {
                        Some(rows) => rows.expand(arg),
                        None => arg,
                    };
                    self.map(arg)
                })
                .collect();
            (*copied).args = tree::list(args);
            copied.cast()
        }
    }

    unsafe fn leaf(&mut self, node: *mut Node) -> *mut Node {
        let leaves = self.leaves.get_or_insert_default();
        // SAFETY: all are expressions.
        unsafe {
            let i = leaves
                .iter()
                .position(|l| tree::same(*l, node))
                .unwrap_or_else(|| {
                    leaves.push(node);
                    leaves.len() - 1
                });
            tree::var_like(INDEX, i + 1, node).cast()
        }
    }
}
