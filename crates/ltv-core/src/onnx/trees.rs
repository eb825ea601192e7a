//! Tree ensembles: ONNX Runtime follows the branches of a tree until it comes to a leaf, so there must be one.

use super::proto::{AttributeProto, NodeProto};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// An error if a walk through a tree of this node might not end.
pub fn check(node: &NodeProto) -> Result<()> {
    if node.domain != "ai.onnx.ml" {
        return Ok(());
    }
    let children = match node.op_type.as_str() {
        "TreeEnsembleRegressor" | "TreeEnsembleClassifier" => by_id(node),
        "TreeEnsemble" => by_index(node),
        _ => return Ok(()),
    };
    match children {
        Some(children) if ends(&children) => Ok(()),
        _ => Err(Error::model("the ONNX graph holds a broken decision tree")
            .detail("A walk through it would not end at a leaf.")),
    }
}

/// Branches of each node, none of a leaf.
type Children = Vec<[Option<usize>; 2]>;

fn integers<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |a| &a.ints)
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name)
}

/// Nodes are named by tree and number.
fn by_id(node: &NodeProto) -> Option<Children> {
    let trees = integers(node, "nodes_treeids");
    let ids = integers(node, "nodes_nodeids");
    let yes = integers(node, "nodes_truenodeids");
    let no = integers(node, "nodes_falsenodeids");
    let modes = &attribute(node, "nodes_modes")?.strings;
    let count = trees.len();
    if [ids.len(), yes.len(), no.len(), modes.len()] != [count; 4] {
        return None;
    }
    let places: HashMap<(i64, i64), usize> = trees
        .iter()
        .zip(ids)
        .enumerate()
        .map(|(at, (tree, id))| ((*tree, *id), at))
        .collect();
    if places.len() != count {
        return None;
    }
    (0..count)
        .map(|at| {
            if modes[at] == b"LEAF" {
                return Some([None; 2]);
            }
            let child = |id: i64| places.get(&(trees[at], id)).copied();
            Some([Some(child(yes[at])?), Some(child(no[at])?)])
        })
        .collect()
}

/// Nodes and leaves are numbered each on their own.
fn by_index(node: &NodeProto) -> Option<Children> {
    let yes = integers(node, "nodes_truenodeids");
    let no = integers(node, "nodes_falsenodeids");
    let yes_leaf = integers(node, "nodes_trueleafs");
    let no_leaf = integers(node, "nodes_falseleafs");
    let roots = integers(node, "tree_roots");
    let targets = integers(node, "leaf_targetids");
    let count = yes.len();
    if [no.len(), yes_leaf.len(), no_leaf.len()] != [count; 3] {
        return None;
    }
    let inside = |id: i64, bound: usize| usize::try_from(id).ok().filter(|id| *id < bound);
    if roots.iter().any(|root| inside(*root, count).is_none()) {
        return None;
    }
    (0..count)
        .map(|at| {
            let child = |id: i64, leaf: i64| match leaf {
                0 => inside(id, count).map(Some),
                _ => inside(id, targets.len()).map(|_| None),
            };
            Some([child(yes[at], yes_leaf[at])?, child(no[at], no_leaf[at])?])
        })
        .collect()
}

/// Whether no node is reached from itself.
fn ends(children: &Children) -> bool {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; children.len()];
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..children.len() {
        if states[start] != State::New {
            continue;
        }
        states[start] = State::Open;
        path.push((start, 0));
        while let Some((at, branch)) = path.last_mut() {
            let Some(next) = children[*at].get(*branch) else {
                states[*at] = State::Done;
                path.pop();
                continue;
            };
            *branch += 1;
            let Some(next) = *next else { continue };
            match states[next] {
                State::Open => return false,
                State::Done => {}
                State::New => {
                    states[next] = State::Open;
                    path.push((next, 0));
                }
            }
        }
    }
    true
}
