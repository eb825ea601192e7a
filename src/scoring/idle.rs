//! Scorers that finished statements left behind, so that a point query finds buffers, tensors and binding made.

use super::routed::{Lanes, Versions};
use super::{Model, Output};
use crate::error::Result;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::Rc;

struct Spare {
    input_type: pg_sys::Oid,
    lanes: Lanes,
}

/// Each takes some kilobytes.
const LIMIT: usize = 32;

thread_local! {
    /// Not dropped when the process exits, as the models are not.
    static SPARE: ManuallyDrop<RefCell<Vec<Spare>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// Lanes for one row at a time: left behind by another statement, or new. A binding looks again by itself when a row
/// type changes.
pub fn take(versions: Versions, output: Output, input_type: pg_sys::Oid) -> Result<Lanes> {
    versions.model.require(output)?;
    let left = SPARE.with(|spare| {
        let mut spare = spare.borrow_mut();
        let fits = |s: &Spare| s.input_type == input_type && s.lanes.serve(&versions);
        let at = spare.iter().rposition(fits)?;
        Some(spare.remove(at).lanes)
    });
    match left {
        Some(lanes) => Ok(lanes),
        None => Lanes::for_type(versions, output, input_type),
    }
}

/// Leaves them to the next statement.
pub fn keep(lanes: Lanes, input_type: pg_sys::Oid) {
    let dropped = SPARE.with(|spare| {
        let mut spare = spare.borrow_mut();
        let dropped = (spare.len() >= LIMIT).then(|| spare.remove(0));
        spare.push(Spare { input_type, lanes });
        dropped
    });
    drop(dropped);
}

/// Lets go of a model that is no longer kept ready.
pub fn forget(model: &Rc<Model>) {
    let dropped: Vec<Spare> = SPARE.with(|spare| {
        let (gone, kept) = spare
            .take()
            .into_iter()
            .partition(|s| Rc::ptr_eq(s.lanes.model(), model));
        *spare.borrow_mut() = kept;
        gone
    });
    drop(dropped);
}
