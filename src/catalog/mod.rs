//! The `ltv.*` tables, read directly: name -> version under the active snapshot, privileges, invalidation.

mod error;
mod invalidation;
mod memo;
mod moment;
pub mod privilege;
mod resolve;
pub mod restore;
mod table;

pub use error::{CatalogError, quoted};
pub use invalidation::generation;
pub use moment::Moment;
pub use resolve::{default_model, resolve, resolve_restored};

pub fn init() {
    invalidation::init();
}
