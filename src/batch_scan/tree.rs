//! Expression and plan trees: the few operations the builder needs, so that casts and loops over lists stand in
//! one place.
//!
//! Nodes are PostgreSQL's, allocated in the current memory context, and belong to the statement being planned.

use pgrx::pg_sys::{self, NodeTag};
use pgrx::prelude::*;
use std::ffi::{c_int, c_void};

pub type Node = pg_sys::Node;

/// The `varno` of columns of the outer child, of the inner child, of `custom_scan_tlist`.
pub const OUTER: c_int = pg_sys::OUTER_VAR as c_int;
pub const INNER: c_int = pg_sys::INNER_VAR as c_int;
pub const INDEX: c_int = pg_sys::INDEX_VAR as c_int;

/// A node type that is known by its tag.
///
/// # Safety
/// `Self` is the C struct of the nodes tagged `TAG`.
pub unsafe trait Tagged {
    const TAG: NodeTag;
}

macro_rules! tagged {
    ($($t:ident = $tag:ident),* $(,)?) => {$(
        // SAFETY: tag and struct have the same name in PostgreSQL.
        unsafe impl Tagged for pg_sys::$t {
            const TAG: NodeTag = NodeTag::$tag;
        }
    )*};
}

tagged! {
    Agg = T_Agg, Aggref = T_Aggref, Append = T_Append, ArrayCoerceExpr = T_ArrayCoerceExpr,
    ArrayExpr = T_ArrayExpr, BoolExpr = T_BoolExpr, BooleanTest = T_BooleanTest,
    CaseExpr = T_CaseExpr, CaseTestExpr = T_CaseTestExpr, CaseWhen = T_CaseWhen,
    CoalesceExpr = T_CoalesceExpr, Const = T_Const, ConvertRowtypeExpr = T_ConvertRowtypeExpr,
    CustomScan = T_CustomScan, ForeignScan = T_ForeignScan, FuncExpr = T_FuncExpr, Hash = T_Hash,
    HashJoin = T_HashJoin, IndexOnlyScan = T_IndexOnlyScan, IndexScan = T_IndexScan, Limit = T_Limit, Material = T_Material, MergeAppend = T_MergeAppend,
    MergeJoin = T_MergeJoin, NestLoop = T_NestLoop, NullTest = T_NullTest, OpExpr = T_OpExpr, Param = T_Param,
    ProjectSet = T_ProjectSet, Result = T_Result, RowCompareExpr = T_RowCompareExpr,
    RelabelType = T_RelabelType, RowExpr = T_RowExpr, SubPlan = T_SubPlan, SubqueryScan = T_SubqueryScan,
    SubscriptingRef = T_SubscriptingRef, TargetEntry = T_TargetEntry, Var = T_Var,
    WindowAgg = T_WindowAgg, WindowFunc = T_WindowFunc,
}

/// # Safety
/// `node` is null or a node.
pub unsafe fn tag<T>(node: *mut T) -> NodeTag {
    if node.is_null() {
        return NodeTag::T_Invalid;
    }
    // SAFETY: every node begins with its tag.
    unsafe { (*node.cast::<Node>()).type_ }
}

/// # Safety
/// `node` is null or a node.
pub unsafe fn cast<T: Tagged>(node: *mut Node) -> Option<*mut T> {
    // SAFETY: passed on.
    (unsafe { tag(node) } == T::TAG).then_some(node.cast())
}

/// A zeroed node.
pub fn make<T: Tagged>() -> *mut T {
    // SAFETY: palloc0 gives enough zeroed memory for a `T`, which begins with its tag.
    unsafe {
        let node = pg_sys::palloc0(size_of::<T>());
        (*node.cast::<Node>()).type_ = T::TAG;
        node.cast()
    }
}

/// The pointers of a list; empty for NIL.
///
/// # Safety
/// `list` is NIL or a list of pointers to `T` that nobody changes in the meantime.
pub unsafe fn iter<T>(list: *mut pg_sys::List) -> impl ExactSizeIterator<Item = *mut T> {
    let (cells, length) = if list.is_null() {
        (std::ptr::null_mut(), 0)
    } else {
        // SAFETY: a list holds `length` cells.
        unsafe { ((*list).elements, (*list).length as usize) }
    };
    // SAFETY: `i` is below the length.
    (0..length).map(move |i| unsafe { (*cells.add(i)).ptr_value.cast() })
}

