//! The `ltv.*` tables, read directly: name -> version under the active snapshot, privileges, invalidation.

mod invalidation;
mod resolve;

pub use invalidation::generation;
pub use resolve::resolve;

pub fn init() {
    invalidation::init();
}
