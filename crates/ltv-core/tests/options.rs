//! Options and recipes: what is accepted, and what the errors say.

use ltv_core::error::ErrorKind;
use ltv_core::recipe::{OPTIONS, Options, Recipe, reference};
use serde_json::{Value, json};

#[test]
fn defaults_read_back() {
    let defaults = Options::default();
    assert_eq!(Options::from_json(&Value::Null).unwrap(), defaults);
    assert_eq!(Options::from_json(&defaults.to_json()).unwrap(), defaults);
    let recipe = Recipe::default();
    assert_eq!(Recipe::from_json(&recipe.to_json()).unwrap(), recipe);
}

#[test]
fn every_default_is_allowed() {
    let defaults = Options::default().to_json();
    for doc in OPTIONS {
        let value = &defaults[doc.key];
        assert!(value.is_null() || doc.kind.accepts(value), "{}", doc.key);
        assert!(reference().contains(&format!("| `{}` |", doc.key)));
    }
}

#[test]
fn values_are_taken() {
    let options = Options::from_json(&json!({
        "epochs": 7.0, "learning_rate": 1, "hidden_sizes": [], "cross_rank": 4,
        "device": "cuda:1", "seed": null, "categorical": ["region"]
    }))
    .unwrap();
    assert_eq!((options.epochs, options.learning_rate), (7, 1.0));
    assert_eq!((options.cross_rank, options.seed), (Some(4), 42));
    assert!(options.hidden_sizes.is_empty());
    assert_eq!(options.categorical, ["region"]);
}

#[test]
fn errors_name_the_key_and_what_is_allowed() {
    let cases = [
        (json!({"epoch": 3}), "unknown option \"epoch\""),
        (
            json!({"epochs": 0}),
            "option \"epochs\" must be an integer between 1 and 100000",
        ),
        (
            json!({"epochs": 1.5}),
            "option \"epochs\" must be an integer between 1 and 100000",
        ),
        (
            json!({"dropout": "a lot"}),
            "option \"dropout\" must be a number between 0 and 0.95",
        ),
        (
            json!({"optimizer": "sgd"}),
            "option \"optimizer\" must be one of \"adam\", \"adamw\"",
        ),
        (
            json!({"hidden_sizes": [0]}),
            "option \"hidden_sizes\" must be an array of at most 32 integers between 1 and 65536",
        ),
        (
            json!({"view_weights": [1, 1]}),
            "option \"view_weights\" must be an array of 3 numbers between 0 and 1",
        ),
        (
            json!({"batch_norm": 1}),
            "option \"batch_norm\" must be true or false",
        ),
        (json!([1]), "options must be a JSON object"),
        (
            json!({"attention_size": 10, "attention_heads": 4}),
            "option \"attention_size\" must be a multiple of \"attention_heads\"",
        ),
    ];
    for (value, message) in cases {
        let error = Options::from_json(&value).unwrap_err();
        assert_eq!(error.message, message);
        assert_eq!(error.kind, ErrorKind::InvalidParameter);
        assert!(error.detail.is_some());
    }
    let error = Options::from_json(&json!({"epoch": 3})).unwrap_err();
    assert_eq!(error.hint.unwrap(), "Perhaps \"epochs\" was meant.");
    let error = Recipe::from_json(&json!({"objective": "zinl"})).unwrap_err();
    assert_eq!(error.message, "unknown objective \"zinl\"");
    assert!(error.detail.unwrap().contains("ziln"));
}

/// `docs/options.md` is this table; after a change of the options, copy what this test prints into it.
#[test]
fn the_documentation_lists_the_options() {
    let page = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/options.md"
    ))
    .unwrap_or_default();
    let table = reference();
    assert!(
        page.ends_with(&table),
        "docs/options.md should end with:\n{table}"
    );
}
