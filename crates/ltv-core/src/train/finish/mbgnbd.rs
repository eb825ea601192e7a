//! What MBG/NBD and Gamma-Gamma expect a customer to spend, as networks are averaged with it.
//!
//! Unlike objective `bgnbd`, the value of a purchase comes from all purchases, the first one too: many customers have no
//! other. And how far it lies from that of all customers counts for less than Gamma-Gamma says, for which there is no
//! chance in it but that of a Gamma distribution.

use crate::btyd::{self, BgNbd, Customer, Dropout, GammaGamma, Worth};
use crate::data::TrainingTable;
use crate::error::Result;
use crate::onnx::{GraphBuilder, Value};
use crate::recipe::Recipe;
use crate::train::purchase_features::{self, Columns};
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};

/// Customers whose histories decide the parameters; with ten times as many they move by a percent or two.
pub const MOST_FITTED: usize = 10_000;

/// The power of a customer's value of a purchase, relative to that of all customers. With 1 more of the money is found and less
/// of the order, with 0.5 the reverse.
const SPREAD: f64 = 0.8;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MbgNbd {
    purchases: BgNbd,
    /// Of all purchases, not only of repeated ones.
    spend: GammaGamma,
    horizon: f64,
    columns: Columns,
}

impl MbgNbd {
    pub fn fit(table: &TrainingTable, rows: &[u32], recipe: &Recipe) -> Result<Self> {
        let columns = Columns::of_all_purchases(table)?;
        let customers =
            purchase_features::training_customers(table, &columns, rows.to_vec(), MOST_FITTED);
        let spenders: Vec<Customer> = customers
            .iter()
            .map(|customer| Customer {
                frequency: customer.frequency + 1.0,
                ..*customer
            })
            .collect();
        Ok(Self {
            purchases: BgNbd::fit_with(&customers, Dropout::AfterEvery)?,
            spend: GammaGamma::fit_to_mean(&spenders)?,
            horizon: purchase_features::horizon(recipe)?,
            columns,
        })
    }

    /// In days.
    pub fn horizon(&self) -> f64 {
        self.horizon
    }

    /// How often customers buy, of the rows it was fitted to.
    pub fn purchases(&self) -> BgNbd {
        self.purchases
    }

    /// The expected values of all rows up to each of these days.
    pub fn values(&self, table: &TrainingTable, days: &[f32]) -> Vec<Vec<f32>> {
        let customers: Vec<Customer> = (0..table.rows() as u32)
            .into_par_iter()
            .map(|row| self.columns.customer(table, row))
            .collect();
        // Most of the time goes into what those buy who are alive, and many rows have it in common.
        let kind = |customer: &Customer| (customer.frequency.to_bits(), customer.age.to_bits());
        let mut kinds: Vec<(u64, u64)> = customers.iter().map(kind).collect();
        kinds.par_sort_unstable();
        kinds.dedup();
        let up_to = |&days: &f32| {
            let if_alive: Vec<f64> = kinds
                .par_iter()
                .map(|&(x, age)| {
                    let (x, age) = (f64::from_bits(x), f64::from_bits(age));
                    self.purchases.purchases_if_alive(x, age, days.into())
                })
                .collect();
            let value = |customer: &Customer| {
                let place = kinds.binary_search(&kind(customer));
                let if_alive = place.map_or(f64::NAN, |place| if_alive[place]);
                let purchases = self.purchases.probability_alive(customer) * if_alive;
                (purchases * self.worth(customer)) as f32
            };
            customers.par_iter().map(value).collect()
        };
        days.iter().map(up_to).collect()
    }

    /// Of a purchase.
    fn worth(&self, customer: &Customer) -> f64 {
        let usual = self.spend.expected_value(0.0, 0.0);
        let own = (self.spend).expected_value(customer.frequency + 1.0, customer.monetary);
        usual * (own / usual).powf(SPREAD)
    }

