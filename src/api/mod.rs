//! The SQL functions that are not written in SQL, one file per group.

mod loaded;
pub mod predict;
pub mod train;
