//! Dates and timestamps written as text, as JSON carries them: ISO 8601, never dependent on session settings.

/// Days since 1970-01-01 in UTC of `YYYY-MM-DD`, optionally followed by `T` or a blank, `HH:MM`, `:SS`, `.fff` and
/// `Z` or an offset `+HH`, `+HH:MM`, `+HHMM`.
pub fn parse_days(text: &str) -> Option<f64> {
    let (date, rest) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text[at + 1..].trim())),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (
        number(parts.next()?, 4)?,
        number(parts.next()?, 2)?,
        number(parts.next()?, 2)?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let days = days_from_civil(year, month, day) as f64;
    match rest {
        None => Some(days),
        Some(time) => Some(days + parse_time(time)? / 86_400.0),
    }
}

/// Seconds since midnight in UTC.
fn parse_time(text: &str) -> Option<f64> {
    let (clock, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (text[..at].trim_end(), &text[at..]),
        None => (text, "Z"),
    };
    let mut parts = clock.splitn(3, ':');
    let hours = number(parts.next()?, 2)?;
    let minutes = number(parts.next()?, 2)?;
    let seconds: f64 = match parts.next() {
        None => 0.0,
        Some(s) if s.starts_with(|c: char| c.is_ascii_digit()) => s.parse().ok()?,
        Some(_) => return None,
    };
    if hours > 24 || minutes > 59 || !(0.0..=60.0).contains(&seconds) {
        return None;
    }
    let shift = match offset.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), digits @ ..] => {
            let digits: String = digits
                .iter()
                .filter(|b| **b != b':')
                .map(|b| *b as char)
                .collect();
            let (hours, minutes) = match digits.len() {
                2 => (number(&digits, 2)?, 0),
                4 => (number(&digits[..2], 2)?, number(&digits[2..], 2)?),
                _ => return None,
            };
            let seconds = hours * 3600 + minutes * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    Some((hours * 3600 + minutes * 60 - shift) as f64 + seconds)
}

/// Exactly `digits` decimal digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    if text.len() != digits || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, counted in eras of 400 years that start in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