    /// The same in a graph, from its raw matrix; double `[batch]`.
    pub fn export(&self, graph: &mut GraphBuilder, raw: &Value, days: f64) -> Value {
        let customers = purchase_features::customers(graph, &self.columns, raw);
        let worth = Worth {
            spend: &self.spend,
            spread: SPREAD,
        };
        let value = btyd::export_value(graph, &self.purchases, days, &worth, &customers);
        graph.reshape(&value, &[-1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::schema::{ColumnKind, FeatureColumn};

    impl MbgNbd {
        fn value(&self, customer: &Customer, days: f64) -> f64 {
            self.purchases.expected_purchases(customer, days) * self.worth(customer)
        }

        pub fn example() -> Result<Self> {
            let names = ["frequency", "recency", "t", "monetary_mean"];
            let inputs = names.map(|name| FeatureColumn::new(name, ColumnKind::Numeric, "real"));
            Ok(Self {
                purchases: BgNbd {
                    r: 0.5,
                    alpha: 20.0,
                    a: 1.0,
                    b: 2.0,
                    dropout: Dropout::AfterEvery,
                },
                spend: GammaGamma {
                    p: 3.0,
                    q: 4.0,
                    v: 30.0,
                },
                horizon: 90.0,
                columns: Columns::of_all_purchases(&TrainingTable::new(inputs.to_vec(), false)?)?,
            })
        }
    }

    fn customer(frequency: f64, monetary: f64) -> Customer {
        Customer {
            frequency,
            recency: 10.0 * frequency,
            age: 100.0,
            monetary,
        }
    }

    #[test]
    fn who_spends_what_all_do_is_worth_his_purchases_times_that() -> Result<()> {
        let law = MbgNbd::example()?;
        for frequency in [0.0, 1.0, 7.0] {
            let usual = customer(frequency, 30.0);
            let purchases = law.purchases.expected_purchases(&usual, law.horizon);
            let value = law.value(&usual, law.horizon);
            assert!((value - 30.0 * purchases).abs() < 1e-9 * value, "{value}");
        }
        Ok(())
    }

    /// Of a single purchase of three times the usual, Gamma-Gamma expects (3 * 3 + 3) / (3 + 3) = 2 times the usual next.
    #[test]
    fn a_single_purchase_tells_and_more_of_them_tell_more() -> Result<()> {
        let law = MbgNbd::example()?;
        let ratio = |frequency| {
            law.value(&customer(frequency, 90.0), 90.0)
                / law.value(&customer(frequency, 30.0), 90.0)
        };
        assert!(
            (ratio(0.0) - 2f64.powf(SPREAD)).abs() < 1e-9,
            "{}",
            ratio(0.0)
        );
        assert!(ratio(0.0) < ratio(1.0) && ratio(1.0) < ratio(20.0));
        assert!(ratio(20.0) < 3f64.powf(SPREAD));
        Ok(())
    }

    #[test]
    fn rows_that_have_much_in_common_have_the_values_that_each_has_alone() -> Result<()> {
        let law = MbgNbd::example()?;
        let inputs = law.columns.inputs.clone();
        let mut table = TrainingTable::new(inputs, false)?;
        let mut alone = Vec::new();
        for row in 0..60 {
            let own = Customer {
                frequency: f64::from(row % 3),
                recency: f64::from(row % 7) * f64::from(u8::from(row % 3 > 0)),
                age: f64::from(20 + row % 4),
                monetary: f64::from(10 + row),
            };
            let mut writer = table.row();
            for value in [own.frequency, own.age - own.recency, own.age, own.monetary] {
                writer.number(Some(value))?;
            }
            writer.finish(0.0, Split::Train, None)?;
            alone.push([30.0, 90.0].map(|days| law.value(&own, days)));
        }
        let together = law.values(&table, &[30.0, 90.0]);
        for (row, alone) in alone.iter().enumerate() {
            for (end, alone) in alone.iter().enumerate() {
                let found = f64::from(together[end][row]);
                assert!((found - alone).abs() <= 1e-6 * alone, "{found} {alone}");
            }
        }
        Ok(())
    }
}
