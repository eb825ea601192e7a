//! Composite values: rows that carry their type with them.

use super::record::Columns;
use super::varlena;
use crate::error::Result;
use crate::scoring::Model;
use crate::scoring::descriptor::Descriptor;
use crate::scoring::rows::Rows;
use pgrx::pg_sys;

/// Columns of the row type seen last.
#[derive(Default)]
pub struct Composite {
    known: Option<Known>,
}

struct Known {
    row_type: (pg_sys::Oid, i32),
    /// Changes when the type is altered.
    identifier: u64,
    desc: Descriptor,
    columns: Columns,
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
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
        // SAFETY: a composite value is a tuple header, whose first word is the varlena header.
        let header = unsafe { varlena::content(datum, true) }
            .as_ptr()
            .wrapping_sub(4)
            .cast_mut()
            .cast::<pg_sys::HeapTupleHeaderData>();
        // SAFETY: as above.
        let fields = unsafe { (*header).t_choice.t_datum };
        let row_type = (fields.datum_typeid, fields.datum_typmod);
        // SAFETY: the type of an existing value.
        let identifier = unsafe { pg_sys::assign_record_type_identifier(row_type.0, row_type.1) };
        let known = match &mut self.known {
            Some(known) if known.row_type == row_type && known.identifier == identifier => known,
            _ => {
                let desc = Descriptor::of_type(row_type.0, row_type.1);
                // SAFETY: a descriptor just made.
                let columns = unsafe { Columns::of_descriptor(model, desc.pointer()) }?;
                let count = desc.len();
                self.known.insert(Known {
                    row_type,
                    identifier,
                    desc,
                    columns,
                    values: vec![pg_sys::Datum::from(0); count],
                    nulls: vec![true; count],
                })
            }
        };
        // SAFETY: the descriptor is that of the value, and the arrays are as long as it says.
        unsafe {
            let mut tuple = pg_sys::HeapTupleData {
                t_len: (fields.datum_len_ as u32) >> 2,
                t_data: header,
                ..Default::default()
            };
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
