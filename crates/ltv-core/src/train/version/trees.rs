//! The `weights` of a version whose backbone is `trees`: everything needed to go on with it, in JSON.

use crate::error::{Error, Result};
use crate::preprocess::Preprocessing;
use crate::train::finish::Finish;
use crate::trees::{Forest, Head};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"ltvt\0\0\0\x01";

#[derive(Serialize)]
struct Given<'a> {
    pg_ltv: &'a str,
    preprocessing: &'a Preprocessing,
    forest: &'a Forest,
    finish: &'a Finish,
}

/// Trees of an earlier version.
#[derive(Deserialize)]
pub struct Stored {
    pub preprocessing: Preprocessing,
    pub forest: Forest,
    pub finish: Finish,
}

pub fn store(preprocessing: &Preprocessing, forest: &Forest, finish: &Finish) -> Result<Vec<u8>> {
    let given = Given {
        pg_ltv: env!("CARGO_PKG_VERSION"),
        preprocessing,
        forest,
        finish,
    };
    let mut bytes = MAGIC.to_vec();
    serde_json::to_writer(&mut bytes, &given)
        .map_err(|error| Error::internal(error.to_string()))?;
    Ok(bytes)
}

/// Whether these are the weights of trees.
pub fn are_trees(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads stored trees, or says why a training cannot go on with them.
pub fn continue_from(
    bytes: &[u8],
    preprocessing: &Preprocessing,
    head: &Head,
    days: Option<&[f32]>,
    members: Option<usize>,
) -> Result<Stored, String> {
    if !are_trees(bytes) {
        return Err("they are of networks".to_owned());
    }
    let stored = Stored::read(bytes).map_err(|error| error.message)?;
    if stored.preprocessing.inputs != preprocessing.inputs {
        return Err("the features have changed".to_owned());
    }
    if !stored.forest.head.is_like(head) {
        return Err("the objective or its options have changed".to_owned());
    }
    if stored.finish.days() != days {
        return Err("the horizons have changed".to_owned());
    }
    if members.is_some_and(|members| members != stored.forest.members.len()) {
        return Err("the size of the ensemble has changed".to_owned());
    }
    Ok(stored)
}

impl Stored {
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let stored: Option<Self> = bytes
            .strip_prefix(MAGIC.as_slice())
            .and_then(|json| serde_json::from_slice(json).ok());
        let is_sound = |stored: &Self| {
            let columns = stored.preprocessing.raw_columns();
            stored.forest.features.len() == columns.len() && stored.forest.is_sound()
        };
        stored
            .filter(is_sound)
            .ok_or_else(|| Error::model("the stored trees cannot be read"))
    }
}
