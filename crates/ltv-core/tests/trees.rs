//! Boosted trees by themselves: LightGBM's own numbers, gradients by differences, missing values, categories, directions.

mod common;

use common::{TestResult, reference};
use ltv_core::trees::{Binned, Bins, Boosted, Loss, Part, Rows, Settings, Test, Tree, boost};
use proptest::prelude::*;
use serde_json::Value as Json;

fn floats(json: &Json) -> Vec<f32> {
    let values = json.as_array().into_iter().flatten();
    values
        .map(|value| value.as_f64().map_or(f32::NAN, |v| v as f32))
        .collect()
}

fn table(columns: &[(Bins, Vec<f32>)]) -> TestResult<Binned> {
    let mut data = Binned::new(columns.first().map_or(0, |(_, values)| values.len()));
    for (bins, values) in columns {
        data.push(bins.clone(), values.iter().copied())?;
    }
    Ok(data)
}

fn all(rows: usize) -> Vec<u32> {
    (0..rows as u32).collect()
}

/// Every row and every column in each round, nothing held out.
fn plain() -> Settings {
    Settings {
        row_share: 1.0,
        column_share: 1.0,
        ..Settings::default()
    }
}

fn fit(part: &Part, data: &Binned, spent: &[f32], settings: &Settings) -> TestResult<Boosted> {
    let rows = all(spent.len());
    let of = |rows| Rows { data, spent, rows };
    Ok(boost(part, of(&rows), of(&[]), settings, None, &())?)
}

/// The gains of splits from the top, left before right, as LightGBM prints them; and its columns.
fn expected_splits(node: &Json, into: &mut Vec<(String, f64)>) {
    if let Some(parts) = node.as_array() {
        let name = parts[0].as_str().unwrap_or_default().to_owned();
        into.push((name, parts[1].as_f64().unwrap_or(f64::NAN)));
        expected_splits(&parts[2], into);
        expected_splits(&parts[3], into);
    }
}

fn found_splits(tree: &Tree, node: i32, names: &[&str], into: &mut Vec<(String, f64)>) {
    if let Ok(index) = usize::try_from(node) {
        let node = &tree.nodes[index];
        into.push((names[node.feature].to_owned(), node.gain));
        found_splits(tree, node.left, names, into);
        found_splits(tree, node.right, names, into);
    }
}

