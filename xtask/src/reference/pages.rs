//! A page of the reference: for each function name, synopsis, arguments, result, errors, example, see also.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::catalog::{Argument, Catalog, Column, Function, Setting, View};
use super::texts::{Item, Section, Text};

/// Wider synopses have a line for each argument.
const WIDTH: usize = 100;
const NOTE: &str =
    "<!-- Made by `cargo xtask reference` from the server and docs/reference/texts. -->";
/// Where the introduction of the first page wants the list of everything.
const INDEX: &str = "<!-- index -->";
/// Around what the README has of it.
const OVERVIEW: &str = "<!-- made by cargo xtask reference -->";
const END_OF_OVERVIEW: &str = "<!-- end of what is made -->";

pub fn page(text: &Text, all: &[Text], catalog: &Catalog, client: &mut Client) -> Result<String> {
    let introduction = text.introduction.trim();
    let introduction = introduction.replace(INDEX, index(all, catalog).trim_end());
    let mut out = format!("{NOTE}\n\n# {}\n\n{introduction}\n", text.title);
    for section in &text.sections {
        let name = section.name.as_str();
        let written = if let Some(functions) = catalog.functions.get(name) {
            function(section, functions, client)
        } else if let Some(found) = catalog.views.get(name) {
            view(section, found)
        } else if let Some(found) = catalog.settings.get(name) {
            Ok(setting(section, found))
        } else {
            bail!("there is no {name}")
        };
        out.push('\n');
        out.push_str(&written.with_context(|| name.to_owned())?);
    }
    Ok(out)
}

/// Every name with its comment and a link, by kind.
fn index(all: &[Text], catalog: &Catalog) -> String {
    let mut rows: Vec<(usize, String)> = Vec::new();
    for (page, section) in all.iter().flat_map(|text| {
        text.sections
            .iter()
            .map(move |section| (&text.page, section))
    }) {
        let name = section.name.as_str();
        let (kind, comment) = if let Some(functions) = catalog.functions.get(name) {
            (0, functions[0].comment.as_str())
        } else if let Some(view) = catalog.views.get(name) {
            (1, view.comment.as_str())
        } else if let Some(setting) = catalog.settings.get(name) {
            (2, setting.purpose.as_str())
        } else {
            continue;
        };
        let row = format!(
            "| [`{name}`]({page}#{}) | {} |",
            anchor(name),
            cell(comment)
        );
        rows.push((kind, row));
    }
    rows.sort();
    let mut out = String::new();
    for (kind, title) in ["Functions", "Views", "Settings"].iter().enumerate() {
        let _ = writeln!(out, "## {title}\n\n| name | what it is |\n|---|---|");
        for (_, row) in rows.iter().filter(|(of, _)| *of == kind) {
            let _ = writeln!(out, "{row}");
        }
        out.push('\n');
    }
    out
}

/// The README with the names of everything, page by page, in the place that it has for them.
pub fn readme(present: &str, all: &[Text]) -> Result<String> {
    let parts = present.split_once(OVERVIEW).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END_OF_OVERVIEW)?;
        Some((before, after))
    });
    let (before, after) = parts.context("README.md has no place for the names of everything")?;
    let mut table = String::from("| of | names |\n|---|---|\n");
    for text in all.iter().filter(|text| !text.sections.is_empty()) {
        let page = format!("docs/reference/{}", text.page);
        let names: Vec<String> = text
            .sections
            .iter()
            .map(|section| format!("[`{0}`]({page}#{1})", section.name, anchor(&section.name)))
            .collect();
        let _ = writeln!(table, "| [{}]({page}) | {} |", text.title, names.join(", "));
    }
    Ok(format!(
        "{before}{OVERVIEW}\n\n{table}\n{END_OF_OVERVIEW}{after}"
    ))
}

/// What a heading is called in a link, by GitHub and mdBook alike.
pub fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
            _ => None,
        })
        .collect()
}

fn function(section: &Section, functions: &[Function], client: &mut Client) -> Result<String> {
    let mut out = format!("## {}\n\n", section.name);
    synopsis(&mut out, &section.name, functions);
    let _ = writeln!(out, "{}\n", section.description.trim());
    arguments(&mut out, section, functions)?;
    result(&mut out, section, &functions[0])?;
    errors(&mut out, section, client)?;
    let example = section.part("Example").trim();
    if !example.contains("```sql") {
        bail!("it has no example");
    }
    let _ = writeln!(out, "**Example**\n\n{example}\n");
    see_also(&mut out, section);
    Ok(out.trim_end().to_owned() + "\n")
}

