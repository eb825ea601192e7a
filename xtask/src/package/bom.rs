//! The software bill of materials: CycloneDX, as JSON.

use serde_json::{Value, json};

use crate::dependencies::{Crate, Dependencies};
use crate::onnxruntime;

/// Says the same each time: no day, no random number.
pub fn cyclonedx(version: &str, dependencies: &Dependencies) -> Value {
    let onnxruntime = format!("pkg:pypi/onnxruntime@{}", onnxruntime::VERSION);
    let (root, others): (Vec<&Crate>, Vec<&Crate>) = dependencies
        .crates
        .iter()
        .partition(|each| each.name == "pg_ltv");
    let mut components: Vec<Value> = others.into_iter().map(component).collect();
    components.push(json!({
        "type": "library", "bom-ref": onnxruntime, "name": "onnxruntime",
        "version": onnxruntime::VERSION, "purl": onnxruntime,
        "licenses": [{"license": {"id": "MIT"}}],
    }));
    let edges: Vec<Value> = dependencies
        .crates
        .iter()
        .map(|each| {
            let needs = each.needs.iter().map(|place| &dependencies.crates[*place]);
            let mut needs: Vec<String> = needs.map(reference).collect();
            if each.name == "pg_ltv" {
                needs.push(onnxruntime.clone());
            }
            json!({"ref": reference(each), "dependsOn": needs})
        })
        .collect();
    let root = root.into_iter().map(reference).next();
    json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {"component": {
            "type": "library", "bom-ref": root, "name": "pg_ltv", "version": version, "purl": root,
            "licenses": [{"license": {"id": "PostgreSQL"}}],
        }},
        "components": components,
        "dependencies": edges,
    })
}

fn reference(of: &Crate) -> String {
    format!("pkg:cargo/{}@{}", of.name, of.version.replace('+', "%2B"))
}

fn component(of: &Crate) -> Value {
    let mut component = json!({
        "type": "library", "bom-ref": reference(of), "name": of.name, "version": of.version,
        "purl": reference(of), "licenses": [{"expression": of.licence}],
    });
    if let Some(checksum) = &of.checksum {
        component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
    }
    if !of.repository.is_empty() {
        component["externalReferences"] = json!([{"type": "vcs", "url": of.repository}]);
    }
    component
}
