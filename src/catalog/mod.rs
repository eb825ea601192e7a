//! The `ltv.*` tables, read directly: name -> version under the active snapshot, privileges, invalidation.

mod invalidation;

pub use invalidation::generation;

pub fn init() {
    invalidation::init();
}
