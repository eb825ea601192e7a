//! What a version row keeps: the graph, the weights, the history, and which variables were selected.

pub mod graph;
pub mod history;
pub mod replay;
pub mod selection_weights;
pub mod trees;
pub mod weights;
