//! The finished graph: preprocessing, networks, what combines them, and the outputs.

use crate::error::Result;
use crate::objective::Distribution;
use crate::objective::horizons::ENDS;
use crate::onnx::{BATCH, ElementType, GraphBuilder, Value};
use crate::preprocess::Preprocessing;
use crate::schema::{Schema, horizon_output};
use crate::train::finish::{Finish, Members};
use crate::train::fit::network::Network;
use crate::trees::{self, Forest};

/// Of networks, with trees beside them if there are any.
pub fn assemble(
    preprocessing: &Preprocessing,
    networks: &[Network],
    forest: Option<&Forest>,
    finish: &Finish,
) -> Result<(Vec<u8>, Schema)> {
    let mut graph = GraphBuilder::new();
    let front = preprocessing.export_front(&mut graph);
    let inputs = preprocessing.export_inputs(&mut graph, &front)?;
    let members = match networks {
        [only] => Members::Apart(vec![only.export(&mut graph, &inputs)?]),
        several => Members::Together(Network::export_together(several, &mut graph, &inputs)?),
    };
    let trees = match forest {
        Some(forest) => {
            let (numbers, ids) = preprocessing.export_raw(&mut graph, &front);
            let members = trees::export(forest, &mut graph, numbers.as_ref(), &ids)?;
            Some(Members::Apart(members))
        }
        None => None,
    };
    let distribution = networks.first().and_then(Network::distribution);
    let outputs = finish.export(&mut graph, members, trees);
    complete(graph, preprocessing, outputs, distribution, finish)
}

/// The same of trees alone.
pub fn assemble_trees(
    preprocessing: &Preprocessing,
    forest: &Forest,
    finish: &Finish,
) -> Result<(Vec<u8>, Schema)> {
    let mut graph = GraphBuilder::new();
    let front = preprocessing.export_front(&mut graph);
    let (numbers, ids) = preprocessing.export_raw(&mut graph, &front);
    let members = trees::export(forest, &mut graph, numbers.as_ref(), &ids)?;
    let outputs = finish.export(&mut graph, Members::Apart(members), None);
    let distribution = forest.head.distribution();
    complete(graph, preprocessing, outputs, distribution, finish)
}

fn complete(
    mut graph: GraphBuilder,
    preprocessing: &Preprocessing,
    mut outputs: Vec<(&'static str, Value)>,
    distribution: Option<Distribution>,
    finish: &Finish,
) -> Result<(Vec<u8>, Schema)> {
    // Whoever ranks customers finds `ltv` in every model; of a pure purchase model it is the probability.
    if !outputs.iter().any(|(name, _)| *name == "ltv")
        && let Some((_, probability)) = outputs.first()
    {
        outputs.insert(0, ("ltv", probability.clone()));
    }
    let days = finish.days().unwrap_or_default();
    let mut names = Vec::with_capacity(outputs.len());
    for (name, value) in &outputs {
        let name = public(name, days);
        graph.output(&name, value, ElementType::Float, &[BATCH]);
        names.push(name);
    }
    let mut schema = Schema::new(preprocessing.inputs.clone(), names, distribution);
    schema.horizons = days.to_vec();
    schema.intervals = finish.intervals.clone();
    let onnx = graph.finish(&[("pg_ltv.schema", schema.to_json().to_string())]);
    Ok((onnx, schema))
}

/// An output by the name that the world knows it by: that of a horizon says its days.
pub fn public(name: &str, days: &[f32]) -> String {
    let end = ENDS.iter().position(|end| *end == name);
    match end.and_then(|index| days.get(index)) {
        Some(days) => horizon_output(*days),
        None => name.to_owned(),
    }
}