/// # Safety
/// `list` is a list with more than `i` pointers.
pub unsafe fn replace<T>(list: *mut pg_sys::List, i: usize, value: *mut T) {
    // SAFETY: passed on.
    unsafe { (*(*list).elements.add(i)).ptr_value = value.cast() }
}

pub fn list<T>(items: impl IntoIterator<Item = *mut T>) -> *mut pg_sys::List {
    items
        .into_iter()
        .fold(std::ptr::null_mut(), |list, item| append(list, item))
}

pub fn append<T>(list: *mut pg_sys::List, item: *mut T) -> *mut pg_sys::List {
    // SAFETY: lappend takes NIL or a list of pointers; lists made here hold nothing else.
    unsafe { pg_sys::lappend(list, item.cast()) }
}

/// # Safety
/// `node` is null or a node.
pub unsafe fn copy<T>(node: *mut T) -> *mut T {
    // SAFETY: passed on.
    unsafe { pg_sys::copyObjectImpl(node.cast::<c_void>()).cast() }
}

/// # Safety
/// Both are null or nodes.
pub unsafe fn same<T>(a: *mut T, b: *mut T) -> bool {
    // SAFETY: passed on.
    unsafe { pg_sys::equal(a.cast(), b.cast()) }
}

type Mutate<'a> = dyn FnMut(*mut Node) -> *mut Node + 'a;

#[pg_guard]
unsafe extern "C-unwind" fn mutate_one(node: *mut Node, context: *mut c_void) -> *mut Node {
    // SAFETY: `mutate_children` passes its closure.
    let mutate = unsafe { &mut *context.cast::<&mut Mutate>() };
    mutate(node)
}

/// A copy of `node` whose children are what `mutate` makes of them.
///
/// # Safety
/// `node` is null or an expression or a list of them.
pub unsafe fn mutate_children(node: *mut Node, mutate: &mut Mutate) -> *mut Node {
    let mut mutate = mutate;
    let context = (&raw mut mutate).cast::<c_void>();
    #[cfg(feature = "pg15")]
    // SAFETY: this version declares the callback without its arguments.
    unsafe {
        let callback: unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node = mutate_one;
        let callback = std::mem::transmute::<
            unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> *mut Node,
            unsafe extern "C-unwind" fn() -> *mut Node,
        >(callback);
        pg_sys::expression_tree_mutator(node, Some(callback), context)
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: passed on.
    unsafe {
        pg_sys::expression_tree_mutator_impl(node, Some(mutate_one), context)
    }
}

/// What to do after a node was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    Down,
    Skip,
    Stop,
}

type Visit<'a> = dyn FnMut(*mut Node) -> Walk + 'a;

#[pg_guard]
unsafe extern "C-unwind" fn visit_one(node: *mut Node, context: *mut c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: `walk` passes its closure.
    let visit = unsafe { &mut *context.cast::<&mut Visit>() };
    match visit(node) {
        Walk::Stop => true,
        Walk::Skip => false,
        // SAFETY: a node that the walker gave us, and the same context.
        Walk::Down => unsafe { walk_children(node, context) },
    }
}