#[test]
fn small_cases_are_lightgbms() -> TestResult {
    let json = reference("trees.json")?;
    let number = |key: &str| json[key].as_u64().unwrap_or_default() as usize;
    for case in json["cases"].as_array().into_iter().flatten() {
        let name = case["name"].as_str().unwrap_or_default();
        let names: Vec<&str> = case["columns"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect();
        let columns: Vec<(Bins, Vec<f32>)> = names
            .iter()
            .map(|name| {
                let values = floats(&json["columns"][name]);
                match *name {
                    // Ids from 1; LightGBM's categories begin at 0.
                    "c" => (
                        Bins::of_categories(9),
                        values.iter().map(|v| v + 1.0).collect(),
                    ),
                    _ => (Bins::of_numbers(&values, 255), values),
                }
            })
            .collect();
        let data = table(&columns)?;
        let mut label = floats(&json["labels"][case["label"].as_str().unwrap_or_default()]);
        let loss = match name.split('_').next() {
            Some("huber") => Loss::Huber(0.8),
            Some("purchase") => Loss::Purchase,
            Some("tweedie") => Loss::Tweedie(1.4),
            _ => Loss::Square,
        };
        let settings = Settings {
            rounds: number("rounds"),
            learning_rate: json["learning_rate"].as_f64().unwrap_or_default(),
            leaves: number("leaves"),
            min_data_in_leaf: number("min_data_in_leaf"),
            l2: case["l2"].as_f64().unwrap_or_default(),
            ..plain()
        };
        let boosted = fit(&Part::new(loss), &data, &label, &settings)?;
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        expected_splits(&case["first"], &mut expected);
        found_splits(&boosted.trees[0][0], 0, &names, &mut found);
        assert_eq!(
            expected.len(),
            found.len(),
            "{name}: {expected:?} {found:?}"
        );
        for (expected, found) in expected.iter().zip(&found) {
            assert_eq!(expected.0, found.0, "{name}");
            let gap = (expected.1 - found.1).abs();
            assert!(
                gap <= 1e-5 * expected.1.abs() + 1e-4,
                "{name}: {expected:?} {found:?}"
            );
        }
        let scores = boosted.scores(&data);
        label = floats(&case["scores"]);
        for (row, (own, theirs)) in scores[0].iter().zip(&label).enumerate() {
            let gap = (own - f64::from(*theirs)).abs();
            assert!(gap < 2e-6, "{name}, row {row}: {own} instead of {theirs}");
        }
    }
    Ok(())
}

fn losses() -> Vec<Loss> {
    vec![
        Loss::Square,
        Loss::Huber(0.7),
        Loss::Purchase,
        Loss::Tweedie(1.2),
        Loss::Tweedie(1.7),
        Loss::Lognormal,
    ]
}

proptest! {
    /// Gradients are slopes of the loss, and so are Hessians of gradients, but for the two that are not meant to be.
    #[test]
    fn gradients_are_differences_of_the_loss(y in 0.0f64..4.0, a in -3.0f64..3.0, b in -1.5f64..1.5) {
        const STEP: f64 = 1e-5;
        for loss in losses() {
            let y = match loss { Loss::Purchase => y.round().min(1.0), _ => y };
            for parameter in 0..loss.parameters() {
                let at = |offset: f64| {
                    let mut scores = [a, b];
                    scores[parameter] += offset;
                    scores
                };
                let [gradient, hessian] = loss.slopes(parameter, y, [a, b]);
                let slope = (loss.loss(y, at(STEP)) - loss.loss(y, at(-STEP))) / (2.0 * STEP);
                let is_kink = matches!(loss, Loss::Huber(delta) if ((a - y).abs() - delta).abs() < 1e-3);
                prop_assert!(is_kink || (slope - gradient).abs() < 1e-6 * (1.0 + gradient.abs()), "{loss:?} {parameter}: {gradient} {slope}");
                let bend = (loss.slopes(parameter, y, at(STEP))[0] - loss.slopes(parameter, y, at(-STEP))[0]) / (2.0 * STEP);
                let is_expected_one = matches!(loss, Loss::Huber(_)) || (loss == Loss::Lognormal && parameter == 1);
                prop_assert!(is_expected_one || (bend - hessian).abs() < 1e-5 * (1.0 + hessian.abs()), "{loss:?} {parameter}: {hessian} {bend}");
                prop_assert!(hessian > 0.0);
            }
        }
    }

    #[test]
    fn extreme_labels_and_values_stay_finite(
        values in prop::collection::vec(prop_oneof![-1e38f32..1e38, Just(f32::NAN), Just(f32::INFINITY), Just(0.0)], 40..80),
        amounts in prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1.0, Just(1e30f32), Just(1e-30f32)], 80),
    ) {
        let spent = &amounts[..values.len()];
        let data = table(&[(Bins::of_numbers(&values, 255), values.clone())]).unwrap();
        let settings = Settings { rounds: 30, min_data_in_leaf: 2, learning_rate: 1.0, l2: 0.0, ..plain() };
        for loss in losses() {
            // Amounts are divided by those of a payer, as a training does.
            let part = Part { scale: 1e29, log1p: matches!(loss, Loss::Square | Loss::Huber(_)), ..Part::new(loss) };
            let boosted = fit(&part, &data, spent, &settings).unwrap();
            for score in boosted.scores(&data).iter().flatten() {
                prop_assert!(score.is_finite(), "{part:?}: {score}");
            }
        }
    }
}