fn synopsis(out: &mut String, name: &str, functions: &[Function]) {
    if let [only] = functions {
        let _ = writeln!(out, "{}\n", sentence(&only.comment));
        let _ = writeln!(out, "```text\n{}\n```\n", signature(name, only));
        if !only.is_procedure {
            let _ = writeln!(out, "{}, {}.\n", only.volatility, only.parallel);
        }
        return;
    }
    let _ = writeln!(out, "| call | what it does | |\n|---|---|---|");
    let mut shown: Vec<String> = Vec::new();
    for function in functions {
        let call = call(name, function, functions);
        if !shown.contains(&call) {
            // What comes after the semicolon is of one type of input.
            let comment = function.comment.split(';').next().unwrap_or_default();
            let marks = format!("{}, {}", function.volatility, function.parallel);
            let _ = writeln!(out, "| `{call}` | {} | {marks} |", cell(comment));
            shown.push(call);
        }
    }
    out.push('\n');
}

/// One line for all functions that differ in the type of an argument.
fn call(name: &str, function: &Function, all: &[Function]) -> String {
    let names = |function: &Function| -> Vec<String> {
        let arguments = function.arguments.iter();
        arguments.map(|argument| argument.name.clone()).collect()
    };
    let alike: Vec<&Function> = all
        .iter()
        .filter(|other| names(other) == names(function))
        .collect();
    let arguments: Vec<String> = function
        .arguments
        .iter()
        .enumerate()
        .map(|(place, argument)| {
            let same = |other: &&Function| other.arguments[place].kind == argument.kind;
            if alike.iter().all(same) {
                declared(argument)
            } else {
                argument.name.clone()
            }
        })
        .collect();
    let (before, after) = frame(name, function);
    format!("{before}{}{after}", arguments.join(", "))
}

