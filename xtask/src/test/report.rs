//! What happened to each test, told as it happens, and the totals at the end.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines of a failure that are told again at the end, where a long log is read first.
const LINES_AGAIN: usize = 12;

pub enum Outcome {
    Passed,
    /// With what a person needs to see.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

impl From<anyhow::Result<()>> for Outcome {
    fn from(result: anyhow::Result<()>) -> Outcome {
        match result {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        }
    }
}

#[derive(Default)]
struct Totals {
    passed: usize,
    /// By name, with the end of what a person needs to see.
    failed: Vec<(String, String)>,
    skipped: usize,
}

pub struct Report {
    totals: Mutex<Totals>,
    color: bool,
    started: Instant,
}

impl Report {
    pub fn new() -> Report {
        Report {
            totals: Mutex::default(),
            color: std::io::stdout().is_terminal(),
            started: Instant::now(),
        }
    }

    pub fn add(&self, name: &str, outcome: Outcome, took: Duration) {
        let Ok(mut totals) = self.totals.lock() else {
            return;
        };
        let seconds = format!("{:.1} s", took.as_secs_f64());
        match outcome {
            Outcome::Passed => {
                totals.passed += 1;
                self.line("ok", 32, &format!("{name} ({seconds})"));
            }
            Outcome::Failed(detail) => {
                let lines: Vec<&str> = detail.trim_end().lines().collect();
                let last = lines[lines.len().saturating_sub(LINES_AGAIN)..].join("\n");
                totals.failed.push((name.to_string(), last));
                self.line("FAIL", 31, &format!("{name} ({seconds})"));
                for line in detail.trim_end().lines() {
                    println!("       {line}");
                }
            }
            Outcome::Skipped(reason) => {
                totals.skipped += 1;
                self.line("skip", 33, &format!("{name}: {reason}"));
            }
        }
        let _ = std::io::stdout().flush();
    }

    /// Many small tests of one program, counted but told in one line.
    pub fn add_many(&self, name: &str, passed: usize, failed: &[String], took: Duration) {
        if let Ok(mut totals) = self.totals.lock() {
            totals.passed += passed;
        }
        let seconds = format!("{:.1} s", took.as_secs_f64());
        self.line("ok", 32, &format!("{name}: {passed} tests ({seconds})"));
        for test in failed {
            self.add(
                &format!("{name} {test}"),
                Outcome::Failed(String::new()),
                took,
            );
        }
    }

    fn line(&self, word: &str, color: u8, text: &str) {
        if self.color {
            println!("\x1b[{color}m{word:>4}\x1b[0m   {text}");
        } else {
            println!("{word:>4}   {text}");
        }
    }

    /// The last line; true if nothing failed.
    pub fn finish(&self) -> bool {
        let Ok(totals) = self.totals.lock() else {
            return false;
        };
        println!();
        for (name, last) in &totals.failed {
            self.line("FAIL", 31, name);
            for line in last.lines() {
                println!("       {line}");
            }
        }
        eprintln!("{:.0} s in all", self.started.elapsed().as_secs_f64());
        let skipped = match totals.skipped {
            0 => String::new(),
            count => format!(", {count} skipped"),
        };
        println!(
            "{} passed, {} failed{skipped}",
            totals.passed,
            totals.failed.len()
        );
        totals.failed.is_empty()
    }
}
