//! A categorical column: one code per row into a dictionary of the values seen.

use super::frequency::CountSketch;
use super::order::keep;
use indexmap::IndexSet;

/// Bytes of an entry in the dictionary besides its text: the entry, its place in the index, both with room to grow, and
/// what the allocator adds.
const ENTRY: usize = 96;

/// Code 0 is the missing value; code `i` is the `i`-th value, in the order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct CategoryColumn {
    codes: Vec<u32>,
    values: IndexSet<Box<str>>,
    text_bytes: usize,
    /// Counts the values that come when there is no room for more.
    late: Option<CountSketch>,
}

impl CategoryColumn {
    /// Without `room`, a new value counts as missing until it has come often enough to matter. Returns the bytes by
    /// which the dictionary has grown.
    pub fn push(&mut self, value: &str, room: bool) -> usize {
        let mut grown = 0;
        let code = if value.is_empty() {
            0
        } else if let Some(index) = self.values.get_index_of(value) {
            index + 1
        } else if room || self.late.get_or_insert_default().is_frequent(value) {
            self.text_bytes += value.len();
            grown = value.len() + ENTRY;
            self.values.insert_full(value.into()).0 + 1
        } else {
            0
        };
        self.codes.push(u32::try_from(code).unwrap_or(0));
        grown
    }

    /// Whether there was no room for some values.
    pub fn is_cut_short(&self) -> bool {
        self.late.is_some()
    }

    /// A row whose code is known, of this dictionary or of another one that goes along.
    pub(super) fn push_code(&mut self, code: u32) {
        self.codes.push(code);
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.codes.truncate(rows);
    }

    /// Forgets the rows and their memory, not the dictionary.
    pub(super) fn forget_rows(&mut self) {
        self.codes = Vec::new();
    }

    /// Some rows, with the same dictionary.
    pub fn pick(&self, rows: &[u32]) -> Self {
        Self {
            codes: rows.iter().map(|&row| self.codes[row as usize]).collect(),
            values: self.values.clone(),
            text_bytes: self.text_bytes,
            late: None,
        }
    }

    /// The values in the order of their codes, from code 1.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &str> {
        self.values.iter().map(AsRef::as_ref)
    }

    /// The code of each row.
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(super) fn keep(&mut self, stays: &[bool]) {
        keep(&mut self.codes, 1, stays);
    }

    pub(super) fn codes_mut(&mut self) -> &mut [u32] {
        &mut self.codes
    }

    /// Gives up the dictionary and returns the codes.
    pub fn into_codes(self) -> Vec<u32> {
        self.codes
    }

    pub(super) fn dictionary_bytes(&self) -> usize {
        self.text_bytes + self.values.len() * ENTRY
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        let late = self.late.as_ref().map_or(0, CountSketch::memory_bytes);
        self.codes.capacity() * 4 + self.dictionary_bytes() + late
    }
}
