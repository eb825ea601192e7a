//! The log of one customer: entries of equal length in one slice of words.
//!
//! Words: a head (flags, number of values; room for the owner of the memory; the scales of the values, eight to a word), then the
//! entries. An entry is a time (days, or microseconds, since 2000-01-01), the day where times are instants, kind and count where
//! entries are events, and its values, of one word each, or of two where one did not suffice. The values of a
//! column have one scale.

use super::decimal::{Decimal, MAX_SCALE, power_of_ten};
use crate::error::{Error, ErrorKind, Result};

/// More values than an entry may have.
pub const MAX_VALUES: usize = 96;

const INSTANTS: u8 = 1;
const EVENTS: u8 = 2;
const WIDE: u8 = 4;

/// What an entry consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Times are instants and entries have a day beside them; otherwise a time is a day.
    pub instants: bool,
    /// Entries have a kind and a count.
    pub events: bool,
    /// Values have two words each.
    pub wide: bool,
    /// Number of values, at most [`MAX_VALUES`].
    pub values: usize,
}

impl Layout {
    fn of(word: i64) -> Option<Self> {
        let [flags, values, rest @ ..] = word.to_le_bytes();
        let known = flags <= INSTANTS | EVENTS | WIDE && usize::from(values) <= MAX_VALUES;
        (known && rest == [0; 6]).then_some(Self {
            instants: flags & INSTANTS != 0,
            events: flags & EVENTS != 0,
            wide: flags & WIDE != 0,
            values: usize::from(values),
        })
    }

    fn word(self) -> i64 {
        let flag = |set, flag| if set { flag } else { 0 };
        let flags =
            flag(self.instants, INSTANTS) | flag(self.events, EVENTS) | flag(self.wide, WIDE);
        i64::from_le_bytes([flags, self.values as u8, 0, 0, 0, 0, 0, 0])
    }

    /// Words before the first entry.
    pub fn head(self) -> usize {
        2 + self.values.div_ceil(8)
    }

    /// Words before the values of an entry.
    fn key(self) -> usize {
        1 + usize::from(self.instants) + 2 * usize::from(self.events)
    }

    /// Words of an entry.
    pub fn stride(self) -> usize {
        self.key() + self.values * if self.wide { 2 } else { 1 }
    }
}

/// One row of a log.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Days or microseconds since 2000-01-01.
    pub time: i64,
    /// Days since 2000-01-01.
    pub day: i32,
    /// Which of the kinds of its log it is.
    pub kind: u16,
    /// As many as the layout says.
    pub values: &'a [Decimal],
}

/// Whether an entry was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// It was.
    Done,
    /// There is no room for it.
    Full,
    /// A value needs two words: see `widen`.
    TooWide,
}

/// A log in words that it does not own.
pub struct Log<'a> {
    words: &'a mut [i64],
    layout: Layout,
    entries: usize,
}

impl<'a> Log<'a> {
    /// An empty log in so many words, which must have room for the head.
    pub fn empty(words: &'a mut [i64], layout: Layout) -> Self {
        words[..layout.head()].fill(0);
        words[0] = layout.word();
        Self {
            words,
            layout,
            entries: 0,
        }
    }

    /// The log of so many entries that was written to these words before.
    pub fn of(words: &'a mut [i64], entries: usize) -> Self {
        let layout = Layout::of(words[0]).unwrap_or(Layout {
            instants: false,
            events: false,
            wide: false,
            values: 0,
        });
        Self {
            words,
            layout,
            entries,
        }
    }

    /// What its entries consist of.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// How many it has.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// How many words it takes.
    pub fn used(&self) -> usize {
        self.layout.head() + self.entries * self.layout.stride()
    }

    fn scale(&self, value: usize) -> u8 {
        scale(self.words, value)
    }

    /// Adds an entry whose values are as many as the layout says.
    #[inline]
    pub fn push(&mut self, entry: &Entry) -> Push {
        let (layout, start) = (self.layout, self.used());
        if start + layout.stride() > self.words.len() {
            return Push::Full;
        }
        for (at, value) in entry.values.iter().enumerate() {
            if value.scale > self.scale(at) && !self.rescale(at, value.scale) {
                return Push::TooWide;
            }
        }
        let mut at = start;
        let mut put = |words: &mut [i64], word: i64| {
            words[at] = word;
            at += 1;
        };
        put(self.words, entry.time);
        if layout.instants {
            put(self.words, entry.day.into());
        }
        if layout.events {
            put(self.words, entry.kind.into());
            put(self.words, 1);
        }
        for (number, value) in entry.values.iter().enumerate() {
            let Some(digits) = value.at(self.scale(number)) else {
                return Push::TooWide;
            };
            if layout.wide {
                put(self.words, digits as i64);
                put(self.words, (digits >> 64) as i64);
            } else {
                let Ok(digits) = i64::try_from(digits) else {
                    return Push::TooWide;
                };
                put(self.words, digits);
            }
        }
        self.entries += 1;
        Push::Done
    }

