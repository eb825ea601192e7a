//! Order logs, and the features and labels that `ltv_create_features` makes of them.
#![allow(dead_code)]

use super::common::TestResult;
use ltv_core::data::{Split, TrainingTable};
use ltv_core::params::standard_normal;
use ltv_core::schema::{ColumnKind, FeatureColumn};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

const WINDOWS: [i32; 3] = [7, 30, 90];

/// What one customer bought, in the order of the days; refunds are negative.
type Purchases = Vec<(i32, f64)>;

/// An order log.
#[derive(Clone, Debug, Default)]
pub struct Shop {
    pub customers: BTreeMap<String, Purchases>,
}

/// Customers at cut-offs with what they spent in the horizon after it.
pub struct Examples {
    pub table: TrainingTable,
    pub ids: Vec<String>,
    pub spent: Vec<f64>,
}

impl Examples {
    pub fn payers(&self) -> usize {
        self.spent.iter().filter(|&&y| y > 0.0).count()
    }
}

impl Shop {
    pub fn order(&mut self, customer: impl Into<String>, day: i32, amount: f64) {
        let purchases = self.customers.entry(customer.into()).or_default();
        match purchases.binary_search_by_key(&day, |(day, _)| *day) {
            Ok(place) => purchases[place].1 += amount,
            Err(place) => purchases.insert(place, (day, amount)),
        }
    }

    fn days(&self) -> (i32, i32) {
        let days = self.customers.values().flatten().map(|(day, _)| *day);
        days.fold((i32::MAX, i32::MIN), |(first, last), day| {
            (first.min(day), last.max(day))
        })
    }

    pub fn last_day(&self) -> i32 {
        self.days().1
    }

    pub fn until(&self, last: i32) -> Self {
        let kept = |(id, purchases): (&String, &Purchases)| {
            let kept: Purchases = purchases
                .iter()
                .copied()
                .filter(|(day, _)| *day <= last)
                .collect();
            (!kept.is_empty()).then(|| (id.clone(), kept))
        };
        Self {
            customers: self.customers.iter().filter_map(kept).collect(),
        }
    }

    /// The cut-offs to learn from where none is named: the last day whose horizon has ended, and the six months before it.
    pub fn cut_offs(&self, horizon: i32) -> Vec<i32> {
        let (first, last) = self.days();
        let latest = last - horizon;
        let mut days: Vec<i32> = (0..7).map(|month| latest - month * 61 / 2).collect();
        let in_season = last - 365;
        if in_season < latest && days.iter().all(|day| (day - in_season).abs() > 15) {
            days.push(in_season);
        }
        days.retain(|day| *day >= first + (latest - first) / 3);
        days.sort_unstable();
        days
    }

    /// Customers at cut-offs with what they spent by the end of each horizon, NaN where the log ended on day `last` before it did. Rows that know
    /// none are left out.
    pub fn by_horizon(
        &self,
        cut_offs: &[i32],
        horizons: &[i32],
        last: i32,
    ) -> TestResult<TrainingTable> {
        let days = horizons.iter().map(|days| *days as f32).collect();
        let mut table = TrainingTable::new(inputs(), true)?.with_horizons(days);
        for (id, purchases) in &self.customers {
            for &as_of in cut_offs {
                let (Some(features), true) =
                    (features(purchases, as_of), as_of + horizons[0] <= last)
                else {
                    continue;
                };
                let labels = horizons.iter().map(|days| match as_of + days <= last {
                    true => spent(purchases, as_of, *days),
                    false => f64::NAN,
                });
                let labels: Vec<f64> = labels.collect();
                let mut row = table.row();
                row.customer(id);
                for value in features {
                    row.number(Some(value))?;
                }
                let as_of = Some(as_of as f32);
                match labels[..] {
                    [only] => row.finish(only, Split::Train, as_of)?,
                    _ => row.finish_horizons(&labels, Split::Train, as_of)?,
                }
            }
        }
        Ok(table)
    }

    pub fn examples(
        &self,
        cut_offs: &[i32],
        horizon: i32,
        split: impl Fn(&str) -> Option<Split>,
    ) -> TestResult<Examples> {
        let mut table = TrainingTable::new(inputs(), true)?;
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for (id, purchases) in &self.customers {
            let Some(split) = split(id) else { continue };
            for &as_of in cut_offs {
                let Some(features) = features(purchases, as_of) else {
                    continue;
                };
                let spent = spent(purchases, as_of, horizon);
                let mut row = table.row();
                row.customer(id);
                for value in features {
                    row.number(Some(value))?;
                }
                row.finish(spent, split, Some(as_of as f32))?;
                ids.push(id.clone());
                targets.push(spent);
            }
        }
        Ok(Examples {
            table,
            ids,
            spent: targets,
        })
    }
}

