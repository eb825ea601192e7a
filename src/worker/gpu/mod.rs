//! Training on a GPU: a library of its own, opened only here, in the worker of a job that wants one.
//!
//! | module | what it holds |
//! |---|---|
//! | [`library`] | finding and opening the library, its devices, what can be wrong with it |
//! | [`host`] | the extension's side of a training in the library |

mod host;
mod library;

use crate::error::{Report, Reportable, Result};
use crate::signals::Blocked;
use library::{Device, Library};
use ltv_core::data::TrainingData;
use ltv_core::recipe::{self, Recipe};
use ltv_core::train::{Control, TrainedModel};
use pgrx::prelude::*;

/// Training rows from which `auto` looks for a GPU: below, the start of one takes longer than it saves. Estimated.
const WORTH_IT: usize = 200_000;
/// The same for backbones on sequences, where a row is many times the work.
const WORTH_IT_SEQUENCES: usize = 20_000;

/// A device to train on.
pub struct Gpu {
    library: Library,
    device: Device,
    /// Nobody asked for a GPU, so that the CPU will do where it fails.
    pub is_automatic: bool,
}

/// Where a job is trained, and what its user should know about that.
pub struct Choice {
    pub gpu: Option<Gpu>,
    pub note: Option<String>,
}

impl Choice {
    pub fn cpu(note: Option<String>) -> Self {
        Self { gpu: None, note }
    }

    /// By the option `device` of the recipe.
    pub fn of(recipe: &Recipe, data: &TrainingData) -> Result<Self> {
        let rows = data.rows;
        let asked = recipe.options.device.as_str();
        let is_automatic = asked == "auto";
        let worth_it = match recipe::reads_sequences(&recipe.backbone) {
            true => WORTH_IT_SEQUENCES,
            false => WORTH_IT,
        };
        if asked == "cpu" || is_automatic && (rows < worth_it || !library::is_installed()) {
            return Ok(Self::cpu(None));
        }
        if recipe::is_law(&recipe.objective) && recipe.compare.is_none() {
            let note = "the objective has no network to train on a GPU and was fitted on the CPU";
            return Ok(Self::cpu((!is_automatic).then(|| note.to_owned())));
        }
        if recipe.backbone == recipe::TREES && recipe.compare.is_none() {
            let note = "trees are grown on the CPU";
            return Ok(Self::cpu((!is_automatic).then(|| note.to_owned())));
        }
        if data.table.horizons().is_some() {
            let note = "models of several horizons are trained on the CPU";
            return Ok(Self::cpu((!is_automatic).then(|| note.to_owned())));
        }
        // The driver starts threads, which must not get the signals of this one.
        let _blocked = Blocked::new();
        let found = Library::open().map_err(Report::from).and_then(|library| {
            let device = pick(library.devices()?, asked)?;
            Ok((library, device))
        });
        match found {
            Ok((library, device)) => Ok(Self {
                note: Some(format!("trained on {}", device.title())),
                gpu: Some(Gpu {
                    library,
                    device,
                    is_automatic,
                }),
            }),
            Err(report) if is_automatic => Ok(Self::cpu(Some(instead(&report)))),
            Err(report) => Err(report),
        }
    }
}

/// Whether what a training ended with is to be blamed on the device, so that the CPU may do better.
pub fn is_of_the_device(report: &Report) -> bool {
    [
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
    ]
    .contains(&report.sqlstate)
}

/// What is said where the CPU takes over.
pub fn instead(report: &Report) -> String {
    let detail = report.detail.as_ref();
    let detail = detail.map_or(String::new(), |detail| {
        format!(" ({})", detail.trim_end_matches('.'))
    });
    format!(
        "trained on the CPU, because the GPU could not be used: {}{detail}",
        report.message
    )
}

impl Gpu {
    pub fn train(
        &self,
        data: TrainingData,
        recipe: &Recipe,
        asked: &serde_json::Value,
        control: &dyn Control,
    ) -> ltv_core::error::Result<TrainedModel> {
        let device = format!("cuda:{}", self.device.index);
        host::train(&self.library, data, recipe, asked, &device, control)
    }
}

/// The device asked for; if that is any, the one with the most free memory.
fn pick(devices: Vec<Device>, asked: &str) -> Result<Device> {
    let wanted = asked.strip_prefix("cuda:").map(|n| n.parse::<u32>().ok());
    let Some(wanted) = wanted else {
        let most_free = devices.into_iter().max_by_key(|device| device.free_memory);
        return most_free.ok_or_else(|| NoSuchDevice(asked.to_owned(), Vec::new()).into());
    };
    let titles = devices.iter().map(Device::title).collect();
    devices
        .into_iter()
        .find(|device| Some(device.index) == wanted)
        .ok_or_else(|| NoSuchDevice(asked.to_owned(), titles).into())
}

#[derive(Debug, thiserror::Error)]
#[error("there is no device \"{0}\"")]
struct NoSuchDevice(String, Vec<String>);

impl Reportable for NoSuchDevice {
    fn sqlstate(&self) -> PgSqlErrorCode {
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE
    }
    fn detail(&self) -> Option<String> {
        Some(format!("There is: {}.", self.1.join("; ")))
    }
    fn hint(&self) -> Option<String> {
        Some("Set the option \"device\" to one of them, to \"cuda\" for the one with the most free memory, or to \"cpu\".".to_owned())
    }
}
