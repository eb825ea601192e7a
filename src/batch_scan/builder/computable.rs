//! Which calls can be computed ahead of the evaluation of the expression they stand in.

use crate::batch_scan::functions;
use crate::batch_scan::tree::{self, Node, Walk, iter};
use crate::scoring::ScoringFunction;
use pgrx::pg_sys::{self, NodeTag};

/// Can the call be computed ahead of the row's evaluation? Else why not.
///
/// # Safety
/// `node` is a call of `function`.
pub unsafe fn computable(
    node: *mut Node,
    function: &ScoringFunction,
    uncertain: bool,
) -> Result<(), &'static str> {
    // SAFETY: a FuncExpr with the arguments that `function` says.
    unsafe {
        let args: Vec<*mut Node> = iter::<Node>((*node.cast::<pg_sys::FuncExpr>()).args).collect();
        if args.iter().any(|a| tree::is_volatile(*a)) {
            return Err("an argument is volatile");
        }
        if unbound_case(node) {
            return Err("an argument is the value that a CASE tests");
        }
        for i in [function.model, function.version].into_iter().flatten() {
            let Some(arg) = args.get(i) else {
                return Err("it has too few arguments");
            };
            if tree::any(*arg, |n| {
                matches!(tree::tag(n), NodeTag::T_Var | NodeTag::T_SubPlan)
            }) {
                return Err("the model is not the same for all rows");
            }
        }
        if uncertain && !args.iter().all(|a| is_quiet(*a)) {
            return Err("it may not be evaluated at all, and its arguments can fail");
        }
        Ok(())
    }
}

/// Does the expression refer to the tested value of a CASE around it?
///
/// # Safety
/// An expression.
pub unsafe fn unbound_case(node: *mut Node) -> bool {
    // SAFETY: `node` is an expression.
    unsafe {
        tree::walk(node, &mut |n| match tree::tag(n) {
            NodeTag::T_CaseTestExpr => Walk::Stop,
            // Bound by it; its own argument is not.
            NodeTag::T_CaseExpr if !(*n.cast::<pg_sys::CaseExpr>()).arg.is_null() => {
                if unbound_case((*n.cast::<pg_sys::CaseExpr>()).arg.cast()) {
                    Walk::Stop
                } else {
                    Walk::Skip
                }
            }
            NodeTag::T_ArrayCoerceExpr => {
                if unbound_case((*n.cast::<pg_sys::ArrayCoerceExpr>()).arg.cast()) {
                    Walk::Stop
                } else {
                    Walk::Skip
                }
            }
            _ => Walk::Down,
        })
    }
}

/// Can evaluating it not fail?
unsafe fn is_quiet(node: *mut Node) -> bool {
    // SAFETY: `node` is an expression.
    unsafe {
        !tree::any(node, |n| {
            !matches!(
                tree::tag(n),
                NodeTag::T_Var
                    | NodeTag::T_Const
                    | NodeTag::T_Param
                    | NodeTag::T_RowExpr
                    | NodeTag::T_ArrayExpr
                    | NodeTag::T_RelabelType
                    | NodeTag::T_ConvertRowtypeExpr
                    | NodeTag::T_List
            ) && functions::called_by(n).is_none()
        })
    }
}

/// Nodes that are not looked into.
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub fn is_opaque(tag: NodeTag) -> bool {
    tag == NodeTag::T_JsonExpr
}

#[cfg(not(any(feature = "pg17", feature = "pg18")))]
pub fn is_opaque(_tag: NodeTag) -> bool {
    false
}