/// The expected Hessian of the logarithm of sigma is 2: the mean of e^2 of standard normal errors is 1.
#[test]
fn the_hessian_of_the_logarithm_of_sigma_is_the_mean_of_what_it_is() {
    let errors: Vec<f64> = (0..2000)
        .map(|i| ltv_core::objective::inverse_normal((f64::from(i) + 0.5) / 2000.0))
        .collect();
    const STEP: f64 = 1e-5;
    let gradient = |offset: f64| -> f64 {
        let rows = errors
            .iter()
            .map(|e| Loss::Lognormal.slopes(1, *e, [0.0, offset])[0]);
        rows.sum::<f64>() / errors.len() as f64
    };
    let bend = (gradient(STEP) - gradient(-STEP)) / (2.0 * STEP);
    let [_, hessian] = Loss::Lognormal.slopes(1, 0.0, [0.0, 0.0]);
    assert!((bend - hessian).abs() < 0.02, "{bend} {hessian}");
}

/// Those who miss a value spend like those of the largest ones, or like those of the smallest.
#[test]
fn missing_values_take_the_better_side() -> TestResult {
    let value = |row: usize| {
        if row.is_multiple_of(3) {
            f32::NAN
        } else {
            (row % 10) as f32
        }
    };
    let values: Vec<f32> = (0..600).map(value).collect();
    for like_large in [true, false] {
        let spends = |&v: &f32| v >= 5.0 || (v.is_nan() && like_large);
        let spent: Vec<f32> = values
            .iter()
            .map(|v| f32::from(u8::from(spends(v))))
            .collect();
        let data = table(&[(Bins::of_numbers(&values, 255), values.clone())])?;
        let settings = Settings {
            rounds: 1,
            leaves: 2,
            ..plain()
        };
        let boosted = fit(&Part::new(Loss::Square), &data, &spent, &settings)?;
        let node = &boosted.trees[0][0].nodes[0];
        let expected = Test::Number {
            bin: 4,
            missing: !like_large,
        };
        // Values 0 to 4 have bins 0 to 4, but for the multiples of 3 that are missing there as well.
        assert_eq!(node.test, expected);
    }
    Ok(())
}

/// What nobody missed in the training goes with the many.
#[test]
fn a_value_that_nobody_missed_goes_with_the_many() -> TestResult {
    let values: Vec<f32> = (0..600).map(|row| (row % 10) as f32).collect();
    for (border, missing) in [(8.0, true), (2.0, false)] {
        let spent: Vec<f32> = values
            .iter()
            .map(|v| f32::from(u8::from(*v >= border)))
            .collect();
        let data = table(&[(Bins::of_numbers(&values, 255), values.clone())])?;
        let settings = Settings {
            rounds: 1,
            leaves: 2,
            ..plain()
        };
        let boosted = fit(&Part::new(Loss::Square), &data, &spent, &settings)?;
        let Test::Number { missing: found, .. } = boosted.trees[0][0].nodes[0].test else {
            return Err("no number".into());
        };
        assert_eq!(found, missing);
    }
    Ok(())
}

/// Of twelve categories every other one spends: no order of the ids divides them, that of their gradients does at once.
#[test]
fn categories_are_divided_by_what_they_are_worth() -> TestResult {
    let ids: Vec<f32> = (0..2400).map(|row| 1.0 + (row % 12) as f32).collect();
    let spent: Vec<f32> = ids
        .iter()
        .map(|id| f32::from(u8::from((*id as u32).is_multiple_of(2))) * 9.0)
        .collect();
    let data = table(&[(Bins::of_categories(12), ids.clone())])?;
    let settings = Settings {
        rounds: 1,
        leaves: 2,
        learning_rate: 1.0,
        l2: 0.0,
        ..plain()
    };
    let boosted = fit(&Part::new(Loss::Square), &data, &spent, &settings)?;
    let Test::Category(group) = &boosted.trees[0][0].nodes[0].test else {
        return Err("no category".into());
    };
    assert!(
        [vec![1, 3, 5, 7, 9, 11], vec![2, 4, 6, 8, 10, 12]].contains(group),
        "{group:?}"
    );
    Ok(())
}

