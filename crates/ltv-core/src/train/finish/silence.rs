//! Decay for long silence: customers who have been silent for longer than any that the networks were shown.
//!
//! No network has seen a silence this long, so each treats such a customer like the most silent one it knows. The prediction
//! is therefore scaled down with every further day, by `(silence / longest)^power`. MBG/NBD needs no such help: it is a law of
//! how customers age.

use crate::data::TrainingTable;
use crate::onnx::{ElementType, GraphBuilder, Value};
use crate::recipe::Recipe;
use crate::train::purchase_features::export_known;
use serde::{Deserialize, Serialize};

/// The feature with the days since the last purchase, by the name that `ltv_create_features` gives it.
const SILENCE: &str = "recency";
/// The power comes from the customers whose silence is at least this share of the longest one.
const NEAR: f64 = 0.7;
/// What is expected of the power before the data speak, normal with standard deviation 1: that of a customer with one
/// purchase under Pareto/NBD and NBD, whose rate in hindsight is in inverse proportion to the silence.
const USUAL: f64 = -1.0;
/// The steepest fall.
const STEEPEST: f64 = -4.0;
/// Longer silences, in days, are taken for this.
const LIMIT: f32 = 1e6;
/// What falls beside the expected value: all that is proportional to a probability of buying.
pub const FALLS: [&str; 2] = ["purchase_probability", "whale_probability"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Where the silence lies in the raw matrix.
    position: usize,
    /// Days of the most silent customer of the table.
    longest: f32,
    power: f32,
}

impl Silence {
    /// Fits the power to who bought up to the end of a horizon. `None` where it is not wanted, where there is no silence to read, or where
    /// the more silent customers buy no less.
    pub fn fit(table: &TrainingTable, rows: &[u32], end: usize, recipe: &Recipe) -> Option<Self> {
        if !recipe.options.ageing || recipe.options.horizon.is_none() {
            return None;
        }
        let (_, position) = table.numeric(SILENCE)?;
        let silence = |row: u32| clean(table.matrix[row as usize * table.width + position]);
        // Of the rows that only judge as well: nothing falls for any row that shows what is spent by then.
        let all = (0..table.rows() as u32).filter(|&row| !table.spent(row, end).is_nan());
        let longest = all.map(silence).fold(0.0, f32::max);
        if longest <= 0.0 {
            return None;
        }
        let known = rows.iter().filter(|&&row| !table.spent(row, end).is_nan());
        let mut customers: Vec<Silent> = known
            .map(|&row| Silent {
                cut_off: table.as_of.as_ref().map_or(0.0, |days| days[row as usize]),
                log: f64::from(silence(row) / longest).ln(),
                buys: table.spent(row, end) > 0.0,
            })
            .filter(|customer| customer.log >= NEAR.ln())
            .collect();
        customers.sort_by(|a, b| a.cut_off.total_cmp(&b.cut_off));
        let power = power(&customers).clamp(STEEPEST, 0.0) as f32;
        (power < 0.0).then_some(Self {
            position,
            longest,
            power,
        })
    }

    /// What is left of the networks' expectation for each row of the table.
    pub fn factors(&self, table: &TrainingTable) -> Vec<f32> {
        let rows = table.matrix.chunks_exact(table.width.max(1));
        rows.map(|row| self.factor(row[self.position])).collect()
    }

    fn factor(&self, silence: f32) -> f32 {
        let times = (clean(silence) / self.longest).max(1.0);
        (times.ln() * self.power).exp()
    }

    /// The same in a graph, from its raw matrix; double `[batch]`.
    pub fn export(&self, graph: &mut GraphBuilder, raw: &Value) -> Value {
        let known = export_known(graph, raw);
        let silence = graph.column(&known, self.position as i64);
        let silence = graph.cast(&silence, ElementType::Double);
        let silence = graph.clip(&silence, self.longest, LIMIT);
        let longest = graph.float(self.longest);
        let times = graph.div(&silence, &longest);
        let power = graph.float(self.power);
        graph.op("Pow", &[&times, &power], &[])
    }
}

/// What is not known counts as no silence at all, so that nothing falls.
fn clean(silence: f32) -> f32 {
    if silence.is_finite() {
        silence.clamp(0.0, LIMIT)
    } else {
        0.0
    }
}

struct Silent {
    cut_off: f32,
    /// Logarithm of the silence as a share of the longest.
    log: f64,
    buys: bool,
}

