//! Totals where few customers come back, and where one of them is half of all revenue: right within what chance allows, and said where
//! that is much.

mod common;
#[path = "common/shops.rs"]
mod shops;

use common::TestResult;
use ltv_core::data::Split;
use ltv_core::recipe::{Options, Recipe};
use ltv_core::train::{Control, Progress, TrainedModel, predict, train};
use serde_json::{Value as Json, json};
use shops::{Examples, Shop, few_come_back, with_whale};
use std::sync::Mutex;

const HORIZON: i32 = 90;

#[derive(Default)]
struct Notices(Mutex<Vec<String>>);

impl Control for Notices {
    fn progress(&self, _: Progress) {}
    fn is_cancelled(&self) -> bool {
        false
    }
    fn notice(&self, message: &str) {
        self.0.lock().expect("no panic").push(message.to_owned());
    }
}

fn everybody(_: &str) -> Option<Split> {
    Some(Split::Train)
}

fn fit(examples: &Examples, mut options: Json) -> TestResult<(TrainedModel, Vec<String>)> {
    options["horizon"] = json!(HORIZON);
    options["epochs"] = json!(10);
    let recipe = Recipe {
        options: Options::from_json(&options)?,
        ..Recipe::default()
    };
    let notices = Notices::default();
    let model = train(examples.table.clone(), &recipe, &notices)?;
    Ok((model, notices.0.into_inner()?))
}

/// Sum of the predictions over what was spent.
fn total_ratio(model: &TrainedModel, examples: &Examples) -> TestResult<f64> {
    let columns = predict(&model.weights, examples.table.clone())?;
    let value = columns.into_iter().find(|(name, _)| *name == "ltv");
    let (_, value) = value.ok_or("no ltv")?;
    let predicted: f64 = value.into_iter().map(f64::from).sum();
    Ok(predicted / examples.spent.iter().sum::<f64>())
}

fn metric(model: &TrainedModel, name: &str) -> f64 {
    model.metrics[name].as_f64().unwrap_or(f64::NAN)
}

/// Other customers of the same kind of shop, so many that chance has little say.
fn others(share: f64, cut_offs: &[i32]) -> TestResult<Examples> {
    few_come_back(40_000, share, 999).examples(cut_offs, HORIZON, everybody)
}

/// Whether the total for others of the kind lies within the limits, which one of twenty need not; none lies far beyond them.
fn is_within(label: &str, model: &TrainedModel, elsewhere: f64) -> bool {
    let (low, high) = (
        metric(model, "total_ratio_low"),
        metric(model, "total_ratio_high"),
    );
    assert!(
        elsewhere > low / 1.33 && elsewhere < high * 1.33,
        "{label}: {elsewhere}, far from {low} to {high}"
    );
    low < elsewhere && elsewhere < high
}

fn assert_total(share: f64, seed: u64) -> TestResult<bool> {
    let shop = few_come_back(3000, share, seed);
    let cut_offs = shop.cut_offs(HORIZON);
    let examples = shop.examples(&cut_offs, HORIZON, everybody)?;
    let (model, notices) = fit(&examples, json!({}))?;
    let label = format!("{share} {seed}, {} paying rows", examples.payers());
    let [ratio, low, high] =
        ["total_ratio", "total_ratio_low", "total_ratio_high"].map(|name| metric(&model, name));
    let here = total_ratio(&model, &examples)?;
    let elsewhere = total_ratio(&model, &others(share, &cut_offs)?)?;
    println!(
        "{label}: held out {ratio:.2} [{low:.2}, {high:.2}], here {here:.2}, elsewhere {elsewhere:.2} {notices:?}"
    );
    assert!((ratio - 1.0).abs() < 0.01, "{label}: {ratio}");
    // What is promised is the limits of chance: of these shops one has a total 32 % too high on the rows of its training.
    assert!(here > low && here < high, "{label}: {here}");
    let uncertain = high > 2.0 * low;
    let said = notices
        .iter()
        .any(|text| text.contains("chance leaves open"));
    assert_eq!(uncertain, said, "{label}: {notices:?}");
    assert!(share > 0.01 || uncertain, "{label}: {low} to {high}");
    Ok(is_within(&label, &model, elsewhere))
}

#[test]
fn totals_hold_where_few_come_back() -> TestResult {
    let mut outside = 0;
    for seed in [1, 2] {
        for share in [0.01, 0.02, 0.05] {
            outside += usize::from(!assert_total(share, seed)?);
        }
    }
    assert!(outside <= 1, "{outside} of 6 lie outside the limits");
    Ok(())
}