    /// Brings a value of all entries to a larger scale, or changes nothing and says so.
    fn rescale(&mut self, value: usize, to: u8) -> bool {
        let Some(factor) = power_of_ten(u32::from(to - self.scale(value))) else {
            return false;
        };
        let layout = self.layout;
        let fits = |digits: i128| {
            let digits = digits.checked_mul(factor);
            digits.filter(|&digits| layout.wide || i64::try_from(digits).is_ok())
        };
        let place = |entry| layout.head() + entry * layout.stride() + layout.key();
        for entry in 0..self.entries {
            if fits(read(self.words, place(entry), layout, value)).is_none() {
                return false;
            }
        }
        for entry in 0..self.entries {
            let digits = read(self.words, place(entry), layout, value);
            write(self.words, place(entry), layout, value, digits * factor);
        }
        let mut scales = self.words[2 + value / 8].to_le_bytes();
        scales[value % 8] = to;
        self.words[2 + value / 8] = i64::from_le_bytes(scales);
        true
    }

    /// Puts the entries in order and makes one of those of the same time and kind, so that the words no longer depend on the order
    /// in which the entries came.
    pub fn settle(&mut self) {
        let layout = self.layout;
        let (head, stride, key) = (layout.head(), layout.stride(), layout.key());
        let entries = &mut self.words[head..head + self.entries * stride];
        sort(entries, stride);
        let mut kept = 0;
        for entry in 1..self.entries {
            let (before, rest) = entries.split_at_mut(entry * stride);
            let (last, next) = (&mut before[kept * stride..][..stride], &rest[..stride]);
            // The count is the last word of the key.
            let same = key - usize::from(layout.events);
            if last[..same] == next[..same] && merge(last, next, layout) {
                continue;
            }
            kept += 1;
            entries.copy_within(entry * stride..(entry + 1) * stride, kept * stride);
        }
        self.entries = self.entries.min(kept + 1);
    }

    /// Adds the entries of another log of the same layout but for the width. Says what stands in the way, having added nothing.
    pub fn append(&mut self, other: &Log) -> Push {
        let (layout, count) = (self.layout, other.entries);
        if self.used() + count * layout.stride() > self.words.len() {
            return Push::Full;
        }
        if other.layout.wide && !layout.wide {
            return Push::TooWide;
        }
        for value in 0..layout.values {
            let to = other.scale(value);
            if to > self.scale(value) && !self.rescale(value, to) {
                return Push::TooWide;
            }
        }
        let before = self.entries;
        for entry in 0..count {
            let from = other.layout.head() + entry * other.layout.stride();
            let to = self.used();
            let key = layout.key();
            self.words[to..to + key].copy_from_slice(&other.words[from..from + key]);
            for value in 0..layout.values {
                let digits = read(other.words, from + key, other.layout, value);
                let scale = other.scale(value);
                let raised = Decimal {
                    mantissa: digits,
                    scale,
                }
                .at(self.scale(value))
                .filter(|&digits| layout.wide || i64::try_from(digits).is_ok());
                let Some(raised) = raised else {
                    self.entries = before;
                    return Push::TooWide;
                };
                write(self.words, to + key, layout, value, raised);
            }
            self.entries += 1;
        }
        Push::Done
    }

    /// Copies it into an empty log of the same layout but for the width, with room for all entries.
    pub fn widen(&self, target: &mut Log) {
        let scales = 2..self.layout.head();
        target.words[scales.clone()].copy_from_slice(&self.words[scales]);
        target.append(self);
    }
}

fn scale(words: &[i64], value: usize) -> u8 {
    words[2 + value / 8].to_le_bytes()[value % 8]
}

fn read(words: &[i64], start: usize, layout: Layout, value: usize) -> i128 {
    if layout.wide {
        let low = words[start + 2 * value] as u64;
        i128::from(words[start + 2 * value + 1]) << 64 | i128::from(low)
    } else {
        words[start + value].into()
    }
}

fn write(words: &mut [i64], start: usize, layout: Layout, value: usize, digits: i128) {
    if layout.wide {
        words[start + 2 * value] = digits as i64;
        words[start + 2 * value + 1] = (digits >> 64) as i64;
    } else {
        words[start + value] = digits as i64;
    }
}

/// Adds the second entry to the first, or changes nothing and says so.
fn merge(first: &mut [i64], second: &[i64], layout: Layout) -> bool {
    let key = layout.key();
    let sum = |value| {
        let (a, b) = (
            read(first, key, layout, value),
            read(second, key, layout, value),
        );
        let sum = a.checked_add(b);
        sum.filter(|&sum| layout.wide || i64::try_from(sum).is_ok())
    };
    if !(0..layout.values).all(|value| sum(value).is_some()) {
        return false;
    }
    for value in 0..layout.values {
        let digits = read(first, key, layout, value) + read(second, key, layout, value);
        write(first, key, layout, value, digits);
    }
    if layout.events {
        first[key - 1] += second[key - 1];
    }
    true
}

