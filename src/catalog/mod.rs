//! The `ltv.*` tables, read directly: name -> version under the active snapshot, privileges, invalidation.

mod answers;
mod error;
mod invalidation;
pub mod privilege;
mod resolve;
mod table;

pub use error::CatalogError;
pub use invalidation::generation;
pub use resolve::{Moment, default_model, resolve};

pub fn init() {
    invalidation::init();
}