/// Without the whale the total is that of all others. With it, as much again was spent, of which 15 % of the whole count.
#[test]
fn one_customer_does_not_double_what_all_are_expected_to_spend() -> TestResult {
    for seed in [1, 2] {
        let shop = few_come_back(3000, 0.05, seed);
        let cut_offs = shop.cut_offs(HORIZON);
        let haunted = with_whale(shop.clone(), &cut_offs, HORIZON)?;
        let fitted = |shop: &Shop| -> TestResult<(f64, TrainedModel, Vec<String>)> {
            let (model, notices) = fit(&shop.examples(&cut_offs, HORIZON, everybody)?, json!({}))?;
            Ok((
                total_ratio(&model, &others(0.05, &cut_offs)?)?,
                model,
                notices,
            ))
        };
        let (without, _, _) = fitted(&shop)?;
        let (with, model, notices) = fitted(&haunted)?;
        println!(
            "{seed}: {without:.2} without the whale, {with:.2} with it {notices:?} {}",
            model.metrics
        );
        assert!(with / without < 1.7, "{seed}: {without} and {with}");
        assert!(
            notices
                .iter()
                .any(|text| text.contains("one of them spent 50 % of it all")),
            "{notices:?}"
        );
        assert!(metric(&model, "total_ratio_high") > 2.0 * metric(&model, "total_ratio_low"));
        assert!(metric(&model, "total_ratio_high") > 1.0);
    }
    Ok(())
}

/// A single network follows its few validation customers as far as they are clear, however far off it is itself.
#[test]
fn a_single_network_is_corrected_too() -> TestResult {
    for seed in [1, 2] {
        let shop = few_come_back(6000, 0.02, seed);
        let cut_offs = shop.cut_offs(HORIZON);
        let validation = |id: &str| {
            let number: usize = id.parse().unwrap_or(0);
            Some(if number.is_multiple_of(5) {
                Split::Validation
            } else {
                Split::Train
            })
        };
        let examples = shop.examples(&cut_offs, HORIZON, validation)?;
        let (model, notices) = fit(&examples, json!({"ensemble": 1}))?;
        let elsewhere = total_ratio(&model, &others(0.02, &cut_offs)?)?;
        let (low, high) = (
            metric(&model, "total_ratio_low"),
            metric(&model, "total_ratio_high"),
        );
        println!("{seed}: {elsewhere:.2} in {low:.2} to {high:.2} {notices:?}");
        is_within(&format!("{seed}"), &model, elsewhere);
        assert!(
            notices
                .iter()
                .any(|text| text.contains("chance leaves open")),
            "{notices:?}"
        );
    }
    Ok(())
}

/// Of the same rows one model of three horizons expects in all what a model of each alone does, the customers of the last weeks included.
#[test]
fn totals_of_several_horizons_are_those_of_a_model_of_each() -> TestResult {
    const DAYS: [i32; 3] = [30, 60, HORIZON];
    let shop = few_come_back(6000, 0.3, 5);
    let last = shop.last_day();
    let cut_offs: Vec<i32> = (1..=8).rev().map(|months| last - 30 * months).collect();
    let fit = |days: &[i32]| -> TestResult<TrainedModel> {
        let horizon = days.last().ok_or("no horizon")?;
        let recipe = Recipe {
            options: Options::from_json(&json!({"horizon": horizon, "epochs": 10}))?,
            ..Recipe::default()
        };
        train(
            shop.by_horizon(&cut_offs, days, last)?,
            &recipe,
            &Notices::default(),
        )
        .map_err(Into::into)
    };
    let today = shop.examples(&[last], HORIZON, everybody)?;
    let expected = |model: &TrainedModel, name: &str| -> TestResult<f64> {
        let columns = predict(&model.weights, today.table.clone())?;
        let column = columns.into_iter().find(|(output, _)| *output == name);
        let (_, values) = column.ok_or("no such output")?;
        Ok(values.into_iter().map(f64::from).sum())
    };
    let one = fit(&DAYS)?;
    for (name, days) in ["horizon_1", "horizon_2", "ltv"].into_iter().zip(DAYS) {
        let of_one = expected(&one, name)?;
        let alone = expected(&fit(&[days])?, "ltv")?;
        println!("{days} days: {of_one:.0}, alone {alone:.0}");
        assert!(
            (of_one / alone).ln().abs() < 0.05,
            "{days}: {of_one}, alone {alone}"
        );
    }
    Ok(())
}
