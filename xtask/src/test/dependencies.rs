//! `rust/dependencies` and `rust/licences`: every crate is used, and may be handed on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{TokenStream, TokenTree};

use crate::dependencies::Dependencies;
use crate::package::licences;
use crate::project::Project;

const PACKAGES: &[&str] = &["", "crates/ltv-core", "crates/ltv-cuda", "xtask"];

pub fn licences(project: &Project) -> Result<()> {
    let all = ["pg_ltv", "ltv-core", "ltv-cuda", "xtask"];
    licences::check(project, &Dependencies::of(project, &all, "pg_ltv/pg15")?)
}

/// What a manifest names, its sources name, too.
pub fn check(project: &Project) -> Result<()> {
    let mut unused = Vec::new();
    for package in PACKAGES {
        let directory = project.root.join(package);
        let words = words_below(&directory)?;
        let text = fs::read_to_string(directory.join("Cargo.toml"))?;
        for name in named(&text).with_context(|| format!("{package}/Cargo.toml"))? {
            if !words.contains(&name.replace('-', "_")) {
                unused.push(format!("{}: {name}", directory.display()));
            }
        }
    }
    if !unused.is_empty() {
        bail!("nothing uses these crates:\n{}", unused.join("\n"));
    }
    Ok(())
}

/// The crates that a manifest asks for.
fn named(manifest: &str) -> Result<BTreeSet<String>> {
    let manifest: toml::Table = manifest.parse()?;
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let tables = sections
        .iter()
        .filter_map(|name| manifest.get(*name)?.as_table());
    Ok(tables.flat_map(|table| table.keys().cloned()).collect())
}

/// Every identifier in the Rust files of a package.
fn words_below(package: &Path) -> Result<BTreeSet<String>> {
    let mut words = BTreeSet::new();
    let mut open: Vec<PathBuf> = ["src", "tests", "examples", "benches"]
        .map(|name| package.join(name))
        .into();
    open.push(package.join("build.rs"));
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path)?.flatten().map(|entry| entry.path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.is_file() {
            let tokens: TokenStream = fs::read_to_string(&path)?
                .parse()
                .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
            collect(tokens, &mut words);
        }
    }
    Ok(words)
}

fn collect(tokens: TokenStream, words: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => drop(words.insert(word.to_string())),
            TokenTree::Group(group) => collect(group.stream(), words),
            _ => {}
        }
    }
}
