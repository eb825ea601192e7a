//! The types an option can have: checking a JSON value, converting it, describing what is allowed.

use serde_json::Value;
use std::fmt;

/// As many columns as PostgreSQL lets a query have.
const MOST_COLUMNS: usize = 1664;

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// An integer in this range.
    Integer {
        /// The smallest value that is allowed.
        min: i64,
        /// The largest value that is allowed.
        max: i64,
    },
    /// A number in this range.
    Number {
        /// The smallest value that is allowed.
        min: f64,
        /// The largest value that is allowed.
        max: f64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of integers.
    Integers {
        /// The smallest value that is allowed.
        min: i64,
        /// The largest value that is allowed.
        max: i64,
        /// The greatest length that is allowed.
        longest: usize,
    },
    /// A list of exactly so many numbers.
    Numbers {
        /// The smallest value that is allowed.
        min: f64,
        /// The largest value that is allowed.
        max: f64,
        /// The length.
        count: usize,
    },
    /// A list of words out of these.
    Choices(&'static [&'static str]),
    /// A list of column names.
    Columns,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    Device,
}

impl Kind {
    /// Whether the JSON value is allowed.
    pub fn accepts(&self, value: &Value) -> bool {
        let is_integer = |value: &Value, min: i64, max: i64| {
            integer(value).is_some_and(|number| (min..=max).contains(&number))
        };
        let is_number = |value: &Value, min: f64, max: f64| {
            value
                .as_f64()
                .is_some_and(|number| number >= min && number <= max)
        };
        let is_word = |value: &Value, words: &[&str]| {
            value.as_str().is_some_and(|word| words.contains(&word))
        };
        match *self {
            Self::Boolean => value.is_boolean(),
            Self::Integer { min, max } => is_integer(value, min, max),
            Self::Number { min, max } => is_number(value, min, max),
            Self::Choice(words) => is_word(value, words),
            Self::Integers { min, max, longest } => value.as_array().is_some_and(|list| {
                list.len() <= longest && list.iter().all(|item| is_integer(item, min, max))
            }),
            Self::Numbers { min, max, count } => value.as_array().is_some_and(|list| {
                list.len() == count && list.iter().all(|item| is_number(item, min, max))
            }),
            Self::Choices(words) => value.as_array().is_some_and(|list| {
                (1..=words.len()).contains(&list.len())
                    && list.iter().all(|item| is_word(item, words))
            }),
            Self::Columns => value.as_array().is_some_and(|list| {
                list.len() <= MOST_COLUMNS && list.iter().all(Value::is_string)
            }),
            Self::Device => value.as_str().is_some_and(is_device),
        }
    }
}

fn is_device(text: &str) -> bool {
    matches!(text, "auto" | "cpu" | "cuda")
        || text
            .strip_prefix("cuda:")
            .is_some_and(|number| number.parse::<u8>().is_ok())
}

/// JSON numbers that come from jsonb may read `10.0`.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
            .map(|number| number as i64)
    })
}

impl fmt::Display for Kind {
    /// What is allowed, so that it reads well after "must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Boolean => write!(f, "true or false"),
            Self::Integer { min, max } => write!(f, "an integer between {min} and {max}"),
            Self::Number { min, max } => write!(f, "a number between {min} and {max}"),
            Self::Choice(words) => write!(f, "one of {}", quoted(words)),
            Self::Integers { min, max, longest } => write!(
                f,
                "an array of at most {longest} integers between {min} and {max}"
            ),
            Self::Numbers { min, max, count } => {
                write!(f, "an array of {count} numbers between {min} and {max}")
            }
            Self::Choices(words) => write!(f, "an array of one or more of {}", quoted(words)),
            Self::Columns => write!(f, "an array of at most {MOST_COLUMNS} column names"),
            Self::Device => write!(
                f,
                "one of \"auto\", \"cpu\", \"cuda\", \"cuda:0\", \"cuda:1\", ..."
            ),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

/// A Rust type that an option's value converts into. Called only after [`Kind::accepts`] said yes.
pub trait OptionValue: Sized {
    /// The value of an option from JSON, if it is of the right type.
    fn from_json(value: &Value) -> Option<Self>;
}

impl OptionValue for bool {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}
impl OptionValue for usize {
    fn from_json(value: &Value) -> Option<Self> {
        integer(value).and_then(|number| number.try_into().ok())
    }
}
impl OptionValue for u64 {
    fn from_json(value: &Value) -> Option<Self> {
        integer(value).and_then(|number| number.try_into().ok())
    }
}
impl OptionValue for f64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}
impl OptionValue for String {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}
impl<T: OptionValue> OptionValue for Vec<T> {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::from_json).collect()
    }
}
impl<T: OptionValue> OptionValue for Option<T> {
    fn from_json(value: &Value) -> Option<Self> {
        Some(T::from_json(value))
    }
}