/// A comment as a sentence of its own.
fn sentence(comment: &str) -> String {
    let mut letters = comment.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

fn signature(name: &str, function: &Function) -> String {
    let line = one_line(name, function);
    if line.len() <= WIDTH {
        return line;
    }
    let arguments: Vec<String> = function
        .arguments
        .iter()
        .map(|argument| format!("    {}", declared(argument)))
        .collect();
    let (before, after) = frame(name, function);
    format!("{before}\n{}\n{after}", arguments.join(",\n"))
}

fn one_line(name: &str, function: &Function) -> String {
    let arguments: Vec<String> = function.arguments.iter().map(declared).collect();
    let (before, after) = frame(name, function);
    format!("{before}{}{after}", arguments.join(", "))
}

/// What stands before and after the arguments.
fn frame(name: &str, function: &Function) -> (String, String) {
    if function.is_procedure {
        return (format!("CALL {name}("), ")".into());
    }
    let result = match (function.result.as_str(), function.returns_rows) {
        ("record", true) => "TABLE (...)".to_owned(),
        (other, true) => format!("SETOF {other}"),
        (other, false) => other.to_owned(),
    };
    (format!("{name}("), format!(") → {result}"))
}

fn declared(argument: &Argument) -> String {
    match &argument.default {
        None => format!("{} {}", argument.name, argument.kind),
        Some(default) => format!(
            "{} {} DEFAULT {}",
            argument.name,
            argument.kind,
            plain(default)
        ),
    }
}

/// A default without the cast that PostgreSQL writes behind it.
fn plain(default: &str) -> &str {
    default.split("::").next().unwrap_or(default)
}

fn arguments(out: &mut String, section: &Section, functions: &[Function]) -> Result<()> {
    let mut found: Vec<(String, Vec<String>, String)> = Vec::new();
    for argument in functions.iter().flat_map(|function| &function.arguments) {
        let everywhere = functions
            .iter()
            .all(|function| function.arguments.iter().any(|a| a.name == argument.name));
        let default = match &argument.default {
            None if !everywhere => "may be left out".to_owned(),
            None => "required".to_owned(),
            Some(default) => format!("`{}`", plain(default)),
        };
        match found.iter_mut().find(|(name, ..)| *name == argument.name) {
            None => found.push((argument.name.clone(), vec![argument.kind.clone()], default)),
            Some((_, kinds, _)) if kinds.contains(&argument.kind) => {}
            Some((_, kinds, _)) => kinds.push(argument.kind.clone()),
        }
    }
    let items = section.items("Arguments")?;
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    same_names("argument", &names, &items)?;
    if found.is_empty() {
        return Ok(());
    }
    let _ = writeln!(
        out,
        "**Arguments**\n\n| argument | type | default | meaning |\n|---|---|---|---|"
    );
    for (name, kinds, default) in &found {
        let kinds = kinds.join(" or ");
        let meaning = meaning(&items, name);
        let _ = writeln!(
            out,
            "| `{name}` | {kinds} | {} | {meaning} |",
            cell(default)
        );
    }
    out.push('\n');
    prose(out, section, "Arguments");
    Ok(())
}

fn result(out: &mut String, section: &Section, function: &Function) -> Result<()> {
    let items = section.items("Result")?;
    let names: Vec<&str> = function.columns.iter().map(|c| c.name.as_str()).collect();
    same_names("result column", &names, &items)?;
    if names.is_empty() && section.prose("Result").is_empty() {
        bail!("nothing is said of its result");
    }
    let _ = writeln!(out, "**Result**\n");
    prose(out, section, "Result");
    if !names.is_empty() {
        let _ = writeln!(out, "| column | type | meaning |\n|---|---|---|");
        for Column { name, kind, .. } in &function.columns {
            let _ = writeln!(out, "| `{name}` | {kind} | {} |", meaning(&items, name));
        }
        out.push('\n');
    }
    Ok(())
}

/// Each statement is run, fails, and is undone; what it says stands in the page.
fn errors(out: &mut String, section: &Section, client: &mut Client) -> Result<()> {
    let items = section.items("Errors")?;
    if items.is_empty() {
        prose_of(out, section, "Errors");
        return Ok(());
    }
    let _ = writeln!(
        out,
        "**Errors**\n\n| SQLSTATE | message | when |\n|---|---|---|"
    );
    for Item { name, meaning } in &items {
        let mut transaction = client.transaction()?;
        let outcome = transaction.batch_execute(name);
        transaction.rollback()?;
        let error = match outcome {
            Ok(()) => bail!("this did not fail: {name}"),
            Err(error) => error,
        };
        let error = error
            .as_db_error()
            .with_context(|| format!("{name}: {error}"))?;
        let _ = writeln!(
            out,
            "| {} | {} | {meaning} |",
            error.code().code(),
            cell(error.message())
        );
    }
    out.push('\n');
    prose(out, section, "Errors");
    Ok(())
}

fn view(section: &Section, view: &View) -> Result<String> {
    let mut out = format!("## {}\n\n{}\n\n", section.name, sentence(&view.comment));
    let _ = writeln!(out, "{}\n", section.description.trim());
    let _ = writeln!(out, "| column | type | meaning |\n|---|---|---|");
    for Column {
        name,
        kind,
        comment,
    } in &view.columns
    {
        if comment.is_empty() {
            bail!("column {name} has no comment");
        }
        let _ = writeln!(out, "| `{name}` | {kind} | {} |", cell(comment));
    }
    out.push('\n');
    prose_of(&mut out, section, "Example");
    see_also(&mut out, section);
    Ok(out.trim_end().to_owned() + "\n")
}

fn setting(section: &Section, setting: &Setting) -> String {
    let mut out = format!(
        "## {}\n\n{} {}\n\n",
        section.name, setting.purpose, setting.detail
    );
    let _ = writeln!(
        out,
        "| default | range | who sets it |\n|---|---|---|\n| {} | {} | {} |\n",
        setting.default, setting.range, setting.who
    );
    let _ = writeln!(out, "{}\n", section.description.trim());
    prose_of(&mut out, section, "Example");
    see_also(&mut out, section);
    out.trim_end().to_owned() + "\n"
}

fn see_also(out: &mut String, section: &Section) {
    prose_of(out, section, "See also");
}

/// A part under its own name, if it is there.
fn prose_of(out: &mut String, section: &Section, part: &str) {
    let body = section.part(part).trim();
    if !body.is_empty() {
        let _ = writeln!(out, "**{part}**\n\n{body}\n");
    }
}

fn prose(out: &mut String, section: &Section, part: &str) {
    let prose = section.prose(part);
    if !prose.is_empty() {
        let _ = writeln!(out, "{prose}\n");
    }
}

fn meaning<'a>(items: &'a [Item], name: &str) -> &'a str {
    items
        .iter()
        .find(|item| item.name == name)
        .map_or("", |item| item.meaning.as_str())
}

fn same_names(what: &str, there: &[&str], written: &[Item]) -> Result<()> {
    for name in there {
        if !written.iter().any(|item| item.name == *name) {
            bail!("{what} {name} has no text");
        }
    }
    for item in written {
        if !there.contains(&item.name.as_str()) {
            bail!("there is no {what} {}", item.name);
        }
    }
    Ok(())
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_broken_where_they_are_long() {
        let argument = |name: &str, default: Option<&str>| Argument {
            name: name.into(),
            kind: "text".into(),
            default: default.map(String::from),
        };
        let mut function = Function {
            is_procedure: false,
            returns_rows: true,
            comment: "does it".into(),
            volatility: "STABLE".into(),
            parallel: "PARALLEL SAFE".into(),
            result: "record".into(),
            arguments: vec![argument("a", None), argument("b", Some("'x'::text"))],
            columns: Vec::new(),
        };
        assert_eq!(
            signature("f", &function),
            "f(a text, b text DEFAULT 'x') → TABLE (...)"
        );
        function.arguments = (0..20).map(|i| argument(&format!("a{i}"), None)).collect();
        assert!(signature("f", &function).starts_with("f(\n    a0 text,\n    a1 text"));
        assert_eq!(sentence(&function.comment), "Does it.");
        assert_eq!(anchor("The day's `ltv`: why?"), "the-days-ltv-why");
    }
}
