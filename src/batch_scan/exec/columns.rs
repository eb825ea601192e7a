//! Which columns of the child are read, and when.

use super::input::Source;
use super::store::Column;
use crate::batch_scan::private::Expressions;
use crate::batch_scan::tree::{self, INDEX, Node, Walk, cast, iter};
use pgrx::pg_sys;
use std::collections::BTreeSet;

pub struct Needs {
    /// So many columns have to be readable.
    pub deform: usize,
    /// Read through our own slot while a row is taken in; counted from 0.
    pub early: Vec<usize>,
    /// Read after that; whether only by calls that have to be evaluated in place.
    pub stored: Vec<(usize, bool)>,
}

impl Needs {
    /// # Safety
    /// What the builder planned, over `columns` columns of the child.
    pub unsafe fn of(planned: &Expressions, columns: usize) -> Self {
        let mut early = BTreeSet::new();
        let mut later = BTreeSet::new();
        let mut spare = BTreeSet::new();
        let mut direct = BTreeSet::new();
        // SAFETY: expressions over INDEX_VAR.
        unsafe {
            let mut late = |node: *mut Node| {
                read_by(node, columns, false, &mut later);
                read_by(node, columns, true, &mut spare);
            };
            for output in &planned.outputs {
                late((**output).expr.cast());
            }
            for qual in &planned.quals {
                late(*qual);
            }
            for call in &planned.calls {
                let conditions = call.guards.iter().flat_map(|g| &g.conditions);
                if call.stage > 0 {
                    late(call.call);
                    conditions.for_each(|c| late(*c));
                    continue;
                }
                conditions.for_each(|c| read_by(*c, columns, true, &mut early));
                let quals = call.guards.iter().map(|g| g.quals).max().unwrap_or(0);
                for qual in &planned.quals[..quals] {
                    read_by(*qual, columns, true, &mut early);
                }
                for arg in iter::<Node>((*call.call.cast::<pg_sys::FuncExpr>()).args) {
                    let is_direct = Source::of(arg, columns).is_direct();
                    let target = if is_direct { &mut direct } else { &mut early };
                    read_by(arg, columns, true, target);
                }
            }
        }
        let all = early.iter().chain(&spare).chain(&direct);
        Self {
            deform: all.max().map_or(0, |i| i + 1),
            stored: spare.iter().map(|i| (*i, !later.contains(i))).collect(),
            early: early.into_iter().collect(),
        }
    }
}

/// The child's columns that an expression reads; `in_place`: also by calls that were computed ahead.
unsafe fn read_by(node: *mut Node, columns: usize, in_place: bool, found: &mut BTreeSet<usize>) {
    // SAFETY: an expression over INDEX_VAR.
    unsafe {
        tree::walk(node, &mut |n| {
            if let Some(var) = cast::<pg_sys::Var>(n) {
                if tree::varno(var) == INDEX && (*var).varattno as usize <= columns {
                    found.insert((*var).varattno as usize - 1);
                }
            } else if !in_place && referred_call(n, columns).is_some() {
                return Walk::Skip;
            }
            Walk::Down
        });
    }
}

/// The number of the call in `CASE WHEN flag THEN value ELSE the original call END`.
///
/// # Safety
/// An expression over INDEX_VAR.
pub unsafe fn referred_call(node: *mut Node, columns: usize) -> Option<usize> {
    // SAFETY: the arms of a CASE are CaseWhen.
    unsafe {
        let case = cast::<pg_sys::CaseExpr>(node)?;
        let when = iter::<pg_sys::CaseWhen>((*case).args).next()?;
        let flag = cast::<pg_sys::Var>((*when).expr.cast())?;
        let after = usize::try_from((*flag).varattno)
            .ok()?
            .checked_sub(columns + 2)?;
        // What the user wrote may also be a CASE over a boolean column, but not over one of ours.
        (tree::varno(flag) == INDEX && after.is_multiple_of(2)).then_some(after / 2)
    }
}

/// The child's columns, then value and flag of each call.
///
/// # Safety
/// `child` is the `custom_scan_tlist` of the plan node.
pub unsafe fn descriptor(child: *mut pg_sys::List, planned: &Expressions) -> pg_sys::TupleDesc {
    // SAFETY: entries and calls are expressions; the descriptor has room for all of them.
    unsafe {
        let mut types: Vec<(pg_sys::Oid, i32)> = Vec::new();
        for entry in iter::<pg_sys::TargetEntry>(child) {
            let expr = (*entry).expr.cast();
            types.push((pg_sys::exprType(expr), pg_sys::exprTypmod(expr)));
        }
        for call in &planned.calls {
            types.push((pg_sys::exprType(call.call), pg_sys::exprTypmod(call.call)));
            types.push((pg_sys::BOOLOID, -1));
        }
        let desc = pg_sys::CreateTemplateTupleDesc(types.len() as i32);
        for (i, (type_oid, modifier)) in types.into_iter().enumerate() {
            let attno = (i + 1) as i16;
            pg_sys::TupleDescInitEntry(desc, attno, std::ptr::null(), type_oid, modifier, 0);
        }
        desc
    }
}

/// # Safety
/// `desc` has these columns.
pub unsafe fn stored(needed: &[(usize, bool)], desc: pg_sys::TupleDesc) -> Vec<Column> {
    // SAFETY: passed on.
    let attributes = unsafe { crate::value::attributes(desc) };
    needed
        .iter()
        .map(|(index, spare)| Column {
            index: *index,
            by_value: attributes[*index].attbyval,
            length: attributes[*index].attlen,
            spare: *spare,
        })
        .collect()
}
