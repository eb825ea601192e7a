//! Name -> version under the active snapshot.

use crate::error::Result;
use crate::scoring::Model;
use std::rc::Rc;

/// The model that a call scores with: its champion, or the pinned version. Looked up under the active snapshot;
/// the current role must have the privilege `predict`. Loads the session if it is not in the cache.
/// `name` `None`: `ltv.default_model`.
pub fn resolve(name: Option<&str>, version: Option<i32>) -> Result<Rc<Model>> {
    let _ = (name, version);
    unimplemented!()
}
