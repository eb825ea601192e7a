//! How large networks and their batches may become, looked at before memory is taken for them.

use crate::error::{Error, ErrorKind};
use crate::recipe::Recipe;

/// Weights of all networks together: a model is stored as one value, of which PostgreSQL takes 1 GB.
const MOST_WEIGHTS: usize = 200_000_000;
/// Bytes per weight of every network: it, the best one so far, and copies in the graph and in what is stored.
const KEPT: usize = 16;
/// Bytes per weight of a network that is being trained: gradient and moments; no more for the draft that it starts from.
const TRAINED: usize = 12;

/// What the networks of one job have.
pub struct Room<'a> {
    recipe: &'a Recipe,
    networks: usize,
    /// Networks that are trained at the same time.
    at_once: usize,
}

impl<'a> Room<'a> {
    pub fn new(recipe: &'a Recipe, networks: usize) -> Self {
        let threads = recipe.options.threads.unwrap_or(1);
        Self {
            recipe,
            networks: networks.max(1),
            at_once: networks.clamp(1, threads.max(1)),
        }
    }

    /// Weights that each network may have.
    pub fn weights(&self) -> usize {
        let bytes = self.networks * KEPT + self.at_once * TRAINED;
        let in_memory = self
            .recipe
            .memory
            .map_or(usize::MAX, |memory| memory / bytes);
        in_memory.min(MOST_WEIGHTS / self.networks)
    }

    /// Says of a network that was refused for its size what would make it smaller. Other errors are left as they are.
    pub fn explain(&self, error: Error) -> Error {
        if error.kind != ErrorKind::Resources {
            return error;
        }
        let most = self.weights();
        let why = match self.recipe.memory {
            Some(memory) if most < MOST_WEIGHTS / self.networks => {
                format!("ltv.training_memory is {} MB", memory >> 20)
            }
            _ => "a model is stored as one value".to_owned(),
        };
        Error::new(
            ErrorKind::Resources,
            "the network of this recipe is too large",
        )
        .detail(format!(
            "Each of {} networks may have {most} weights, because {why}; backbone \"{}\" with these columns and options has more.",
            self.networks, self.recipe.backbone
        ))
        .hint(format!(
            "Lower the options {}, use fewer columns, or raise ltv.training_memory.",
            self.options()
        ))
    }

    /// The options that decide how many weights there are.
    fn options(&self) -> String {
        let backbone: &[&str] = match self.recipe.backbone.as_str() {
            "linear" => &[],
            "deepfm" => &["hidden_sizes", "fm_size"],
            "dcn" => &["hidden_sizes", "cross_layers", "cross_rank"],
            "lstm" | "gru" => &["recurrent_sizes", "hidden_sizes"],
            "transformer" => &["attention_size", "attention_layers", "feed_forward_size"],
            "tft" => &["attention_size"],
            _ => &["hidden_sizes"],
        };
        let head: &[&str] = match self.recipe.objective.as_str() {
            "cmltv" | "expltv" => &["head_hidden_sizes"],
            _ => &[],
        };
        let common = ["embedding_size", "max_categories", "ensemble"];
        let names = backbone.iter().chain(head).chain(&common);
        let names: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        names.join(", ")
    }

    /// Refuses batches whose activations, of which at least `bytes` are in memory at the same time for each network, do not
    /// fit.
    pub fn check_batches(&self, rows: usize, bytes: usize) -> Result<(), Error> {
        let needed = bytes.saturating_mul(self.at_once);
        match self.recipe.memory {
            Some(memory) if needed > memory => Err(Error::new(
                ErrorKind::Resources,
                "the batches of this recipe need too much memory",
            )
            .detail(format!(
                "{rows} rows at a time take {} MB or more, and ltv.training_memory is {} MB.",
                needed >> 20,
                memory >> 20
            ))
            .hint(format!(
                "Lower the options \"batch_size\", \"max_timesteps\", \"threads\", {}, or raise ltv.training_memory.",
                self.options()
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Options;
    use serde_json::json;

    fn recipe(memory: Option<usize>, threads: usize) -> Result<Recipe, Error> {
        Ok(Recipe {
            memory,
            options: Options::from_json(&json!({"threads": threads}))?,
            ..Recipe::default()
        })
    }

    #[test]
    fn memory_and_what_can_be_stored_bound_the_weights() -> Result<(), Error> {
        let unbounded = recipe(None, 1)?;
        assert_eq!(Room::new(&unbounded, 1).weights(), MOST_WEIGHTS);
        assert_eq!(Room::new(&unbounded, 5).weights(), MOST_WEIGHTS / 5);
        let small = recipe(Some(28 << 20), 1)?;
        assert_eq!(Room::new(&small, 1).weights(), 1 << 20);
        let parallel = recipe(Some(56 << 20), 8)?;
        assert_eq!(Room::new(&parallel, 2).weights(), 1 << 20);
        Ok(())
    }

    #[test]
    fn a_refusal_names_the_options_the_figure_and_the_bound() -> Result<(), Error> {
        let small = recipe(Some(28 << 20), 1)?;
        let room = Room::new(&small, 1);
        let error = room.explain(Error::new(ErrorKind::Resources, "a network is too large"));
        let detail = error.detail.unwrap_or_default();
        assert!(
            detail.contains("1048576 weights, because ltv.training_memory is 28 MB"),
            "{detail}"
        );
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("\"hidden_sizes\""))
        );
        assert_eq!(room.explain(Error::cancelled()).kind, ErrorKind::Cancelled);
        assert!(room.check_batches(1024, 28 << 20).is_ok());
        let error = room.check_batches(1024, (28 << 20) + 1).err();
        assert!(error.is_some_and(|error| error.kind == ErrorKind::Resources));
        Ok(())
    }
}
