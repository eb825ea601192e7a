//! The crates that the extension is made of, from cargo's metadata and Cargo.lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::project::Project;
use crate::{cargo, shell};

pub struct Crate {
    pub name: String,
    pub version: String,
    /// An SPDX expression; empty where the crate names none.
    pub licence: String,
    pub authors: Vec<String>,
    pub repository: String,
    pub directory: PathBuf,
    /// Of this workspace.
    pub own: bool,
    /// SHA-256 of the archive in the registry.
    pub checksum: Option<String>,
    /// Places in [`Dependencies::crates`].
    pub needs: BTreeSet<usize>,
}

impl Crate {
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

pub struct Dependencies {
    /// By name and version.
    pub crates: Vec<Crate>,
}

impl Dependencies {
    /// What ends up in the libraries of these packages: they themselves, and everything that they need but to be built.
    pub fn of(project: &Project, packages: &[&str], features: &str) -> Result<Dependencies> {
        let metadata = metadata(project, features)?;
        let checksums = checksums(project)?;
        let packages_by_id: BTreeMap<&str, &Value> = list(&metadata["packages"])
            .map(|package| (text(&package["id"]), package))
            .collect();
        let needs_by_id: BTreeMap<&str, BTreeSet<&str>> = list(&metadata["resolve"]["nodes"])
            .map(|node| (text(&node["id"]), needs(node)))
            .collect();
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = packages_by_id
            .iter()
            .filter(|(_, package)| packages.contains(&text(&package["name"])))
            .map(|(id, _)| *id)
            .collect();
        while let Some(id) = open.pop() {
            if wanted.insert(id) {
                open.extend(needs_by_id.get(id).into_iter().flatten());
            }
        }
        let mut order: Vec<&str> = wanted.into_iter().collect();
        order.sort_by_key(|id| {
            let package = packages_by_id[id];
            (text(&package["name"]), text(&package["version"]))
        });
        let place: BTreeMap<&str, usize> = order.iter().copied().zip(0..).collect();
        let crates = order
            .iter()
            .map(|id| {
                let mut found = read(packages_by_id[id]);
                let key = (found.name.clone(), found.version.clone());
                found.checksum = checksums.get(&key).cloned();
                found.needs = needs_by_id[id].iter().map(|need| place[need]).collect();
                found
            })
            .collect();
        Ok(Dependencies { crates })
    }

    pub fn foreign(&self) -> impl Iterator<Item = &Crate> {
        self.crates.iter().filter(|each| !each.own)
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn metadata(project: &Project, features: &str) -> Result<Value> {
    let mut cargo = cargo::plain_cargo(project);
    cargo
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--no-default-features", "--features", features])
        .args(["--filter-platform", &host()?]);
    serde_json::from_str(&shell::capture(&mut cargo)?).context("cargo metadata is no JSON")
}

fn host() -> Result<String> {
    let version = shell::capture(Command::new("rustc").arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not say what it compiles for")
}

/// Without what only builds or tests it.
fn needs(node: &Value) -> BTreeSet<&str> {
    list(&node["deps"])
        .filter(|need| list(&need["dep_kinds"]).any(|kind| kind["kind"].is_null()))
        .map(|need| text(&need["pkg"]))
        .collect()
}

fn read(package: &Value) -> Crate {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    Crate {
        name: text(&package["name"]).to_owned(),
        version: text(&package["version"]).to_owned(),
        // As crates wrote it before SPDX expressions.
        licence: text(&package["license"])
            .replace(" / ", " OR ")
            .replace('/', " OR "),
        authors: list(&package["authors"])
            .map(|a| text(a).to_owned())
            .collect(),
        repository: text(&package["repository"]).to_owned(),
        directory: manifest.parent().map(PathBuf::from).unwrap_or_default(),
        own: package["source"].is_null(),
        checksum: None,
        needs: BTreeSet::new(),
    }
}

/// By name and version.
fn checksums(project: &Project) -> Result<BTreeMap<(String, String), String>> {
    let text = fs::read_to_string(project.root.join("Cargo.lock"))?;
    let lock: toml::Table = text.parse().context("Cargo.lock is no TOML")?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let field = |package: &toml::Value, name: &str| {
        let value = package.get(name).and_then(toml::Value::as_str);
        value.map(str::to_owned)
    };
    Ok(packages
        .into_iter()
        .flatten()
        .filter_map(|package| {
            let key = (field(package, "name")?, field(package, "version")?);
            Some((key, field(package, "checksum")?))
        })
        .collect())
}
