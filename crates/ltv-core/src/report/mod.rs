//! A page for people on a version of a model: how many customers, what they will spend, how far to trust it.
//!
//! One HTML document with inline styles and SVG, which needs nothing from elsewhere, is read on a phone or a desk, in the
//! light or the dark, and prints.

mod chart;
mod words;

use crate::error::{Error, Result};
use chart::{Axes, Series};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::{Deserialize, Deserializer};
use words::{number, percent};

const STYLE: &str = include_str!("page.css");

/// What the page is about. Every number may be missing.
#[derive(Deserialize)]
pub struct Report {
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
    /// Losses of the first network.
    #[serde(default)]
    pub epochs: Vec<Epoch>,
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
    fn sentence(self) -> &'static str {
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

    fn whose(self) -> &'static str {
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

/// Losses after an epoch.
#[derive(Deserialize)]
pub struct Epoch {
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

    /// The page.
    pub fn html(&self) -> String {
        let title = format!("{}, version {}", self.model, self.version);
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (title) }
                    p.about { (self.about()) }
                    (self.headline())
                    (self.groups())
                    (self.metrics())
                    (self.training())
                    (self.features())
                }
            }
        }
        .into_string()
    }

    /// One line on where the version comes from.
    fn about(&self) -> String {
        let mut about = self.kind.clone();
        if let Some(backbone) = &self.backbone {
            about += &format!(" on {backbone}");
        }
        if self.trained_rows.is_finite() {
            about += &format!(", trained on {} rows", number(self.trained_rows));
        }
        about + &format!(", {}", self.created)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let found = self.metrics.iter().find(|metric| metric.metric == name);
        found
            .map(|metric| metric.value)
            .filter(|value| value.is_finite())
    }

    /// What somebody reads who reads nothing else.
    fn headline(&self) -> Markup {
        let cards = [
            ("customers looked at", self.metric("rows").map(number)),
            (
                "predicted for each",
                self.metric("mean_prediction").map(number),
            ),
            ("spent by each", self.metric("mean_actual").map(number)),
            (
                "of all revenue from the best tenth",
                self.metric("revenue_capture_10").map(percent),
            ),
        ];
        html! {
            div.cards {
                @for (what, value) in &cards {
                    @if let Some(value) = value { div { strong { (value) } span { (what) } } }
                }
            }
            ul { @for sentence in self.sentences() { li { (sentence) } } }
        }
    }

    fn sentences(&self) -> Vec<String> {
        let mut sentences = vec![self.basis.sentence().to_owned()];
        if self.horizon.is_finite() {
            sentences.push(format!(
                "Values are of {} days from the cut-off.",
                number(self.horizon)
            ));
        }
        if let Some(ratio) = self.metric("total_ratio") {
            let mut sentence = format!("The predicted total is {ratio:.2} times the real one.");
            if let Some(low) = self.metric("total_ratio_low") {
                let high = self.metric("total_ratio_high");
                let high = high.map_or("any number".to_owned(), |high| format!("{high:.2}"));
                sentence += &format!(" Chance alone explains {low:.2} to {high}.");
            }
            sentences.push(sentence);
        }
        if let Some(gini) = self.metric("normalized_gini") {
            sentences.push(format!(
                "The order is {} of the way from chance to perfect (normalized Gini {}).",
                percent(gini),
                number(gini)
            ));
        }
        sentences
    }

    /// Tenths of the customers: predicted beside real, and how much of the revenue the best of them bring.
    fn groups(&self) -> Markup {
        if self.deciles.is_empty() {
            return html! {};
        }
        let of = |value: fn(&Decile) -> f64| self.deciles.iter().map(value).collect::<Vec<_>>();
        let count = self.deciles.len() as f64;
        let mut found = vec![0.0];
        found.extend(of(|group| 100.0 * group.cumulative_revenue_share));
        let chance = (0..=self.deciles.len()).map(|group| 100.0 * group as f64 / count);
        html! {
            h2 { "Ten groups, the best predicted first" }
            (chart::bars(
                &Axes { x: "tenth of the customers, the best predicted first", y: "mean value", place: "tenth" },
                &[
                    Series { name: "predicted", values: of(|group| group.mean_prediction) },
                    Series { name: "spent", values: of(|group| group.mean_actual) },
                ],
            ))
            h2 { "Share of the revenue found" }
            (chart::lines(
                &Axes { x: "tenths of the customers, the best predicted first", y: "% of all revenue", place: "tenths" },
                &[
                    Series { name: "this model", values: found },
                    Series { name: "chance", values: chance.collect() },
                ],
                0,
            ))
        }
    }

    fn metrics(&self) -> Markup {
        let mut shown: Vec<&Metric> = self
            .metrics
            .iter()
            .filter(|m| m.value.is_finite())
            .collect();
        shown.sort_by_key(|metric| words::place(&metric.metric));
        html! {
            h2 { "Metrics" (self.basis.whose()) }
            div.table { table {
                @for metric in shown {
                    @let said = words::of(&metric.metric);
                    tr {
                        td { (said.map_or(metric.metric.as_str(), |words| words.called)) }
                        td.number { (words::metric_value(&metric.metric, metric.value)) }
                        td.quiet { (said.map_or("", |words| words.meaning)) }
                        td.quiet { code { (metric.metric) } }
                    }
                }
            } }
        }
    }

    fn training(&self) -> Markup {
        if self.epochs.len() < 2 {
            return html! {};
        }
        let of = |value: fn(&Epoch) -> f64| self.epochs.iter().map(value).collect::<Vec<_>>();
        html! {
            h2 { "Training, first network" }
            (chart::lines(
                &Axes { x: "epoch", y: "loss", place: "epoch" },
                &[
                    Series { name: "training", values: of(|epoch| epoch.training_loss) },
                    Series { name: "validation", values: of(|epoch| epoch.validation_loss) },
                ],
                1,
            ))
        }
    }

    fn features(&self) -> Markup {
        html! {
            h2 { "Features in training" }
            div.table { table {
                tr { th { "feature" } th { "kind" } @for name in ["missing", "mean", "deviation", "least", "greatest"] { th.number { (name) } } }
                @for feature in &self.features {
                    tr {
                        td { (feature.feature) }
                        td { (feature.kind) }
                        td.number { (percent(feature.missing)) }
                        @for value in [feature.mean, feature.std, feature.min, feature.max] { td.number { (number(value)) } }
                    }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(changes: serde_json::Value) -> Result<String> {
        let mut document = json!({
            "model": "<script>alert(\"a & b\")</script>", "version": 3, "kind": "ziln", "backbone": "mlp", "created": "2026-11-29",
            "trained_rows": 18000, "horizon": 90, "basis": "held_out",
            "metrics": [{"metric": "total_ratio", "value": 1.05}, {"metric": "rows", "value": 4712}, {"metric": "auc", "value": null},
                        {"metric": "of my own", "value": 2}],
            "features": [{"feature": "a<b", "kind": "numeric", "missing": 0.25, "mean": "NaN", "std": null, "min": 0, "max": 1e6}],
        });
        if let (Some(document), Some(changes)) = (document.as_object_mut(), changes.as_object()) {
            document.extend(changes.clone());
        }
        Ok(Report::from_json(document)?.html())
    }

    #[test]
    fn names_are_escaped_and_nothing_comes_from_elsewhere() -> Result<()> {
        let html = page(json!({}))?;
        assert!(html.starts_with("<!DOCTYPE html>"));
        assert!(
            html.contains("&lt;script&gt;alert(&quot;a &amp; b&quot;)&lt;/script&gt;, version 3")
        );
        assert!(html.contains("<td>a&lt;b</td>"));
        for absent in ["<script", "http", "NaN", "null", "url("] {
            assert!(!html.contains(absent), "{absent}");
        }
        Ok(())
    }

    #[test]
    fn what_is_known_is_said_and_what_is_not_is_left_out() -> Result<()> {
        let html = page(json!({}))?;
        assert!(html.contains("ziln on mlp, trained on 18,000 rows, 2026-11-29"));
        assert!(html.contains("The predicted total is 1.05 times the real one."));
        assert!(html.contains("<strong>4,712</strong><span>customers looked at</span>"));
        assert!(html.contains("Values are of 90 days"));
        assert!(!html.contains("AUC") && !html.contains("normalized Gini"));
        assert!(html.contains("<td>of my own</td>"));
        assert!(!html.contains("<svg"));
        Ok(())
    }

    #[test]
    fn groups_and_epochs_become_charts() -> Result<()> {
        let group = |mean: f64, share: f64| json!({"mean_prediction": mean, "mean_actual": mean + 1.0, "cumulative_revenue_share": share});
        let html = page(json!({
            "basis": "given_and_trained_on",
            "deciles": [group(9.0, 0.7), group(4.0, 1.0)],
            "epochs": [{"training_loss": 2.0, "validation_loss": 2.1}, {"training_loss": 1.0, "validation_loss": null}],
        }))?;
        assert_eq!(html.matches("<svg").count(), 3);
        assert!(html.contains("they flatter it"));
        assert!(html.contains("<title>predicted, tenth 1: 9</title>"));
        assert!(html.contains("<title>this model, tenths 1: 70</title>"));
        assert!(html.contains("<title>validation, epoch 1: 2.1</title>"));
        Ok(())
    }

    #[test]
    fn another_document_is_an_error() {
        for document in [json!(null), json!([]), json!({"model": 1})] {
            assert!(Report::from_json(document.clone()).is_err(), "{document}");
        }
    }
}