/// The features by name.
fn inputs() -> Vec<FeatureColumn> {
    let mut names = vec![
        "recency".to_owned(),
        "frequency".to_owned(),
        "t".to_owned(),
        "monetary_mean".to_owned(),
        "monetary_max".to_owned(),
        "monetary_std".to_owned(),
        "monetary_last".to_owned(),
    ];
    for window in WINDOWS {
        names.push(format!("count_{window}"));
        names.push(format!("sum_{window}"));
    }
    names.extend(["mean_interpurchase".to_owned(), "first_amount".to_owned()]);
    names
        .iter()
        .map(|name| FeatureColumn::new(name.as_str(), ColumnKind::Numeric, "double precision"))
        .collect()
}

/// What was spent in so many days after a cut-off.
fn spent(purchases: &Purchases, as_of: i32, horizon: i32) -> f64 {
    let ahead = purchases
        .iter()
        .filter(|(day, _)| *day > as_of && *day <= as_of + horizon);
    ahead.map(|(_, amount)| amount).sum::<f64>().max(0.0)
}

fn features(purchases: &Purchases, as_of: i32) -> Option<Vec<f64>> {
    let bought: Vec<(i32, f64)> = purchases
        .iter()
        .copied()
        .filter(|(day, amount)| *day <= as_of && *amount > 0.0)
        .collect();
    let (first, last) = (bought.first()?, bought.last()?);
    let n = bought.len() as f64;
    let mean = bought.iter().map(|(_, amount)| amount).sum::<f64>() / n;
    let squares: f64 = bought
        .iter()
        .map(|(_, amount)| (amount - mean).powi(2))
        .sum();
    let largest = bought.iter().map(|(_, amount)| *amount).fold(0.0, f64::max);
    let mut values = vec![
        f64::from(as_of - last.0),
        n - 1.0,
        f64::from(as_of - first.0),
        mean,
        largest,
        if n > 1.0 {
            (squares / (n - 1.0)).sqrt()
        } else {
            0.0
        },
        last.1,
    ];
    for window in WINDOWS {
        let recent = bought.iter().filter(|(day, _)| as_of - day < window);
        values.push(recent.clone().count() as f64);
        values.push(recent.map(|(_, amount)| amount).sum());
    }
    values.push(if n > 1.0 {
        f64::from(last.0 - first.0) / (n - 1.0)
    } else {
        -1.0
    });
    values.push(first.1);
    Some(values)
}

/// Customers who first buy on any day of two years, of whom few ever come back, once, within ten months. Amounts between 33 and 245.
pub fn few_come_back(customers: usize, share: f64, seed: u64) -> Shop {
    few_come_back_with(customers, share, seed, |rng| {
        (3.5 + 2.0 * rng.random::<f64>()).exp()
    })
}

/// The same with other amounts.
pub fn few_come_back_with(
    customers: usize,
    share: f64,
    seed: u64,
    amount: impl Fn(&mut ChaCha8Rng) -> f64,
) -> Shop {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shop = Shop::default();
    let start = 18_993;
    for customer in 0..customers {
        let first = start + rng.random_range(0..730);
        let value = amount(&mut rng);
        shop.order(format!("{customer}"), first, value);
        let again = first + 20 + rng.random_range(0..280);
        let value = amount(&mut rng);
        if rng.random_bool(share) {
            shop.order(format!("{customer}"), again, value);
        }
    }
    shop.until(start + 729)
}

/// Amounts with a heavy tail.
pub fn lognormal(sigma: f64) -> impl Fn(&mut ChaCha8Rng) -> f64 {
    move |rng| (3.5 + sigma * standard_normal(rng)).exp()
}

/// One customer whose single order after the last cut-offs is as much as all others spend in the horizons of all rows.
pub fn with_whale(mut shop: Shop, cut_offs: &[i32], horizon: i32) -> TestResult<Shop> {
    let examples = shop.examples(cut_offs, horizon, |_| Some(Split::Train))?;
    let spent: f64 = examples.spent.iter().sum();
    let last = cut_offs.last().ok_or("no cut-off")?;
    let day = last + 2;
    let is_ahead = |as_of: &&i32| **as_of < day && day <= **as_of + horizon;
    let rows = cut_offs.iter().filter(is_ahead).count();
    let bought_once = |(_, purchases): &(&String, &Purchases)| {
        purchases.len() == 1 && purchases[0].0 < last - 250
    };
    let whale = shop
        .customers
        .iter()
        .find(bought_once)
        .ok_or("nobody bought once, long ago")?;
    let id = whale.0.clone();
    shop.order(id, day, spent / rows as f64);
    Ok(shop)
}
