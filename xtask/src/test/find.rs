//! `rust/where`: the table "Where is ...?" of docs/development.md leads to what it names.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::project::Project;

const PAGE: &str = "docs/development.md";
const HEADING: &str = "## Where is ...?";
/// Fewer rows than this are no help.
const FEWEST: usize = 30;

pub fn check(project: &Project) -> Result<()> {
    let text = fs::read_to_string(project.root.join(PAGE))?;
    let rows = rows(&text)?;
    let mut wrong = Vec::new();
    if rows.len() < FEWEST {
        wrong.push(format!("{} rows are fewer than {FEWEST}", rows.len()));
    }
    for (question, file, symbol) in rows {
        match fs::read_to_string(project.root.join(file)) {
            Ok(text) if has_word(&text, symbol) => {}
            Ok(_) => wrong.push(format!("{question}: {file} has no `{symbol}`")),
            Err(error) => wrong.push(format!("{question}: {file}: {error}")),
        }
    }
    if !wrong.is_empty() {
        bail!("the table \"{HEADING}\" of {PAGE}:\n{}", wrong.join("\n"));
    }
    Ok(())
}

/// Question, file and symbol of each row: `| question | `file` | `symbol` |`.
fn rows(page: &str) -> Result<Vec<(&str, &str, &str)>> {
    let (_, after) = page
        .split_once(HEADING)
        .with_context(|| format!("{PAGE} has no heading \"{HEADING}\""))?;
    let section = after
        .split_once("\n## ")
        .map_or(after, |(section, _)| section);
    section
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            match cells[..] {
                [question, file, symbol] => {
                    Ok((question, file.trim_matches('`'), symbol.trim_matches('`')))
                }
                _ => bail!("{PAGE}: a row has three cells: {line}"),
            }
        })
        .collect()
}

/// Whether the text has the symbol, not as a part of a longer name.
fn has_word(text: &str, symbol: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(symbol).any(|(at, _)| {
        !text[..at].ends_with(is_inside) && !text[at + symbol.len()..].starts_with(is_inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_words_are_whole() -> Result<()> {
        let page = "# Page\n\n## Where is ...?\n\n| where is | file | look for |\n|---|---|---|\n| a thing | `a/b.rs` | `thing` |\n\n## More\n\n| x |\n";
        assert_eq!(rows(page)?, [("a thing", "a/b.rs", "thing")]);
        assert!(has_word("fn thing()", "thing") && !has_word("fn things()", "thing"));
        Ok(())
    }
}
