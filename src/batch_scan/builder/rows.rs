//! Whole-row references: `ltv_predict('m', u)` over a table needs the columns of `u`, not a composite value.

use crate::batch_scan::tree::{self, Node, cast, iter};
use pgrx::pg_sys::{self, NodeTag};
use std::ffi::c_int;

/// What the rows of a scan are made of.
pub struct RowSource {
    relation: pg_sys::Index,
    /// Expressions name the relation's columns; they do not refer to a list in the plan node.
    named: bool,
    /// Column names of the range table entry.
    names: *mut pg_sys::List,
    /// For a subquery, CTE: what it puts out.
    columns: *mut pg_sys::List,
    /// Row type of a table; InvalidOid for anything else.
    table_type: pg_sys::Oid,
}

impl RowSource {
    /// `columns`: the target list of a subquery's plan, or NIL.
    ///
    /// # Safety
    /// `relation` is 0 or an index into the range table `rtable`.
    pub unsafe fn new(
        rtable: *mut pg_sys::List,
        relation: pg_sys::Index,
        named: bool,
        columns: *mut pg_sys::List,
    ) -> Self {
        let entry = relation
            .checked_sub(1)
            // SAFETY: a range table holds RangeTblEntry.
            .and_then(|i| unsafe { iter::<pg_sys::RangeTblEntry>(rtable).nth(i as usize) });
        let names = entry.map_or(std::ptr::null_mut(), |e| {
            // SAFETY: an entry, whose eref is kept in finished plans.
            unsafe { (*e).eref.as_ref() }.map_or(std::ptr::null_mut(), |a| a.colnames)
        });
        let table_type = entry.map_or(pg_sys::InvalidOid, |e| {
            // SAFETY: an entry of the range table.
            unsafe {
                if (*e).rtekind == pg_sys::RTEKind::RTE_RELATION {
                    pg_sys::get_rel_type_id((*e).relid)
                } else {
                    pg_sys::InvalidOid
                }
            }
        });
        Self {
            table_type,
            relation,
            named: named && entry.is_some(),
            names,
            columns,
        }
    }

    pub fn is_named(&self) -> bool {
        self.named
    }

    /// A whole-row Var, perhaps converted to a parent's row type, as a row of Vars; anything else as it is.
    ///
    /// # Safety
    /// `node` is an expression.
    pub unsafe fn expand(&self, node: *mut Node) -> *mut Node {
        // SAFETY: the tags say what the nodes are.
        unsafe {
            if let Some(convert) = cast::<pg_sys::ConvertRowtypeExpr>(node) {
                let arg = self.expand((*convert).arg.cast());
                if arg == (*convert).arg.cast() {
                    return node;
                }
                let copied = tree::copy(convert);
                (*copied).arg = arg.cast();
                return copied.cast();
            }
            match cast::<pg_sys::Var>(node) {
                Some(var)
                    if self.named
                        && tree::varno(var) == self.relation as c_int
                        && (*var).varattno == 0 =>
                {
                    self.row((*var).vartype).unwrap_or(node)
                }
                _ => node,
            }
        }
    }

    /// The columns of the table as its tuples have them, so that a scan can hand these on as they are; `None` where
    /// they differ.
    pub fn physical(&self) -> Option<Vec<*mut Node>> {
        if !self.named || self.table_type == pg_sys::InvalidOid {
            return None;
        }
        // SAFETY: the row type of a table that is locked by the statement.
        let attributes = unsafe {
            crate::value::attributes(pg_sys::lookup_rowtype_tupdesc_copy(self.table_type, -1))
        };
        if attributes.iter().any(|a| a.attisdropped || a.atthasmissing) {
            return None;
        }
        let columns = attributes.iter().enumerate();
        Some(
            columns
                .map(|(i, attribute)| self.column(i, attribute).cast())
                .collect(),
        )
    }

    fn column(&self, index: usize, attribute: &pg_sys::FormData_pg_attribute) -> *mut pg_sys::Var {
        let var = tree::var_of(self.relation as c_int, index + 1, attribute.atttypid);
        // SAFETY: a node just made.
        unsafe {
            (*var).vartypmod = attribute.atttypmod;
            (*var).varcollid = attribute.attcollation;
        }
        var
    }

    unsafe fn row(&self, row_type: pg_sys::Oid) -> Option<*mut Node> {
        let mut args: *mut pg_sys::List = std::ptr::null_mut();
        let mut names: *mut pg_sys::List = std::ptr::null_mut();
        if row_type == pg_sys::RECORDOID {
            if self.columns.is_null() {
                return None;
            }
            // SAFETY: the subquery's target list and the names of its columns.
            unsafe {
                let columns = iter::<pg_sys::TargetEntry>(self.columns).filter(|c| !(**c).resjunk);
                for (column, name) in columns.zip(iter::<Node>(self.names)) {
                    let var = tree::var_like(
                        self.relation as c_int,
                        (*column).resno as usize,
                        (*column).expr.cast(),
                    );
                    args = tree::append(args, var);
                    names = tree::append(names, name);
                }
                if args.is_null() || (*args).length != (*self.names).length {
                    return None;
                }
            }
        } else {
            // SAFETY: a composite type of the statement, so it exists.
            unsafe {
                let desc = pg_sys::lookup_rowtype_tupdesc_copy(row_type, -1);
                for (i, att) in crate::value::attributes(desc).iter().enumerate() {
                    let column: *mut Node = if att.attisdropped {
                        pg_sys::makeNullConst(pg_sys::INT4OID, -1, pg_sys::InvalidOid).cast()
                    } else {
                        self.column(i, att).cast()
                    };
                    args = tree::append(args, column);
                    let name = pg_sys::pstrdup(att.attname.data.as_ptr());
                    names = tree::append(names, pg_sys::makeString(name));
                }
            }
        }
        let row = tree::make::<pg_sys::RowExpr>();
        // SAFETY: a node just made.
        unsafe {
            (*row).args = args;
            (*row).row_typeid = row_type;
            (*row).row_format = pg_sys::CoercionForm::COERCE_IMPLICIT_CAST;
            (*row).colnames = names;
            (*row).location = -1;
        }
        Some(row.cast())
    }
}

/// Scans that read a table's own tuples.
pub fn is_table_scan(tag: NodeTag) -> bool {
    matches!(
        tag,
        NodeTag::T_SeqScan
            | NodeTag::T_SampleScan
            | NodeTag::T_IndexScan
            | NodeTag::T_BitmapHeapScan
            | NodeTag::T_TidScan
            | NodeTag::T_TidRangeScan
    )
}

/// Scans that evaluate expressions over the columns of one range table entry.
pub fn is_named_scan(tag: NodeTag) -> bool {
    is_table_scan(tag)
        || matches!(
            tag,
            NodeTag::T_SubqueryScan
                | NodeTag::T_FunctionScan
                | NodeTag::T_TableFuncScan
                | NodeTag::T_ValuesScan
                | NodeTag::T_CteScan
                | NodeTag::T_NamedTuplestoreScan
                | NodeTag::T_WorkTableScan
        )
}
