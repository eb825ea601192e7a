//! Month, weekday and hour of a timestamp given as days since 1970-01-01, in integer arithmetic that a graph can do
//! as well (the civil calendar algorithm of Howard Hinnant).

use serde::{Deserialize, Serialize};

/// Days from 0000-03-01 to 1970-01-01.
pub(crate) const EPOCH: i64 = 719_468;
/// 0000-03-01 and 9999-12-31; other days are taken for these.
pub(crate) const DAYS: (f32, f32) = (-719_468.0, 2_932_896.0);
/// Added to the hour before it is cut to an integer: single precision keeps today's times to three minutes only.
pub(crate) const HOUR_TOLERANCE: f32 = 0.03;

/// Ids from 1; 0 is a missing timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatePart {
    /// 1 = January.
    Month,
    /// 1 = Monday.
    Weekday,
    /// 1 = the hour after midnight.
    Hour,
}

impl DatePart {
    /// Number of ids, 0 included.
    pub fn cardinality(self) -> usize {
        match self {
            Self::Month => 13,
            Self::Weekday => 8,
            Self::Hour => 25,
        }
    }

    /// The id of a timestamp in days.
    pub fn of(self, days: f32) -> u8 {
        if !days.is_finite() {
            return 0;
        }
        let days = days.clamp(DAYS.0, DAYS.1);
        let whole = days.floor();
        let z = whole as i64 + EPOCH;
        let id = match self {
            Self::Month => month(z),
            Self::Weekday => (z + 2) % 7 + 1,
            Self::Hour => {
                let hour = (days - whole) * 24.0 + HOUR_TOLERANCE;
                hour.floor().min(23.0) as i64 + 1
            }
        };
        id as u8
    }
}

/// From days since 0000-03-01.
fn month(z: i64) -> i64 {
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    (from_march + 2) % 12 + 1
}
