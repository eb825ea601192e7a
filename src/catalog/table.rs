//! Reads rows of the `ltv.*` tables by primary key under the active snapshot, past row level security: callers
//! check privileges themselves.

use crate::text;
use crate::value::sql::{self, Sql};
use crate::value::{attributes, varlena};
use pgrx::pg_sys;
use std::ffi::CStr;

/// One table and the index of its primary key, by the names that the extension's SQL gives them.
pub struct Table {
    pub name: &'static CStr,
    pub index: &'static CStr,
}

pub const MODELS: Table = Table {
    name: c"models",
    index: c"models_pkey",
};
pub const VERSIONS: Table = Table {
    name: c"versions",
    index: c"versions_pkey",
};
pub const ALIASES: Table = Table {
    name: c"aliases",
    index: c"aliases_pkey",
};
pub const PRIVILEGES: Table = Table {
    name: c"privileges",
    index: c"privileges_pkey",
};

/// One column of a key.
pub enum Key<'a> {
    Text(&'a str),
    Int(i32),
}

impl Key<'_> {
    /// The function that says whether values are equal, and the value.
    fn datum(&self) -> Option<(u32, pg_sys::Datum)> {
        Some(match self {
            Key::Text(text) => (pg_sys::F_TEXTEQ, sql::text_datum(text).ok()?),
            Key::Int(int) => (pg_sys::F_INT4EQ, (*int).into()),
        })
    }
}

/// A row as long as its scan stands on it.
pub struct Row<'a> {
    attributes: &'a [pg_sys::FormData_pg_attribute],
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
    /// Where it lies and which transaction made it: the same for as long as it is the same row.
    pub identity: Identity,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    block: u32,
    offset: u16,
    xmin: u32,
}

impl Row<'_> {
    fn column(&self, name: &str) -> Option<pg_sys::Datum> {
        let at = self
            .attributes
            .iter()
            .position(|a| !a.attisdropped && text::name(&a.attname) == name)?;
        (!self.nulls[at]).then(|| self.values[at])
    }

    pub fn int(&self, name: &str) -> Option<i32> {
        self.column(name).map(|datum| datum.value() as i32)
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        self.column(name)
            .map(|datum| f64::from_bits(datum.value() as u64))
    }

    /// Whether a column of type text is this word of ours, in ASCII.
    pub fn is_text(&self, name: &str, text: &[u8]) -> bool {
        // SAFETY: columns asked for by this are of type text; the value lies in the row.
        self.column(name)
            .is_some_and(|datum| unsafe { varlena::detoasted(datum) } == text)
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let datum = self.column(name)?;
        // SAFETY: columns asked for by this are of type text.
        unsafe { String::of_datum(datum) }.ok()
    }

    /// A column of type oid, regrole or regclass.
    pub fn oid(&self, name: &str) -> Option<pg_sys::Oid> {
        self.column(name)
            .map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let datum = self.column(name)?;
        // SAFETY: columns asked for by this are of type bytea.
        unsafe { Vec::of_datum(datum) }.ok()
    }

    /// A column of type jsonb, as text.
    pub fn json(&self, name: &str) -> Option<String> {
        let datum = self.column(name)?;
        // SAFETY: columns asked for by this are of type jsonb.
        Some(unsafe { sql::json_text(datum) })
    }
}

/// OID of a table of the extension; `None` where the extension is not installed in this database.
pub fn oid_of(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: NUL-terminated names; what is missing comes out as InvalidOid.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(c"ltv".as_ptr(), true);
        let oid = pg_sys::get_relname_relid(name.as_ptr(), namespace);
        (oid != pg_sys::InvalidOid).then_some(oid)
    }
}

/// Calls `each` for the rows whose leading key columns are `key`, until it returns something.
/// `None` also where the extension is not installed. A text that the encoding of the database cannot write is no key of
/// any row.
pub fn scan<T>(table: &Table, key: &[Key], mut each: impl FnMut(&Row) -> Option<T>) -> Option<T> {
    let (relation, index) = (oid_of(table.name)?, oid_of(table.index)?);
    let key: Vec<(u32, pg_sys::Datum)> = key.iter().map(Key::datum).collect::<Option<_>>()?;
    // SAFETY: relations that exist; every pointer is used while the scan that it came from is open. If PostgreSQL
    // raises an error in between, it closes scan and relation itself.
    unsafe {
        let lock = pg_sys::AccessShareLock as i32;
        let relation = pg_sys::table_open(relation, lock);
        let columns = attributes((*relation).rd_att);
        let mut keys: Vec<pg_sys::ScanKeyData> = key
            .iter()
            .enumerate()
            .map(|(i, (equal, datum))| scan_key(i, *equal, *datum, columns[i].attcollation))
            .collect();
        let scan = pg_sys::systable_beginscan(
            relation,
            index,
            true,
            active_snapshot(),
            keys.len() as i32,
            keys.as_mut_ptr(),
        );
        let mut result = None;
        while result.is_none() {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut values = vec![pg_sys::Datum::from(0); columns.len()];
            let mut nulls = vec![true; columns.len()];
            pg_sys::heap_deform_tuple(
                tuple,
                (*relation).rd_att,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            let place = (*tuple).t_self;
            let row = Row {
                attributes: columns,
                values,
                nulls,
                identity: Identity {
                    block: (u32::from(place.ip_blkid.bi_hi) << 16)
                        | u32::from(place.ip_blkid.bi_lo),
                    offset: place.ip_posid,
                    xmin: (*(*tuple).t_data).t_choice.t_heap.t_xmin.into_inner(),
                },
            };
            result = each(&row);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
        result
    }
}

/// Key column `index`, which is also column `index` of the table.
unsafe fn scan_key(
    index: usize,
    equal: u32,
    datum: pg_sys::Datum,
    collation: pg_sys::Oid,
) -> pg_sys::ScanKeyData {
    let mut entry = pg_sys::ScanKeyData::default();
    // SAFETY: the equality function of the column's type.
    unsafe {
        pg_sys::ScanKeyEntryInitialize(
            &mut entry,
            0,
            index as i16 + 1,
            pg_sys::BTEqualStrategyNumber as u16,
            pg_sys::InvalidOid,
            collation,
            pg_sys::Oid::from(equal),
            datum,
        );
    }
    entry
}

/// The snapshot that the running statement sees the database with.
pub fn active_snapshot() -> pg_sys::Snapshot {
    // SAFETY: inside a transaction, as every SQL function is.
    unsafe {
        if pg_sys::ActiveSnapshotSet() {
            pg_sys::GetActiveSnapshot()
        } else {
            pg_sys::GetTransactionSnapshot()
        }
    }
}
