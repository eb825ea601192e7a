//! All trees of a model.

use super::bins::Bins;
use super::boost::Boosted;
use super::head::Head;
use super::matrix::Binned;
use serde::{Deserialize, Serialize};

/// Boosted trees of several members, each grown on other rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forest {
    /// What the bins of each feature mean.
    pub features: Vec<Bins>,
    /// What the parameters mean.
    pub head: Head,
    /// Per member its parts.
    pub members: Vec<Vec<Boosted>>,
}

impl Forest {
    /// Predictions of one member by public name, for rows of the same features.
    pub fn predict(&self, member: usize, data: &Binned) -> Vec<(&'static str, Vec<f32>)> {
        let parts = self.members.get(member).map_or(&[][..], Vec::as_slice);
        let parameters: Vec<Vec<f64>> = parts.iter().flat_map(|part| part.scores(data)).collect();
        self.head.predict(&parameters)
    }

    /// Per feature what all its splits gained, as a share of all gains.
    pub fn gains(&self) -> Vec<f64> {
        let mut gains = vec![0.0; self.features.len()];
        let parts = self.members.iter().flatten();
        for node in parts
            .flat_map(|part| part.trees.iter().flatten())
            .flat_map(|tree| &tree.nodes)
        {
            if let Some(gain) = gains.get_mut(node.feature) {
                *gain += node.gain;
            }
        }
        let all: f64 = gains.iter().sum();
        if all > 0.0 {
            gains.iter_mut().for_each(|gain| *gain /= all);
        }
        gains
    }

    /// Whether every node refers to what is there, as of a forest that was stored.
    pub fn is_sound(&self) -> bool {
        let parts = self.head.parts();
        self.members.iter().all(|member| {
            member.len() == parts.len()
                && member.iter().zip(&parts).all(|(boosted, part)| {
                    let count = part.loss.parameters();
                    let trees = || boosted.trees.iter().flatten();
                    boosted.part == *part
                        && boosted.start.len() == count
                        && boosted.trees.len() == count
                        && trees().all(|tree| tree.is_sound(&self.features))
                })
        })
    }

    /// Trees of all members.
    pub fn count(&self) -> usize {
        self.members.iter().flatten().map(Boosted::count).sum()
    }
}
