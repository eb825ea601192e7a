//! What SQL has gathered for a page.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer};

/// Who the page is for.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Page {
    /// Who decides about customers: `ltv_report`.
    #[default]
    Report,
    /// Who trains models: `ltv_training_report`.
    Training,
}

/// What the page is about. Every number may be missing.
#[derive(Deserialize)]
pub struct Report {
    /// Who it is for.
    #[serde(default)]
    pub page: Page,
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: i32,
    /// The objective, or how the version came here.
    pub kind: String,
    /// The backbone, where the version was trained here.
    pub backbone: Option<String>,
    /// Day on which the version was made, as text.
    pub created: String,
    /// Rows that the version was trained on.
    #[serde(default, deserialize_with = "finite")]
    pub trained_rows: f64,
    /// Days that a value counts from its cut-off.
    #[serde(default, deserialize_with = "finite")]
    pub horizon: f64,
    /// Whose figures these are.
    pub basis: Basis,
    /// The metrics of an evaluation.
    pub metrics: Vec<Metric>,
    /// Groups of equal size, the best predicted first; none where no rows were given.
    #[serde(default)]
    pub deciles: Vec<Decile>,
    /// Share of all revenue of the best groups if customers were in the order of what they spent.
    #[serde(default)]
    pub perfect: Vec<f64>,
    /// Several horizons, the shortest first; none where the version has one.
    #[serde(default)]
    pub horizons: Vec<Horizon>,
    /// What all of the customers are predicted to spend; none where no rows were given.
    #[serde(default)]
    pub total: Option<Tier>,
    /// Groups by predicted value as `ltv_segment` makes them, the best first.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// Cohorts by age, the oldest first.
    #[serde(default)]
    pub cohorts: Vec<Cohort>,
    /// What the order of the customers relies on, the most important first.
    #[serde(default)]
    pub importance: Vec<Importance>,
    /// Features whose values are no longer like those of the training.
    #[serde(default)]
    pub drift: Vec<Drift>,
    /// Losses, network by network.
    #[serde(default)]
    pub epochs: Vec<Epoch>,
    /// Options of the training, name and value.
    #[serde(default)]
    pub options: Vec<(String, String)>,
    /// What the version looks at.
    #[serde(default)]
    pub features: Vec<Feature>,
}

/// The customers that figures are of.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Held out of training.
    HeldOut,
    /// Learnt from: no customer was held out.
    TrainedOn,
    /// Given for the report.
    Given,
    /// Given for the report, with those among them that the version learnt from.
    GivenAndTrainedOn,
}

impl Basis {
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::HeldOut => "These figures are of customers that the model did not learn from.",
            Self::TrainedOn => {
                "These figures are of customers that the model learnt from: they flatter it."
            }
            Self::Given => "These figures are of the customers that were given for this report.",
            Self::GivenAndTrainedOn => {
                "Customers that the model learnt from are among these: they flatter it."
            }
        }
    }

    pub(super) fn whose(self) -> &'static str {
        match self {
            Self::HeldOut => " of the customers held out of training",
            Self::TrainedOn => " of the customers trained on",
            Self::Given | Self::GivenAndTrainedOn => "",
        }
    }
}

/// A metric of an evaluation.
#[derive(Deserialize)]
pub struct Metric {
    /// Its name in `ltv_evaluate`.
    pub metric: String,
    /// Its value, if the rows define it.
    #[serde(deserialize_with = "finite")]
    pub value: f64,
}

/// A group of customers of about equal predictions.
#[derive(Deserialize)]
pub struct Decile {
    /// Mean of what was predicted.
    #[serde(deserialize_with = "finite")]
    pub mean_prediction: f64,
    /// Mean of what was spent.
    #[serde(deserialize_with = "finite")]
    pub mean_actual: f64,
    /// Share of all revenue of this group and the better ones.
    #[serde(deserialize_with = "finite")]
    pub cumulative_revenue_share: f64,
}

/// What was predicted and spent by the end of a horizon.
#[derive(Deserialize)]
pub struct Horizon {
    /// Days from the cut-off.
    #[serde(deserialize_with = "finite")]
    pub horizon: f64,
    /// Customers whose time has come.
    #[serde(deserialize_with = "finite")]
    pub customers: f64,
    /// What was predicted for all of them.
    #[serde(deserialize_with = "finite")]
    pub predicted: f64,
    /// What all of them spent.
    #[serde(deserialize_with = "finite")]
    pub actual: f64,
    /// See `ltv_evaluate`.
    #[serde(deserialize_with = "finite")]
    pub total_ratio: f64,
    /// See `ltv_evaluate`.
    #[serde(deserialize_with = "finite")]
    pub normalized_gini: f64,
}

