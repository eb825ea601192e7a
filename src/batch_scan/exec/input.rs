//! Where the features of a call come from.

use crate::batch_scan::tree::{self, INDEX, Node, cast, iter};
use crate::error::Result;
use crate::scoring::{Lanes, Output, Versions};
use crate::text;
use crate::value::attributes;
use pgrx::pg_sys::{self, Datum};

/// Name, type, and attribute number in the slot or row that they are read from.
pub type Names = Vec<(String, pg_sys::Oid, i16)>;

/// What the argument of a call is.
pub enum Source {
    /// A column of the child (counted from 0): an array, jsonb, a composite value.
    Column { index: usize, type_oid: pg_sys::Oid },
    /// Columns of the child by name: what a whole-row reference became.
    Slot(Names),
    /// Expressions by name.
    Row(Names, Vec<*mut Node>),
    /// Any other expression.
    Value(*mut Node),
}

impl Source {
    /// `columns`: how many the child has.
    ///
    /// # Safety
    /// An expression over INDEX_VAR.
    pub unsafe fn of(node: *mut Node, columns: usize) -> Self {
        // SAFETY: passed on.
        unsafe {
            if let Some(index) = child_column(node, columns) {
                let type_oid = pg_sys::exprType(node);
                return Self::Column { index, type_oid };
            }
            let mut row = node;
            // A child's row converted to its parent's: the parent's columns are all there, under the same names.
            while let Some(convert) = cast::<pg_sys::ConvertRowtypeExpr>(row) {
                row = (*convert).arg.cast();
            }
            cast::<pg_sys::RowExpr>(row)
                .and_then(|row| Self::row(row, columns))
                .unwrap_or(Self::Value(node))
        }
    }

    unsafe fn row(row: *mut pg_sys::RowExpr, columns: usize) -> Option<Self> {
        // SAFETY: a RowExpr.
        unsafe {
            let args: Vec<*mut Node> = iter((*row).args).collect();
            let labels = labels(row);
            if args.len() != labels.len() {
                return None;
            }
            let mut names = Vec::new();
            let mut in_slot = Vec::new();
            for (i, (arg, label)) in args.iter().zip(labels).enumerate() {
                // A dropped column.
                let Some(label) = label else { continue };
                let type_oid = pg_sys::exprType(*arg);
                if let Some(index) = child_column(*arg, columns) {
                    in_slot.push((label.clone(), type_oid, (index + 1) as i16));
                }
                names.push((label, type_oid, (i + 1) as i16));
            }
            Some(if in_slot.len() == names.len() {
                Self::Slot(in_slot)
            } else {
                Self::Row(names, args)
            })
        }
    }

    /// Is it read from the child's slot, without evaluating an expression?
    pub fn is_direct(&self) -> bool {
        matches!(self, Self::Column { .. } | Self::Slot(_))
    }
}

/// The names of a row's columns; `None` for a dropped one.
unsafe fn labels(row: *mut pg_sys::RowExpr) -> Vec<Option<String>> {
    // SAFETY: a RowExpr, whose names are strings; a named row type exists.
    unsafe {
        if (*row).row_typeid == pg_sys::RECORDOID {
            return iter((*row).colnames)
                .map(|name| Some(string(name)))
                .collect();
        }
        let desc = pg_sys::lookup_rowtype_tupdesc_copy((*row).row_typeid, -1);
        let attributes = attributes(desc).iter();
        attributes
            .map(|a| (!a.attisdropped).then(|| text::name(&a.attname).into_owned()))
            .collect()
    }
}

/// [`Source`], ready to be read.
pub enum Input {
    Column {
        index: usize,
        type_oid: pg_sys::Oid,
    },
    Slot(Names),
    Row {
        names: Names,
        states: Vec<*mut pg_sys::ExprState>,
        values: Vec<Datum>,
        nulls: Vec<bool>,
    },
    Value {
        state: *mut pg_sys::ExprState,
        type_oid: pg_sys::Oid,
    },
}

impl Input {
    /// # Safety
    /// An expression over INDEX_VAR of the plan that `parent` executes.
    pub unsafe fn new(node: *mut Node, columns: usize, parent: *mut pg_sys::PlanState) -> Self {
        // SAFETY: passed on.
        unsafe {
            match Source::of(node, columns) {
                Source::Column { index, type_oid } => Self::Column { index, type_oid },
                Source::Slot(names) => Self::Slot(names),
                Source::Row(names, args) => Self::Row {
                    names,
                    values: vec![Datum::null(); args.len()],
                    nulls: vec![true; args.len()],
                    states: args
                        .into_iter()
                        .map(|a| pg_sys::ExecInitExpr(a.cast(), parent))
                        .collect(),
                },
                Source::Value(node) => Self::Value {
                    state: pg_sys::ExecInitExpr(node.cast(), parent),
                    type_oid: pg_sys::exprType(node),
                },
            }
        }
    }

    pub fn lanes(&self, versions: Versions, output: Output) -> Result<Lanes> {
        match self {
            Self::Column { type_oid, .. } | Self::Value { type_oid, .. } => {
                Lanes::for_type(versions, output, *type_oid)
            }
            Self::Slot(names) | Self::Row { names, .. } => {
                let names: Vec<(&str, pg_sys::Oid, i16)> =
                    names.iter().map(|(n, t, a)| (n.as_str(), *t, *a)).collect();
                Lanes::for_columns(versions, output, &names)
            }
        }
    }
}

/// The column of the child, counted from 0, that the expression is.
unsafe fn child_column(node: *mut Node, columns: usize) -> Option<usize> {
    // SAFETY: an expression.
    unsafe {
        let var = cast::<pg_sys::Var>(node)?;
        let attno = usize::try_from((*var).varattno).ok()?;
        (tree::varno(var) == INDEX && (1..=columns).contains(&attno)).then(|| attno - 1)
    }
}

unsafe fn string(node: *mut Node) -> String {
    // SAFETY: a string node.
    unsafe { text::from_pointer((*node.cast::<pg_sys::String>()).sval) }
}
