//! Objective `sbg`: the law against numbers of SciPy's, the published cohorts, and the stored graph against the law.

mod common;
#[path = "common/customers.rs"]
mod customers;

use common::TestResult;
use customers::{Customers, run};
use ltv_core::btyd::{Contracts, Sbg};
use ltv_core::data::{ColumnData, Split, TrainingTable};
use ltv_core::recipe::{Options, Recipe};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use ltv_core::train::{Quiet, TrainedModel, train};
use serde_json::{Value, json};

fn reference() -> TestResult<Value> {
    Ok(serde_json::from_str(include_str!("reference/sbg.json"))?)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// So many of a thousand customers a year who stayed, over the first seven years.
fn cohort(stayed: &[f64]) -> Vec<Contracts> {
    let mut contracts: Vec<Contracts> = (0..7)
        .map(|year| Contracts {
            periods: year,
            churned: true,
            customers: 10.0 * (stayed[year as usize] - stayed[year as usize + 1]),
        })
        .collect();
    contracts.push(Contracts {
        periods: 7,
        churned: false,
        customers: 10.0 * stayed[7],
    });
    contracts
}

#[test]
fn the_published_cohorts_are_reproduced() -> TestResult {
    let published = [("high_end", 0.668, 3.806), ("regular", 0.704, 1.182)];
    for (cohort_of, (name, alpha, beta)) in reference()?["cohorts"]
        .as_array()
        .ok_or("none")?
        .iter()
        .zip(published)
    {
        assert_eq!(cohort_of["name"], name);
        let stayed = cohort_of["stayed"].as_array().ok_or("none")?;
        let stayed: Vec<f64> = stayed.iter().map(number).collect();
        let contracts = cohort(&stayed);
        let model = Sbg::fit(&contracts)?;
        assert!(
            (model.alpha - alpha).abs() < 5e-4 && (model.beta - beta).abs() < 5e-4,
            "{name}: {model:?}"
        );
        let [of_alpha, of_beta, most] = [0, 1, 2].map(|index| number(&cohort_of["fitted"][index]));
        assert!((model.alpha / of_alpha - 1.0).abs() < 1e-4, "{model:?}");
        assert!((model.beta / of_beta - 1.0).abs() < 1e-4, "{model:?}");
        let likelihood = |group: &Contracts| {
            group.customers * model.log_likelihood(group.periods, group.churned)
        };
        let likelihood: f64 = contracts.iter().map(likelihood).sum();
        assert!((likelihood - most).abs() < 1e-4, "{likelihood} {most}");
        // The five years after those that were fitted.
        for (year, share) in stayed.iter().enumerate().skip(8) {
            let projected = 100.0 * model.survival(year as u32);
            assert!(
                (projected - share).abs() < 2.0,
                "{name} {year}: {projected} {share}"
            );
        }
    }
    Ok(())
}

#[test]
fn renewals_are_those_integrated_over_the_probability_of_leaving() -> TestResult {
    for case in reference()?["renewals"].as_array().ok_or("none")? {
        let model = Sbg {
            alpha: number(&case["alpha"]),
            beta: number(&case["beta"]),
        };
        let (periods, ahead) = (number(&case["periods"]), number(&case["ahead"]));
        let found = model.expected_renewals(periods, ahead);
        let wanted = number(&case["expected"]);
        assert!(
            (found / wanted - 1.0).abs() < 1e-9,
            "{found} {wanted} {case}"
        );
        let half = model.expected_renewals(periods, ahead + 0.5);
        let next = model.expected_renewals(periods, ahead + 1.0);
        assert!((2.0 * half - found - next).abs() < 1e-9 * next, "{case}");
    }
    Ok(())
}

fn contracts(rows: usize) -> Customers {
    let model = Sbg {
        alpha: 0.9,
        beta: 4.0,
    };
    let (mut periods, mut churned, mut value, mut target) = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let stayed = row % 30;
        let share = model.survival(stayed as u32 + 1) / model.survival(stayed as u32);
        let left = (row * 7919 % 1000) as f64 / 1000.0 > share;
        periods.push(stayed as f32);
        churned.push(f32::from(u8::from(left)));
        value.push(5.0 + (row % 11) as f32);
        target.push(match left {
            true => 0.0,
            false => 9.0 * (5.0 + (row % 11) as f64),
        });
    }
    let numeric = |name: &str| FeatureColumn::new(name, ColumnKind::Numeric, "real");
    Customers {
        inputs: ["value_per_period", "periods", "churned"]
            .map(numeric)
            .to_vec(),
        columns: [value, periods, churned].map(ColumnData::Numeric).to_vec(),
        target,
        split: (0..rows)
            .map(|row| match row % 5 {
                0 => Split::Validation,
                _ => Split::Train,
            })
            .collect(),
        as_of: None,
    }
}

