//! Features of customers: what somebody has bought and done, collected into a compact [`log`], and what a [`walk`] along it tells
//! about each moment at which the customer is looked at.
//!
//! | module | holds |
//! |---|---|
//! | [`decimal`] | exact amounts |
//! | [`log`] | the log of one customer as a row of words, in memory that belongs to somebody else |
//! | [`orders`] | the orders of many customers in whatever order they come -> customer by customer |
//! | [`blocks`] | those customers -> rows of features in blocks, which are put in order where several made them |
//! | [`plan`] | which features are wanted, and when customers are looked at |
//! | [`walk`] | a plan and the logs of a customer -> rows of features, sequences |
//! | [`purchases`], [`events`], [`grid`] | what orders say, what other logs say, both step by step |

pub mod blocks;
pub mod decimal;
pub mod events;
pub mod grid;
pub mod log;
pub mod orders;
pub mod plan;
pub mod purchases;
pub mod walk;

#[cfg(test)]
mod tests;