/// What customers together are predicted to spend, and what they spent.
#[derive(Deserialize)]
pub struct Tier {
    /// How many there are.
    #[serde(deserialize_with = "finite")]
    pub customers: f64,
    /// The sum of the predictions.
    #[serde(deserialize_with = "finite")]
    pub predicted: f64,
    /// Low end of its 80 % interval.
    #[serde(deserialize_with = "finite")]
    pub low: f64,
    /// High end of its 80 % interval.
    #[serde(deserialize_with = "finite")]
    pub high: f64,
    /// What was spent.
    #[serde(deserialize_with = "finite")]
    pub actual: f64,
}

/// A cohort at an age, as a row of `ltv_cohorts`.
#[derive(Deserialize)]
pub struct Cohort {
    /// The first day of the month.
    pub cohort: String,
    /// After the start.
    #[serde(deserialize_with = "finite")]
    pub days: f64,
    /// How many started then.
    #[serde(deserialize_with = "finite")]
    pub customers: f64,
    /// Of each, where all have reached the age.
    #[serde(deserialize_with = "finite")]
    pub revenue: f64,
    /// Of each, where not all have.
    #[serde(deserialize_with = "finite")]
    pub predicted_revenue: f64,
    /// Of each.
    #[serde(deserialize_with = "finite")]
    pub cost: f64,
    /// Value at the end of the horizon over cost.
    #[serde(deserialize_with = "finite")]
    pub ltv_to_cac: f64,
    /// The day on which the cost is earned back.
    #[serde(deserialize_with = "finite")]
    pub payback_day: f64,
    /// Low end of its interval.
    #[serde(deserialize_with = "finite")]
    pub payback_earliest: f64,
    /// High end of its interval.
    #[serde(deserialize_with = "finite")]
    pub payback_latest: f64,
}

impl Cohort {
    pub(super) fn is_ahead(&self) -> bool {
        !self.revenue.is_finite()
    }

    pub(super) fn money(&self) -> f64 {
        match self.is_ahead() {
            true => self.predicted_revenue,
            false => self.revenue,
        }
    }
}

/// How much a model relies on a feature.
#[derive(Deserialize)]
pub struct Importance {
    /// Name of the column.
    pub feature: String,
    /// What the normalized Gini loses where customers swap their values of it.
    #[serde(deserialize_with = "finite")]
    pub importance: f64,
}

/// A feature that has drifted.
#[derive(Deserialize)]
pub struct Drift {
    /// Name of the column; `ltv` for the predictions.
    pub feature: String,
    /// Why it counts as drifted.
    pub reason: String,
}

/// Losses after an epoch.
#[derive(Deserialize)]
pub struct Epoch {
    /// Number of the network, from 1.
    #[serde(default, deserialize_with = "finite")]
    pub member: f64,
    /// On the rows that are learnt from.
    #[serde(deserialize_with = "finite")]
    pub training_loss: f64,
    /// On the rows that are not.
    #[serde(deserialize_with = "finite")]
    pub validation_loss: f64,
}

/// A feature as it was in training.
#[derive(Deserialize)]
pub struct Feature {
    /// Name of the column.
    pub feature: String,
    /// How it is read: numeric, categorical ...
    pub kind: String,
    /// Share of rows without a value.
    #[serde(deserialize_with = "finite")]
    pub missing: f64,
    /// Mean of the values.
    #[serde(deserialize_with = "finite")]
    pub mean: f64,
    /// Standard deviation of the values.
    #[serde(deserialize_with = "finite")]
    pub std: f64,
    /// The least value.
    #[serde(deserialize_with = "finite")]
    pub min: f64,
    /// The greatest value.
    #[serde(deserialize_with = "finite")]
    pub max: f64,
}

/// A number that JSON may lack or hold as text ("NaN"): NaN then.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_f64().unwrap_or(f64::NAN))
}

impl Report {
    /// Reads the document that SQL has gathered.
    ///
    /// # Errors
    /// `InvalidParameter` where it is not such a document.
    pub fn from_json(document: serde_json::Value) -> Result<Self> {
        serde_json::from_value(document).map_err(|error| {
            Error::invalid("the document of a report cannot be read").detail(format!("{error}."))
        })
    }
}