fn recipe(options: Value) -> TestResult<Recipe> {
    Ok(Recipe {
        objective: "sbg".to_owned(),
        options: Options::from_json(&options)?,
        ..Recipe::default()
    })
}

fn trained(table: TrainingTable) -> TestResult<TrainedModel> {
    let options = json!({"horizon": 365, "period": 30});
    Ok(train(table, &recipe(options)?, &Quiet)?)
}

#[test]
fn the_stored_graph_scores_as_the_law_does() -> TestResult {
    let customers = contracts(3000);
    let model = trained(customers.table())?;
    let parameters = &model.statistics["parameters"];
    let law = Sbg {
        alpha: number(&parameters["alpha"]),
        beta: number(&parameters["beta"]),
    };
    let found = run(&model.onnx, customers.raw_inputs()?)?;
    let column = |index: usize| match &customers.columns[index] {
        ColumnData::Numeric(values) => values.clone(),
        _ => Vec::new(),
    };
    let (value, periods, churned) = (column(0), column(1), column(2));
    for row in 0..customers.rows() {
        let there = 1.0 - f64::from(churned[row]);
        let renewals = law.expected_renewals(periods[row].into(), 365.0 / 30.0);
        let expected = there * f64::from(value[row]) * renewals;
        let next = there * law.renewal(periods[row].into());
        let (ltv, probability) = (found["ltv"][row], found["purchase_probability"][row]);
        assert!(
            (f64::from(ltv) - expected).abs() <= 1e-5 * expected,
            "{ltv} {expected}"
        );
        assert!(
            (f64::from(probability) - next).abs() < 1e-6,
            "{probability} {next}"
        );
    }
    assert_eq!(model.metrics["evaluated_on"], "validation");
    assert_eq!(model.metrics["rows"], 600.0);
    assert!(
        number(&model.metrics["total_ratio"]) > 0.5,
        "{}",
        model.metrics
    );
    Ok(())
}

#[test]
fn whatever_comes_in_the_outputs_are_finite() -> TestResult {
    let customers = contracts(600);
    let model = trained(customers.table())?;
    for (name, values) in run(&model.onnx, customers.extreme().raw_inputs()?)? {
        for (row, value) in values.iter().enumerate() {
            assert!(value.is_finite() && *value >= 0.0, "{name} {row}: {value}");
        }
    }
    Ok(())
}

#[test]
fn what_is_missing_is_named() -> TestResult {
    let customers = contracts(300);
    let error = train(customers.table(), &recipe(json!({}))?, &Quiet).unwrap_err();
    assert_eq!(
        error.message,
        "objective \"sbg\" needs the option \"horizon\""
    );
    let buyers = Customers::buyers(100, 1);
    let options = json!({"horizon": 30});
    let error = train(buyers.table(), &recipe(options)?, &Quiet).unwrap_err();
    assert_eq!(
        error.message,
        "objective \"sbg\" needs a numeric feature \"periods\""
    );
    let all_there = [Contracts {
        periods: 3,
        churned: false,
        customers: 10.0,
    }];
    assert_eq!(
        Sbg::fit(&all_there).unwrap_err().message,
        "no contract has ended"
    );
    let all_gone = [Contracts {
        periods: 0,
        churned: true,
        customers: 10.0,
    }];
    assert_eq!(
        Sbg::fit(&all_gone).unwrap_err().message,
        "no contract was ever renewed"
    );
    Ok(())
}
