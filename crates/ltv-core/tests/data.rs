//! Training tables: what rows they take and refuse.

use ltv_core::data::{ColumnData, Split, TrainingTable, customer_hash};
use ltv_core::preprocess::Preprocessing;
use ltv_core::recipe::Options;
use ltv_core::schema::{ColumnKind, FeatureColumn, Schema};
use serde_json::json;

fn inputs() -> Vec<FeatureColumn> {
    vec![
        FeatureColumn::new("recency", ColumnKind::Numeric, "integer"),
        FeatureColumn::new("country", ColumnKind::Categorical, "text"),
        FeatureColumn::new("parts", ColumnKind::Vector { len: 2 }, "real[]"),
        FeatureColumn::new(
            "spend",
            ColumnKind::Sequence { channels: 2 },
            "double precision[]",
        ),
    ]
}

#[test]
fn rows_are_taken_and_unfinished_ones_forgotten() {
    let mut table = TrainingTable::new(inputs(), false).unwrap();
    let mut row = table.row();
    row.number(Some(1.0)).unwrap();
    row.category(Some("de")).unwrap();
    let mut row = table.row();
    for _ in 0..4 {
        row.null().unwrap();
    }
    row.finish(0.0, Split::Train, None).unwrap();
    let mut row = table.row();
    row.number(Some(3.0)).unwrap();
    row.category(Some("fr")).unwrap();
    row.vector(&[1.0, f32::NAN]).unwrap();
    row.sequence(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    row.finish(5.0, Split::Validation, None).unwrap();
    assert_eq!(table.rows(), 2);
    assert_eq!(table.target(), &[0.0, 5.0]);
}

#[test]
fn bad_rows_are_refused() {
    let mut table = TrainingTable::new(inputs(), false).unwrap();
    let mut row = table.row();
    row.null().unwrap();
    row.null().unwrap();
    let error = row.vector(&[1.0]).unwrap_err();
    assert_eq!(
        error.message,
        "the arrays of column \"parts\" differ in length"
    );
    let mut row = table.row();
    for _ in 0..3 {
        row.null().unwrap();
    }
    assert!(row.sequence(&[1.0]).is_err());
    for target in [-1.0, f64::NAN, f64::INFINITY] {
        let mut row = table.row();
        for _ in 0..4 {
            row.null().unwrap();
        }
        assert!(row.finish(target, Split::Train, None).is_err());
    }
    assert_eq!(table.rows(), 0);
    assert!(TrainingTable::new(vec![], false).is_err());
}

#[test]
fn columns_become_rows() {
    let table = TrainingTable::from_columns(
        inputs(),
        &[
            ColumnData::Numeric(vec![1.0, f32::NAN]),
            ColumnData::Categorical(vec![None, Some("de".to_owned())]),
            ColumnData::Vector(vec![1.0, 2.0, 3.0, 4.0]),
            ColumnData::Sequence(vec![vec![], vec![1.0, 2.0]]),
        ],
        &[0.0, 1.0],
        &[Split::Train, Split::Train],
        None,
    )
    .unwrap();
    assert_eq!(table.rows(), 2);
}

#[test]
fn split_by_id_is_the_documented_hash() {
    // sha256('7') starts with 7902699b: 0.4727 of 2^32.
    assert_eq!(Split::from_id("7", 0.48), Split::Validation);
    assert_eq!(Split::from_id("7", 0.47), Split::Train);
    // sha256('traffic:Zoë'), in UTF-8, starts with d44e5bbd.
    let zoe = customer_hash::fraction("traffic:", "Zoë");
    assert_eq!(zoe, f64::from(0xd44e_5bbd_u32) / 2_f64.powi(32));
    let share = (0..10_000)
        .filter(|id| Split::from_id(&id.to_string(), 0.2) == Split::Validation)
        .count();
    assert!((1_900..2_100).contains(&share));
    assert_eq!(Split::from_label("Test").unwrap(), None);
    assert_eq!(Split::from_label("t").unwrap(), Some(Split::Validation));
    assert!(Split::from_label("maybe").is_err());
}

#[test]
fn schemas_read_back() {
    let json = json!({
        "inputs": [
            {"name": "recency", "kind": "numeric", "type": "double precision"},
            {"name": "features", "kind": "vector", "len": 32, "type": "real[]"},
            {"name": "spend", "kind": "sequence", "channels": 2, "type": "real[]"}
        ],
        "outputs": ["ltv", "purchase_probability", "mu", "sigma"],
        "distribution": "zero_inflated_lognormal"
    });
    assert_eq!(Schema::from_json(&json).unwrap().to_json(), json);
    let imported = json!({
        "inputs": [{"name": "a", "kind": "numeric"}, {"name": "b", "kind": "numeric"}],
        "outputs": ["ltv"],
        "distribution": null,
        "packed": "x",
        "graph_outputs": {"ltv": "variable"}
    });
    assert_eq!(Schema::from_json(&imported).unwrap().to_json(), imported);
    assert!(Schema::from_json(&json!({"inputs": 3})).is_err());
}

#[test]
fn beyond_their_limit_dictionaries_take_frequent_values_only() {
    let inputs =
        ["id", "country"].map(|name| FeatureColumn::new(name, ColumnKind::Categorical, "text"));
    let mut table = TrainingTable::new(inputs.to_vec(), false).unwrap();
    table.limit_dictionaries(100_000);
    for number in 0..50_000 {
        let mut row = table.row();
        row.category(Some(&format!("customer {number}"))).unwrap();
        row.category(Some(if number < 40_000 { "DE" } else { "FR" }))
            .unwrap();
        row.finish(1.0, Split::Train, None).unwrap();
    }
    assert_eq!(table.cut_short(), ["id"]);
    assert!(table.dictionary_bytes() < 101_000);
    let (fitted, described) = {
        let rows: Vec<u32> = (0..50_000).collect();
        Preprocessing::fit(&table, &rows, &Options::default()).unwrap()
    };
    assert_eq!(fitted.shape().cardinalities, [1, 3]);
    assert!(described[0]["missing"].as_f64().unwrap() > 0.98);
    assert!(described[1]["missing"].as_f64().unwrap() < 0.01);
}

#[test]
fn rows_are_sorted_by_key_then_cut_off_then_target() {
    let inputs = vec![FeatureColumn::new("row", ColumnKind::Numeric, "real")];
    let rows = 500_u64;
    let key = |row: u64| (row * 7919) % 97 * (u64::MAX / 97);
    let day = |row: u64| (row % 3) as f32 * 30.0;
    let target = |row: u64| (row % 5) as f64;
    let mut table = TrainingTable::new(inputs, true).unwrap();
    for row in 0..rows {
        let mut writer = table.row();
        writer.number(Some(row as f64)).unwrap();
        let finished = writer.finish(target(row), Split::Train, Some(day(row)));
        finished.unwrap();
    }
    let mut wanted: Vec<u64> = (0..rows).collect();
    wanted.sort_by_key(|&row| (key(row), day(row) as u32, target(row) as u32, row));
    let (format, steps) = table.record_format();
    let bytes = |table: &TrainingTable, row: usize| {
        let mut bytes = Vec::new();
        format.write(table, row, (0, 0), &mut bytes);
        bytes
    };
    assert_eq!(steps, 0);
    let wanted: Vec<Vec<u8>> = (wanted.iter())
        .map(|&row| bytes(&table, row as usize))
        .collect();
    let keys: Vec<u64> = (0..rows).map(key).collect();
    table.sort_by_key(&keys);
    for (row, wanted) in wanted.iter().enumerate() {
        assert_eq!(&bytes(&table, row), wanted, "{row}");
    }
}
