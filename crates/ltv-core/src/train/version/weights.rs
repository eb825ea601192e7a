//! The `weights` of a version: everything needed to continue a training. A header in JSON that describes the file,
//! then the tensors as little-endian float32, one after the other.

use super::trees;
use crate::error::{Error, Result};
use crate::objective::ObjectiveConfig;
use crate::preprocess::Preprocessing;
use crate::recipe::Recipe;
use crate::train::config;
use crate::train::finish::Finish;
use crate::train::fit::network::{Network, NetworkConfig};
use crate::trees::Forest;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"ltvw\0\0\0\x01";

#[derive(Serialize, Deserialize)]
struct Header {
    pg_ltv: String,
    preprocessing: Preprocessing,
    network: NetworkConfig,
    /// Per network of the ensemble the names and shapes of its tensors, in the order of the file.
    members: Vec<Vec<(String, Vec<usize>)>>,
    /// Trees beside the networks.
    #[serde(default)]
    forest: Option<Forest>,
    finish: Finish,
}

pub fn store(
    preprocessing: &Preprocessing,
    network: &NetworkConfig,
    networks: &[Network],
    forest: Option<&Forest>,
    finish: &Finish,
) -> Result<Vec<u8>> {
    let mut members = Vec::with_capacity(networks.len());
    let mut data = Vec::new();
    for network in networks {
        let mut tensors = Vec::new();
        for (name, var) in network.variables() {
            tensors.push((name.clone(), var.dims().to_vec()));
            let values = var.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        members.push(tensors);
    }
    let header = Header {
        pg_ltv: env!("CARGO_PKG_VERSION").to_owned(),
        preprocessing: preprocessing.clone(),
        network: network.clone(),
        members,
        forest: forest.cloned(),
        finish: finish.clone(),
    };
    let header = serde_json::to_vec(&header).map_err(|error| Error::internal(error.to_string()))?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(data);
    Ok(bytes)
}

/// Weights of an earlier version that fit today's job.
pub struct Stored {
    pub preprocessing: Preprocessing,
    pub network: NetworkConfig,
    pub finish: Finish,
    pub forest: Option<Forest>,
    members: Vec<Vec<(String, Vec<usize>)>>,
    values: Vec<f32>,
}

/// Reads stored weights, or says why a training cannot continue from them.
pub fn continue_from(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    objective: &ObjectiveConfig,
    days: Option<&[f32]>,
    recipe: &Recipe,
) -> Result<Stored, String> {
    if trees::are_trees(bytes) {
        return Err("they are of trees alone".to_owned());
    }
    let stored = Stored::read(bytes).map_err(|error| error.message)?;
    if stored.preprocessing.inputs != preprocessing.inputs {
        return Err("the features have changed".to_owned());
    }
    let members = stored.members.len();
    if config::backbone(recipe, members).ok() != Some(stored.network.backbone.clone()) {
        return Err("the backbone or its options have changed".to_owned());
    }
    if stored.network.objective != *objective {
        return Err("the objective or its options have changed".to_owned());
    }
    if stored.finish.days() != days {
        return Err("the horizons have changed".to_owned());
    }
    let asked = recipe.options.ensemble;
    if asked.is_some_and(|asked| asked != members) {
        return Err("the size of the ensemble has changed".to_owned());
    }
    Ok(stored)
}

impl Stored {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes).ok_or_else(|| Error::model("the stored weights cannot be read"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC.as_slice())?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (header, data) = rest.split_at_checked(length)?;
        let header: Header = serde_json::from_slice(header).ok()?;
        let count: usize = header.members.iter().map(|member| elements(member)).sum();
        let (chunks, []) = data.as_chunks::<4>() else {
            return None;
        };
        let columns = header.preprocessing.raw_columns().len();
        let fits = |forest: &Forest| forest.features.len() == columns && forest.is_sound();
        let is_sound = header.forest.as_ref().is_none_or(fits);
        (chunks.len() == count && is_sound).then(|| Self {
            preprocessing: header.preprocessing,
            network: header.network,
            finish: header.finish,
            forest: header.forest,
            members: header.members,
            values: chunks
                .iter()
                .map(|chunk| f32::from_le_bytes(*chunk))
                .collect(),
        })
    }

    /// The networks with their weights.
    /// With at most so many weights each.
    pub fn networks(&self, device: &Device, weights: usize) -> Result<Vec<Network>> {
        let mut from = 0;
        let mut networks = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let mut tensors = Vec::with_capacity(member.len());
            for (_, shape) in member {
                let to = from + shape.iter().product::<usize>();
                let values = &self.values[from..to];
                tensors.push(Tensor::from_slice(values, shape.as_slice(), device)?);
                from = to;
            }
            let network = Network::new(&self.network, 0, device, weights)?;
            network.restore(&tensors)?;
            networks.push(network);
        }
        Ok(networks)
    }
}

fn elements(tensors: &[(String, Vec<usize>)]) -> usize {
    tensors
        .iter()
        .map(|(_, shape)| shape.iter().product::<usize>())
        .sum()
}
