//! Takes the calls out of the expressions of one batch scan.
//!
//! The expressions arrive with their columns already pointing at the scan's input (INDEX_VAR 1..n). Each call gets
//! two more columns, a value and a flag, and is replaced by
//!
//! ```sql
//! CASE WHEN flag THEN value ELSE the original call END
//! ```
//!
//! so whatever could not be computed ahead, for whatever reason, is computed in place or fails in place, and only
//! if it is really evaluated. That makes everything else here a matter of speed and not of correctness: a *guard*
//! says for which rows the call will be evaluated, so that no inference is wasted on the branches of a CASE that are
//! not taken and no argument is evaluated that would not have been.

use super::computable::{computable, is_opaque, unbound_case};
use crate::batch_scan::functions;
use crate::batch_scan::private::{Call, Guard};
use crate::batch_scan::tree::{self, INDEX, Node, iter};
use pgrx::pg_sys::{self, NodeTag};

pub struct Extractor {
    /// Columns of the scan's input.
    columns: usize,
    pub calls: Vec<Call>,
    /// The calls as they were, by which the same one is found again.
    originals: Vec<*mut Node>,
    /// Calls used by the first quals.
    qual_calls: Vec<Vec<usize>>,
    guard: Guard,
    /// It is not known whether what we look at will be evaluated; only what cannot fail may be computed ahead.
    uncertain: bool,
    /// Why calls were left in place.
    pub reasons: Vec<&'static str>,
}

impl Extractor {
    pub fn new(columns: usize) -> Self {
        Self {
            columns,
            calls: Vec::new(),
            originals: Vec::new(),
            qual_calls: Vec::new(),
            guard: Guard {
                quals: 0,
                conditions: Vec::new(),
            },
            uncertain: false,
            reasons: Vec::new(),
        }
    }

    /// The next of the scan's quals.
    ///
    /// # Safety
    /// `node` is an expression over INDEX_VAR.
    pub unsafe fn qual(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: passed on.
        let node = unsafe { self.extract(node) };
        // SAFETY: passed on.
        let used = unsafe { self.used_by(node) };
        self.qual_calls.push(used);
        self.guard.quals += 1;
        node
    }

    /// An expression of the target list; after all quals.
    ///
    /// # Safety
    /// `node` is an expression over INDEX_VAR.
    pub unsafe fn output(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: passed on.
        unsafe { self.extract(node) }
    }

    /// The value or the flag of a call that may not be evaluated at all.
    ///
    /// # Safety
    /// `node` is a call over INDEX_VAR.
    pub unsafe fn part(&mut self, node: *mut Node, flag: bool) -> *mut Node {
        // SAFETY: passed on.
        unsafe {
            self.doubtful(node);
            let call = self.originals.iter().position(|o| tree::same(*o, node));
            match call.map(|i| self.call_columns(i)) {
                Some((_, attno)) if flag => tree::var_of(INDEX, attno, pg_sys::BOOLOID).cast(),
                Some((attno, _)) => tree::var_like(INDEX, attno, node).cast(),
                None if flag => tree::boolean(false),
                None => tree::null_like(node),
            }
        }
    }

    /// The columns of call `i`: value and flag.
    pub fn call_columns(&self, i: usize) -> (usize, usize) {
        (self.columns + 2 * i + 1, self.columns + 2 * i + 2)
    }

    unsafe fn used_by(&self, node: *mut Node) -> Vec<usize> {
        let mut used = Vec::new();
        // SAFETY: passed on.
        unsafe {
            tree::collect_attnos(node, INDEX, |attno| {
                if attno as usize > self.columns {
                    used.push((attno as usize - self.columns - 1) / 2);
                }
            });
        }
        used
    }

