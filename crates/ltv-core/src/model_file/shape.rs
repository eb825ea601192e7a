//! Whether JSON is what it should be, where no type says so.

use super::unreadable;
use crate::error::Result;
use serde_json::Value;

/// Texts that are no names: reasons, samples.
const LONGEST: usize = 1000;

/// Numbers, truth values, short texts and nothing, in lists and objects.
pub fn plain(value: &Value, of: &str) -> Result<()> {
    match value {
        Value::String(text) => short(text, of),
        Value::Array(items) => items.iter().try_for_each(|item| plain(item, of)),
        Value::Object(entries) => entries.iter().try_for_each(|(key, item)| {
            short(key, of)?;
            plain(item, of)
        }),
        _ => Ok(()),
    }
}

/// A number or nothing, or an object of such.
pub fn numbers(value: &Value, of: &str) -> Result<()> {
    match value {
        Value::Null | Value::Number(_) => Ok(()),
        Value::Object(entries) => entries.values().try_for_each(|item| match item {
            Value::Null | Value::Number(_) => Ok(()),
            _ => Err(no_number(of)),
        }),
        _ => Err(no_number(of)),
    }
}

/// A whole number that PostgreSQL's `int` holds.
pub fn small_whole(value: &Value, of: &str) -> Result<()> {
    match value.as_i64() {
        Some(number) if i32::try_from(number).is_ok() => Ok(()),
        _ => Err(no_number(of)),
    }
}

/// A text that is not long.
pub fn short(text: &str, of: &str) -> Result<()> {
    if text.len() > LONGEST || text.contains('\0') {
        return Err(unreadable(format!("A text in its {of} is too long.")));
    }
    Ok(())
}

/// An error unless both have the same keys and the same kinds of values; numbers may differ.
pub fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Number(_), Value::Number(_)) => true,
        (a, b) => a == b,
    }
}

fn no_number(of: &str) -> crate::error::Error {
    unreadable(format!("Something in its {of} is no number."))
}
