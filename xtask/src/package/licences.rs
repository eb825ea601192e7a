//! The licences of the crates in the library: whether they are allowed, and their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dependencies::{Crate, Dependencies};
use crate::project::Project;
use crate::shell;

/// For crates that say MIT and bring no text.
pub const MIT: &str = include_str!("MIT.txt");

/// An error that names each crate whose licence deny.toml does not allow.
pub fn check(project: &Project, dependencies: &Dependencies) -> Result<()> {
    let allowed = allowed(project)?;
    let mut wrong = Vec::new();
    for each in dependencies.foreign() {
        if !permits(&each.licence, &allowed) {
            wrong.push(format!("{}: `{}`", each.title(), each.licence));
        } else if texts(each)?.is_empty() && !permits(&each.licence, &["MIT".into()].into()) {
            wrong.push(format!("{}: brings no text of its licence", each.title()));
        }
    }
    if !wrong.is_empty() {
        bail!(
            "licences that deny.toml does not allow:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// The list that `cargo deny check licenses` goes by, too.
fn allowed(project: &Project) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(project.root.join("deny.toml")).context("no deny.toml")?;
    let deny: toml::Table = text.parse().context("deny.toml is no TOML")?;
    let list = deny.get("licenses").and_then(|table| table.get("allow"));
    let list = list
        .and_then(toml::Value::as_array)
        .context("deny.toml has no list licenses.allow")?;
    Ok(list
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect())
}

/// Whether an SPDX expression can be met with these licences alone.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut place = 0;
    let met = any(&words, &mut place, allowed);
    met && place == words.len()
}

fn any(words: &[&str], place: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, place, allowed);
    while words.get(*place) == Some(&"OR") {
        *place += 1;
        met |= all(words, place, allowed);
    }
    met
}

fn all(words: &[&str], place: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, place, allowed);
    while words.get(*place) == Some(&"AND") {
        *place += 1;
        met &= one(words, place, allowed);
    }
    met
}

fn one(words: &[&str], place: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let Some(word) = words.get(*place) else {
        return false;
    };
    *place += 1;
    if *word == "(" {
        let met = any(words, place, allowed);
        let closed = words.get(*place) == Some(&")");
        *place += 1;
        return met && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*place) == Some(&"WITH") {
        let exception = words.get(*place + 1).unwrap_or(&"");
        name = format!("{name} WITH {exception}");
        *place += 2;
    }
    allowed.contains(&name)
}

/// One text for all crates: which they are, then each licence with those that it is of.
pub fn notices(dependencies: &Dependencies) -> Result<String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = String::new();
    for each in dependencies.foreign() {
        table.push_str(&format!(
            "{}: {} {}\n",
            each.title(),
            each.licence,
            each.repository
        ));
        let mut found = texts(each)?;
        if found.is_empty() {
            let authors = each.authors.join(", ");
            let holder = if authors.is_empty() {
                "its authors"
            } else {
                &authors
            };
            found.push(MIT.replace("<copyright holders>", &format!("{holder} ({})", each.name)));
        }
        for text in found {
            by_text.entry(text).or_default().push(each.title());
        }
    }
    let mut groups: Vec<(String, String)> = by_text
        .into_iter()
        .map(|(text, crates)| (crates.join(", "), text))
        .collect();
    groups.sort();
    let mut notices = format!(
        "pg_ltv is made with these Rust crates. Their licences follow.\n\n{table}\n\
         The standard library of Rust is in it too; its notices are in COPYRIGHT-rust.html.\n"
    );
    for (crates, text) in groups {
        let line = "-".repeat(80);
        notices.push_str(&format!(
            "\n{line}\n{crates}\n{line}\n\n{}\n",
            text.trim_end()
        ));
    }
    Ok(notices)
}

/// The files in a crate that say what may be done with it.
fn texts(of: &Crate) -> Result<Vec<String>> {
    const NAMES: &[&str] = &[
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
    ];
    let mut paths: Vec<PathBuf> = fs::read_dir(&of.directory)
        .with_context(|| format!("cannot read {}", of.directory.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.to_uppercase();
            path.is_file() && NAMES.iter().any(|start| name.starts_with(start))
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| Ok(String::from_utf8_lossy(&fs::read(path)?).replace('\r', "")))
        .collect()
}

/// What the toolchain says of Rust's standard library.
pub fn standard_library() -> Result<PathBuf> {
    let sysroot = shell::capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let path = Path::new(sysroot.trim()).join("share/doc/rust/COPYRIGHT-library.html");
    if !path.is_file() {
        bail!("the toolchain has no {}", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_expression_is_met_by_one_of_its_choices_and_by_all_of_its_parts() {
        let allowed = ["MIT", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"];
        let allowed = allowed.map(String::from).into();
        let permits = |text| super::permits(text, &allowed);
        assert!(permits("MIT"));
        assert!(permits("GPL-3.0 OR MIT"));
        assert!(permits("(MIT OR Apache-2.0) AND Unicode-3.0"));
        assert!(permits("Apache-2.0 WITH LLVM-exception OR GPL-2.0"));
        assert!(!permits("MIT AND GPL-3.0"));
        assert!(!permits("(MIT OR Apache-2.0) AND GPL-3.0"));
        assert!(!permits("Apache-2.0"));
        assert!(!permits(""));
        assert!(!permits("MIT MIT"));
    }
}