    unsafe fn extract(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: `node` is null or an expression, and so are its children.
        unsafe {
            if !functions::occur_in(node) {
                return node;
            }
            match tree::tag(node) {
                NodeTag::T_FuncExpr if functions::called_by(node).is_some() => self.call(node),
                NodeTag::T_CaseExpr => self.case(node.cast()),
                NodeTag::T_CoalesceExpr => self.coalesce(node.cast()),
                NodeTag::T_BoolExpr => self.boolean(node.cast()),
                NodeTag::T_SubPlan => self.subplan(node.cast()),
                NodeTag::T_SubscriptingRef => self.subscript(node.cast()),
                NodeTag::T_RowCompareExpr => self.in_doubt(node),
                NodeTag::T_ArrayCoerceExpr => self.array_coercion(node.cast()),
                tag if is_opaque(tag) => {
                    self.reasons.push("it is inside an expression of SQL/JSON");
                    node
                }
                _ => self.children(node),
            }
        }
    }

    unsafe fn children(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: `node` is an expression.
        unsafe { tree::mutate_children(node, &mut |child| self.extract(child)) }
    }

    /// Children of which it is not known how many are evaluated.
    unsafe fn in_doubt(&mut self, node: *mut Node) -> *mut Node {
        let before = std::mem::replace(&mut self.uncertain, true);
        // SAFETY: `node` is an expression.
        let node = unsafe { self.children(node) };
        self.uncertain = before;
        node
    }

    unsafe fn doubtful(&mut self, node: *mut Node) -> *mut Node {
        let before = std::mem::replace(&mut self.uncertain, true);
        // SAFETY: `node` is null or an expression.
        let node = unsafe { self.extract(node) };
        self.uncertain = before;
        node
    }

    /// `node`, which is evaluated only where `condition` is true.
    unsafe fn guarded(&mut self, node: *mut Node, condition: *mut Node) -> *mut Node {
        // SAFETY: `node` and `condition` are expressions.
        unsafe {
            if tree::is_volatile(condition)
                || tree::has_subplan(condition)
                || unbound_case(condition)
            {
                // Evaluating it twice could give two answers, or cost too much.
                return self.doubtful(node);
            }
            let depth = self.guard.conditions.len();
            self.guard.conditions.push(condition);
            let node = self.extract(node);
            self.guard.conditions.truncate(depth);
            node
        }
    }

    unsafe fn call(&mut self, node: *mut Node) -> *mut Node {
        // SAFETY: a FuncExpr that `called_by` knows.
        unsafe {
            let Some((_, function)) = functions::called_by(node) else {
                return node;
            };
            if let Err(reason) = computable(node, function, self.uncertain) {
                self.reasons.push(reason);
                return self.children(node);
            }
            let i = match self.originals.iter().position(|o| tree::same(*o, node)) {
                Some(i) => {
                    self.also(i);
                    i
                }
                None => {
                    let call = self.children(node);
                    let stage = self.stage(&self.guard, call);
                    self.originals.push(node);
                    self.calls.push(Call {
                        call,
                        stage,
                        guards: vec![self.guard.clone()],
                    });
                    self.calls.len() - 1
                }
            };
            self.reference(i)
        }
    }

    /// The same call in another place.
    unsafe fn also(&mut self, i: usize) {
        if self.calls[i].guards.iter().any(Guard::always) {
            return;
        }
        // SAFETY: the conditions are expressions.
        let stage = unsafe { self.stage(&self.guard, self.calls[i].call) };
        // A guard that needs this call or later ones is no help: there the call is evaluated in place.
        if stage > self.calls[i].stage {
            return;
        }
        if self.guard.always() {
            self.calls[i].guards.clear();
        }
        self.calls[i].guards.push(self.guard.clone());
    }

    unsafe fn stage(&self, guard: &Guard, call: *mut Node) -> usize {
        // SAFETY: the conditions are expressions.
        let mut used = unsafe { self.used_by(call) };
        for condition in &guard.conditions {
            // SAFETY: the same.
            used.extend(unsafe { self.used_by(*condition) });
        }
        used.extend(self.qual_calls[..guard.quals].iter().flatten());
        used.iter()
            .map(|i| self.calls[*i].stage + 1)
            .max()
            .unwrap_or(0)
    }