unsafe fn walk_children(node: *mut Node, context: *mut c_void) -> bool {
    // SAFETY: the tag says what the node is. PostgreSQL's walker knows arms of a CASE only inside of one.
    unsafe {
        if let Some(when) = cast::<pg_sys::CaseWhen>(node) {
            return visit_one((*when).expr.cast(), context)
                || visit_one((*when).result.cast(), context);
        }
    }
    #[cfg(feature = "pg15")]
    // SAFETY: the declaration below is the one of this version.
    unsafe {
        unsafe extern "C-unwind" {
            fn expression_tree_walker(
                node: *mut Node,
                walker: unsafe extern "C-unwind" fn(*mut Node, *mut c_void) -> bool,
                context: *mut c_void,
            ) -> bool;
        }
        pg_sys::ffi::pg_guard_ffi_boundary(|| expression_tree_walker(node, visit_one, context))
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: passed on.
    unsafe {
        pg_sys::expression_tree_walker_impl(node, Some(visit_one), context)
    }
}

/// Shows `visit` the node and everything below it; `true` if it stopped.
///
/// # Safety
/// `node` is null or an expression or a list of them.
pub unsafe fn walk<T>(node: *mut T, visit: &mut Visit) -> bool {
    let mut visit = visit;
    // SAFETY: passed on; the context is our closure.
    unsafe { visit_one(node.cast(), (&raw mut visit).cast()) }
}

/// Is there a node for which `is` holds?
///
/// # Safety
/// See [`walk`].
pub unsafe fn any<T>(node: *mut T, mut is: impl FnMut(*mut Node) -> bool) -> bool {
    // SAFETY: passed on.
    unsafe { walk(node, &mut |n| if is(n) { Walk::Stop } else { Walk::Down }) }
}

/// A Var with the type of `expr`.
///
/// # Safety
/// `expr` is an expression.
pub unsafe fn var_like(varno: c_int, attno: usize, expr: *mut Node) -> *mut pg_sys::Var {
    let var = make::<pg_sys::Var>();
    // SAFETY: a node just made; `expr` is an expression.
    unsafe {
        (*var).varno = varno as _;
        (*var).varattno = attno as i16;
        (*var).vartype = pg_sys::exprType(expr);
        (*var).vartypmod = pg_sys::exprTypmod(expr);
        (*var).varcollid = pg_sys::exprCollation(expr);
        (*var).location = -1;
    }
    var
}

/// Which input a Var refers to.
///
/// # Safety
/// A Var.
#[allow(clippy::unnecessary_cast)] // unsigned in PostgreSQL 14
pub unsafe fn varno(var: *mut pg_sys::Var) -> c_int {
    // SAFETY: passed on.
    unsafe { (*var).varno as c_int }
}

/// A Var of a type without modifier and collation.
pub fn var_of(varno: c_int, attno: usize, type_oid: pg_sys::Oid) -> *mut pg_sys::Var {
    let var = make::<pg_sys::Var>();
    // SAFETY: a node just made.
    unsafe {
        (*var).varno = varno as _;
        (*var).varattno = attno as i16;
        (*var).vartype = type_oid;
        (*var).vartypmod = -1;
        (*var).location = -1;
    }
    var
}

pub fn target(
    expr: *mut Node,
    resno: usize,
    name: Option<&std::ffi::CStr>,
) -> *mut pg_sys::TargetEntry {
    let entry = make::<pg_sys::TargetEntry>();
    // SAFETY: a node just made; pstrdup copies the name.
    unsafe {
        (*entry).expr = expr.cast();
        (*entry).resno = resno as i16;
        (*entry).resname = name.map_or(std::ptr::null_mut(), |n| pg_sys::pstrdup(n.as_ptr()));
    }
    entry
}

/// A NULL of the type of `expr`.
///
/// # Safety
/// `expr` is an expression.
pub unsafe fn null_like(expr: *mut Node) -> *mut Node {
    // SAFETY: passed on.
    unsafe {
        pg_sys::makeNullConst(
            pg_sys::exprType(expr),
            pg_sys::exprTypmod(expr),
            pg_sys::exprCollation(expr),
        )
        .cast()
    }
}

pub fn boolean(value: bool) -> *mut Node {
    // SAFETY: makes a constant.
    unsafe { pg_sys::makeBoolConst(value, false) }
}

/// An int4 constant, to carry a number among expressions.
pub fn number(value: i32) -> *mut Node {
    // SAFETY: makes a constant.
    unsafe {
        pg_sys::makeConst(
            pg_sys::INT4OID,
            -1,
            pg_sys::InvalidOid,
            4,
            pg_sys::Datum::from(value),
            false,
            true,
        )
        .cast()
    }
}

/// What [`number`] carries.
///
/// # Safety
/// `node` was made by [`number`].
pub unsafe fn number_of(node: *mut Node) -> i32 {
    // SAFETY: passed on.
    unsafe { (*node.cast::<pg_sys::Const>()).constvalue.value() as i32 }
}

/// # Safety
/// `expr` is null or an expression.
pub unsafe fn is_volatile(expr: *mut Node) -> bool {
    // SAFETY: passed on.
    unsafe { pg_sys::contain_volatile_functions(expr) }
}

/// # Safety
/// `expr` is null or an expression.
pub unsafe fn has_subplan(expr: *mut Node) -> bool {
    // SAFETY: passed on.
    unsafe { any(expr, |n| tag(n) == NodeTag::T_SubPlan) }
}

/// The largest attribute number of Vars with this varno, and whether there are any.
///
/// # Safety
/// See [`walk`].
pub unsafe fn collect_attnos<T>(node: *mut T, varno: c_int, mut found: impl FnMut(i16)) {
    // SAFETY: passed on.
    unsafe {
        any(node, |n| {
            if let Some(var) = cast::<pg_sys::Var>(n)
                && self::varno(var) == varno
            {
                found((*var).varattno);
            }
            false
        });
    }
}
