//! Composite values: rows that carry their type with them.

use super::record::Columns;
use crate::error::Result;
use crate::scoring::Model;
use crate::scoring::rows::Rows;
use crate::value::{Descriptor, scratch, varlena};
use pgrx::pg_sys;

/// Columns of the row type seen last.
#[derive(Default)]
pub struct Composite {
    known: Option<Known>,
}

struct Known {
    row_type: RowType,
    desc: Descriptor,
    columns: Columns,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RowType {
    type_oid: pg_sys::Oid,
    typmod: i32,
    /// Changes when the type is altered.
    identifier: u64,
}

impl RowType {
    pub fn descriptor(self) -> Descriptor {
        Descriptor::of_type(self.type_oid, self.typmod)
    }
}

/// What a tuple's header says of a composite value since the releases that give them a version. Reading such a value
/// checks the version; others must be marked first. Both bits at once mean nothing else, and earlier releases never set
/// both.
const MARK: u16 = (pg_sys::HEAP_XMAX_COMMITTED | pg_sys::HEAP_XMAX_INVALID) as u16;

/// The header of a composite value, marked and whole: in place where it is so already, else in the scratch context.
///
/// # Safety
/// `datum` is a composite value, not NULL.
unsafe fn header(datum: pg_sys::Datum) -> pg_sys::HeapTupleHeader {
    // SAFETY: a composite value is a tuple's header, whose first word is the varlena header.
    unsafe {
        if varlena::is_whole(datum) {
            let header: pg_sys::HeapTupleHeader = datum.cast_mut_ptr();
            if (*header).t_infomask & MARK == MARK {
                return header;
            }
        }
        scratch::within(|| pg_sys::datum_get_heap_tuple_header(datum))
    }
}

/// A composite value as a tuple, which lives in it or in the scratch context, and its type.
///
/// # Safety
/// `datum` is a composite value, not NULL.
pub unsafe fn tuple(datum: pg_sys::Datum) -> (pg_sys::HeapTupleData, RowType) {
    // SAFETY: as the caller promises; its type exists.
    unsafe {
        let header = header(datum);
        let fields = (*header).t_choice.t_datum;
        let type_oid = fields.datum_typeid;
        // Of a named type it is part of the value's version.
        let typmod = match type_oid {
            pg_sys::RECORDOID => fields.datum_typmod,
            _ => -1,
        };
        let tuple = pg_sys::HeapTupleData {
            t_len: varlena::whole_size(header.cast()),
            t_data: header,
            ..Default::default()
        };
        let identifier = pg_sys::assign_record_type_identifier(type_oid, typmod);
        let row_type = RowType {
            type_oid,
            typmod,
            identifier,
        };
        (tuple, row_type)
    }
}

impl Composite {
    /// # Safety
    /// `datum` is a composite value, not NULL.
    pub unsafe fn write(
        &mut self,
        model: &Model,
        rows: &mut Rows,
        datum: pg_sys::Datum,
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        let (mut tuple, row_type) = unsafe { tuple(datum) };
        let known = match &mut self.known {
            Some(known) if known.row_type == row_type => known,
            _ => {
                let desc = row_type.descriptor();
                // SAFETY: a descriptor just made.
                let columns = unsafe { Columns::of_descriptor(model, desc.pointer()) }?;
                let count = desc.len();
                self.known.insert(Known {
                    row_type,
                    desc,
                    columns,
                    values: vec![pg_sys::Datum::from(0); count],
                    nulls: vec![true; count],
                })
            }
        };
        // SAFETY: the descriptor is that of the value, and the arrays are as long as it says.
        unsafe {
            pg_sys::heap_deform_tuple(
                &mut tuple,
                known.desc.pointer(),
                known.values.as_mut_ptr(),
                known.nulls.as_mut_ptr(),
            );
            Ok(known
                .columns
                .write(model, rows, &known.values, &known.nulls)?)
        }
    }
}
