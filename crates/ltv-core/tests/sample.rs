//! Which customers are left where there are more rows than a training is to have.

use ltv_core::data::{Horizons, RecordFormat, Sample, Split, TrainingTable, customer_hash, spread};
use ltv_core::schema::{ColumnKind, FeatureColumn};
use std::collections::HashMap;

/// As the worker hashes an id: FNV-1a.
fn key(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn lot(customer: u32) -> u8 {
    Sample::lot(key(&customer.to_string()))
}

/// Who stays of these rows, each of a customer.
fn drawn(rows: &[u32], most: usize) -> (Sample, Vec<u32>) {
    let mut sample = Sample::new(most);
    for &customer in rows {
        sample.take(lot(customer));
    }
    let mut kept: Vec<u32> = rows.to_vec();
    kept.retain(|&customer| sample.keeps(lot(customer)));
    kept.sort_unstable();
    (sample, kept)
}

/// Three rows of each of so many customers.
fn rows(customers: u32) -> Vec<u32> {
    (0..3 * customers).map(|row| row / 3).collect()
}

#[test]
fn the_share_is_halved_until_few_enough_rows_are_left() {
    for (most, halvings) in [(300_000, 0), (299_999, 1), (100_000, 2), (2000, 8), (0, 0)] {
        let (sample, kept) = drawn(&rows(100_000), most);
        assert_eq!(sample.halvings(), halvings, "of {most}");
        assert_eq!((sample.kept(), sample.read()), (kept.len() as u64, 300_000));
        let expected = 300_000.0 * 0.5_f64.powi(halvings.into());
        let deviation = 4.0 * (3.0 * expected).sqrt();
        assert!(
            (kept.len() as f64 - expected).abs() < deviation,
            "of {most}"
        );
        let says = sample.to_json().map(|json| json["share"].as_f64());
        let share = (halvings > 0).then(|| Some(0.5_f64.powi(halvings.into())));
        assert_eq!(says, share);
        assert_eq!(sample.remark().is_some(), halvings > 0);
    }
}

#[test]
fn customers_stay_or_go_with_all_rows() {
    let (_, kept) = drawn(&rows(100_000), 20_000);
    let mut counts = HashMap::new();
    for customer in kept {
        *counts.entry(customer).or_insert(0) += 1;
    }
    assert!(counts.len() > 4000 && counts.values().all(|count| *count == 3));
}

#[test]
fn the_same_ones_stay_whatever_the_order() {
    let mut rows = rows(50_000);
    let (_, kept) = drawn(&rows, 7000);
    rows.reverse();
    assert_eq!(drawn(&rows, 7000).1, kept);
    rows.sort_by_key(|&row| spread(row.into()));
    assert_eq!(drawn(&rows, 7000).1, kept);
    // Those that go last come last.
    rows.sort_by_key(|&row| lot(row));
    assert_eq!(drawn(&rows, 7000).1, kept);
    rows.reverse();
    assert_eq!(drawn(&rows, 7000).1, kept);
}

/// A share of the sample is as large as among all, within what chance does to so many.
fn assert_share(kept: &[u32], of: impl Fn(&str) -> bool, share: f64, what: &str) {
    let count = kept.iter().filter(|id| of(&id.to_string())).count();
    let expected = share * kept.len() as f64;
    assert!(
        (count as f64 - expected).abs() < 4.0 * expected.sqrt(),
        "{what}: {count} instead of {expected}"
    );
}

#[test]
fn it_has_nothing_to_do_with_the_other_draws() {
    let customers: Vec<u32> = (0..400_000).collect();
    let (_, kept) = drawn(&customers, 60_000);
    for share in [0.1, 0.2, 0.5] {
        let held_out = |id: &str| Split::from_id(id, share) == Split::Validation;
        assert_share(&kept, held_out, share, "validation");
        let drawn = |id: &str| customer_hash::fraction("holdout", id) < share;
        assert_share(&kept, drawn, share, "another draw");
    }
    // What a hash of 32 bits deals into folds, and where a row lies in a file.
    let fnv32 = |id: &str| {
        id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    };
    for fold in 0..5 {
        assert_share(&kept, |id| fnv32(id) % 5 == fold, 0.2, "fold");
        let fifth = u64::MAX / 5;
        let part = |id: &str| spread(key(id)) / fifth == u64::from(fold);
        assert_share(&kept, part, 0.2, "part of the file");
        // Numbers one after the other are not spread evenly by this hash itself.
        let part = |id: &str| key(id) / fifth == u64::from(fold);
        let all = customers.iter().filter(|id| part(&id.to_string())).count();
        let share = all as f64 / customers.len() as f64;
        assert_share(&kept, part, share, "part of the memory");
    }
}

#[test]
fn a_customer_with_too_many_rows_ends_nothing() {
    let mut sample = Sample::new(10);
    for _ in 0..100 {
        sample.take(64);
    }
    assert_eq!((sample.kept(), sample.halvings()), (100, 64));
    assert!(!sample.take(63));
    let mut sample = Sample::new(10);
    for _ in 0..100 {
        sample.take(3);
    }
    assert_eq!((sample.kept(), sample.halvings()), (0, 4));
}

/// Customers with columns of each kind; each value says whose it is.
fn table(customers: &[u32]) -> TrainingTable {
    let inputs = vec![
        FeatureColumn::new("number", ColumnKind::Numeric, "real"),
        FeatureColumn::new("name", ColumnKind::Categorical, "text"),
        FeatureColumn::new("pair", ColumnKind::Vector { len: 2 }, "real[]"),
        FeatureColumn::new("steps", ColumnKind::Sequence { channels: 1 }, "real[]"),
    ];
    let table = TrainingTable::new(inputs, true).unwrap();
    let mut table = table.with_horizons(vec![30.0, 90.0]);
    // The same codes whoever is in it.
    for customer in 0..40 {
        let mut row = table.row();
        row.null().unwrap();
        row.category(Some(&format!("name {customer}"))).unwrap();
        row.null().unwrap();
        row.null().unwrap();
        row.finish_horizons(&[0.0, 0.0], Split::Train, None)
            .unwrap();
    }
    table.forget_rows();
    for &customer in customers {
        let of = customer as f32;
        let mut row = table.row();
        row.customer(&customer.to_string());
        row.number(Some(of.into())).unwrap();
        row.category(Some(&format!("name {customer}"))).unwrap();
        row.vector(&[of, -of]).unwrap();
        row.sequence(&vec![of; customer as usize % 4]).unwrap();
        let split = Split::from_id(&customer.to_string(), 0.5);
        row.finish_horizons(&[of.into(), 2.0 * f64::from(of)], split, Some(of))
            .unwrap();
    }
    table
}

fn bytes(table: &TrainingTable) -> Vec<u8> {
    let format = RecordFormat::of(table, 4);
    let mut bytes = Vec::new();
    for row in 0..table.rows() {
        format.write(table, row, (7, 0), &mut bytes);
    }
    bytes
}

#[test]
fn a_table_keeps_whole_rows() {
    let customers: Vec<u32> = (0..40).collect();
    let (sample, kept) = drawn(&customers, 25);
    assert!(!kept.is_empty() && kept.len() < 40);
    let lots: Vec<u8> = customers.iter().map(|&customer| lot(customer)).collect();
    let mut all = table(&customers);
    let memory = all.memory_bytes();
    all.keep(&sample, &lots);
    assert_eq!(all.rows(), kept.len());
    assert_eq!(all.horizons().map(Horizons::count), Some(2));
    assert!(bytes(&all) == bytes(&table(&kept)));
    assert!(all.memory_bytes() <= memory);
    // And goes on.
    let mut row = all.row();
    for _ in 0..4 {
        row.null().unwrap();
    }
    row.finish_horizons(&[1.0, 2.0], Split::Train, None)
        .unwrap();
    assert_eq!(all.rows(), kept.len() + 1);
}

#[test]
fn a_record_knows_its_lot_and_its_part() {
    let table = table(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let format = RecordFormat::of(&table, 4);
    for lot in [0, 1, 17, 64] {
        for row in 0..table.rows() {
            let mut record = Vec::new();
            format.write(&table, row, (9, lot), &mut record);
            let is_validation = Split::from_id(&(row + 1).to_string(), 0.5) == Split::Validation;
            assert_eq!(format.lot(&record), lot);
            assert_eq!(format.is_validation(&record), is_validation);
        }
    }
}
