//! Options and recipes: what is accepted, and what the errors say.

use ltv_core::error::ErrorKind;
use ltv_core::recipe::{Compare, Kind, OPTIONS, Options, Recipe, reference};
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
    assert_eq!(options.hidden_sizes, Some(Vec::new()));
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
        (
            json!({"rounds": 20_000, "leaves": 100}),
            "options \"rounds\", \"leaves\" and \"ensemble\" together ask for too much",
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

/// What a number or a list may be at most it may be, and no more; nothing is made of what lies beyond.
#[test]
fn every_option_has_its_bounds() {
    let list = |item: Value, length: usize| Value::Array(vec![item; length]);
    for doc in OPTIONS {
        let (within, beyond): (Vec<Value>, Vec<Value>) = match doc.kind {
            Kind::Integer { min, max } => (
                vec![json!(min), json!(max)],
                vec![json!(min - 1), json!(max + 1), json!(1e300), json!(0.5)],
            ),
            Kind::Number { min, max } => (
                vec![json!(min), json!(max)],
                vec![json!(min - 1.0), json!(max * 2.0), json!("NaN")],
            ),
            Kind::Integers { min, max, longest } => (
                vec![list(json!(max), longest), list(json!(min), 1)],
                vec![
                    list(json!(min), longest + 1),
                    list(json!(max + 1), 1),
                    list(json!(min - 1), 1),
                ],
            ),
            Kind::Numbers { min, max, count } => (
                vec![list(json!(max), count)],
                vec![list(json!(min), count + 1), list(json!(max * 2.0), count)],
            ),
            Kind::Choices(words) => (
                vec![list(json!(words[0]), words.len())],
                vec![list(json!(words[0]), words.len() + 1), json!([])],
            ),
            Kind::Columns => (
                vec![list(json!("a"), 1664)],
                vec![list(json!("a"), 1665), json!([1])],
            ),
            Kind::Boolean => (vec![json!(true)], vec![json!(1)]),
            Kind::Choice(words) => (vec![json!(words[0])], vec![json!("")]),
            Kind::Device => (vec![json!("cuda:255")], vec![json!("cuda:256")]),
        };
        for value in within {
            assert!(doc.kind.accepts(&value), "{}: {value}", doc.key);
        }
        for value in beyond {
            assert!(!doc.kind.accepts(&value), "{}: {value}", doc.key);
        }
    }
}

#[test]
fn epochs_of_all_networks_are_bounded() {
    let epochs = |options: Value| Options::from_json(&options);
    assert!(epochs(json!({"epochs": 100_000})).is_ok());
    assert!(epochs(json!({"epochs": 7812, "ensemble": 64})).is_ok());
    let error = epochs(json!({"epochs": 7813, "ensemble": 64})).unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidParameter);
    assert!(error.detail.unwrap().contains("500032"));
}

#[test]
fn candidates_of_a_comparison_are_bounded() {
    let compare = |objectives: Vec<&str>, values: usize| {
        let rates: Vec<f64> = (1..=values).map(|n| n as f64 * 1e-5).collect();
        let given = json!({"objectives": objectives, "backbones": ["mlp", "linear"], "search": {"learning_rate": rates}});
        Compare::from_json(&given, &Value::Null)
    };
    assert!(compare(vec!["ziln"], 5000).is_ok_and(|compare| compare.candidates.len() == 10_000));
    let error = compare(vec!["ziln"], 5001).unwrap_err();
    assert!(error.message.contains("too many candidates"));
    let error = compare(vec!["ziln"; 10], 1).unwrap_err();
    assert!(error.message.starts_with("objectives must name"));
}
