//! SQL values -> numbers, texts, arrays, and what is missing; and texts of ours -> SQL.
//!
//! Training, scoring and monitoring read values by this code and by no other, so that they see the same. The rule:
//! NULL, NaN, infinities and what does not fit into a float32 are missing numbers; NULL and `''` are missing categories.
//! Dates and timestamps are days since 1970-01-01 in UTC, with the time of day as their fraction; intervals are days, of
//! which a year has 365.25 and a month 30; money is its amount; booleans are 0 and 1, or `true` and `false`. A domain is
//! read as what it is over. An array is read in the order of its elements, whatever its bounds are; an empty one is missing.
//! Text is UTF-8, whatever the encoding of the database ([`text`](crate::text) says how).
//!
//! | module | what it holds |
//! |---|---|
//! | [`scalar`] | how a type is read, as a number and as text |
//! | [`array`] | the elements of arrays |
//! | [`sql`] | arguments and results of functions and statements |
//! | [`varlena`], [`numeric`] | the stored forms of values of variable length and of `numeric` |
//! | [`descriptor`] | the columns of row types |
//! | [`scratch`] | memory for what reading one row allocates |
//!
//! No other module converts between Rust's strings and PostgreSQL's: `clippy.toml` forbids the means to it.

mod array;
mod descriptor;
pub mod numeric;
mod scalar;
pub mod scratch;
pub mod sql;
pub mod varlena;

pub use array::{ArrayReader, float8_array};
pub use descriptor::{Descriptor, attributes};
pub use scalar::{Scalar, finite};
