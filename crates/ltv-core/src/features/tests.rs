//! Logs collected in any order and any pieces are the same; what they say is what rows by hand say.

use super::decimal::Decimal;
use super::log::{Entries, Entry, Layout, Log, Push};
use super::plan::Plan;
use super::walk::{Customer, Walker};

/// A log with memory of its own.
struct Owned {
    words: Vec<i64>,
    entries: usize,
}

impl Owned {
    fn new(layout: Layout) -> Self {
        let mut words = vec![0; layout.head() + layout.stride()];
        Log::empty(&mut words, layout);
        Self { words, entries: 0 }
    }

    fn log(&mut self) -> Log<'_> {
        Log::of(&mut self.words, self.entries)
    }

    fn retry(&mut self, mut what: impl FnMut(&mut Log) -> Push) {
        loop {
            let mut log = self.log();
            let layout = log.layout();
            match what(&mut log) {
                Push::Done => {
                    self.entries = log.entries();
                    return;
                }
                Push::Full => self.words.resize(2 * self.words.len(), 0),
                Push::TooWide => {
                    assert!(!layout.wide, "does not fit");
                    let wide = Layout {
                        wide: true,
                        ..layout
                    };
                    let mut words = vec![0; wide.head() + (self.entries + 1) * wide.stride()];
                    let mut target = Log::empty(&mut words, wide);
                    self.log().widen(&mut target);
                    assert_eq!(target.entries(), self.entries);
                    self.words = words;
                }
            }
        }
    }

    fn push(&mut self, time: i64, kind: u16, values: &[Decimal]) {
        let entry = Entry {
            time,
            day: time as i32,
            kind,
            values,
        };
        self.retry(|log| log.push(&entry));
    }

    fn append(&mut self, other: &mut Self) {
        let other = other.log();
        self.retry(|log| log.append(&other));
    }

    fn bytes(mut self) -> Vec<u8> {
        let mut log = self.log();
        log.settle();
        let (entries, used) = (log.entries(), log.used());
        let words = self.words[..used]
            .iter()
            .flat_map(|word| word.to_ne_bytes());
        (entries as u32)
            .to_ne_bytes()
            .into_iter()
            .chain(words)
            .collect()
    }
}

fn decimal(text: &str) -> Decimal {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().unwrap();
    Decimal::new(digits, -(fraction.len() as i32)).unwrap()
}

/// A pseudo-random number, the next of a sequence.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_log_does_not_depend_on_how_it_was_collected() {
    let amounts = [
        "1",
        "-2.5",
        "0.001",
        "1000000000.01",
        "0",
        "99999999999999999999",
        "-0.000000000000000001",
    ];
    for (events, instants, most) in [(false, false, 3), (true, true, 5), (true, false, 7)] {
        let layout = Layout {
            instants,
            events,
            wide: false,
            values: 2,
        };
        let mut seed = 7;
        let rows: Vec<(i64, u16, [Decimal; 2])> = (0..300)
            .map(|_| {
                let value = |seed: &mut u64| decimal(amounts[next(seed) as usize % most]);
                let kind = if events {
                    next(&mut seed) as u16 % 3
                } else {
                    0
                };
                (
                    next(&mut seed) as i64 % 40,
                    kind,
                    [value(&mut seed), value(&mut seed)],
                )
            })
            .collect();
        let collect = |rows: &mut dyn Iterator<Item = &(i64, u16, [Decimal; 2])>| {
            let mut log = Owned::new(layout);
            rows.for_each(|(time, kind, values)| log.push(*time, *kind, values));
            log
        };
        let expected = collect(&mut rows.iter());
        let mut pieces = Owned::new(layout);
        for piece in rows.chunks(17).rev() {
            pieces.append(&mut collect(&mut piece.iter()));
        }
        let (mut one, mut other) = (Entries::default(), Entries::default());
        one.read(&expected.bytes()).unwrap();
        other
            .read(&collect(&mut rows.iter().rev()).bytes())
            .unwrap();
        assert_eq!(
            (&one.keys, &one.values, &one.scales),
            (&other.keys, &other.values, &other.scales)
        );
        other.read(&pieces.bytes()).unwrap();
        assert_eq!(
            (&one.keys, &one.values, &one.scales),
            (&other.keys, &other.values, &other.scales)
        );
        assert_eq!(
            one.keys.iter().map(|key| key.count).sum::<i64>() == 300,
            events
        );
        let sum = |number: usize| -> i128 {
            rows.iter()
                .map(|(_, _, values)| values[number].at(one.scales[number]).unwrap())
                .fold(0, i128::wrapping_add)
        };
        for number in 0..2 {
            let total = one.iter().map(|(_, values)| values[number]);
            let total = total.fold(0, i128::wrapping_add);
            assert_eq!(total, sum(number));
        }
    }
}

#[test]
fn what_is_no_log_is_refused() {
    let mut entries = Entries::default();
    let mut seed = 1;
    let layout = Layout {
        instants: true,
        events: true,
        wide: false,
        values: 1,
    };
    let mut log = Owned::new(layout);
    log.push(5, 1, &[decimal("1.5")]);
    let bytes = log.bytes();
    assert!(entries.read(&bytes).is_ok());
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        let length = next(&mut seed) as usize % (bytes.len() + 1);
        damaged.truncate(length);
        for _ in 0..next(&mut seed) % 4 {
            if let Some(byte) = damaged.get_mut(next(&mut seed) as usize % bytes.len()) {
                *byte = next(&mut seed) as u8;
            }
        }
        // It may be another log; it must not be more than its bytes.
        if entries.read(&damaged).is_ok() {
            assert!(entries.keys.len() <= damaged.len());
        }
    }
}

#[test]
fn a_walk_says_what_was_known() {
    let plan = r#"{"instants": false, "windows": [7], "returns": true,
        "looks": [{"time": 8, "day": 8, "until": [10]}, {"time": 20, "day": 20, "until": [30]}]}"#;
    let mut walker = Walker::new(Plan::from_json(plan).unwrap());
    let layout = Layout {
        instants: false,
        events: false,
        wide: false,
        values: 1,
    };
    let mut log = Owned::new(layout);
    for (day, amount) in [
        (9, "5"),
        (1, "10"),
        (10, "-2"),
        (1, "-4"),
        (12, "3"),
        (12, "-3"),
        (31, "50"),
    ] {
        log.push(day, 0, &[decimal(amount)]);
    }
    let orders = log.bytes();
    let customer = Customer {
        orders: Some(&orders),
        start: None,
        log_end: Some(25),
    };
    walker.begin(customer, std::iter::empty()).unwrap();
    // Moment, recency, frequency, t, mean, max, std, last, count_7, sum_7, mean_interpurchase, month, first, return_days, returned, ltv.
    let row = walker.next_row().unwrap().unwrap();
    assert_eq!(
        row,
        [
            1.0, 7.0, 0.0, 7.0, 6.0, 6.0, 0.0, 6.0, 0.0, 0.0, -1.0, 1.0, 6.0, 0.0, 0.0, 3.0
        ]
    );
    let row = walker.next_row().unwrap().unwrap();
    let (last, known) = row.split_last().unwrap();
    let deviation = 0.5_f64.sqrt();
    assert_eq!(
        known,
        [
            2.0, 11.0, 1.0, 19.0, 5.5, 6.0, deviation, 5.0, 0.0, 0.0, 8.0, 1.0, 6.0, 1.0, 2.0
        ]
    );
    assert!(last.is_nan());
    assert!(walker.next_row().unwrap().is_none());
}
