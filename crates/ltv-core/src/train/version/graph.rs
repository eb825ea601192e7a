//! The finished graph: preprocessing, networks, what combines them, and the outputs.

use crate::error::Result;
use crate::onnx::{BATCH, ElementType, GraphBuilder};
use crate::preprocess::Preprocessing;
use crate::schema::Schema;
use crate::train::finish::Finish;
use crate::train::fit::network::Network;

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
    let mut outputs = finish.export(&mut graph, &members);
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
        networks.first().and_then(Network::distribution),
    );
    let onnx = graph.finish(&[("pg_ltv.schema", schema.to_json().to_string())]);
    Ok((onnx, schema))
}
