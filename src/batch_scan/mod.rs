//! Transparent batch scoring: a custom scan that the planner's result is given wherever it calls `ltv_predict*`.
//! How it works is told in README.md beside this file.
//!
//! | module | what it holds |
//! |---|---|
//! | [`hooks`] | when plans are looked at |
//! | [`builder`] | where the batch scans go |
//! | [`private`] | what the planner hands to the executor |
//! | [`exec`] | pulls rows, predicts, hands them out; EXPLAIN |
//! | [`functions`] | which calls are ours |
//! | [`support`] | what a prediction costs |
//! | [`tree`] | casts, lists, walking expressions |

mod builder;
mod exec;
mod functions;
mod hooks;
mod private;
mod support;
mod tree;

pub fn init() {
    functions::init();
    exec::init();
    hooks::init();
}
