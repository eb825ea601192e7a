//! The SQL functions that are not written in SQL, one file per group.

pub mod predict;
pub mod train;