/// The most probable power of a Poisson regression of buying on the logarithm of the silence, with an effect of each cut-off
/// that is eliminated. `customers` in the order of their cut-offs.
fn power(customers: &[Silent]) -> f64 {
    let mut power = USUAL;
    for _ in 0..50 {
        let (mut slope, mut curvature) = (USUAL - power, 1.0);
        for cut_off in customers.chunk_by(|a, b| a.cut_off == b.cut_off) {
            let (mut buyers, mut logs) = (0.0, 0.0);
            let (mut weight, mut first, mut second) = (0.0, 0.0, 0.0);
            for customer in cut_off {
                let w = (power * customer.log).exp();
                weight += w;
                first += w * customer.log;
                second += w * customer.log * customer.log;
                if customer.buys {
                    buyers += 1.0;
                    logs += customer.log;
                }
            }
            let centre = first / weight;
            slope += logs - buyers * centre;
            curvature += buyers * (second / weight - centre * centre).max(0.0);
        }
        let step = (slope / curvature).clamp(-2.0, 2.0);
        power += step;
        if step.abs() < 1e-9 {
            break;
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::error::{Error, Result};
    use crate::recipe::Options;
    use crate::schema::{ColumnKind, FeatureColumn};
    use serde_json::json;

    /// For each cut-off its share of buyers among the most silent, and customers with silences from 1 to 365 days who buy
    /// accordingly: of those with the same silence evenly spread ones.
    fn table(cut_offs: &[f64], power: f64, each: usize) -> Result<TrainingTable> {
        let inputs = [SILENCE, "other"]
            .map(|name| FeatureColumn::new(name, ColumnKind::Numeric, "real"))
            .to_vec();
        let mut table = TrainingTable::new(inputs, true)?;
        for (index, most) in cut_offs.iter().enumerate() {
            for silence in 1..=365 {
                let share = most * (f64::from(silence) / 365.0).powf(power);
                let buyers = (share * each as f64).round() as usize;
                for customer in 0..each {
                    let mut row = table.row();
                    row.number(Some(f64::from(silence)))?;
                    row.number(Some(1.0))?;
                    let y = if customer < buyers { 10.0 } else { 0.0 };
                    row.finish(y, Split::Train, Some(index as f32))?;
                }
            }
        }
        Ok(table)
    }

    fn fit(table: &TrainingTable, options: serde_json::Value) -> Result<Option<Silence>> {
        let recipe = Recipe {
            options: Options::from_json(&options)?,
            ..Recipe::default()
        };
        let rows: Vec<u32> = (0..table.rows() as u32).collect();
        Ok(Silence::fit(table, &rows, 0, &recipe))
    }

    fn found(cut_offs: &[f64], power: f64, each: usize) -> Result<Option<f32>> {
        let fitted = fit(&table(cut_offs, power, each)?, json!({"horizon": 90}))?;
        Ok(fitted.map(|fitted| fitted.power))
    }

    #[test]
    fn the_power_is_found_whatever_the_season_of_a_cut_off() -> Result<()> {
        for power in [-0.5, -2.0] {
            let found = found(&[0.1, 0.3], power, 400)?;
            let right = |found: f32| (f64::from(found) - power).abs() < 0.05;
            assert!(found.is_some_and(right), "{found:?} instead of {power}");
        }
        Ok(())
    }

    #[test]
    fn few_buyers_leave_what_is_usual_and_no_fall_no_ageing() -> Result<()> {
        assert_eq!(found(&[0.0], 0.0, 5)?, Some(USUAL as f32));
        assert_eq!(found(&[0.2], 0.5, 400)?, None);
        Ok(())
    }

    #[test]
    fn only_silences_beyond_the_longest_lower_anything() -> Result<()> {
        let fitted = fit(&table(&[0.2], -1.0, 400)?, json!({"horizon": 90}))?
            .ok_or_else(|| Error::internal("no ageing"))?;
        for known in [0.0, 200.0, 365.0, -3.0, f32::NAN, f32::INFINITY] {
            assert_eq!(fitted.factor(known), 1.0, "{known}");
        }
        assert!((fitted.factor(730.0) - 0.5).abs() < 0.01);
        assert!(fitted.factor(1e30) > 0.0);
        Ok(())
    }

    #[test]
    fn it_can_be_switched_off_and_needs_a_horizon() -> Result<()> {
        let table = table(&[0.2], -1.0, 50)?;
        assert_eq!(fit(&table, json!({}))?, None);
        assert_eq!(fit(&table, json!({"horizon": 90, "ageing": false}))?, None);
        assert!(fit(&table, json!({"horizon": 90}))?.is_some());
        Ok(())
    }
}
