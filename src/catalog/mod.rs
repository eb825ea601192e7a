//! The `ltv.*` tables, read directly: name -> version under the active snapshot, privileges, invalidation.

mod answers;
mod error;
mod invalidation;
pub mod privilege;
mod resolve;
pub mod restore;
mod table;

pub use error::CatalogError;
pub use invalidation::generation;
pub use resolve::{Moment, default_model, resolve, resolve_restored};

pub fn init() {
    invalidation::init();
}
