//! A forest as one operator TreeEnsembleRegressor of `ai.onnx.ml`, with a target for each parameter of each member.
//!
//! Numbers are compared with the borders of their bins, in single precision as in the training. A division of categories becomes a column of
//! its own: a table, looked up by the id, says who goes to the left. So every node asks `x <= border`.

use super::bins::Bins;
use super::forest::Forest;
use super::tree::{Test, Tree};
use crate::error::{Error, Result};
use crate::onnx::{Attribute, ElementType, GraphBuilder, Value};
use std::collections::HashMap;

/// Between the 0 of those who go to the left and the 1 of the others.
const HALF: f32 = 0.5;

/// Predictions of each member by public name, `[batch]` each. `numbers`: float `[batch, n]` with the features that are numbers in order, NaN
/// where a value is missing. `ids`: int64 `[batch]` for each feature that is a category, in order.
pub fn export(
    forest: &Forest,
    graph: &mut GraphBuilder,
    numbers: Option<&Value>,
    ids: &[Value],
) -> Result<Vec<Vec<(&'static str, Value)>>> {
    let columns = Columns::of(forest);
    let mut ensemble = Ensemble::default();
    let mut target = 0;
    for part in forest.members.iter().flatten() {
        for (start, trees) in part.start.iter().zip(&part.trees) {
            ensemble.base.push(*start as f32);
            let before = ensemble.trees;
            for tree in trees.iter().filter(|tree| !tree.nodes.is_empty()) {
                ensemble.add(tree, target, &forest.features, &columns)?;
            }
            if ensemble.trees == before {
                ensemble.add_leaf_alone(target);
            }
            target += 1;
        }
    }
    let matrix = columns.export(graph, numbers, ids)?;
    let scores = ensemble.export(graph, &matrix, target);
    let parameters = forest.head.parameters() as i64;
    (0..forest.members.len() as i64)
        .map(|member| {
            let of_member = member * parameters..(member + 1) * parameters;
            let parameters: Vec<Value> = of_member.map(|t| graph.column(&scores, t)).collect();
            forest.head.export(graph, &parameters)
        })
        .collect()
}

/// Where a feature is in the operator's input: numbers first, then the divisions of each category.
enum Place {
    Number(usize),
    /// From which column on its divisions are, by the ids that go to the left.
    Category {
        most: u8,
        first: usize,
        divisions: Vec<Vec<u8>>,
        known: HashMap<Vec<u8>, usize>,
    },
}

struct Columns(Vec<Place>);

impl Columns {
    fn of(forest: &Forest) -> Self {
        let mut numbers = 0;
        let mut places: Vec<Place> = Vec::with_capacity(forest.features.len());
        for bins in &forest.features {
            places.push(match bins {
                Bins::Numbers(_) => {
                    numbers += 1;
                    Place::Number(numbers - 1)
                }
                Bins::Categories(most) => Place::Category {
                    most: *most,
                    first: 0,
                    divisions: Vec::new(),
                    known: HashMap::new(),
                },
            });
        }
        let trees = forest
            .members
            .iter()
            .flatten()
            .flat_map(|part| part.trees.iter().flatten());
        for node in trees.flat_map(|tree| &tree.nodes) {
            if let (
                Test::Category(group),
                Some(Place::Category {
                    divisions, known, ..
                }),
            ) = (&node.test, places.get_mut(node.feature))
                && !known.contains_key(group)
            {
                known.insert(group.clone(), divisions.len());
                divisions.push(group.clone());
            }
        }
        let mut next = numbers;
        for place in &mut places {
            if let Place::Category {
                first, divisions, ..
            } = place
            {
                *first = next;
                next += divisions.len();
            }
        }
        Self(places)
    }

    fn question(&self, feature: usize, test: &Test, features: &[Bins]) -> Option<Question> {
        match (test, self.0.get(feature)?) {
            (Test::Number { bin, missing }, Place::Number(column)) => Some(Question {
                column: *column,
                border: features.get(feature)?.border(*bin),
                missing: *missing,
            }),
            (Test::Category(group), Place::Category { first, known, .. }) => Some(Question {
                column: first + known.get(group)?,
                border: HALF,
                missing: false,
            }),
            _ => None,
        }
    }

    fn export(
        &self,
        graph: &mut GraphBuilder,
        numbers: Option<&Value>,
        ids: &[Value],
    ) -> Result<Value> {
        let mut parts: Vec<Value> = numbers.into_iter().cloned().collect();
        let is_category = |place: &&Place| matches!(place, Place::Category { .. });
        for (place, ids) in self.0.iter().filter(is_category).zip(ids) {
            if let Place::Category {
                most, divisions, ..
            } = place
                && !divisions.is_empty()
            {
                parts.push(look_up(graph, *most, divisions, ids));
            }
        }
        if parts.is_empty() {
            // No tree asks for anything, and the operator wants rows.
            let any = ids
                .first()
                .ok_or_else(|| Error::internal("there is no feature"))?;
            let any = graph.cast(any, ElementType::Float);
            parts.push(graph.reshape(&any, &[-1, 1]));
        }
        let parts: Vec<&Value> = parts.iter().collect();
        Ok(graph.concat(&parts, 1))
    }
}