/// A value that rises, falls and rises again: with a direction it does not fall.
#[test]
fn a_direction_is_kept() -> TestResult {
    let rows = 3000;
    let x: Vec<f32> = (0..rows).map(|row| (row % 100) as f32).collect();
    let other: Vec<f32> = (0..rows).map(|row| ((row * 7919) % 83) as f32).collect();
    let spent: Vec<f32> = x
        .iter()
        .zip(&other)
        .map(|(x, o)| 5.0 + x / 20.0 + 3.0 * (x / 9.0).sin() + o / 40.0)
        .collect();
    let data = table(&[
        (Bins::of_numbers(&x, 255), x.clone()),
        (Bins::of_numbers(&other, 255), other.clone()),
    ])?;
    for direction in [1, -1] {
        let settings = Settings {
            rounds: 60,
            monotone: vec![direction, 0],
            ..plain()
        };
        for loss in [Loss::Square, Loss::Tweedie(1.5), Loss::Lognormal] {
            let boosted = fit(&Part::new(loss), &data, &spent, &settings)?;
            let grid: Vec<f32> = (0..100).map(|v| v as f32).collect();
            for o in [3.0, 41.0, 80.0] {
                let at = table(&[
                    (data.features()[0].clone(), grid.clone()),
                    (data.features()[1].clone(), vec![o; 100]),
                ])?;
                for scores in boosted.scores(&at) {
                    let steps = scores
                        .windows(2)
                        .map(|pair| f64::from(direction) * (pair[1] - pair[0]));
                    assert!(steps.into_iter().all(|step| step >= -1e-12), "{scores:?}");
                }
            }
        }
    }
    Ok(())
}

fn noisy(rows: usize) -> TestResult<(Binned, Vec<f32>)> {
    let noise =
        |row: usize, seed: usize| ((row * 2_654_435_761 + seed * 97_003) % 1009) as f32 / 1009.0;
    let columns: Vec<(Bins, Vec<f32>)> = (0..11)
        .map(|column| {
            let values: Vec<f32> = (0..rows).map(|row| noise(row, column)).collect();
            (Bins::of_numbers(&values, 255), values)
        })
        .collect();
    let spent = (0..rows)
        .map(|row| {
            let value = 4.0 * columns[0].1[row] + 2.0 * columns[1].1[row] + noise(row, 77) - 3.0;
            value.max(0.0)
        })
        .collect();
    Ok((table(&columns)?, spent))
}

/// Many rows, so that threads share the work.
#[test]
fn any_number_of_threads_grows_the_same_trees() -> TestResult {
    let (data, spent) = noisy(40_000)?;
    let settings = Settings {
        rounds: 5,
        ..Settings::default()
    };
    let grown = |threads: usize| -> TestResult<Boosted> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        let part = Part::new(Loss::Lognormal);
        let fit = || fit(&part, &data, &spent, &settings).map_err(|error| error.to_string());
        Ok(pool.install(fit)?)
    };
    let one = grown(1)?;
    assert_eq!(one, grown(1)?);
    assert_eq!(one, grown(3)?);
    Ok(())
}

#[test]
fn validation_rows_end_the_rounds_and_earlier_trees_are_kept() -> TestResult {
    let (data, spent) = noisy(2000)?;
    let (train, held_out): (Vec<u32>, Vec<u32>) =
        all(2000).into_iter().partition(|row| row % 4 != 0);
    let of = |rows| Rows {
        data: &data,
        spent: &spent,
        rows,
    };
    let settings = Settings {
        rounds: 500,
        learning_rate: 0.3,
        patience: 5,
        ..Settings::default()
    };
    let part = Part::new(Loss::Tweedie(1.5));
    let first = boost(&part, of(&train), of(&held_out), &settings, None, &())?;
    assert!((5..400).contains(&first.count()), "{}", first.count());
    let more = boost(
        &part,
        of(&train),
        of(&held_out),
        &settings,
        Some(&first),
        &(),
    )?;
    assert_eq!(more.trees[0][..first.count()], first.trees[0][..]);
    let loss = |boosted: &Boosted| {
        let scores = boosted.scores(&data);
        let rows = held_out.iter().map(|&row| {
            part.loss.loss(
                part.label(spent[row as usize]),
                [scores[0][row as usize]; 2],
            )
        });
        rows.sum::<f64>()
    };
    assert!(loss(&more) <= loss(&first));
    Ok(())
}