/// Sorts entries of `stride` words by their words.
fn sort(words: &mut [i64], stride: usize) {
    match stride {
        1 => words.sort_unstable(),
        2 => words.as_chunks_mut::<2>().0.sort_unstable(),
        3 => words.as_chunks_mut::<3>().0.sort_unstable(),
        4 => words.as_chunks_mut::<4>().0.sort_unstable(),
        5 => words.as_chunks_mut::<5>().0.sort_unstable(),
        _ => {
            let mut entries: Vec<&[i64]> = words.chunks_exact(stride).collect();
            if entries.is_sorted() {
                return;
            }
            entries.sort_unstable();
            let sorted = entries.concat();
            words.copy_from_slice(&sorted);
        }
    }
}

/// The log of a customer, read.
#[derive(Debug, Default)]
pub struct Entries {
    /// Times, days, kinds and counts, in the order of days and times.
    pub keys: Vec<Key>,
    /// The values of the entries, one entry behind the other.
    pub values: Vec<i128>,
    /// The scale of each value; as many as an entry has.
    pub scales: Vec<u8>,
}

/// When an entry happened, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Days since 2000-01-01.
    pub day: i32,
    /// Days or microseconds since 2000-01-01.
    pub time: i64,
    /// Which of the kinds of its log it is.
    pub kind: u16,
    /// How many rows of the log it stands for.
    pub count: i64,
}

impl Entries {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.scales.clear();
    }

    /// Reads what [`Log`] wrote: four bytes that say how many entries there are, and the words.
    ///
    /// # Errors
    /// Where the bytes are nothing of the kind.
    pub fn read(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let (count, words) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
        let (words, rest) = words.as_chunks::<8>();
        let word = |at: usize| i64::from_ne_bytes(words[at]);
        let layout = words
            .first()
            .and_then(|&word| Layout::of(i64::from_ne_bytes(word)));
        let layout = layout.ok_or_else(damaged)?;
        let (head, stride, key) = (layout.head(), layout.stride(), layout.key());
        let count = u32::from_ne_bytes(*count) as usize;
        let expected = count.checked_mul(stride).and_then(|n| n.checked_add(head));
        if !rest.is_empty() || expected != Some(words.len()) {
            return Err(damaged());
        }
        let scale = |value: usize| word(2 + value / 8).to_le_bytes()[value % 8];
        self.scales.extend((0..layout.values).map(scale));
        if self.scales.iter().any(|&scale| scale > MAX_SCALE) {
            return Err(damaged());
        }
        self.keys.try_reserve(count).map_err(|_| no_memory())?;
        self.values
            .try_reserve(count * layout.values)
            .map_err(|_| no_memory())?;
        for entry in 0..count {
            let start = head + entry * stride;
            let time = word(start);
            let day = if layout.instants {
                word(start + 1)
            } else {
                time
            };
            let at_events = start + 1 + usize::from(layout.instants);
            let (kind, count) = match layout.events {
                true => (word(at_events), word(at_events + 1)),
                false => (0, 1),
            };
            self.keys.push(Key {
                day: i32::try_from(day).map_err(|_| damaged())?,
                time,
                kind: u16::try_from(kind).map_err(|_| damaged())?,
                count,
            });
            for value in 0..layout.values {
                self.values.push(if layout.wide {
                    let low = word(start + key + 2 * value) as u64;
                    i128::from(word(start + key + 2 * value + 1)) << 64 | i128::from(low)
                } else {
                    word(start + key + value).into()
                });
            }
        }
        if layout.instants {
            self.sort_by_day();
        }
        Ok(())
    }

    /// Where clocks are put back over midnight, a day goes on after the next one has begun.
    fn sort_by_day(&mut self) {
        if self.keys.is_sorted_by_key(|key| key.day) {
            return;
        }
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by_key(|&entry| (self.keys[entry].day, self.keys[entry].time, entry));
        let width = self.scales.len();
        self.values = order
            .iter()
            .flat_map(|&entry| &self.values[entry * width..(entry + 1) * width])
            .copied()
            .collect();
        self.keys = order.iter().map(|&entry| self.keys[entry]).collect();
    }

    /// Entries with their values.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &[i128])> {
        let width = self.scales.len();
        (self.keys.iter().enumerate())
            .map(move |(entry, &key)| (key, &self.values[entry * width..(entry + 1) * width]))
    }
}

fn damaged() -> Error {
    Error::data("the collected log of a customer is damaged")
        .detail("It is not as ltv.collect wrote it.")
}

fn no_memory() -> Error {
    Error::new(ErrorKind::Resources, "out of memory").detail("The log of a customer did not fit.")
}
