//! The state of a customer, from the numbers of a row that tell the history.

use super::Model;
use super::rows::Rows;
use crate::error::{Reportable, Result};
use ltv_core::btyd::{Customer, State, history};
use pgrx::prelude::PgSqlErrorCode;

/// As far ahead as features may look: 100 years.
const MOST_DAYS: f64 = 36_525.0;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{days} days are out of range")]
    Days { days: f64 },
    #[error("the days must be given")]
    NoDays { model: String, version: i32 },
}

impl Reportable for StateError {
    fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Self::Days { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Self::NoDays { .. } => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        }
    }
    fn detail(&self) -> Option<String> {
        Some(match self {
            Self::Days { .. } => format!("They are a number from 0 to {MOST_DAYS}."),
            Self::NoDays { model, version } => {
                format!("Version {version} of model \"{model}\" was trained without a horizon.")
            }
        })
    }
    fn hint(&self) -> Option<String> {
        Some("For the next month write days => 30.".to_owned())
    }
}

/// `p_alive`, `expected_orders`, `churn_probability`, `next_order_days` of a row; `None` where the features tell no history.
/// A next order later than anybody could wait for has no day.
pub fn of_row(
    model: &Model,
    rows: &Rows,
    row: usize,
    days: Option<f64>,
) -> Result<Option<[Option<f64>; 4]>> {
    let Some((state, days)) = asked(model, days)? else {
        return Ok(None);
    };
    Ok(customer(model, rows, row).map(|customer| {
        let state = state.of(&customer, days);
        [
            Some(state.p_alive),
            Some(state.expected_orders),
            Some(state.churn_probability),
            Some(state.next_order_days).filter(|&days| days <= MOST_DAYS),
        ]
    }))
}

/// P(no order in `days`) of a row; `None` where the features tell no history.
pub fn churn_of_row(
    model: &Model,
    rows: &Rows,
    row: usize,
    days: Option<f64>,
) -> Result<Option<f64>> {
    let Some((state, days)) = asked(model, days)? else {
        return Ok(None);
    };
    let customer = customer(model, rows, row);
    Ok(customer.map(|customer| state.churn_probability(&customer, days)))
}

/// What is asked of which state: days, or where none are given, the horizon.
fn asked(model: &Model, days: Option<f64>) -> Result<Option<(&State, f64)>, StateError> {
    let Some(state) = &model.graph.schema.state else {
        return Ok(None);
    };
    match days.or(state.horizon()) {
        Some(days) if (0.0..=MOST_DAYS).contains(&days) => Ok(Some((state, days))),
        Some(days) => Err(StateError::Days { days }),
        None => Err(StateError::NoDays {
            model: model.name.clone(),
            version: model.version,
        }),
    }
}

fn customer(model: &Model, rows: &Rows, row: usize) -> Option<Customer> {
    let places = model.graph.history?;
    history(places.map(|(tensor, offset)| rows.float(tensor, row, offset)))
}
