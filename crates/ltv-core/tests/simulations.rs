//! For each idea data on which it must win by construction, on customers drawn anew, with several seeds. If it does not
//! win there, it is wrong; and if it still wins with the idea switched off or with nothing in the data for it to find, the
//! test is wrong.

mod common;
#[path = "common/worlds.rs"]
mod worlds;

use common::TestResult;
use serde_json::{Value as Json, json};
use worlds::{WHALE, World, fit, metric, products, scarce_and_noisy, trends, whale_recall, whales};

/// The results of one model, a number per seed.
struct Score {
    name: String,
    values: Vec<f64>,
}

impl Score {
    fn of(name: &str, seeds: u64, run: impl Fn(u64) -> TestResult<f64>) -> TestResult<Self> {
        let values = (1..=seeds).map(run).collect::<TestResult<Vec<f64>>>()?;
        let score = Self {
            name: name.to_owned(),
            values,
        };
        println!("{name}: {:.3} of {:.3?}", score.mean(), score.values);
        Ok(score)
    }

    fn mean(&self) -> f64 {
        self.values.iter().sum::<f64>() / self.values.len() as f64
    }

    /// Mean and standard error of what it has over `other`, seed by seed.
    fn lead(&self, other: &Self) -> (f64, f64) {
        let gaps: Vec<f64> = self
            .values
            .iter()
            .zip(&other.values)
            .map(|(a, b)| a - b)
            .collect();
        let count = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / count;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, (variance / count).sqrt())
    }

    /// By more than `margin`, and by more than three standard errors.
    fn assert_beats(&self, other: &Self, margin: f64) {
        let (lead, error) = self.lead(other);
        assert!(
            lead > margin && lead > 3.0 * error,
            "{} leads {} by {lead:.4} (standard error {error:.4})",
            self.name,
            other.name
        );
    }

    fn assert_does_not_beat(&self, other: &Self, margin: f64) {
        let (lead, error) = self.lead(other);
        assert!(
            lead < margin,
            "{} leads {} by {lead:.4} (standard error {error:.4}) where it cannot",
            self.name,
            other.name
        );
    }
}

#[test]
fn expert_routing_finds_the_whales() -> TestResult {
    let score = |objective: &str, output: &str, options: Json| {
        let (objective, output) = (objective.to_owned(), output.to_owned());
        let label = format!("recall of whales in the top 1 %, {objective} {options}");
        let mut options = options;
        options["hidden_sizes"] = json!([32, 16]);
        options["whale_threshold"] = json!(WHALE);
        Score::of(&label, 4, move |seed| {
            let (world, unseen) = (whales(12_000, seed), whales(20_000, 100 + seed));
            let fitted = fit(&world, &unseen, ("mlp", &objective), &options, seed)?;
            Ok(whale_recall(&fitted[output.as_str()], &unseen.target))
        })
    };
    let ziln = score("ziln", "ltv", json!({}))?;
    let expltv = score("expltv", "whale_probability", json!({}))?;
    expltv.assert_beats(&ziln, 0.1);
    // One expert and no detection is ziln with towers.
    let off = score("expltv", "ltv", json!({"experts": 1, "whale_weight": 0}))?;
    expltv.assert_beats(&off, 0.1);
    off.assert_does_not_beat(&ziln, 0.05);
    Ok(())
}

#[test]
fn several_views_withstand_scarce_and_noisy_payers() -> TestResult {
    let score = |objective: &str, options: Json| {
        let objective = objective.to_owned();
        let label = format!("order of the true value, {objective} {options}");
        let mut options = options;
        options["hidden_sizes"] = json!([32, 16]);
        Score::of(&label, 8, move |seed| {
            let world = scarce_and_noisy(15_000, seed);
            let unseen = scarce_and_noisy(8_000, 100 + seed);
            let fitted = fit(&world, &unseen, ("mlp", &objective), &options, seed)?;
            metric("spearman", &unseen.truth, &fitted["ltv"])
        })
    };
    let ziln = score("ziln", json!({}))?;
    let cmltv = score("cmltv", json!({}))?;
    cmltv.assert_beats(&ziln, 0.02);
    // One lognormal view and no contrast is ziln with towers.
    let off = json!({
        "views": ["distribution"], "view_distribution": "lognormal",
        "classification_contrast": 0, "regression_contrast": 0,
    });
    let off = score("cmltv", off)?;
    cmltv.assert_beats(&off, 0.02);
    Ok(())
}

/// AUC of a backbone on two worlds: with what it is made for, and without.
fn auc(
    backbone: &str,
    options: &Json,
    make: impl Fn(usize, u64, bool) -> World,
    rows: usize,
    with: bool,
) -> TestResult<Score> {
    let label = format!("{backbone}, {}", if with { "with" } else { "without" });
    Score::of(&label, if with { 3 } else { 2 }, |seed| {
        let (world, unseen) = (make(rows, seed, with), make(4_000, 100 + seed, with));
        let fitted = fit(&world, &unseen, (backbone, "purchase"), options, seed)?;
        metric("auc", &unseen.target, &fitted["purchase_probability"])
    })
}

#[test]
fn feature_products_are_learnt() -> TestResult {
    // About 290 weights each: a hidden layer 16 x 17 + 17; a cross layer 16 x 16 + 16; embeddings 16 x 8, first-order
    // weights 16, and a deep part of one unit on its 144 inputs.
    let options = [
        ("mlp", json!({"hidden_sizes": [17]})),
        ("dcn", json!({"cross_layers": 1, "hidden_sizes": []})),
        (
            "deepfm",
            json!({"fm_size": 8, "hidden_sizes": [1], "batch_norm": false}),
        ),
    ];
    for with in [true, false] {
        let mut scores = Vec::new();
        for (backbone, options) in &options {
            let mut options = options.clone();
            options["epochs"] = json!(120);
            options["patience"] = json!(30);
            scores.push(auc(backbone, &options, products, 4_000, with)?);
        }
        for score in &scores[1..] {
            if with {
                score.assert_beats(&scores[0], 0.02);
            } else {
                score.assert_does_not_beat(&scores[0], 0.01);
            }
        }
    }
    Ok(())
}

#[test]
fn sequence_backbones_see_the_order() -> TestResult {
    let options = json!({
        "hidden_sizes": [16], "recurrent_sizes": [16], "attention_size": 16, "attention_heads": 2,
        "feed_forward_size": 32, "epochs": 15, "learning_rate": 0.005,
    });
    for with in [true, false] {
        let mlp = auc("mlp", &options, trends, 3_000, with)?;
        for backbone in ["lstm", "gru", "transformer", "tft"] {
            let sequence = auc(backbone, &options, trends, 3_000, with)?;
            if with {
                sequence.assert_beats(&mlp, 0.1);
            } else {
                sequence.assert_does_not_beat(&mlp, 0.03);
            }
        }
    }
    Ok(())
}
