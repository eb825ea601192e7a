//! A categorical column: one code per row into a dictionary of the values seen.

use std::collections::HashMap;

/// Code 0 is the missing value; code `i` is `values[i - 1]`, in the order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct CategoryColumn {
    codes: Vec<u32>,
    values: Vec<String>,
    index: HashMap<String, u32>,
}

impl CategoryColumn {
    pub fn push(&mut self, value: &str) {
        let code = if value.is_empty() {
            0
        } else if let Some(code) = self.index.get(value) {
            *code
        } else {
            self.values.push(value.to_owned());
            let code = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
            self.index.insert(value.to_owned(), code);
            code
        };
        self.codes.push(code);
    }

    /// A row whose code is known, of this dictionary or of another one that goes along.
    pub(super) fn push_code(&mut self, code: u32) {
        self.codes.push(code);
    }

    pub fn truncate(&mut self, rows: usize) {
        self.codes.truncate(rows);
    }

    /// Some rows, with the same dictionary.
    pub fn pick(&self, rows: &[u32]) -> Self {
        Self {
            codes: rows.iter().map(|&row| self.codes[row as usize]).collect(),
            values: self.values.clone(),
            index: self.index.clone(),
        }
    }

    pub fn values(&self) -> &[String] {
        &self.values
    }

    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    pub(super) fn codes_mut(&mut self) -> &mut [u32] {
        &mut self.codes
    }

    /// Gives up the dictionary and returns the codes.
    pub fn into_codes(self) -> Vec<u32> {
        self.codes
    }

    pub fn memory_bytes(&self) -> usize {
        // Twice the text: once in the list, once as the key of the index.
        let text: usize = self.values.iter().map(String::capacity).sum();
        self.codes.capacity() * 4 + 2 * text + self.values.capacity() * 64
    }
}