    /// `CASE WHEN flag THEN value ELSE the original call END`.
    unsafe fn reference(&self, i: usize) -> *mut Node {
        let (value, flag) = self.call_columns(i);
        let original = self.calls[i].call;
        let when = tree::make::<pg_sys::CaseWhen>();
        let case = tree::make::<pg_sys::CaseExpr>();
        // SAFETY: nodes just made; `original` is an expression.
        unsafe {
            (*when).expr = tree::var_of(INDEX, flag, pg_sys::BOOLOID).cast();
            (*when).result = tree::var_like(INDEX, value, original).cast();
            (*when).location = -1;
            (*case).casetype = pg_sys::exprType(original);
            (*case).casecollid = pg_sys::exprCollation(original);
            (*case).args = tree::list([when]);
            (*case).defresult = tree::copy(original).cast();
            (*case).location = -1;
        }
        case.cast()
    }

    unsafe fn case(&mut self, case: *mut pg_sys::CaseExpr) -> *mut Node {
        // SAFETY: a CaseExpr; its arms are CaseWhen.
        unsafe {
            let copied = tree::make::<pg_sys::CaseExpr>();
            *copied = *case;
            (*copied).arg = self.extract((*case).arg.cast()).cast();
            let simple = !(*case).arg.is_null();
            let mut before: Vec<*mut Node> = Vec::new();
            let mut arms = Vec::new();
            for arm in iter::<pg_sys::CaseWhen>((*case).args) {
                let new = tree::make::<pg_sys::CaseWhen>();
                *new = *arm;
                (*new).expr = if simple {
                    // Refers to the tested value, which exists only inside this CASE.
                    (*arm).expr
                } else if before.is_empty() {
                    self.extract((*arm).expr.cast()).cast()
                } else {
                    let reached = reached(copied, &before, None);
                    self.guarded((*arm).expr.cast(), reached).cast()
                };
                let taken = reached(copied, &before, Some((*new).expr.cast()));
                (*new).result = self.guarded((*arm).result.cast(), taken).cast();
                before.push((*new).expr.cast());
                arms.push(new);
            }
            let otherwise = reached(copied, &before, None);
            (*copied).defresult = self.guarded((*case).defresult.cast(), otherwise).cast();
            (*copied).args = tree::list(arms);
            copied.cast()
        }
    }

    unsafe fn coalesce(&mut self, node: *mut pg_sys::CoalesceExpr) -> *mut Node {
        // SAFETY: a CoalesceExpr.
        unsafe {
            let copied = tree::make::<pg_sys::CoalesceExpr>();
            *copied = *node;
            let mut args: Vec<*mut Node> = Vec::new();
            for arg in iter::<Node>((*node).args) {
                let tests: Vec<*mut Node> = args.iter().map(|a| is_null(*a)).collect();
                args.push(self.after(arg, &tests));
            }
            (*copied).args = tree::list(args);
            copied.cast()
        }
    }

    unsafe fn boolean(&mut self, node: *mut pg_sys::BoolExpr) -> *mut Node {
        // SAFETY: a BoolExpr.
        unsafe {
            let test = match (*node).boolop {
                pg_sys::BoolExprType::AND_EXPR => pg_sys::BoolTestType::IS_NOT_FALSE,
                pg_sys::BoolExprType::OR_EXPR => pg_sys::BoolTestType::IS_NOT_TRUE,
                _ => return self.children(node.cast()),
            };
            let copied = tree::make::<pg_sys::BoolExpr>();
            *copied = *node;
            let mut args: Vec<*mut Node> = Vec::new();
            for arg in iter::<Node>((*node).args) {
                let tests: Vec<*mut Node> = args.iter().map(|a| boolean_test(*a, test)).collect();
                args.push(self.after(arg, &tests));
            }
            (*copied).args = tree::list(args);
            copied.cast()
        }
    }

