//! What the server says of the extension's public functions, views and settings.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use postgres::Client;
use serde_json::Value;

use super::texts::Text;

const FUNCTIONS: &str = include_str!("functions.sql");
const VIEWS: &str = include_str!("views.sql");
const SETTINGS: &str = include_str!("settings.sql");

pub struct Catalog {
    /// All of a name stand together.
    pub functions: BTreeMap<String, Vec<Function>>,
    pub views: BTreeMap<String, View>,
    pub settings: BTreeMap<String, Setting>,
}

pub struct Function {
    pub is_procedure: bool,
    pub returns_rows: bool,
    pub comment: String,
    pub volatility: String,
    pub parallel: String,
    pub result: String,
    pub arguments: Vec<Argument>,
    pub columns: Vec<Column>,
}

pub struct Argument {
    pub name: String,
    pub kind: String,
    pub default: Option<String>,
}

pub struct Column {
    pub name: String,
    pub kind: String,
    pub comment: String,
}

pub struct View {
    pub comment: String,
    pub columns: Vec<Column>,
}

pub struct Setting {
    pub purpose: String,
    pub detail: String,
    pub default: String,
    pub range: String,
    pub who: String,
}

impl Catalog {
    pub fn read(client: &mut Client) -> Result<Catalog> {
        let mut functions: BTreeMap<String, Vec<Function>> = BTreeMap::new();
        for value in rows(client, FUNCTIONS)? {
            functions
                .entry(text(&value["name"]))
                .or_default()
                .push(function(&value));
        }
        let views = rows(client, VIEWS)?;
        let settings = rows(client, SETTINGS)?;
        Ok(Catalog {
            functions,
            views: views.iter().map(|v| (text(&v["name"]), view(v))).collect(),
            settings: settings
                .iter()
                .map(|v| (text(&v["name"]), setting(v)))
                .collect(),
        })
    }

    /// Whether there is a section for each thing, and nothing else.
    pub fn covered_by(&self, texts: &[Text]) -> Result<()> {
        let mut written: Vec<&str> = texts
            .iter()
            .flat_map(|text| &text.sections)
            .map(|section| section.name.as_str())
            .collect();
        written.sort_unstable();
        let mut there: Vec<&str> = self
            .functions
            .keys()
            .chain(self.views.keys())
            .chain(self.settings.keys())
            .map(String::as_str)
            .collect();
        there.sort_unstable();
        let beyond = |these: &[&str], those: &[&str]| -> Vec<String> {
            these
                .iter()
                .filter(|name| !those.contains(name))
                .map(ToString::to_string)
                .collect()
        };
        let missing = beyond(&there, &written);
        let unknown = beyond(&written, &there);
        if !missing.is_empty() || !unknown.is_empty() {
            bail!(
                "without a text: {}; texts of nothing: {}",
                missing.join(", "),
                unknown.join(", ")
            );
        }
        if written.len() != there.len() {
            bail!("something has two texts");
        }
        Ok(())
    }
}

fn rows(client: &mut Client, query: &str) -> Result<Vec<Value>> {
    // A function of the library must have been called before its settings are known.
    client.batch_execute("LOAD 'pg_ltv'; SET search_path = public")?;
    let row = client.query_one(query, &[])?;
    let found: Option<String> = row.try_get(0)?;
    let found = found.context("the catalog has nothing of the extension")?;
    Ok(serde_json::from_str(&found)?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list<T>(value: &Value, of: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().into_iter().flatten().map(of).collect()
}

fn function(value: &Value) -> Function {
    Function {
        is_procedure: value["is_procedure"] == true,
        returns_rows: value["returns_rows"] == true,
        comment: text(&value["comment"]),
        volatility: text(&value["volatility"]),
        parallel: text(&value["parallel"]),
        result: text(&value["result"]),
        arguments: list(&value["arguments"], |argument| Argument {
            name: text(&argument["name"]),
            kind: text(&argument["type"]),
            default: argument["default"].as_str().map(str::to_owned),
        }),
        columns: list(&value["columns"], column),
    }
}

fn column(value: &Value) -> Column {
    Column {
        name: text(&value["name"]),
        kind: text(&value["type"]),
        comment: text(&value["comment"]),
    }
}

fn view(value: &Value) -> View {
    View {
        comment: text(&value["comment"]),
        columns: list(&value["columns"], column),
    }
}

fn setting(value: &Value) -> Setting {
    Setting {
        purpose: text(&value["purpose"]),
        detail: text(&value["detail"]),
        default: text(&value["default"]),
        range: text(&value["range"]),
        who: text(&value["who"]),
    }
}
