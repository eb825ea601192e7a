//! A page for people on a version of a model: how many customers, what they will spend, how far to trust it.
//!
//! One HTML document with inline styles and SVG, which needs nothing from elsewhere, is read on a phone or a desk, in the
//! light or the dark, and prints.

mod chart;
mod cohorts;
mod document;
mod words;

use crate::recipe::Options;
use chart::{Axes, Series};
pub use document::{
    Basis, Cohort, Decile, Drift, Epoch, Feature, Horizon, Importance, Metric, Page, Report, Tier,
};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;
use words::{number, percent};

const STYLE: &str = include_str!("page.css");

impl Report {
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
                    @match self.page {
                        Page::Report => {
                            (self.headline())
                            (self.by_when())
                            (self.groups())
                            (self.tier_table())
                            (self.cohort_triangle())
                            (self.importance())
                            (self.drift())
                            (self.metrics())
                        }
                        Page::Training => {
                            (self.training())
                            (self.options())
                            (self.metrics())
                        }
                    }
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
        if let Some(total) = &self.total {
            let mut sentence = format!(
                "Together they are predicted to spend {}",
                number(total.predicted)
            );
            if total.low.is_finite() && total.high.is_finite() {
                let (low, high) = (number(total.low), number(total.high));
                sentence += &format!(", in four of five cases between {low} and {high}");
            }
            sentences.push(sentence + ".");
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

    /// What a customer is worth by the end of each horizon: predicted beside real.
    fn by_when(&self) -> Markup {
        if self.horizons.is_empty() {
            return html! {};
        }
        let of = |value: fn(&Horizon) -> f64| self.horizons.iter().map(value).collect::<Vec<_>>();
        let days: Vec<String> = self.horizons.iter().map(|h| number(h.horizon)).collect();
        html! {
            h2 { "By when" }
            (chart::bars(
                &Axes { x: "days from the cut-off", y: "mean value", place: "day" },
                &[
                    Series { name: "predicted", values: of(|h| h.predicted / h.customers), ahead: 0 },
                    Series { name: "spent", values: of(|h| h.actual / h.customers), ahead: 0 },
                ],
                &days,
            ))
            div.table { table {
                tr {
                    @for name in ["days", "customers", "predicted for each", "spent by each", "total", "order (normalized Gini)"] {
                        th.number { (name) }
                    }
                }
                @for h in &self.horizons {
                    tr {
                        @for value in [h.horizon, h.customers, h.predicted / h.customers, h.actual / h.customers, h.total_ratio, h.normalized_gini] {
                            td.number { (number(value)) }
                        }
                    }
                }
            } }
        }
    }

    /// Tenths of the customers: predicted beside real, and how much of the revenue the best of them bring.
    fn groups(&self) -> Markup {
        if self.deciles.is_empty() {
            return html! {};
        }
        let of = |value: fn(&Decile) -> f64| self.deciles.iter().map(value).collect::<Vec<_>>();
        let count = self.deciles.len() as f64;
        let percents = |shares: Vec<f64>| -> Vec<f64> {
            let shares = std::iter::once(0.0).chain(shares);
            shares.map(|share| 100.0 * share).collect()
        };
        let found = percents(of(|group| group.cumulative_revenue_share));
        let chance = (0..=self.deciles.len()).map(|group| 100.0 * group as f64 / count);
        let mut gain = vec![
            Series {
                name: "this model",
                values: found,
                ahead: 0,
            },
            Series {
                name: "chance",
                values: chance.collect(),
                ahead: 0,
            },
        ];
        if !self.perfect.is_empty() {
            gain.push(Series {
                name: "perfect",
                values: percents(self.perfect.clone()),
                ahead: 0,
            });
        }
        html! {
            h2 { "Ten groups, the best predicted first" }
            (chart::bars(
                &Axes { x: "tenth of the customers, the best predicted first", y: "mean value", place: "tenth" },
                &[
                    Series { name: "predicted", values: of(|group| group.mean_prediction), ahead: 0 },
                    Series { name: "spent", values: of(|group| group.mean_actual), ahead: 0 },
                ],
                &(1..=self.deciles.len()).map(|group| group.to_string()).collect::<Vec<_>>(),
            ))
            h2 { "Share of the revenue found" }
            (chart::lines(
                &Axes { x: "tenths of the customers, the best predicted first", y: "% of all revenue", place: "tenths" },
                &gain,
                &(0..=self.deciles.len()).map(|group| group.to_string()).collect::<Vec<_>>(),
            ))
        }
    }

    /// What the tiers are worth, with the interval of their sums.
    fn tier_table(&self) -> Markup {
        let total: f64 = self.tiers.iter().map(|tier| tier.predicted).sum();
        html! {
            @if !self.tiers.is_empty() {
                h2 { "Tiers" }
                p.quiet { "Low and high are the ends of the 80 % interval of what a tier spends together." }
                div.table { table {
                    tr {
                        th { "tier" }
                        @for name in ["customers", "predicted", "low", "high", "spent", "of all predicted"] { th.number { (name) } }
                    }
                    @for (index, tier) in self.tiers.iter().enumerate() {
                        tr {
                            td { (index + 1) }
                            @for value in [tier.customers, tier.predicted, tier.low, tier.high, tier.actual] { td.number { (number(value)) } }
                            td.number { (percent(tier.predicted / total)) }
                        }
                    }
                } }
            }
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
                        td.quiet.name { code { (metric.metric) } }
                    }
                }
            } }
        }
    }

    fn importance(&self) -> Markup {
        if self.importance.is_empty() {
            return html! {};
        }
        html! {
            h2 { "What the order relies on" }
            p.quiet { "What the normalized Gini loses where customers swap their values of a feature." }
            div.table { table {
                @for one in &self.importance {
                    tr { td { (one.feature) } td.number { (number(one.importance)) } }
                }
            } }
        }
    }

    fn drift(&self) -> Markup {
        if self.drift.is_empty() {
            return html! {};
        }
        html! {
            h2 { "No longer as in training" }
            div.table { table {
                @for one in &self.drift {
                    tr { td { (one.feature) } td { (one.reason) } }
                }
            } }
        }
    }

    /// Losses, a chart for each network.
    fn training(&self) -> Markup {
        let mut networks: Vec<Vec<&Epoch>> = Vec::new();
        for epoch in &self.epochs {
            match networks.last_mut() {
                Some(network) if network[0].member.total_cmp(&epoch.member).is_eq() => {
                    network.push(epoch);
                }
                _ => networks.push(vec![epoch]),
            }
        }
        let of = |network: &[&Epoch], value: fn(&Epoch) -> f64| {
            network.iter().map(|epoch| value(epoch)).collect::<Vec<_>>()
        };
        html! {
            @for (index, network) in networks.iter().enumerate().filter(|(_, network)| network.len() > 1) {
                h2 { "Training, network " (index + 1) " of " (networks.len()) }
                (chart::lines(
                    &Axes { x: "epoch", y: "loss", place: "epoch" },
                    &[
                        Series { name: "training", values: of(network, |epoch| epoch.training_loss), ahead: 0 },
                        Series { name: "validation", values: of(network, |epoch| epoch.validation_loss), ahead: 0 },
                    ],
                    &(1..=network.len()).map(|epoch| epoch.to_string()).collect::<Vec<_>>(),
                ))
            }
        }
    }

    /// Options of the training that are not the default.
    fn options(&self) -> Markup {
        let defaults = Options::default().to_json();
        let is_other = |(name, value): &&(String, String)| match &defaults[name.as_str()] {
            Value::Null => true,
            Value::String(text) => value != text,
            other => match (value.parse::<f64>(), other.as_f64()) {
                (Ok(value), Some(default)) => value.total_cmp(&default).is_ne(),
                // As PostgreSQL spaces it, and as we do.
                _ => value.replace(' ', "") != other.to_string().replace(' ', ""),
            },
        };
        let given: Vec<_> = self.options.iter().filter(is_other).collect();
        if given.is_empty() {
            return html! {};
        }
        html! {
            h2 { "Options that are not the default" }
            div.table { table {
                @for (name, value) in given {
                    tr { td { code { (name) } } td { (value) } }
                }
            } }
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
    use crate::error::Result;
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
    fn groups_become_charts_and_what_drives_them_a_table() -> Result<()> {
        let group = |mean: f64, share: f64| json!({"mean_prediction": mean, "mean_actual": mean + 1.0, "cumulative_revenue_share": share});
        let html = page(json!({
            "basis": "given_and_trained_on",
            "deciles": [group(9.0, 0.7), group(4.0, 1.0)],
            "importance": [{"feature": "a<b", "importance": 0.123}],
            "drift": [{"feature": "t", "reason": "PSI 0.4"}],
            "epochs": [{"training_loss": 2.0, "validation_loss": 2.1}, {"training_loss": 1.0, "validation_loss": null}],
        }))?;
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("they flatter it"));
        assert!(html.contains("<title>predicted, tenth 1: 9</title>"));
        assert!(html.contains("<title>this model, tenths 1: 70</title>"));
        assert!(html.contains("<td>a&lt;b</td><td class=\"number\">0.123</td>"));
        assert!(html.contains("<td>PSI 0.4</td>"));
        Ok(())
    }

    #[test]
    fn engineers_see_the_losses_of_each_network() -> Result<()> {
        let epoch = |member: f64, loss: f64| json!({"member": member, "training_loss": loss, "validation_loss": null});
        let html = page(json!({
            "page": "training", "options": [["epochs", "5"], ["patience", "15"], ["learning_rate", "0.0020"], ["hidden_sizes", "[64, 32]"]],
            "epochs": [epoch(1.0, 2.0), epoch(1.0, 1.5), epoch(2.0, 2.2), epoch(2.0, 1.25)],
        }))?;
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("Training, network 2 of 2"));
        assert!(html.contains("<title>training, epoch 2: 1.25</title>"));
        for (option, is_shown) in [
            ("epochs", true),
            ("hidden_sizes", true),
            ("patience", false),
            ("learning_rate", false),
        ] {
            assert_eq!(
                html.contains(&format!("<code>{option}</code>")),
                is_shown,
                "{option}"
            );
        }
        assert!(!html.contains("class=\"cards\""));
        Ok(())
    }

    #[test]
    fn several_horizons_are_a_chart_and_a_table() -> Result<()> {
        let html = page(json!({"horizons": [
            {"horizon": 30, "customers": 200, "predicted": 1000, "actual": 900, "total_ratio": 1.11, "normalized_gini": 0.6},
            {"horizon": 91, "customers": 100, "predicted": 1200, "actual": 1100, "total_ratio": 1.09, "normalized_gini": null},
        ]}))?;
        assert_eq!(html.matches("<svg").count(), 1);
        assert!(
            html.contains("<title>predicted, day 91: 12</title>"),
            "{html}"
        );
        assert!(html.contains("<td class=\"number\">4.5</td>"), "{html}");
        assert!(!page(json!({}))?.contains("By when"));
        Ok(())
    }

    #[test]
    fn another_document_is_an_error() {
        for document in [json!(null), json!([]), json!({"model": 1})] {
            assert!(Report::from_json(document.clone()).is_err(), "{document}");
        }
    }
}