/// Per division 0 for the ids that go to the left and 1 for the others; float `[batch, divisions]`.
fn look_up(graph: &mut GraphBuilder, most: u8, divisions: &[Vec<u8>], ids: &Value) -> Value {
    let cell = |id: u8, group: &[u8]| f32::from(u8::from(!group.contains(&id)));
    let table: Vec<f32> = (0..=most)
        .flat_map(|id| divisions.iter().map(move |group| cell(id, group)))
        .collect();
    let table = graph.floats(&table, &[usize::from(most) + 1, divisions.len()]);
    // Ids follow the frequency; the rarest have no bin of their own.
    let last = graph.ints(&[i64::from(most)], &[]);
    let has_bin = graph.op("LessOrEqual", &[ids, &last], &[]);
    let other = graph.ints(&[0], &[]);
    let ids = graph.select(&has_bin, ids, &other);
    graph.op("Gather", &[&table, &ids], &[("axis", Attribute::Int(0))])
}

/// What a node asks: a column, the border, and whether who has no value goes to the left.
struct Question {
    column: usize,
    border: f32,
    missing: bool,
}

/// The attributes of the operator.
#[derive(Default)]
struct Ensemble {
    trees: i64,
    tree_ids: Vec<i64>,
    node_ids: Vec<i64>,
    columns: Vec<i64>,
    borders: Vec<f32>,
    modes: Vec<String>,
    yes: Vec<i64>,
    no: Vec<i64>,
    missing: Vec<i64>,
    leaf_trees: Vec<i64>,
    leaf_nodes: Vec<i64>,
    leaf_targets: Vec<i64>,
    leaf_values: Vec<f32>,
    base: Vec<f32>,
}

impl Ensemble {
    /// Nodes keep their numbers, leaves come after them.
    fn add(
        &mut self,
        tree: &Tree,
        target: i64,
        features: &[Bins],
        columns: &Columns,
    ) -> Result<()> {
        let inner = tree.nodes.len() as i64;
        let number = |child: i32| match child {
            leaf if leaf < 0 => inner + i64::from(!leaf),
            node => i64::from(node),
        };
        for (id, node) in (0..).zip(&tree.nodes) {
            let question = columns
                .question(node.feature, &node.test, features)
                .ok_or_else(|| Error::internal("a tree asks for a feature that is not there"))?;
            self.node(
                id,
                "BRANCH_LEQ",
                &question,
                number(node.left),
                number(node.right),
            );
        }
        for (leaf, value) in (inner..).zip(&tree.leaves) {
            self.leaf(leaf, target, *value as f32);
        }
        self.trees += 1;
        Ok(())
    }

    /// A target without trees has one that adds nothing.
    fn add_leaf_alone(&mut self, target: i64) {
        self.leaf(0, target, 0.0);
        self.trees += 1;
    }

    fn leaf(&mut self, id: i64, target: i64, value: f32) {
        let nothing = Question {
            column: 0,
            border: 0.0,
            missing: false,
        };
        self.node(id, "LEAF", &nothing, 0, 0);
        self.leaf_trees.push(self.trees);
        self.leaf_nodes.push(id);
        self.leaf_targets.push(target);
        self.leaf_values.push(value);
    }

    fn node(&mut self, id: i64, mode: &str, question: &Question, yes: i64, no: i64) {
        self.tree_ids.push(self.trees);
        self.node_ids.push(id);
        self.columns.push(question.column as i64);
        self.borders.push(question.border);
        self.modes.push(mode.to_owned());
        self.yes.push(yes);
        self.no.push(no);
        self.missing.push(i64::from(question.missing));
    }

    /// Float `[batch, targets]`.
    fn export(self, graph: &mut GraphBuilder, matrix: &Value, targets: i64) -> Value {
        let attributes = [
            ("aggregate_function", Attribute::Text("SUM".to_owned())),
            ("base_values", Attribute::Floats(self.base)),
            ("n_targets", Attribute::Int(targets)),
            ("nodes_falsenodeids", Attribute::Ints(self.no)),
            ("nodes_featureids", Attribute::Ints(self.columns)),
            (
                "nodes_missing_value_tracks_true",
                Attribute::Ints(self.missing),
            ),
            ("nodes_modes", Attribute::Texts(self.modes)),
            ("nodes_nodeids", Attribute::Ints(self.node_ids)),
            ("nodes_treeids", Attribute::Ints(self.tree_ids)),
            ("nodes_truenodeids", Attribute::Ints(self.yes)),
            ("nodes_values", Attribute::Floats(self.borders)),
            ("post_transform", Attribute::Text("NONE".to_owned())),
            ("target_ids", Attribute::Ints(self.leaf_targets)),
            ("target_nodeids", Attribute::Ints(self.leaf_nodes)),
            ("target_treeids", Attribute::Ints(self.leaf_trees)),
            ("target_weights", Attribute::Floats(self.leaf_values)),
        ];
        graph.named_op(
            "TreeEnsembleRegressor",
            "ai.onnx.ml",
            &[matrix],
            "ltv.trees",
            &attributes,
        )
    }
}
