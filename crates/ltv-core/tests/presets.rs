//! Presets: every file is readable, complete and a valid recipe.

use ltv_core::recipe::{BACKBONES, OBJECTIVES, Preset, Recipe};
use serde_json::json;

#[test]
fn every_preset_is_a_recipe() {
    for name in Preset::names() {
        let preset = Preset::find(name).unwrap();
        assert!(
            preset.source.contains(char::is_numeric),
            "{name}: {}",
            preset.source
        );
        let recipe = Recipe::from_json(&json!({"preset": name})).unwrap();
        assert_eq!(recipe.objective, preset.objective);
        assert_eq!(recipe.preset.as_deref(), Some(name));
    }
}

#[test]
fn every_file_of_the_folder_is_a_preset() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    files.sort();
    assert_eq!(files, Preset::names().collect::<Vec<_>>());
}

#[test]
fn every_published_model_has_a_preset() {
    let presets: Vec<Preset> = Preset::names()
        .map(|name| Preset::find(name).unwrap())
        .collect();
    for objective in OBJECTIVES
        .iter()
        .filter(|name| !["mse", "huber", "tweedie"].contains(name))
    {
        assert!(
            presets.iter().any(|preset| preset.objective == *objective),
            "{objective}"
        );
    }
    for backbone in BACKBONES {
        let found = presets
            .iter()
            .any(|preset| preset.backbone.as_deref() == Some(backbone));
        assert!(found, "{backbone}");
    }
}

#[test]
fn the_caller_wins_over_the_preset() {
    let recipe = Recipe::from_json(&json!({
        "preset": "cmltv",
        "backbone": "dcn",
        "options": {"regression_contrast": 0.25},
    }))
    .unwrap();
    assert_eq!(
        (recipe.objective.as_str(), recipe.backbone.as_str()),
        ("cmltv", "dcn")
    );
    assert_eq!(recipe.options.regression_contrast, 0.25);
    assert_eq!(recipe.options.classification_contrast, 1.0);
}

#[test]
fn an_unknown_preset_names_the_known_ones() {
    let error = Recipe::from_json(&json!({"preset": "resnet"})).unwrap_err();
    assert_eq!(error.message, "unknown preset \"resnet\"");
    assert!(error.detail.unwrap().contains("expltv"));
}