    /// `node`, which is evaluated only where all of `tests` hold.
    unsafe fn after(&mut self, node: *mut Node, tests: &[*mut Node]) -> *mut Node {
        // SAFETY: all are expressions.
        unsafe {
            match tests {
                [] => self.extract(node),
                [test] => self.guarded(node, *test),
                tests => {
                    let all = pg_sys::make_andclause(tree::list(tests.iter().copied()));
                    self.guarded(node, all.cast())
                }
            }
        }
    }

    unsafe fn subplan(&mut self, node: *mut pg_sys::SubPlan) -> *mut Node {
        // SAFETY: a SubPlan.
        unsafe {
            let copied = tree::make::<pg_sys::SubPlan>();
            *copied = *node;
            (*copied).args = self.extract((*node).args.cast()).cast();
            // How often the comparison runs is known only while the subquery runs.
            (*copied).testexpr = self.doubtful((*node).testexpr);
            copied.cast()
        }
    }

    unsafe fn subscript(&mut self, node: *mut pg_sys::SubscriptingRef) -> *mut Node {
        // SAFETY: a SubscriptingRef.
        unsafe {
            let copied = tree::make::<pg_sys::SubscriptingRef>();
            *copied = *node;
            (*copied).refexpr = self.extract((*node).refexpr.cast()).cast();
            (*copied).refupperindexpr = self.doubtful((*node).refupperindexpr.cast()).cast();
            (*copied).reflowerindexpr = self.doubtful((*node).reflowerindexpr.cast()).cast();
            (*copied).refassgnexpr = self.doubtful((*node).refassgnexpr.cast()).cast();
            copied.cast()
        }
    }

    unsafe fn array_coercion(&mut self, node: *mut pg_sys::ArrayCoerceExpr) -> *mut Node {
        // SAFETY: an ArrayCoerceExpr.
        unsafe {
            let copied = tree::make::<pg_sys::ArrayCoerceExpr>();
            *copied = *node;
            (*copied).arg = self.extract((*node).arg.cast()).cast();
            copied.cast()
        }
    }
}

/// `CASE [arg] WHEN before.. THEN false [WHEN arm THEN true ELSE false | ELSE true] END`: whether an arm is reached.
unsafe fn reached(
    case: *mut pg_sys::CaseExpr,
    before: &[*mut Node],
    arm: Option<*mut Node>,
) -> *mut Node {
    let arms = before
        .iter()
        .map(|b| (*b, false))
        .chain(arm.map(|a| (a, true)));
    let arms = arms.map(|(condition, result)| {
        let when = tree::make::<pg_sys::CaseWhen>();
        // SAFETY: a node just made.
        unsafe {
            (*when).expr = condition.cast();
            (*when).result = tree::boolean(result).cast();
            (*when).location = -1;
        }
        when
    });
    let arms = tree::list(arms);
    let test = tree::make::<pg_sys::CaseExpr>();
    // SAFETY: `case` is a CaseExpr, `test` a node just made.
    unsafe {
        (*test).casetype = pg_sys::BOOLOID;
        (*test).arg = (*case).arg;
        (*test).args = arms;
        (*test).defresult = tree::boolean(arm.is_none()).cast();
        (*test).location = -1;
    }
    test.cast()
}

fn is_null(arg: *mut Node) -> *mut Node {
    let test = tree::make::<pg_sys::NullTest>();
    // SAFETY: a node just made.
    unsafe {
        (*test).arg = arg.cast();
        (*test).nulltesttype = pg_sys::NullTestType::IS_NULL;
        // COALESCE takes a row of NULLs for a value.
        (*test).argisrow = false;
        (*test).location = -1;
    }
    test.cast()
}

fn boolean_test(arg: *mut Node, kind: pg_sys::BoolTestType::Type) -> *mut Node {
    let test = tree::make::<pg_sys::BooleanTest>();
    // SAFETY: a node just made.
    unsafe {
        (*test).arg = arg.cast();
        (*test).booltesttype = kind;
        (*test).location = -1;
    }
    test.cast()
}
