//! Customers whose training rows lie in a file.

use crate::common::TestResult;
use crate::customers::Customers;
use ltv_core::data::{RecordFormat, SpilledRows, Split, TrainingData};
use std::fs::File;
use std::io::Write;

/// The training rows of the customers in a file.
pub fn data(customers: &Customers, rows_per_block: usize) -> TestResult<TrainingData> {
    in_file(customers, rows_per_block, |split| split == Split::Train)
}

/// And those for validation.
#[allow(dead_code)]
pub fn all(customers: &Customers, rows_per_block: usize) -> TestResult<TrainingData> {
    in_file(customers, rows_per_block, |_| true)
}

/// The file has no name any more.
fn in_file(
    customers: &Customers,
    rows_per_block: usize,
    wanted: fn(Split) -> bool,
) -> TestResult<TrainingData> {
    let table = customers.table();
    let format = RecordFormat::of(&table, 50);
    let mut bytes = Vec::new();
    let mut rows = 0;
    for row in 0..table.rows() {
        if wanted(customers.split[row]) {
            format.write(&table, row, (row as u64, 0), &mut bytes);
            rows += 1;
        }
    }
    assert_eq!(bytes.len(), rows * format.bytes());
    let name = format!(
        "pg_ltv-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    File::create(&path)?.write_all(&bytes)?;
    let file = File::open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(TrainingData {
        rows: table.rows(),
        spilled: Some(SpilledRows::new(file, format, rows as u64, rows_per_block)),
        table,
    })
}
