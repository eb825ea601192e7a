//! How the demo looks: plain text, aligned, without escapes where nobody watches.

use std::fmt;
use std::io::IsTerminal;

use anyhow::Result;

pub fn step(number: usize, title: &str, sql: Option<&str>, result: &str) {
    let color = std::io::stdout().is_terminal();
    if color {
        println!("\n\x1b[1m{number}. {title}\x1b[0m\n");
    } else {
        println!("\n{number}. {title}\n");
    }
    if let Some(sql) = sql {
        for line in sql.lines() {
            if color {
                println!("   \x1b[36m{line}\x1b[0m");
            } else {
                println!("   {line}");
            }
        }
        println!();
    }
    if !result.is_empty() {
        println!("   {result}");
    }
}

/// 69659 as 69,659
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

pub fn money(amount: Option<f64>) -> String {
    amount.map_or("-".into(), |amount| {
        let cents = (amount * 100.0).round() as i64;
        format!("{}.{:02}", count(cents / 100), cents.abs() % 100)
    })
}

pub fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.0} %", share * 100.0))
}

/// Columns as wide as their widest entry; numbers to the right.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(header: &[&str]) -> Table {
        Table {
            header: header.iter().map(|name| (*name).to_string()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.header.len();
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let is_text = |column: usize| {
            self.rows.iter().any(|row| {
                row.get(column).is_some_and(|cell| {
                    cell != "-" && cell.chars().next().is_some_and(char::is_alphabetic)
                        || cell.split_whitespace().count() > 2
                })
            })
        };
        let layout: Vec<(usize, bool)> = (0..columns)
            .map(|column| {
                let width = lines()
                    .map(|row| row.get(column).map_or(0, |cell| cell.chars().count()))
                    .max()
                    .unwrap_or(0);
                (width, is_text(column))
            })
            .collect();
        for row in lines() {
            let mut line = String::from("  ");
            for (cell, (width, text)) in row.iter().zip(&layout) {
                let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
                line.push(' ');
                line.push(' ');
                if *text {
                    line.push_str(&format!("{cell}{gap}"));
                } else {
                    line.push_str(&format!("{gap}{cell}"));
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)?;
        write!(out, "   ")
    }
}

/// The time of each step.
#[derive(Default)]
pub struct Clock {
    steps: Vec<(String, f64)>,
}

impl Clock {
    pub fn time<T>(&mut self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = std::time::Instant::now();
        let result = work()?;
        self.steps
            .push((what.to_string(), started.elapsed().as_secs_f64()));
        Ok(result)
    }

    pub fn table(&self) -> String {
        let mut text = String::new();
        for (what, seconds) in &self.steps {
            text.push_str(&format!("   {what:<24}{seconds:>7.2} s\n"));
        }
        let all: f64 = self.steps.iter().map(|(_, seconds)| seconds).sum();
        text.push_str(&format!("   {:<24}{all:>7.2} s\n", "all"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers_for_people() {
        assert_eq!(count(69_659), "69,659");
        assert_eq!(count(999), "999");
        assert_eq!(count(-1_234_567), "-1,234,567");
        assert_eq!(money(Some(5762.004)), "5,762.00");
        assert_eq!(percent(Some(0.876)), "88 %");
    }

    #[test]
    fn aligns_numbers_to_the_right_and_words_to_the_left() {
        let mut table = Table::new(&["who", "spent"]);
        table.row(vec!["anna".into(), "5.00".into()]);
        table.row(vec!["bo".into(), "1,005.00".into()]);
        assert_eq!(
            table.to_string(),
            "    who      spent\n    anna      5.00\n    bo    1,005.00\n\n   "
        );
    }
}
