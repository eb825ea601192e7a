//! The finished graph: preprocessing, networks, what combines them, and the outputs.

use crate::error::Result;
use crate::objective::Distribution;
use crate::onnx::{BATCH, ElementType, GraphBuilder, Value};
use crate::preprocess::Preprocessing;
use crate::schema::Schema;
use crate::train::finish::Finish;
use crate::train::fit::network::Network;
use crate::trees::{self, Forest};

pub fn assemble(
    preprocessing: &Preprocessing,
    networks: &[Network],
    finish: &Finish,
) -> Result<(Vec<u8>, Schema)> {
    let mut graph = GraphBuilder::new();
    let inputs = preprocessing.export(&mut graph)?;
    let mut members = Vec::with_capacity(networks.len());
    for network in networks {
        members.push(network.export(&mut graph, &inputs)?);
    }
    let distribution = networks.first().and_then(Network::distribution);
    complete(graph, preprocessing, &members, finish, distribution)
}

/// The same of trees.
pub fn assemble_trees(
    preprocessing: &Preprocessing,
    forest: &Forest,
    finish: &Finish,
) -> Result<(Vec<u8>, Schema)> {
    let mut graph = GraphBuilder::new();
    let front = preprocessing.export_front(&mut graph);
    let (numbers, ids) = preprocessing.export_raw(&mut graph, &front);
    let members = trees::export(forest, &mut graph, numbers.as_ref(), &ids)?;
    complete(
        graph,
        preprocessing,
        &members,
        finish,
        forest.head.distribution(),
    )
}

fn complete(
    mut graph: GraphBuilder,
    preprocessing: &Preprocessing,
    members: &[Vec<(&'static str, Value)>],
    finish: &Finish,
    distribution: Option<Distribution>,
) -> Result<(Vec<u8>, Schema)> {
    let mut outputs = finish.export(&mut graph, members);
    // Whoever ranks customers finds `ltv` in every model; of a pure purchase model it is the probability.
    if !outputs.iter().any(|(name, _)| *name == "ltv")
        && let Some((_, probability)) = outputs.first()
    {
        outputs.insert(0, ("ltv", probability.clone()));
    }
    for (name, value) in &outputs {
        graph.output(name, value, ElementType::Float, &[BATCH]);
    }
    let schema = Schema::new(
        preprocessing.inputs.clone(),
        outputs.iter().map(|(name, _)| (*name).to_owned()).collect(),
        distribution,
    );
    let onnx = graph.finish(&[("pg_ltv.schema", schema.to_json().to_string())]);
    Ok((onnx, schema))
}
