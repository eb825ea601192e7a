//! MBG/NBD for the state of customers, which every version keeps whose features tell when somebody bought.

use super::finish::mbgnbd::MOST_FITTED;
use super::purchase_features::{self, Columns};
use crate::btyd::{BgNbd, Dropout, HistoryFeatures, State};
use crate::data::TrainingTable;
use std::collections::HashMap;

/// Fitted to what is known of those among `rows` who have bought; `None` where the features do not tell it, or nobody came
/// back. `blended`: what was fitted for the average with networks, which is the same on the same rows.
pub fn fit(
    table: &TrainingTable,
    rows: &[u32],
    blended: Option<BgNbd>,
    horizon: Option<f64>,
) -> Option<State> {
    let columns = Columns::of_times(table).ok()?;
    let buyers = buyers(table, &columns, rows);
    let purchases = match blended {
        Some(purchases) if buyers == purchase_features::latest(table, rows.to_vec()) => purchases,
        _ => {
            let customers =
                purchase_features::some_customers(table, &columns, &buyers, MOST_FITTED);
            BgNbd::fit_with(&customers, Dropout::AfterEvery).ok()?
        }
    };
    let [frequency, recency, t] = &columns.inputs[..] else {
        return None;
    };
    let features = HistoryFeatures {
        frequency: frequency.name.clone(),
        recency: recency.name.clone(),
        t: t.name.clone(),
    };
    State::new(purchases, features, horizon).ok()
}

/// The newest row of each customer who has bought.
fn buyers(table: &TrainingTable, columns: &Columns, rows: &[u32]) -> Vec<u32> {
    let bought = |row: &u32| columns.has_bought(table, *row);
    let Some(days) = &table.as_of else {
        return rows.iter().copied().filter(bought).collect();
    };
    let mut newest: HashMap<u32, f32> = HashMap::with_capacity(rows.len().min(1 << 16));
    for &row in rows {
        let day = days[row as usize];
        let known = newest.entry(table.groups[row as usize]).or_insert(day);
        *known = known.max(day);
    }
    let is_newest =
        |row: &u32| newest.get(&table.groups[*row as usize]) == Some(&days[*row as usize]);
    rows.iter()
        .copied()
        .filter(|row| is_newest(row) && bought(row))
        .collect()
}
